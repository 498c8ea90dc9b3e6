"""Rebuild a damaged database from its readable pages and the source files, and swap the new one in.

Readable rows are copied with their ids. Then each file is compared with the rows by content: records that it holds more
often than the database are appended as new events. Documents are read again, and runs and metrics are derived again.
See docs/decisions/0015-recovery-compares-content.md.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import apsw
import orjson
import structlog

from shipwrightd import clock, database, projections
from shipwrightd.database import DAMAGE, SIGNAL_STEPS, migrate, transaction
from shipwrightd.decoding import Quarantined, row_hash
from shipwrightd.documents import Documents
from shipwrightd.documents.snapshot import Document, Torn, read_document
from shipwrightd.documents.store import count_rows, ingest_document
from shipwrightd.errors import DamagedError, DatabaseError, MissingError, PathError
from shipwrightd.journals import JOURNALS
from shipwrightd.journals import store as journal_store
from shipwrightd.journals.lines import (
    HASH_BYTES,
    START,
    ChangedError,
    Place,
    anchor_hash,
    hidden_by,
    open_files,
    resume_at,
)
from shipwrightd.journals.reconcile import reconcile
from shipwrightd.journals.records import TOO_LONG, Records
from shipwrightd.journals.store import WINDOW_LINES, Generation
from shipwrightd.projections import runs as projected_runs
from shipwrightd.recovery import store, swap
from shipwrightd.recovery.detect import check_database, file_damage, free_list_damage
from shipwrightd.recovery.pages import Pages
from shipwrightd.recovery.tables import Salvage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shipwrightd.decoding import EventRow
    from shipwrightd.decoding.events import Origin
    from shipwrightd.journals import JournalSource
    from shipwrightd.journals.records import Chunk

ATTEMPTS = 5  # at files that change while they are compared
PAUSE_S = 0.2
MOST_AN_HOUR = 3  # recoveries; if there are more, the disk or the memory is faulty
SUSPECT = "check disk and memory, or choose another place with --db FILE"
KEPT = frozenset({"kept_range", "kept_runs", "kept_stages"})
PROJECTED = (*store.DERIVED, "cost_entries")
WHOLE_FILE = sys.maxsize

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovery:
    """The result of a recovery: records kept, events restored from files, and the most that may be lost."""

    reason: str
    set_aside: str
    kept: int
    refilled: int
    lost: int


@dataclass(slots=True)
class RecoveryOptions:
    """How to check a database when it is opened; `recovery` is the result if it had to be rebuilt."""

    damage: str | None = None  # damage that is known already; None: check for some
    thorough: bool = False  # check every page and every entry of every index
    alive: Callable[[], object] = bool  # called now and then during a rebuild; an exception from it ends the rebuild
    recovery: Recovery | None = None


def open_or_recover(path: Path, home: Path, options: RecoveryOptions) -> apsw.Connection:
    """Open the migrated database, rebuilt if it is damaged. Expects the writer lock. Raises as open_writer, recover."""
    swap.finish(path)
    reason = options.damage or file_damage(path) or free_list_damage(path)
    if reason is None:
        try:
            return _open(path, thorough=options.thorough)
        except DAMAGE as error:
            reason = str(error)
    options.recovery = recover(path, home, reason, options.alive)
    try:
        return _open(path)
    except DAMAGE as error:
        message = f"the database {path} was rebuilt and is damaged again: {error}"
        raise DamagedError(message, hint=SUSPECT) from error


def _open(path: Path, *, thorough: bool = False) -> apsw.Connection:
    """Return the open database. Raises CorruptError or NotADBError if it is damaged."""
    db = database.open_writer(path)
    try:
        migrate.migrate(db)
        check_database(db, path, thorough=thorough)
    except BaseException:
        database.close_without_checkpoint(db)
        raise
    return db


def recover(path: Path, home: Path, reason: str, alive: Callable[[], object]) -> Recovery:
    """Rebuild the database and swap the new one in. Expects the writer lock, and that no process has it open.

    Raises PathError if there is no space or a file cannot be read, MissingError if a journal is missing that is needed,
    DatabaseError if it was damaged too often or a newer release wrote it; then the damaged file is left as it was.
    """
    began = clock.now().text
    log.error("database_damaged", reason=reason, path=str(path))
    try:
        recovery = _retry_build(path, home, reason, began, alive)
        swap.declare_complete(path)
        swap.finish(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            swap.note_unfinished(path)
        if not isinstance(error, OSError | apsw.FullError | apsw.IOError | apsw.CantOpenError):
            raise
        message = f"the database {path} is damaged ({reason}) and cannot be rebuilt: {_text_of(error)}"
        space = isinstance(error, apsw.Error) or error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "it needs as much free space as the database takes" if space else "fix that first"
        raise PathError(message, hint=f"{hint}; the damaged file is unchanged") from error
    log.warning("database_recovered_from_damage", kept=recovery.kept, refilled=recovery.refilled, lost=recovery.lost)
    return recovery


def _text_of(error: OSError | apsw.Error) -> str:
    """Return the text of an error with the name of the file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _retry_build(path: Path, home: Path, reason: str, began: str, alive: Callable[[], object]) -> Recovery:
    for attempt in range(ATTEMPTS):
        swap.discard_unfinished(path)
        try:
            return build(path, home, reason, began, alive)
        except ChangedError:
            time.sleep(PAUSE_S * attempt)
    raise PathError("the files changed each time they were compared", hint="try again when less is written")


