"""The run loop: catch up, wait for a file-system event, catch up again; signals end it or reload settings.

The main thread owns the writing connection. Signal handlers and the watching thread only set flags and wake it.
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
from shipwrightd.daemon import Listener, Listeners, PassReport, Phase, SettingsApplied
from shipwrightd.daemon.catch_up import CatchUp, tune_gc
from shipwrightd.daemon.watch import Watch, folder_at
from shipwrightd.database import BUSY_TIMEOUT_MS, DAMAGE, close_without_checkpoint, identity, shrink_caches, transaction
from shipwrightd.database.wal import Log
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.errors import LockedError, MissingError, PathError, ReplacedError, ShipwrightdError, path_errors
from shipwrightd.journals import JOURNALS, store
from shipwrightd.recovery import open_database
from shipwrightd.recovery.rebuild import RecoveryOptions, open_or_recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from shipwrightd.config import Config, Settings
    from shipwrightd.daemon.catch_up import Pass
    from shipwrightd.database.lock import WriterLock

COALESCE_S = 0.002  # a burst of events becomes one batch; too short to notice
BUSY_RATE = 1_200  # records a second; above it a commit for every few records mostly rewrites the same pages
BUSY_COALESCE_S = 0.05
CONFIRMED_WITHIN_S = 60.0  # damage met twice within this time is real
DATABASE_RETRY_S = (0.5, 1.0, 2.0, 5.0)
DEGRADED_RESCAN_S = 0.5
BUSY_STEP_S = 0.02
GONE_S = 1.0  # a database that is missing for longer was removed
DAEMON = ""  # the source of the daemon's own errors in source_errors
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

log = structlog.get_logger()


class StoppedError(Exception):
    """A signal asked to end during a recovery; the next start begins it again."""


class GoneError(Exception):
    """There is no file at the database's path."""


# Matches exactly the relative paths of sources.
SOURCE = re.compile(
    "|".join(
        [
            *(re.escape(name) for source in JOURNALS for name in (source.name, *source.siblings)),
            *(re.escape(spec.pattern).replace(r"\*", r"[^/.][^/]*") for spec in DOCUMENTS),
        ]
    )
)
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


class Presence:
    """Checks the path of the open database and the home against what was there at the start."""

    def __init__(self, database: Path, home: Path, lock: WriterLock) -> None:
        self._path = database
        self._home = home
        self._lock = lock
        with path_errors(f"cannot examine the database {database}", hint="check owner and mode of its folder"):
            self._file, self._folder = identity(database), identity(database.parent)
        self._gone_since: float | None = None
        self._first_home = self._last_home = folder_at(home)

    def check_home(self) -> None:
        """Log when the home disappears, is replaced by another folder, or is back."""
        folder = folder_at(self._home)
        if folder == self._last_home:
            return
        self._last_home = folder
        if folder is not None and folder == self._first_home:
            log.info("home_is_back", home=str(self._home))
        else:
            log.warning("home_missing" if folder is None else "home_is_another_folder", home=str(self._home))

    def check_database(self, now: float) -> None:
        """Raise unless the open database is still at its path, so that nothing is stored in a file that is lost.

        Raises ReplacedError if another file is there, MissingError if the database was deleted, and
        GoneError while it, its folder or its home may still come back.
        """
        try:
            found = identity(self._path)
            away = found is None and identity(self._path.parent) != self._folder and not self._lock.is_removed()
        except OSError:  # unknown; SQLite has it open
            return
        if found == self._file:
            self._gone_since = None
            return
        if found is not None:
            message = f"another file has taken the place of the database {self._path}"
            raise ReplacedError(message, hint="start again to use that file")
        self._gone_since = self._gone_since or now
        if self._home.is_dir() and not away and now - self._gone_since > GONE_S:
            message = f"the database {self._path} was removed"
            raise MissingError(message, hint="start again to create a new one from the files")
        raise GoneError("the database is not in its place" + (": its folder was moved or unmounted" if away else ""))


