"""One pass over all sources: what is new goes into the database. `backfill` is this, once."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw
import structlog

from shipwrightd import __version__, clock
from shipwrightd.daemon.callbacks import Batch
from shipwrightd.database import connection as database
from shipwrightd.database import migrate
from shipwrightd.database.connection import WriterLock, transaction
from shipwrightd.documents.follow import Documents
from shipwrightd.errors import LockedError, MissingError, PathError
from shipwrightd.journals import store
from shipwrightd.journals.follow import Journal
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.recovery import swap
from shipwrightd.recovery.detect import file_damage
from shipwrightd.recovery.rebuild import RecoveryOptions, open_or_recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shipwrightd.clock import Now

ANNOUNCED_WITHIN_S = 1.0
WAIT_LIMIT_S = 30.0  # how long a backfill waits for a file that is being written over
TOTALS = "SELECT source, records, salvaged, quarantined, gaps FROM checkpoints"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What a backfill did for one source; `known` were in the database before."""

    source: str
    records: int
    known: int
    salvaged: int
    quarantined: int
    gaps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did, source by source, and what kept it from reading some."""

    summaries: list[SourceSummary]
    errors: list[str]


@dataclass(frozen=True, slots=True)
class Passed:
    """What one pass did: records stored, and seconds until it should look again, if it knows."""

    records: int = 0
    wait_s: float | None = None
    late: tuple[str, ...] = ()  # files whose growth was found though it is over a second old


class CatchUp:
    """Brings the database up to the files, source by source, batch by batch."""

    def __init__(self, db: apsw.Connection, home: Path, *, settle_s: float) -> None:
        self._db = db
        self._home = home
        self.errors: dict[str, str] = {}
        self.journals = [Journal(source, home, settle_s=settle_s) for source in JOURNALS]
        self.documents = Documents(home)
        self.seconds: dict[str, float] = {}
        self.heard: Callable[[Batch], object] = bool  # told of each batch of a journal

    def behind_bytes(self) -> dict[str, int]:
        """Return how many bytes each journal held beyond what is stored, at the last look at it."""
        return {journal.source.name: journal.behind_bytes() for journal in self.journals}

    def close(self) -> None:
        """Let all files go."""
        for journal in self.journals:
            journal.close()

    def set_settle(self, settle_s: float) -> None:
        """Change how long a file must rest before what it holds is taken as meant."""
        for journal in self.journals:
            journal.settle_s = settle_s

    def look(
        self,
        hints: set[str] | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
        stop: Callable[[], bool] = bool,
    ) -> Passed:
        """Store what is new in the hinted files, or in all of them without hints.

        Documents come first: a cost entry knows its issue, its event does not.
        Raises apsw errors of the database itself (full, locked, read-only); an
        error of one source is recorded and does not keep the others waiting.
        """
        records = 0
        waits: list[float] = []
        late: list[str] = []
        names = self.documents.names(self._db) if hints is None else sorted(self.documents.known & hints)
        for name in names:
            with self._timed(name):
                records += self._document(name, waits)
        for journal in self.journals:
            if hints is not None and not hints.intersection(journal.names):
                continue
            with self._timed(journal.source.name):
                stored = self._journal(journal, waits, progress, stop)
            records += stored
            if stored and journal.age_s() > ANNOUNCED_WITHIN_S:
                late.append(str(self._home / journal.source.name))
        return Passed(records, min(waits) if waits else None, tuple(late))

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def _document(self, name: str, waits: list[float]) -> int:
        now = clock.now()
        try:
            taken = self.documents.poll(self._db, name, now)
        except OSError as error:
            self._note(name, f"cannot read {name}: {error.strerror}", now)
            return 0
        if taken.wait_s is not None:
            waits.append(taken.wait_s)
        else:
            self._note(name, taken.error, now)
        if taken.records:
            log.info("document_stored", source=name, records=taken.records)
        return taken.records

    def _journal(
        self,
        journal: Journal,
        waits: list[float],
        progress: Callable[[int, int], None] | None,
        stop: Callable[[], bool],
    ) -> int:
        name = journal.source.name
        records = 0
        journal.stop = stop
        while not stop():
            now, began = clock.now(), time.monotonic()
            try:
                polled = journal.poll(self._db, now)
            except OSError as error:
                self._note(name, f"cannot read {name}: {error.strerror}", now)
                break
            self._note(name, None, now)
            records += polled.records
            if polled.switched:
                log.info("file_switched", source=name, how=polled.switched)
            if polled.quarantined:
                log.warning("lines_quarantined", source=name, pieces=polled.quarantined)
            if polled.size:
                log.debug("batch_stored", source=name, records=polled.records, bytes=polled.size)
                took_s = time.monotonic() - began
                self.heard(Batch(name, polled.records, polled.quarantined, polled.size, took_s, polled.commit_s))
                if progress:
                    progress(polled.size, polled.records)
            if polled.wait_s is not None:
                waits.append(polled.wait_s)
            if not polled.more:
                break
        return records

    def _note(self, name: str, error: str | None, now: Now) -> None:
        """Keep in the database what stands in a source's way, when that changes."""
        if self.errors.get(name) == error:
            return
        with transaction(self._db):
            store.set_error(self._db, name, error, now.text)
        if error is None:
            self.errors.pop(name, None)
            log.info("source_recovered", source=name)
        else:
            self.errors[name] = error
            log.warning("source_failed", source=name, error=error)


