"""Import the events of a file, each once: an export, or another machine's journal.

The file is read into temporary tables first, then the rows that the database lacks are stored in one transaction.
A file usually holds older history, so its rows get ids below all others.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import orjson

from shipwrightd import clock, projections
from shipwrightd.daemon.catch_up import CatchUp
from shipwrightd.database import transaction
from shipwrightd.decoding import row_hash
from shipwrightd.decoding.events import JOURNAL, Origin
from shipwrightd.errors import MissingError, PathError
from shipwrightd.journals import JOURNALS
from shipwrightd.journals.lines import ChangedError
from shipwrightd.journals.records import decode_all, records, singly
from shipwrightd.recovery import writer
from shipwrightd.recovery.store import create_row_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.decoding import EventRow
    from shipwrightd.journals.records import Chunk

STDIN = "-"
IMPORTED = "import/"  # prefix of origins of other machines' events, and of sources in quarantine
SUFFIX = b',"shipwrightd":{'  # begins what an export adds to an event, as its last key
ORIGINS = ("events.jsonl", "team-events.jsonl/", IMPORTED)  # prefixes of the origins that a suffix may name
FIRST_BYTES = 64  # enough to recognize a JSON array
GIVE_UP_AFTER = 10_000  # records: if none of these is an event, the file is refused
MIN_EVENT_SHARE = 10  # refused also if fewer than one record in so many is an event

# On disk, so that ten million rows need no more memory than ten.
CREATE_STAGING = """
PRAGMA temp_store = FILE;
CREATE TEMP TABLE incoming (
    seq INTEGER PRIMARY KEY, hash INTEGER,
    at_epoch INTEGER,  -- its time, else that of the row before it
    ts TEXT, ts_epoch INTEGER, type TEXT, issue INTEGER, stage TEXT, result TEXT, duration_s REAL, cost_usd REAL,
    model TEXT, origin TEXT, salvaged INTEGER, extra TEXT);