def build(path: Path, home: Path, reason: str, began: str, alive: Callable[[], object]) -> Recovery:
    """Build the new database beside the damaged one. Raises ChangedError when a file changes meanwhile."""
    pages = Pages(path)
    with contextlib.closing(pages), contextlib.closing(database.open_builder(swap.building(path))) as db:
        migrate.migrate(db)
        store.create_staging(db)
        db.set_progress_handler(lambda: bool(alive()), SIGNAL_STEPS)
        with transaction(db):
            salvaged = Salvage(pages, db, alive)
            salvaged.run()
            db.execute(store.SMALL_CACHE)
            _refuse_endless(db, path)
            kept = sum(count for table, count in salvaged.kept.items() if table not in store.DERIVED)
            refilled, lost = _complete(db, home, salvaged)
            recovery = Recovery(reason, swap.name_aside(path, began), kept, refilled, lost)
            detail = orjson.dumps({"kept": salvaged.kept, "unreadable": salvaged.unread}).decode()
            values = (reason, recovery.set_aside, kept, refilled, lost, detail)
            db.execute(store.ADD_RECOVERY, (began, clock.now().text, *values))
        db.set_progress_handler(None)
        database.seal(db)
    return recovery


def _refuse_endless(db: apsw.Connection, path: Path) -> None:
    times: int = db.execute(store.RECENT).get
    if times >= MOST_AN_HOUR:
        message = f"the database {path} was damaged again, after {times} recoveries within an hour"
        raise DatabaseError(message, hint=SUSPECT)


def _complete(db: apsw.Connection, home: Path, salvaged: Salvage) -> tuple[int, int]:
    """Restore from the files and derive the rest; return how many events were restored and may be lost."""
    intact = salvaged.is_whole(store.CHECKPOINTS)
    missing = store.count_lost(db, salvaged.holes)
    sources = [source for source in JOURNALS if db.execute(store.WAS_READ, (source.name,)).get]
    for source in sources if salvaged.holes or not intact else ():
        if not any(file.exists() for file in source.files(home)):
            message = f"the database is damaged, and {home / source.name} is needed to restore it"
            raise MissingError(message, hint="restore it; if it is gone for good, create an empty file of that name")
    highest = db.execute(store.HIGHEST_ID).get
    restores = [JournalRestore(db, source, intact=intact) for source in JOURNALS]
    garbled = set[int]()
    db.execute(store.DROP_INCOMPLETE_HASHES)
    for restore in restores:
        restore.run(home)
        garbled |= restore.garbled
    db.executemany(store.DROP_EVENT, [(number,) for number in garbled])
    refilled = sum(restore.counts.records for restore in restores)
    lost = max(0, missing - (refilled - len(garbled)))
    now = clock.now().text
    if lost:
        store.add_gap(db, (sources or JOURNALS)[0].name, highest, {"rows": lost}, now)
    lost_entries = _reread_documents(db, home, salvaged, now)
    last = max(highest, journal_store.last_event_id(db))
    _derive(db, salvaged, last if (lost or refilled) and (intact or not refilled) else None)
    return refilled, lost + lost_entries


# -- journals


