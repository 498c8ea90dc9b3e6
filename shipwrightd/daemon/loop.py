"""The run loop: catch up, wait for a hint, catch up again; signals end it or reload settings.

The main thread owns the writing connection. Handlers and the watching thread
only set flags and ring the bell.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

import apsw
import structlog

from shipwrightd import __version__, clock
from shipwrightd.daemon.callbacks import Listener, Listeners, Turn
from shipwrightd.daemon.catch_up import CatchUp, calm_interpreter, open_database
from shipwrightd.daemon.presence import GoneError, Places
from shipwrightd.daemon.watch import Watch
from shipwrightd.database.connection import BUSY_TIMEOUT_MS, DAMAGE, WriterLock, abandon, relax, transaction
from shipwrightd.database.wal import Log
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.errors import LockedError, MissingError, PathError, ShipwrightdError
from shipwrightd.journals import store
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.recovery.rebuild import RecoveryOptions, open_or_recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from shipwrightd.config.settings import Config, Settings
    from shipwrightd.daemon.catch_up import Passed

COALESCE_S = 0.002  # a burst of wakes becomes one batch; below what anyone can see
BUSY_RATE = 1_200  # records a second; beyond it a commit for every few records is mostly pages written again
BUSY_COALESCE_S = 0.05
SECOND_LOOK_S = 60.0  # damage met again within this time is there
DATABASE_RETRY_S = (0.5, 1.0, 2.0, 5.0)
DEGRADED_RESCAN_S = 0.5
BUSY_STEP_S = 0.02
DAEMON = ""  # the name under which the daemon's own trouble stands in source_errors
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = structlog.get_logger()


class StoppedError(Exception):
    """Asked to end while a database is built anew; the next start does that from the beginning."""


WAITS = (
    apsw.BusyError,
    apsw.ProtocolError,  # as busy, but while the log is opened
    apsw.FullError,
    apsw.IOError,
    apsw.NoMemError,  # also when shared memory cannot be mapped
    apsw.ReadOnlyError,
    apsw.CantOpenError,
    GoneError,
)


class Flags:
    """What signals asked for."""

    def __init__(self, bell: threading.Event) -> None:
        self.bell = bell
        self.stopping = False
        self.reloading = False

    def stop(self, *_: object) -> None:
        """Ask for the end; a batch in progress is finished or rolled back first."""
        self.stopping = True
        self.bell.set()

    def reload(self, *_: object) -> None:
        """Ask for the settings to be read again."""
        self.reloading = True
        self.bell.set()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Take over the signals for a while."""
        wanted = dict.fromkeys(STOP_SIGNALS, self.stop) | {signal.SIGHUP: self.reload}
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(config: Config, settings: Settings, reload: Callable[[], Settings], listeners: Sequence[Listener] = ()) -> None:
    """Follow the home until a signal ends it. Raises what open_database raises, before following."""
    calm_interpreter()
    bell = threading.Event()
    flags = Flags(bell)
    with flags.installed():
        heard = Listeners(listeners)
        try:
            db, lock = open_database(config.db, config.home, "run", RecoveryOptions(alive=_alive(flags, heard)))
        except StoppedError:
            log.info("recovery_put_off")
            return
        heard = Listeners((*listeners, Notice(lock)))
        met_at = -SECOND_LOOK_S
        try:
            while True:
                try:
                    Loop(db, lock, config, settings, flags).run(reload, heard)
                except DAMAGE as error:
                    abandon(db)
                    again = time.monotonic() - met_at < SECOND_LOOK_S
                    met_at = time.monotonic()
                    healed = _heal(config, str(error) if again else None, flags, heard)
                    if healed is None:
                        break
                    db = healed
                else:
                    break
        finally:
            heard.stopping()
            with contextlib.suppress(apsw.Error):
                db.close()
            lock.release()


def _heal(config: Config, damage: str | None, flags: Flags, listener: Listener) -> apsw.Connection | None:
    """Return the database built anew, waiting for what that needs; None when asked to stop meanwhile.

    Without `damage` only if a look finds some: SQLite takes a page that the medium failed to give for damage, too.
    """
    failures = 0
    told: set[str] = set()
    while not flags.stopping:
        try:
            return open_or_recover(config.db, config.home, RecoveryOptions(damage, alive=_alive(flags, listener)))
        except StoppedError:
            log.info("recovery_put_off")
        except (PathError, LockedError, MissingError) as error:
            wait_s = DATABASE_RETRY_S[min(failures, len(DATABASE_RETRY_S) - 1)]
            failures += 1
            _tell_once(told, "recovery_waiting", str(error), wait_s)
            listener.turned(Turn(0, waiting=error.message))
            flags.bell.clear()
            flags.bell.wait(wait_s)
    return None


