"""Events from a file into the database, once: an export read back, or another machine's journal.

The file is read and laid out first, and only what the database lacks is
stored, in one transaction. Older history is what a file usually holds, so
what it brings is filed before all that is there.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import orjson

from shipwrightd import clock, projections
from shipwrightd.daemon.catch_up import WAIT_LIMIT_S, CatchUp, open_database
from shipwrightd.database.connection import transaction
from shipwrightd.decoding.events import JOURNAL, Origin, decode_lines
from shipwrightd.errors import MissingError, PathError
from shipwrightd.journals.lines import ChangedError, Giant, Position, Reader
from shipwrightd.journals.records import _located as quarantined
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.decoding.rows import Quarantined
from shipwrightd.maintenance import store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.maintenance.store import New

STDIN = "-"
IMPORTED = "import/"  # how origins of other machines' events begin, and sources of what could not be read
MARK = b',"shipwrightd":{'  # how an export begins what it says of a row beside the event, as the last key
ORIGINS = ("events.jsonl", "team-events.jsonl/", IMPORTED)  # those that a mark may name, or their beginnings
FIRST_BYTES = 64  # enough to see what kind of file it is
LOOKED_AT = 10_000  # pieces; a file is given up when none of so many is an event
ONE_IN = 10  # likewise when at the end fewer pieces than one in so many are events


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of a file: each line is one or more rows or pieces of quarantine, or blank."""

    lines: int
    new: int
    known: int  # stored, or in quarantine, before
    salvaged: int  # of the new ones
    quarantined: int
    left_out: int  # older than what prune took away


class Mark(NamedTuple):
    """What an export says of a row beside the event."""

    origin: str | None
    salvaged: int


def import_events(home: Path, path: Path, file: Path | None, machine: str | None) -> Imported:
    """Store the events of a file, or of standard input, that the database does not hold yet.

    They become this machine's own, or those of the machine named. Raises
    MissingError without home or file, PathError for a file that cannot be read
    or holds no events, LockedError beside a daemon; then nothing is imported.
    """
    with _opened(home, file) as source:
        db, lock = open_database(path, home, "import")
        try:
            return _import(db, home, _Reading(db, source, machine))
        finally:
            db.close()
            lock.release()


def _import(db: apsw.Connection, home: Path, reading: _Reading) -> Imported:
    store.lay_out(db)
    try:
        with transaction(db):  # none of it is in the database: quicker than to lay out each block by itself
            reading.read()
    except ChangedError as error:
        raise PathError("that file changed while it was read", hint="import a copy of it") from error
    _catch_up(db, home)
    with transaction(db):
        found = take_in(db)
        kept = store.keep_rejected(db, IMPORTED + (reading.machine or JOURNAL.label), clock.now().text)
    known = reading.rows + reading.rejected - found.rows - found.left_out - kept
    return Imported(reading.lines, found.rows, known, found.salvaged, kept, found.left_out)


def take_in(db: apsw.Connection) -> New:
    """Store those of the rows laid out that the database lacks, and derive everything anew with them.

    Expects the caller's transaction.
    """
    found = store.find_new(db)
    if found.rows:
        store.insert_new(db, found.rows)
        projections.rebuild(db)
    return found


def _catch_up(db: apsw.Connection, home: Path) -> None:
    """Store what the files hold first, or it would be taken for new when they are read later."""
    catch_up = CatchUp(db, home, settle_s=2.0)
    try:
        limit = time.monotonic() + WAIT_LIMIT_S
        while (passed := catch_up.look()).wait_s is not None and time.monotonic() < limit:
            time.sleep(min(passed.wait_s, 0.5))
    finally:
        catch_up.close()
    for journal in JOURNALS:
        if journal.name in catch_up.errors:
            raise PathError(catch_up.errors[journal.name], hint="mend that first: what it holds must not count twice")


