"""Read all sources once and store what is new. `backfill` does this once, the run loop again and again."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw
import structlog

from shipwrightd import clock, database
from shipwrightd.daemon import Batch
from shipwrightd.database import transaction
from shipwrightd.documents import Documents
from shipwrightd.journals import JOURNALS, store
from shipwrightd.journals.follow import Journal
from shipwrightd.recovery import open_database
from shipwrightd.recovery.rebuild import RecoveryOptions, open_or_recover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Progress = Callable[[int, int, int], object]  # gets bytes read, all bytes, and records stored

SETTLE_S = 2.0
ANNOUNCED_WITHIN_S = 1.0
WAIT_LIMIT_S = 30.0  # how long a backfill waits for a file that is being rewritten
COUNTS = ("records", "salvaged", "quarantined", "gaps")
TOTALS = "SELECT source, records, salvaged, quarantined, gaps FROM checkpoints"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SourceSummary:
    """What a backfill stored of one source; `known` records were stored before."""

    source: str
    records: int
    known: int
    salvaged: int
    quarantined: int
    gaps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Backfilled:
    """The result of a backfill: a summary of each source, and the errors of those that could not be read."""

    summaries: list[SourceSummary]
    errors: list[str]


@dataclass(frozen=True, slots=True)
class Pass:
    """The result of one pass: records stored, and seconds after which to read again, if known."""

    records: int = 0
    wait_s: float | None = None
    late: tuple[str, ...] = ()  # files whose growth was over a second old when it was noticed


class CatchUp:
    """Brings the database up to the files, source by source, batch by batch."""

    def __init__(self, db: apsw.Connection, home: Path, *, settle_s: float = SETTLE_S) -> None:
        self._db = db
        self._home = home
        self.on_batch: Callable[[Batch], object] = bool  # called with each batch of a journal
        self._waits: list[float] = []  # of the current pass
        self._records = 0  # of the current pass
        self.errors: dict[str, str] = {}  # by source
        self.journals = [Journal(source, home, settle_s=settle_s) for source in JOURNALS]
        self.documents = Documents(home)
        self.seconds: dict[str, float] = {}  # spent on each source

    def close(self) -> None:
        """Close all files."""
        for journal in self.journals:
            journal.close()

    def set_settle(self, settle_s: float) -> None:
        """Change how many seconds a rewritten file must be unchanged before it is read."""
        for journal in self.journals:
            journal.settle_s = settle_s

    def poll(self, hints: set[str] | None = None, *, stop: Callable[[], bool] = bool) -> Pass:
        """Store what is new in the hinted sources, or in all of them without hints.

        Documents come first: a cost entry has an issue, its event has none. Raises apsw errors of the database itself
        (full, locked, read-only); an error of one source is recorded, and the others are still read.
        """
        self._waits = []
        self._records = 0
        late: list[str] = []
        for name in self.documents.names(self._db) if hints is None else sorted(self.documents.known & hints):
            with self._reading(name):
                self._document(name)
        for journal in self.journals:
            if hints is not None and not hints.intersection(journal.names):
                continue
            before = self._records
            with self._reading(journal.source.name):
                self._journal(journal, stop)
            if self._records > before and journal.age_s() > ANNOUNCED_WITHIN_S:
                late.append(str(self._home / journal.source.name))
        return Pass(self._records, min(self._waits, default=None), tuple(late))

    def poll_until_settled(self) -> None:
        """Store all that the files hold, waiting for files that are being rewritten; then close the files."""
        try:
            limit = time.monotonic() + WAIT_LIMIT_S
            while (wait_s := self.poll().wait_s) is not None and time.monotonic() < limit:
                time.sleep(min(wait_s, 0.5))
        finally:
            self.close()

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        """Measure how long the block takes, and store that the source cannot be read if it raises OSError."""
        started = time.monotonic()
        try:
            yield
        except OSError as error:
            self._note(name, f"cannot read {name}: {error.strerror}")
        self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started

    def _document(self, name: str) -> None:
        stored = self.documents.poll(self._db, name, clock.now())
        self._records += stored.records
        if stored.wait_s is not None:
            self._waits.append(stored.wait_s)
        else:
            self._note(name, stored.error)
        if stored.records:
            log.info("document_stored", source=name, records=stored.records)

    def _journal(self, journal: Journal, stop: Callable[[], bool]) -> None:
        name = journal.source.name
        journal.stop = stop
        more = True
        while more and not stop():
            began = time.monotonic()
            polled = journal.poll(self._db, clock.now())
            self._records += polled.records
            more = polled.more
            if polled.switched:
                log.info("file_switched", source=name, how=polled.switched)
            if polled.quarantined:
                log.warning("lines_quarantined", source=name, pieces=polled.quarantined)
            if polled.size:
                log.debug("batch_stored", source=name, records=polled.records, bytes=polled.size)
                took_s = time.monotonic() - began
                self.on_batch(Batch(name, polled.records, polled.size, took_s, polled.commit_s))
            if polled.wait_s is not None:
                self._waits.append(polled.wait_s)
        if not more:  # an open file can be read where its folder cannot, so only now nothing is in the way
            self._note(name, journal.problem)
            for other in journal.source.siblings:
                reason = journal.refused().get(other)
                self._note(other, reason and f"cannot read {other}: {reason}")

    def _note(self, name: str, error: str | None) -> None:
        """Store the error of a source, or that it is gone, if that changed."""
        if self.errors.get(name) == error:
            return
        with transaction(self._db):
            store.set_error(self._db, name, error, clock.now().text)
        if error is None:
            self.errors.pop(name, None)
            log.info("source_recovered", source=name)
        else:
            self.errors[name] = error
            log.warning("source_failed", source=name, error=error)


def tune_gc() -> None:
    """Set up the interpreter for long batches of rows, and threads to switch more often than every 5 ms."""
    gc.freeze()  # rows have no reference cycles: collecting them finds nothing and costs a tenth of decoding
    gc.set_threshold(100_000, 50, 100)
    sys.setswitchinterval(0.0005)


def backfill(
    home: Path, path: Path, progress: Progress | None = None, options: RecoveryOptions | None = None
) -> Backfilled:
    """Store all that the files hold, once; a second call finds nothing new."""
    options = options or RecoveryOptions()
    db, lock = open_database(path, home, "backfill", options)
    tune_gc()
    try:
        return _backfill(db, home, progress)
    except database.DAMAGE as error:
        database.close_without_checkpoint(db)
        options.damage = str(error)
        db = open_or_recover(path, home, options)
        return _backfill(db, home, progress)
    finally:
        with contextlib.suppress(apsw.Error):
            db.close()
        lock.release()


def _backfill(db: apsw.Connection, home: Path, progress: Progress | None) -> Backfilled:
    before = _totals(db)
    total = 0
    for file in (path for source in JOURNALS for path in source.files(home)):
        with contextlib.suppress(OSError):
            total += file.stat().st_size
    size = records = 0

    def on_batch(batch: Batch) -> None:
        nonlocal size, records
        size += batch.size_bytes
        records += batch.records
        if progress:
            progress(size, max(total, size), records)

    catch_up = CatchUp(db, home)
    catch_up.on_batch = on_batch
    catch_up.poll_until_settled()
    summaries = []
    for name, now in sorted(_totals(db).items()):
        then = before.get(name, dict.fromkeys(now, 0))
        added = {count: now[count] - then[count] for count in now}
        summaries.append(SourceSummary(name, known=then["records"], seconds=catch_up.seconds.get(name, 0.0), **added))
    return Backfilled(summaries, sorted(catch_up.errors.values()))


def _totals(db: apsw.Connection) -> dict[str, dict[str, int]]:
    """Return the counts of each source so far."""
    return {source: dict(zip(COUNTS, counts, strict=True)) for source, *counts in db.execute(TOTALS)}