class Flags:
    """The requests of signals; each wakes the loop."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.stopping = self.reloading = False

    def request(self, number: int, _frame: object) -> None:
        """Ask to read the settings again, or for the end: a batch in progress is committed or rolled back first."""
        if number == signal.SIGHUP:
            self.reloading = True
        else:
            self.stopping = True
        self.wake.set()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle the signals while the block runs."""
        before = {number: signal.signal(number, self.request) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(config: Config, settings: Settings, reload: Callable[[], Settings], listeners: Sequence[Listener] = ()) -> None:
    """Follow the home until a signal ends it. Raises what open_database raises, before following."""
    tune_gc()
    flags = Flags()
    listener = Listeners(listeners)

    def alive() -> None:
        """Report that a recovery runs, which calls this now and then, or stop it."""
        if flags.stopping:
            log.info("recovery_put_off")
            raise StoppedError
        listener.notify(Phase.RECOVERING)

    options = RecoveryOptions(alive=alive)
    with flags.installed(), contextlib.suppress(StoppedError):
        db, lock = open_database(config.db, config.home, "run", options)
        damaged_at = -CONFIRMED_WITHIN_S
        try:
            while True:
                try:
                    Loop(db, lock, config, settings, flags).run(reload, listener)
                    break
                except DAMAGE as error:
                    close_without_checkpoint(db)
                    now = time.monotonic()
                    options.damage = str(error) if now - damaged_at < CONFIRMED_WITHIN_S else None
                    damaged_at = now
                    db = _recover(config, lock, options, flags, listener)
                    lock.note({})
        finally:
            listener.notify(Phase.STOPPING)
            with contextlib.suppress(apsw.Error):
                db.close()
            lock.release()


def _recover(
    config: Config, lock: WriterLock, options: RecoveryOptions, flags: Flags, listener: Listener
) -> apsw.Connection:
    """Return the recovered database, waiting for what recovery needs. Raises StoppedError if a signal asks to stop.

    Without damage in `options` only if a check finds some: SQLite also reports damage if a page cannot be read.
    """
    waiting = Waiting(lock)
    while not flags.stopping:
        try:
            return open_or_recover(config.db, config.home, options)
        except (PathError, LockedError, MissingError) as error:
            wait_s = waiting.failed("recovery_waiting", str(error), error.message)
            listener.notify(PassReport(0, waiting=error.message))
            flags.wake.clear()
            flags.wake.wait(wait_s)
    raise StoppedError


class Waiting:
    """Counts failed attempts to use the database, and keeps the reason in the lock file, where `status` finds it."""

    def __init__(self, lock: WriterLock) -> None:
        self._lock = lock
        self._logged: set[str] = set()
        self.failures = 0
        self.reason: str | None = None

    def failed(self, event: str, error: str, reason: str) -> float:
        """Count a failure and return how many seconds to wait. Logs each error as a warning once, then as debug."""
        wait_s = DATABASE_RETRY_S[min(self.failures, len(DATABASE_RETRY_S) - 1)]
        self.failures += 1
        write = log.debug if error in self._logged else log.warning
        self._logged.add(error)
        write(event, error=error, retry_s=wait_s)
        if reason != self.reason:
            self.reason = reason
            self._lock.note({"waiting": reason, "waiting_since": clock.now().text})
        return wait_s

    def ended(self) -> None:
        """Log that the database can be written again, if it could not."""
        if self.failures:
            log.info("database_recovered", failures=self.failures)
            self._lock.note({})
            self._logged, self.failures, self.reason = set(), 0, None


class Loop:
    """Follows the home with one open database."""

    def __init__(self, db: apsw.Connection, lock: WriterLock, config: Config, settings: Settings, flags: Flags) -> None:
        self._db = db
        self._presence = Presence(config.db, config.home, lock)
        self._home = home = config.home
        self._settings = settings
        self._flags = flags
        self._listener = Listener()
        self._catch_up = CatchUp(db, home, settle_s=settings.settle_s)
        self._log = Log(db, config.db)
        self._watch = Watch(flags.wake, self._is_source)
        db.set_busy_handler(self._keep_trying)
        self._trouble: list[str] = []
        self._waiting = Waiting(lock)
        self._stored = 0
        self._pause_s = COALESCE_S
        self._passed_at = 0.0  # end of the last pass, monotonic seconds
        self._hinted = False
        self._next_scan = 0.0  # time of the next pass over all sources, monotonic seconds
        self._real_home = str(home)

    def run(self, reload: Callable[[], Settings], listener: Listener) -> None:
        """Catch up and follow until asked to stop."""
        started = time.monotonic()
        self._listener = listener
        self._catch_up.on_batch = listener.notify
        log.info("daemon_started", version=__version__, home=str(self._home))
        listener.notify(SettingsApplied(self._settings))
        try:
            self._pass(woken=False)
            if not self._flags.stopping:
                shrink_caches(self._db)
            log.info("daemon_following", records=self._stored, seconds=round(time.monotonic() - started, 3))
            listener.notify(Phase.FOLLOWING)
            while not self._flags.stopping:
                woken = self._flags.wake.wait(min(max(0.0, self._next_scan - time.monotonic()), listener.pulse_s))
                self._flags.wake.clear()
                if self._flags.reloading:
                    self._reload(reload)
                self._pass(woken=woken)
                if woken:
                    time.sleep(self._pause_s)
        finally:
            self._watch.stop()
            self._catch_up.close()
            log.info("daemon_stopped")

    def _pass(self, *, woken: bool) -> None:
        """Read the sources that events named, or all when a scan is due, and report."""
        began = time.monotonic()
        self._poll(woken=woken)
        report = PassReport(
            self._stored,
            behind_bytes={each.source.name: each.behind_bytes() for each in self._catch_up.journals},
            errors=dict(self._catch_up.errors),
            trouble=tuple(self._trouble),
            waiting=self._waiting.reason,
            hinted=self._hinted,
            seconds=time.monotonic() - began,
            watch_starts=self._watch.starts,
        )
        self._listener.notify(report)

    def _poll(self, *, woken: bool) -> None:
        started = time.monotonic()
        # Trying more often frees neither space nor a lock, and without an event this is only a listener's pulse.
        if started < self._next_scan and (self._waiting.reason or not woken):
            return
        try:
            hints = self._hints() if woken and started < self._next_scan else None
            self._hinted = hints is not None
            if hints is None:
                self._presence.check_home()
                self._presence.check_database(started)
                self._check_watch()
            passed = self._catch_up.poll(hints, stop=lambda: self._flags.stopping)
            self._log.keep_short(time.monotonic())
        except WAITS as error:
            self._next_scan = time.monotonic() + self._waiting.failed("database_waiting", str(error), str(error))
            return
        self._stored += passed.records
        now = time.monotonic()
        self._pause_s = BUSY_COALESCE_S if passed.records > BUSY_RATE * (now - self._passed_at) else COALESCE_S
        self._passed_at = now
        self._waiting.ended()
        self._plan_next(passed, full=hints is None, started=started)

    def _plan_next(self, passed: Pass, *, full: bool, started: float) -> None:
        rescan_s = min(self._settings.rescan_s, DEGRADED_RESCAN_S) if self._trouble else self._settings.rescan_s
        if full:
            self._next_scan = started + rescan_s
            for path in passed.late if self._settings.watch else ():
                self._watch.note_unannounced(path)
        if passed.wait_s is not None:
            self._next_scan = min(self._next_scan, time.monotonic() + passed.wait_s)

    def _keep_trying(self, tried: int) -> bool:
        """Wait for a lock on the database as long as SQLite would, unless a signal asks to stop."""
        patience_s = self._log.patience_s or BUSY_TIMEOUT_MS / 1_000
        if self._flags.stopping or tried * BUSY_STEP_S >= patience_s:
            return False
        time.sleep(BUSY_STEP_S)
        return True

    def _hints(self) -> set[str] | None:
        """Return the sources that file-system events named, None for all."""
        changed = self._watch.changed()
        return None if changed is None else {path[len(self._real_home) + 1 :] for path in changed}

    def _folders(self) -> list[Path]:
        """Return the folders to watch, with symlinks resolved: events do not pass through them."""
        home = self._home.resolve()
        self._real_home = str(home)
        if not self._settings.watch:
            return []
        memory = home / "memory"
        folders = [home, home / "heartbeats", memory]
        with contextlib.suppress(OSError), os.scandir(memory) as entries:
            folders += [memory / entry.name for entry in entries if entry.is_dir()]
        return folders

    def _is_source(self, path: str) -> bool:
        return path.startswith(self._real_home) and bool(SOURCE.fullmatch(path[len(self._real_home) + 1 :]))

    def _check_watch(self) -> None:
        """Restart watching if necessary, and store why it is degraded."""
        trouble = self._watch.check(self._folders())
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
        """Apply changed settings; invalid ones are refused and the old ones stay."""
        self._flags.reloading = False
        self._listener.notify(Phase.RELOADING)
        try:
            settings = reload()
        except ShipwrightdError as error:
            log.error("settings_refused", error=str(error))  # noqa: TRY400 - a user's mistake has no traceback
        else:
            if settings.watch != self._settings.watch:
                self._watch.stop()
            self._settings = settings
            self._catch_up.set_settle(settings.settle_s)
            self._next_scan = 0.0
            log.info("settings_reloaded")
        self._listener.notify(SettingsApplied(self._settings, reloaded=True))