CREATE TEMP TABLE rejected (seq INTEGER PRIMARY KEY, offset INTEGER, length INTEGER, reason TEXT, raw BLOB);
CREATE TEMP TABLE stored (hash INTEGER PRIMARY KEY, times INTEGER);
CREATE TEMP TABLE new (seq INTEGER PRIMARY KEY)"""

ADD_INCOMING = "INSERT INTO temp.incoming VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
ADD_REJECTED = "INSERT INTO temp.rejected (offset, length, reason, raw) VALUES (?, ?, ?, ?)"

# How often each row is stored already, of those whose time and origin occur in the file.
COUNT_STORED = """
DELETE FROM temp.stored;
INSERT INTO temp.stored (hash, times)
WITH hashed AS MATERIALIZED (  -- or each hash would be computed twice
    SELECT row_hash(ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
        AS hash
    FROM events
    WHERE (ts_epoch BETWEEN (SELECT min(ts_epoch) FROM temp.incoming) AND (SELECT max(ts_epoch) FROM temp.incoming)
            OR ts_epoch IS NULL)
        AND +origin IN (SELECT DISTINCT origin FROM temp.incoming))
SELECT hash, count(*) FROM hashed GROUP BY hash"""
# Of equal rows the first are new, as many as the file has more than the database.
FIND_NEW = """
DELETE FROM temp.new;
INSERT INTO temp.new (seq)
SELECT t.seq
FROM (SELECT seq, hash, row_number() OVER (PARTITION BY hash ORDER BY seq) AS nth,
          count(*) OVER (PARTITION BY hash) AS times
      FROM temp.incoming) AS t
    LEFT JOIN temp.stored AS s ON s.hash = t.hash
WHERE t.nth <= t.times - coalesce(s.times, 0)
ORDER BY t.seq"""
LEAVE_OUT_PRUNED = """
DELETE FROM temp.new WHERE seq IN (
    SELECT i.seq FROM temp.incoming AS i CROSS JOIN pruned AS p ON p.origin = i.origin
    WHERE i.at_epoch < p.before_epoch)"""
COUNT_NEW = """
SELECT count(*), coalesce(sum(i.salvaged), 0) FROM temp.new AS n CROSS JOIN temp.incoming AS i ON i.seq = n.seq"""
# Imported events have ids up to 0, events read from files ids from 1 on. An import goes below all ids in use, and
# below the kept range, whose events may be gone.
LOWEST_ID = """
SELECT min(id) FROM (
    SELECT 1 AS id UNION ALL SELECT min(id) FROM events UNION ALL SELECT first_id FROM kept_range)"""
INSERT_NEW = """
INSERT INTO events
SELECT ?1 + row_number() OVER (ORDER BY n.seq) - 1, i.ts, i.ts_epoch, i.type, i.issue, i.stage, i.result,
    i.duration_s, i.cost_usd, i.model, i.origin, i.salvaged, i.extra
FROM temp.new AS n CROSS JOIN temp.incoming AS i ON i.seq = n.seq
ORDER BY n.seq"""
QUARANTINE_REJECTED = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at)
SELECT ?1, offset, length, reason, raw, ?2 FROM temp.rejected
WHERE raw NOT IN (SELECT raw FROM quarantine) ORDER BY seq"""


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import. Each line is one or more rows or pieces of quarantine, or blank."""

    lines: int
    new: int
    known: int  # stored, or in quarantine, before
    salvaged: int  # of the new ones
    quarantined: int
    left_out: int  # older than what prune deleted


@dataclass(frozen=True, slots=True)
class Added:
    """The number of staged rows that are new, how many of these are salvaged, and how many were left out."""

    rows: int
    salvaged: int
    left_out: int


@dataclass(frozen=True, slots=True)
class ExportSuffix:
    """The fields that an export adds to an event."""

    origin: str | None
    salvaged: bool


def import_events(home: Path, path: Path, file: Path | None, machine: str | None) -> Imported:
    """Store the events of a file, or of standard input, that the database lacks.

    They become this machine's own, or those of the named machine. Raises MissingError without home or file, PathError
    for a file that cannot be read or holds no events, LockedError beside a daemon; then nothing is imported.
    """
    with _opened(home, file) as source, writer(path, home, "import") as db:
        return _import(db, home, _File(db, source, machine))


def _import(db: apsw.Connection, home: Path, file: _File) -> Imported:
    create_staging(db)
    try:
        with transaction(db):
            file.read()
    except ChangedError as error:
        raise PathError("that file changed while it was read", hint="import a copy of it") from error
    _catch_up(db, home)
    with transaction(db):
        added = store_new(db)
        db.execute(QUARANTINE_REJECTED, (IMPORTED + (file.machine or JOURNAL.label), clock.now().text))
        kept = db.changes()
    known = file.rows + file.rejected - added.rows - added.left_out - kept
    return Imported(file.lines, added.rows, known, added.salvaged, kept, added.left_out)


def create_staging(db: apsw.Connection) -> None:
    """Create the temporary tables. Must not be called in a transaction."""
    create_row_hash(db)
    db.execute(CREATE_STAGING)


def stage_rows(db: apsw.Connection, rows: Iterable[EventRow], at_epoch: int | None) -> int | None:
    """Stage rows of the file. `at_epoch` is the time of the row before them; return that of the last row."""
    timed = []
    for row in rows:
        at_epoch = at_epoch if row[1] is None else row[1]
        timed.append((row_hash(row), at_epoch, *row))
    db.executemany(ADD_INCOMING, timed)
    return at_epoch


def store_new(db: apsw.Connection) -> Added:
    """Store the staged rows that the database lacks, and rebuild.

    Each row ends up stored as often as the file or the database has it, whichever is more.
    Expects the caller's transaction.
    """
    db.execute(COUNT_STORED)
    db.execute(FIND_NEW)
    db.execute(LEAVE_OUT_PRUNED)
    left_out = db.changes()
    rows, salvaged = db.execute(COUNT_NEW).get
    if rows:
        db.execute(INSERT_NEW, (db.execute(LOWEST_ID).get - rows,))
        projections.rebuild(db)
    return Added(rows, salvaged, left_out)


def _catch_up(db: apsw.Connection, home: Path) -> None:
    """Store new lines of the files first: if the import held them too, they would be stored twice."""
    catch_up = CatchUp(db, home)
    catch_up.poll_until_settled()
    for journal in JOURNALS:
        if journal.name in catch_up.errors:
            raise PathError(catch_up.errors[journal.name], hint="fix that first, or its events would count twice")


class _File:
    """Reads a file, block by block, into the temporary tables."""

    def __init__(self, db: apsw.Connection, source: BinaryIO, machine: str | None) -> None:
        self._db = db
        self._source = source
        self.machine = machine
        self._origin = Origin(IMPORTED + machine) if machine else JOURNAL
        self._at_epoch: int | None = None
        self.lines = self.rows = self.rejected = self.events = 0

    def read(self) -> None:
        """Stage all records of the file. Raises PathError if it holds no events, or all of them in one array."""
        if os.pread(self._source.fileno(), FIRST_BYTES, 0).lstrip().startswith(b"["):  # or its lines would be salvaged
            raise PathError("that file is a JSON array", hint="import takes JSON lines: export --format jsonl")
        for chunk in records(self._source.fileno(), self._origin, unterminated=True):
            self.lines += chunk.count
            if any(SUFFIX in line for line in chunk.lines):
                for group in singly(chunk, self._origin):
                    self._add(_without_suffix(group, self._origin))
            else:
                self._add(chunk)
            if self.rows + self.rejected >= GIVE_UP_AFTER and not self.events:
                break
        if self.events * MIN_EVENT_SHARE < self.rows + self.rejected:
            raise PathError("that file holds no events", hint="import takes JSON lines, each an event with a type")

    def _add(self, chunk: Chunk) -> None:
        self._at_epoch = stage_rows(self._db, chunk.rows, self._at_epoch)
        self._db.executemany(ADD_REJECTED, [(q.offset, q.length, q.reason, q.raw) for q in chunk.rejected])
        self.rows += len(chunk.rows)
        self.events += sum(row[2] is not None for row in chunk.rows)
        self.rejected += len(chunk.rejected)


def _without_suffix(group: Chunk, origin: Origin) -> Chunk:
    """Decode a line with an export suffix again without it; leave all others as they are."""
    suffix = export_suffix(group.lines[0]) if group.count == 1 else None
    if suffix is None:
        return group
    origin = Origin(suffix.origin) if suffix.origin else origin
    bare = decode_all([group.lines[0].rpartition(SUFFIX)[0] + b"}"], origin, 0)
    return replace(bare, rows=[(*row[:10], 1, row[11]) for row in bare.rows]) if suffix.salvaged else bare


def export_suffix(line: bytes) -> ExportSuffix | None:
    """Return what an export added at the end of a line, None for a plain event."""
    at = line.rfind(SUFFIX)
    if at < 0:
        return None
    text = line[at + len(SUFFIX) - 1 :].rstrip()
    try:
        fields = orjson.loads(text[:-1])
    except orjson.JSONDecodeError:
        return None
    if not text.endswith(b"}") or not fields or not fields.keys() <= {"origin", "salvaged"}:
        return None
    origin, salvaged = fields.get("origin"), fields.get("salvaged", 0)
    if origin is not None and not (isinstance(origin, str) and origin.startswith(ORIGINS)):
        return None
    return ExportSuffix(origin, salvaged == 1)


@contextmanager
def _opened(home: Path, file: Path | None) -> Iterator[BinaryIO]:
    """Open the file, or a copy of what a pipe brings. Raises MissingError, PathError."""
    with ExitStack() as opened:
        source: BinaryIO = sys.stdin.buffer
        if file is not None:
            try:
                source = opened.enter_context(file.open("rb"))
            except FileNotFoundError as error:
                raise MissingError(f"no file {file}", hint="name it, or - for standard input") from error
            except OSError as error:
                raise PathError(f"cannot read {file}: {error.strerror}", hint="name a file of JSON lines") from error
            if _is_followed(home, os.fstat(source.fileno())):
                message = f"{file} is read by `shipwrightd run` and `backfill`"
                raise PathError(message, hint="there is nothing to import")
        if file is None or not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
            spool = opened.enter_context(tempfile.TemporaryFile())
            shutil.copyfileobj(source, spool, 1 << 20)
            spool.flush()
            source = spool
        yield source


def _is_followed(home: Path, info: os.stat_result) -> bool:
    """Return whether a file is a journal of this home, whose last line may be incomplete."""
    for path in (path for journal in JOURNALS for path in journal.files(home)):
        with suppress(OSError):
            if os.path.samestat(path.stat(), info):
                return True
    return False