class File:
    """An open file of a journal, compared up to byte `stop`."""

    def __init__(self, fd: int, origin: Origin, known: Generation | None, *, current: bool) -> None:
        self.fd = fd
        self.known = known  # its checkpoint
        self.current = current  # at the journal's own path, so that more lines may come
        self.stop = known.place.offset if known else WHOLE_FILE
        self.reader = Records(fd, START, origin=origin)
        self.hashes = b""  # of its last lines

    def checkpoint(self) -> Generation:
        """Return the checkpoint at the end of the compared part."""
        device, inode = self.reader.identity
        state = "current" if self.current else "rotated"
        if self.known is not None:
            return replace(self.known, state=state, place=replace(self.known.place, device=device, inode=inode))
        end = self.reader.position
        place = Place(device, inode, end.offset, anchor_hash(end.before), len(end.before))
        return Generation(0, state, place, self.reader.lines, settled=not self.current)  # a rewrite may be in progress

    def chunks(self) -> Iterator[Chunk]:
        """Yield its records from the beginning. Raises ChangedError when it changes meanwhile."""
        reader = self.reader = Records(self.fd, START, origin=self.reader.origin, stop=self.stop)
        if self.stop < WHOLE_FILE:
            reader.take_unterminated()  # the checkpoint may be at the end of a record that lost its newline
        final = self.stop < WHOLE_FILE or not self.current
        self.hashes = b""
        while (chunk := reader.pull(final=False) or (reader.pull(final=True) if final else None)) is not None:
            reader.stored(chunk)
            self.hashes = (self.hashes + chunk.hashes)[-WINDOW_LINES * HASH_BYTES :]
            yield chunk


@contextlib.contextmanager
def open_journal(source: JournalSource, home: Path) -> Iterator[dict[Path, int]]:
    """Open all files of a journal, the oldest first. Raises OSError if one cannot be read that may hold lines."""
    with contextlib.ExitStack() as stack:
        paths = source.files(home)
        opened, refused = open_files(paths)
        for fd in opened.values():
            stack.callback(os.close, fd)
        if error := refused.get(paths[-1]) or hidden_by(refused):
            raise error
        yield opened