def open_database(
    path: Path, home: Path | None, command: str = "", options: RecoveryOptions | None = None
) -> tuple[apsw.Connection, WriterLock]:
    """Take the writer lock and open the migrated database; no home is needed for work inside it.

    With `options`, which needs the home, a damaged one is rebuilt. Raises MissingError without
    the home, LockedError beside another writer, DatabaseError for a foreign, newer or damaged file,
    PathError for what the system refuses.
    """
    try:
        return _open_database(path, home, command, options)
    except OSError as error:
        place = error.filename or path
        raise PathError(f"cannot use {place}: {error.strerror}", hint="check its owner, mode and medium") from error


def _open_database(
    path: Path, home: Path | None, command: str, options: RecoveryOptions | None
) -> tuple[apsw.Connection, WriterLock]:
    if home is not None and not home.is_dir():
        raise MissingError(f"no Shipwright home at {home}", hint="name it with --home DIR, or run Shipwright once")
    database.prepare_folder(path, refuse=file_damage if options is not None else None)
    if options is not None:
        file_damage(path)  # what is beside it, too
    lock = WriterLock(database.lock_path(path))
    about = {"command": command, "pid": os.getpid(), "started_at": clock.now().text, "version": __version__}
    lock.acquire({**about, "home": str(home or "")})
    try:
        if options is not None and home is not None:
            db = open_or_recover(path, home, options)
        else:
            swap.finish(path)
            db = database.open_writer(path)
            migrate.migrate(db)
        with transaction(db):
            store.clear_errors(db)
    except (apsw.BusyError, apsw.ProtocolError) as error:
        lock.release()
        raise LockedError(f"the database {path} stays locked", hint="end the program that holds it") from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.FullError, apsw.IOError, apsw.NoMemError) as error:
        lock.release()
        raise PathError(f"cannot write the database {path}: {error}", hint="check space, owner and mode") from error
    except (apsw.CorruptError, apsw.NotADBError) as error:  # also when the medium fails to read a page
        lock.release()
        raise database.explained(path, error) from error
    except BaseException:
        lock.release()
        raise
    return db, lock


def calm_interpreter() -> None:
    """Suit the interpreter to long batches of rows.

    Rows hold no cycles, so the collector finds nothing among them and costs a
    tenth of decoding; and two threads take turns more often than every 5 ms.
    """
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)


def pending_bytes(home: Path) -> int:
    """Return how many bytes all journals and their siblings hold."""
    total = 0
    for source in JOURNALS:
        for path in source.files(home):
            try:
                total += path.stat().st_size
            except OSError:
                continue
    return total


def backfill(
    home: Path,
    path: Path,
    progress: Callable[[int, int, int], None] | None = None,
    options: RecoveryOptions | None = None,
) -> Backfilled:
    """Import once all that the files hold; a second time there is nothing left to import.

    `progress` gets bytes done, bytes in all and records, batch by batch.
    """
    options = options or RecoveryOptions()
    db, lock = open_database(path, home, "backfill", options)
    calm_interpreter()
    try:
        return _backfill(db, home, progress)
    except database.DAMAGE as error:
        database.abandon(db)
        options.damage = str(error)
        db = open_or_recover(path, home, options)
        return _backfill(db, home, progress)
    finally:
        with contextlib.suppress(apsw.Error):
            db.close()
        lock.release()


def _backfill(db: apsw.Connection, home: Path, progress: Callable[[int, int, int], None] | None) -> Backfilled:
    before = totals(db)
    total = pending_bytes(home)
    done = [0, 0]

    def step(size: int, records: int) -> None:
        done[0] += size
        done[1] += records
        if progress:
            progress(done[0], max(total, done[0]), done[1])

    catch_up = CatchUp(db, home, settle_s=2.0)
    try:
        limit = time.monotonic() + WAIT_LIMIT_S
        while (passed := catch_up.look(progress=step)).wait_s is not None and time.monotonic() < limit:
            time.sleep(min(passed.wait_s, 0.5))
        after = totals(db)
    finally:
        catch_up.close()
    none = (0, 0, 0, 0)
    summaries = [_summary(name, before.get(name, none), after[name], catch_up.seconds) for name in sorted(after)]
    return Backfilled(summaries, sorted(catch_up.errors.values()))


def totals(db: apsw.Connection) -> dict[str, tuple[int, int, int, int]]:
    """Return records, salvaged, quarantined and gaps of each source so far."""
    return {source: (r, s, q, g) for source, r, s, q, g in db.execute(TOTALS)}


def _summary(
    name: str, before: tuple[int, int, int, int], after: tuple[int, int, int, int], seconds: dict[str, float]
) -> SourceSummary:
    records, salvaged, quarantined, gaps = (new - old for new, old in zip(after, before, strict=True))
    return SourceSummary(name, records, before[0], salvaged, quarantined, gaps, seconds.get(name, 0.0))