def _alive(flags: Flags, listener: Listener) -> Callable[[], None]:
    """Return what healing calls now and then: it tells who listens, and ends it when asked to."""

    def call() -> None:
        if flags.stopping:
            raise StoppedError
        listener.healing()

    return call


def _tell_once(told: set[str], event: str, error: str, retry_s: float) -> None:
    """Log what is waited for when it begins; that it goes on is for those who debug."""
    tell = log.debug if error in told else log.warning
    told.add(error)
    tell(event, error=error, retry_s=retry_s)


class Notice(Listener):
    """Writes beside the database what it makes us wait for, because then nothing can be written into it."""

    def __init__(self, lock: WriterLock) -> None:
        self._lock = lock
        self._waiting: str | None = None

    def turned(self, turn: Turn) -> None:
        """Say it when it changes."""
        if turn.waiting == self._waiting:
            return
        self._waiting = turn.waiting
        with contextlib.suppress(OSError):
            self._lock.note({"waiting": turn.waiting, "waiting_since": clock.now().text} if turn.waiting else {})


class Loop:
    """The daemon between its start and its end."""

    def __init__(self, db: apsw.Connection, lock: WriterLock, config: Config, settings: Settings, flags: Flags) -> None:
        self._db = db
        self._places = Places(config.db, config.home, lock)
        self._home = home = config.home
        self._settings = settings
        self._bell = flags.bell
        self._flags = flags
        self._catch_up = CatchUp(db, home, settle_s=settings.settle_s)
        self._listener = Listener()
        self._log = Log(db, config.db)
        self._watch: Watch | None = None
        db.set_busy_handler(self._keep_trying)
        self._trouble: list[str] = []
        self._failures = 0
        self._waiting = ""
        self._told: set[str] = set()  # what this wait was logged for
        self._stored = 0
        self._pause_s = COALESCE_S
        self._passed_at = 0.0  # monotonic seconds: when the last pass ended
        self._hinted = False
        self._next_look = 0.0  # monotonic seconds: when to look at everything
        self._real_home = str(home)

    def run(self, reload: Callable[[], Settings], listener: Listener) -> None:
        """Catch up and follow until asked to stop."""
        started = time.monotonic()
        self._listener = listener
        self._catch_up.heard = listener.batch_stored
        log.info("daemon_started", version=__version__, home=str(self._home))
        listener.started(self._settings)
        self._set_watch()
        try:
            self._pass(rung=False)
            if not self._flags.stopping:
                relax(self._db)
            log.info("daemon_following", records=self._stored, seconds=round(time.monotonic() - started, 3))
            listener.following()
            while not self._flags.stopping:
                rung = self._bell.wait(min(max(0.0, self._next_look - time.monotonic()), listener.pulse_s))
                self._bell.clear()
                if self._flags.reloading:
                    self._reload(reload)
                self._pass(rung=rung)
                if rung:
                    time.sleep(self._pause_s)
        finally:
            if self._watch is not None:
                self._watch.stop()
            self._catch_up.close()
            log.info("daemon_stopped")

    def _pass(self, *, rung: bool) -> None:
        """Look at what hints name, or at everything when its time has come, and set the time of the next look."""
        began = time.monotonic()
        waiting = self._look(rung=rung)
        self._listener.turned(
            Turn(
                self._stored,
                behind_bytes=self._catch_up.behind_bytes(),
                errors=dict(self._catch_up.errors),
                trouble=tuple(self._trouble),
                waiting=waiting,
                hinted=self._hinted,
                seconds=time.monotonic() - began,
                watch_starts=self._watch.starts if self._watch is not None else 0,
            )
        )

    def _look(self, *, rung: bool) -> str | None:
        """Return what the database makes us wait for, None when all went well."""
        started = time.monotonic()
        if started < self._next_look:
            if self._failures:
                return self._waiting  # asking more often brings neither space nor a lock, only more to log
            if not rung:
                return None  # a listener's pulse
        try:
            hints = self._hints() if rung and started < self._next_look else None
            self._hinted = hints is not None
            if hints is None:
                self._places.check_home()
                self._places.check_database(started)
                self._check_watch()
            passed = self._catch_up.look(hints, stop=lambda: self._flags.stopping)
            self._log.keep_short(time.monotonic())
        except WAITS as error:
            self._wait_for_database(error)
            return self._waiting
        self._stored += passed.records
        now = time.monotonic()
        self._pause_s = BUSY_COALESCE_S if passed.records > BUSY_RATE * (now - self._passed_at) else COALESCE_S
        self._passed_at = now
        if self._failures:
            log.info("database_recovered", failures=self._failures)
            self._failures = 0
            self._told.clear()
        self._plan_next(passed, full=hints is None, started=started)
        return None

    def _plan_next(self, passed: Passed, *, full: bool, started: float) -> None:
        rescan_s = min(self._settings.rescan_s, DEGRADED_RESCAN_S) if self._trouble else self._settings.rescan_s
        if full:
            self._next_look = started + rescan_s
            for path in passed.late if self._watch is not None else ():
                self._watch.note_unannounced(path)  # type: ignore[union-attr]
        if passed.wait_s is not None:
            self._next_look = min(self._next_look, time.monotonic() + passed.wait_s)

    def _keep_trying(self, tried: int) -> bool:
        """Wait for a lock on the database as long as SQLite would, but not when asked to stop."""
        patience_s = self._log.patience_s or BUSY_TIMEOUT_MS / 1_000
        if self._flags.stopping or tried * BUSY_STEP_S >= patience_s:
            return False
        time.sleep(BUSY_STEP_S)
        return True

    def _wait_for_database(self, error: Exception) -> None:
        """Try again later: the disk is full, or another process holds the database, or it is not there."""
        wait_s = DATABASE_RETRY_S[min(self._failures, len(DATABASE_RETRY_S) - 1)]
        self._failures += 1
        self._waiting = str(error)
        self._next_look = time.monotonic() + wait_s
        _tell_once(self._told, "database_waiting", self._waiting, wait_s)

    def _hints(self) -> set[str] | None:
        """Return the sources that file-system events named, or None to look at all."""
        changed = self._watch.changed() if self._watch is not None else None
        if changed is None:
            return None
        cut = len(self._real_home) + 1
        return {path[cut:] for path in changed}

    def _set_watch(self) -> None:
        if not self._settings.watch:
            return
        self._watch = Watch(self._bell, self._is_source)
        self._watch.start(self._folders())

    def _folders(self) -> list[Path]:
        """Return the folders that hold sources, with symlinks resolved, for watching delivers nothing through them."""
        home = self._home.resolve()
        self._real_home = str(home)
        return [home, home / "heartbeats", home / "memory", *self._memory_folders(home / "memory")]

    def _memory_folders(self, memory: Path) -> list[Path]:
        try:
            with os.scandir(memory) as entries:
                return [memory / entry.name for entry in entries if entry.is_dir()]
        except OSError:
            return []

    def _is_source(self, path: str) -> bool:
        return path.startswith(self._real_home) and bool(SOURCE.fullmatch(path[len(self._real_home) + 1 :]))

    def _check_watch(self) -> None:
        """Keep watching alive, and say in the database when it cannot be relied on."""
        self._note_trouble(self._watch.check(self._folders()) if self._watch is not None else [])

    def _note_trouble(self, trouble: list[str]) -> None:
        if trouble == self._trouble:
            return
        error = f"watching is degraded: {'; '.join(trouble)}" if trouble else None
        with transaction(self._db):
            store.set_error(self._db, DAEMON, None, clock.now().text)
            if error:
                store.set_error(self._db, DAEMON, error, clock.now().text)
        self._trouble = trouble
        if error:
            log.warning("watching_degraded", reasons=trouble, rescan_s=DEGRADED_RESCAN_S)
        else:
            log.info("watching_restored")

    def _reload(self, reload: Callable[[], Settings]) -> None:
        """Take over changed settings; bad ones are refused and the old ones stay."""
        self._flags.reloading = False
        self._listener.reloading()
        try:
            self._take_over(reload())
        except ShipwrightdError as error:
            log.error("settings_refused", error=str(error))  # noqa: TRY400 - a user's mistake has no traceback
        self._listener.reloaded(self._settings)

    def _take_over(self, settings: Settings) -> None:
        if settings.watch != self._settings.watch and self._watch is not None:
            self._watch.stop()
            self._watch = None
        self._settings = settings
        self._catch_up.set_settle(settings.settle_s)
        if self._watch is None:
            self._set_watch()
        self._next_look = 0.0
        log.info("settings_reloaded")


def source_pattern() -> re.Pattern[str]:
    """Return a pattern that matches exactly the relative paths of sources."""
    names = [re.escape(name) for source in JOURNALS for name in (source.name, *source.siblings)]
    names += [re.escape(spec.pattern).replace(r"\*", r"[^/.][^/]*") for spec in DOCUMENTS]
    return re.compile("|".join(names))


SOURCE = source_pattern()