class JournalRestore:
    """Appends what the files of one journal hold more often than the database. Expects the caller's transaction.

    `intact`: all checkpoints were readable, so each file is compared up to the offset where reading resumes.
    Otherwise files without a checkpoint are compared to their ends and get one there.
    `skip_torn`: bytes at the beginning of a file may be the rest of a record that a trim cut.
    """

    def __init__(self, db: apsw.Connection, source: JournalSource, *, intact: bool, skip_torn: bool = False) -> None:
        self._db = db
        self._source = source
        self._intact = intact
        self._skip_torn = skip_torn
        self._now = clock.now().text
        self._pruned = journal_store.pruned_before(db)
        self._compared = 0  # rows of the files
        self.counts = journal_store.Counts()  # what was appended
        self.garbled: set[int] = set()  # ids of events between neighbors that another record is between in a file

    def run(self, home: Path) -> None:
        """Compare and append. Raises OSError, ChangedError."""
        self._next_id = self._db.execute(store.HIGHEST_ID).get + 1
        had_events = self._db.execute(store.HAS_EVENTS, (self._source.name,)).get
        with open_journal(self._source, home) as opened:
            files = self._files(opened, home / self._source.name)
            self._db.execute(store.STAGE_STORED, (self._source.name,))
            for file in files:
                if file.stop:
                    self._compare(file)
                self._write_checkpoint(file)
        if had_events and not self._intact and self._compared == self.counts.records > 0:
            journal_store.add_gap(self._db, self._source.name, "no_overlap", {}, self._now)

    def _files(self, opened: dict[Path, int], current: Path) -> list[File]:
        """Return the files in order, each with the byte up to which it was stored."""
        origin = self._source.origin
        remembered = journal_store.generations(self._db, self._source.name)
        files = [
            File(fd, origin, _checkpoint_of(fd, remembered), current=path == current) for path, fd in opened.items()
        ]
        newest = next((row.id for row in remembered if row.place.offset), None)
        at_path = any(file.known is not None and file.known.id == newest for file in files)
        for file in files:
            if file.known is None and self._intact:
                known = reconcile(self._db, self._source, file.reader, remembered, intact=at_path)
                file.stop = known.position.offset
        return files

    def _compare(self, file: File) -> None:
        """Append the records of a file that the database lacks."""
        suspects: list[int] = []
        ids = [0, 0]  # of the rows of the last two records
        lacked = False
        torn = 0 if self._skip_torn else -1
        for chunk in file.chunks():
            rows: list[EventRow] = []
            pieces: list[Quarantined] = []
            items: list[EventRow | Quarantined] = [*chunk.rows, *chunk.rejected]
            for item in items:
                was_lacked, lacked, number = lacked, False, 0
                if isinstance(item, Quarantined) and item.offset == torn and item.reason != TOO_LONG:
                    torn += item.length + 1
                elif isinstance(item, Quarantined):
                    lacked, number = self._db.execute(store.COUNT_RECORD, (hash(item.raw),)).get
                    pieces += [item] if lacked else []
                elif item[1] is None or item[1] >= self._pruned.get(item[9], item[1]):  # else it must not return
                    lacked, number = self._db.execute(store.COUNT_RECORD, (row_hash(item),)).get
                    rows += [item] if lacked else []
                if was_lacked and ids[0] and number == ids[0] + 2:
                    suspects.append(number - 1)
                ids = [ids[1], number]
            self._compared += len(chunk.rows)
            self._append(rows, pieces, file.known)
        if file.known is not None:
            self.garbled |= {number for number in suspects if self._db.execute(store.IS_GARBLED, (number,)).get}
        self._db.execute(store.END_FILE)

    def _append(self, rows: list[EventRow], pieces: list[Quarantined], known: Generation | None) -> None:
        journal_store.add_events(self._db, rows, self._next_id)
        journal_store.add_quarantine(self._db, self._source.name, known.id if known else None, pieces, self._now)
        self._next_id += len(rows)
        self.counts.records += len(rows)
        self.counts.salvaged += sum(row[10] for row in rows)
        self.counts.quarantined += len(pieces)

    def _write_checkpoint(self, file: File) -> None:
        """Make reading resume at the end of the compared part."""
        db, known, name = self._db, file.known, self._source.name
        if known is not None and file.hashes:
            journal_store.drop_line_hashes(db, known.id)
        number, lines = (known.id, known.lines) if known is not None else (0, 0)
        if not self._intact:
            row = file.checkpoint()
            db.execute(store.FORGET_GENERATION, (number,))  # checkpoints are numbered in the order of the files
            number, lines = journal_store.add_generation(db, name, row), row.lines
            db.execute(store.SET_CURRENT, (name, number, self._now))
            db.execute(store.REPLACED, (name, number))
        if number:
            journal_store.add_line_hashes(db, number, max(0, lines - len(file.hashes) // HASH_BYTES), file.hashes)


def _checkpoint_of(fd: int, remembered: list[Generation]) -> Generation | None:
    """Return the checkpoint whose anchor the file matches, of several the one with the highest offset."""
    return max((row for row in remembered if resume_at(fd, row.place)), key=lambda row: row.place.offset, default=None)


# -- documents, and what is derived


def _reread_documents(db: apsw.Connection, home: Path, salvaged: Salvage, now: str) -> int:
    """Read the lists whose rows were lost again; return how many rows may be gone.

    The next pass compares all other documents. Raises OSError, and ChangedError when one changes meanwhile.
    """
    db.execute(store.SET_STALE, (store.STALE,))
    damaged = {table: store.LISTS[table] for table in store.LISTS if not salvaged.is_whole({table})}
    sources = {source for source, _ in damaged.values()}
    expected = {table: db.execute(extent).get[0] for table, (_, extent) in damaged.items()}
    counts = [(name, count_rows(db, name)) for (name,) in db.execute(store.DOCUMENTS)]
    db.executemany(store.SET_RECORDS, counts)  # what is read again is counted again
    last = db.execute(store.MAX_QUARANTINE).get
    db.executemany(store.FORGET_LISTS, [(source,) for source in sources])
    for name in Documents(home).names(db) if damaged else ():
        if name in sources or name.partition("/")[0] in sources:
            seen = read_document(home / name, None, now_ns=0)
            if isinstance(seen, Torn):
                raise ChangedError
            if isinstance(seen, Document):  # if it is not JSON, the stored rows stay
                ingest_document(db, name, seen.raw, now=now)
    db.execute(store.DROP_REPEATED, (last,))
    lost = 0
    for table, (source, extent) in damaged.items():
        gone = max(0, expected[table] - db.execute(extent).get[1])
        if gone:
            store.add_gap(db, source, journal_store.last_event_id(db), {"table": table, "rows": gone}, now)
        lost += gone
    return lost


def _derive(db: apsw.Connection, salvaged: Salvage, last_event: int | None) -> None:
    """Derive runs, stages and metrics from the records.

    Where events are gone or have new ids, the rows derived from them are kept as they were, as after a prune, if they
    were readable; `last_event` is the last event stored before the damage.
    """
    incomplete = last_event is not None or not salvaged.is_whole(KEPT) or db.execute(store.HAS_UNKEPT).get
    if incomplete and salvaged.is_whole(PROJECTED):
        projected_runs.keep(db, journal_store.last_event_id(db) if last_event is None else last_event)
    projections.rebuild(db)