class _Reading:
    """Lays out what a file holds, block by block."""

    def __init__(self, db: apsw.Connection, source: BinaryIO, machine: str | None) -> None:
        self._db = db
        self._source = source
        self.machine = machine
        self._origin = Origin(IMPORTED + machine) if machine else JOURNAL
        self._offset = 0  # of the lines that are not laid out yet
        self._at_epoch: int | None = None
        self.lines = self.rows = self.rejected = self.events = 0

    def read(self) -> None:
        """Lay out the whole file. Raises PathError when it holds no events, or all in one array."""
        if os.pread(self._source.fileno(), FIRST_BYTES, 0).lstrip().startswith(b"["):  # its lines would be salvaged
            raise PathError("that file is a JSON array", hint="import takes JSON lines: export --format jsonl")
        reader = Reader(self._source.fileno(), Position(0, b""))
        waiting: list[bytes] = []
        while (got := reader.read()) is not None:
            if isinstance(got, Giant):
                self._take(waiting, final=True)
                self._swallow(got.head, got.length)
                waiting = []
            else:
                self.lines += len(got)
                waiting = self._take([*waiting, *got], final=False)
            if self.rows + self.rejected >= LOOKED_AT and not self.events:
                break
        rest = reader.unfinished()
        if reader.unfinished_bytes > len(rest):
            self._take(waiting, final=True)
            self._swallow(rest, reader.unfinished_bytes)
        elif rest.strip():
            self.lines += 1
            self._take([*waiting, rest], final=True)
        else:
            self._take(waiting, final=True)
        if self.events * ONE_IN < self.rows + self.rejected:
            raise PathError("that file holds no events", hint="import takes JSON lines, each an event with a type")

    def _take(self, lines: list[bytes], *, final: bool) -> list[bytes]:
        """Lay out lines; returns those that may go on in the next ones."""
        groups = [(mark, list(group)) for mark, group in groupby(lines, key=mark_of)]
        for mark, group in groups[:-1]:
            self._decode(group, mark, final=True)
        return self._decode(groups[-1][1], groups[-1][0], final=final) if groups else []

    def _decode(self, lines: list[bytes], mark: Mark | None, *, final: bool) -> list[bytes]:
        origin = self._origin if mark is None or mark.origin is None else Origin(mark.origin)
        bare = lines if mark is None else [line.rpartition(MARK)[0] + b"}" for line in lines]
        decoded = decode_lines(bare, origin=origin, final=final)
        rows = decoded.rows
        if mark is not None and mark.salvaged:
            rows = [store.as_salvaged(row) for row in rows]
        self._at_epoch = store.add_incoming(self._db, rows, self._at_epoch)
        store.add_rejected(self._db, quarantined(decoded, bare, self._offset))
        self.rows += len(rows)
        self.events += sum(row[2] is not None for row in rows)
        self.rejected += len(decoded.rejected)
        done = lines[: decoded.consumed]
        self._offset += sum(map(len, done)) + len(done)
        return lines[decoded.consumed :]

    def _swallow(self, head: bytes, length: int) -> None:
        self.lines += 1
        store.add_rejected(self._db, [Quarantined(self._offset, length, "line_too_long", head)])
        self.rejected += 1
        self._offset += length + 1


def mark_of(line: bytes) -> Mark | None:
    """Return what an export noted at the end of a line, None for the plain event that nearly every line is."""
    at = line.rfind(MARK)
    if at < 0:
        return None
    text = line[at + len(MARK) - 1 :].rstrip()
    try:
        said = orjson.loads(text[:-1])
    except orjson.JSONDecodeError:
        return None
    if not text.endswith(b"}") or not said or not said.keys() <= {"origin", "salvaged"}:
        return None
    origin, salvaged = said.get("origin"), said.get("salvaged", 0)
    if origin is not None and not (isinstance(origin, str) and origin.startswith(ORIGINS)):
        return None
    return Mark(origin, 1 if salvaged == 1 else 0)


@contextmanager
def _opened(home: Path, file: Path | None) -> Iterator[BinaryIO]:
    """Open the file, or what comes through a pipe as one. Raises MissingError, PathError."""
    if file is None:
        with _spooled(sys.stdin.buffer) as spool:
            yield spool
        return
    try:
        source = file.open("rb")
    except FileNotFoundError as error:
        raise MissingError(f"no file {file}", hint="name it, or - for standard input") from error
    except OSError as error:
        raise PathError(f"cannot read {file}: {error.strerror}", hint="name a file of JSON lines") from error
    with source:
        info = os.fstat(source.fileno())
        if _is_followed(home, info):
            raise PathError(f"{file} is read by `shipwrightd run` and `backfill`", hint="there is nothing to import")
        if stat.S_ISREG(info.st_mode):
            yield source
        else:
            with _spooled(source) as spool:
                yield spool


def _is_followed(home: Path, info: os.stat_result) -> bool:
    """Tell whether a file is a journal of this home: its last line may still be being written."""
    for path in (path for journal in JOURNALS for path in journal.files(home)):
        try:
            if os.path.samestat(path.stat(), info):
                return True
        except OSError:
            continue
    return False


@contextmanager
def _spooled(stream: BinaryIO) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as spool:
        shutil.copyfileobj(stream, spool, 1 << 20)
        spool.flush()
        yield spool
