"""Compares files and database record by record, both ways. Reads only, and reads everything.

A row that no file holds is no difference: keeping more than the files is what
the database is for. A record that stands in it less often, or more often, than
in the files is one.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.db import open_reader
from shipwrightd.ingest import store
from shipwrightd.ingest.decode import decode_lines
from shipwrightd.ingest.documents_pass import Documents
from shipwrightd.ingest.documents_verify import verify_document
from shipwrightd.ingest.sources import JOURNALS
from shipwrightd.ingest.tail import ChangedError, Giant, Position, Reader, open_journal, resume_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.ingest.decode import Decoded
    from shipwrightd.ingest.rows import EventRow
    from shipwrightd.ingest.sources import JournalSource
    from shipwrightd.ingest.store import Generation

ROWS = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra
FROM events WHERE origin = ?1 OR origin LIKE ?1 || '/%' ORDER BY id"""
KEPT = "SELECT raw FROM quarantine WHERE source = ?"
SHOWN = 120  # characters of a record in a difference


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a source and the database disagree."""

    source: str
    text: str


@dataclass(slots=True)
class Expected:
    """What the files of one journal say the database must hold."""

    rows: Counter[EventRow] = field(default_factory=Counter)
    rejected: list[bytes] = field(default_factory=list)
    first_epoch: int | None = None
    unread: int = 0  # complete lines behind the checkpoint

    def take(self, decoded: Decoded, lines: list[bytes]) -> None:
        """Add what some lines decode to."""
        if decoded.rows and not self.rows:
            self.first_epoch = decoded.rows[0][1]
        self.rows.update(decoded.rows)
        for bad in decoded.rejected:
            self.rejected.append(b"\n".join(lines[bad.first : bad.first + bad.count])[bad.start : bad.end])


def verify(home: Path, path: Path) -> list[Difference]:
    """Return all differences between the files of a home and a database. Raises MissingError, DatabaseError."""
    with closing(open_reader(path)) as db:
        found = [Difference(source.name, text) for source in JOURNALS for text in _journal(db, home, source)]
        for name in Documents(home).names(db):
            try:
                raw = (home / name).read_bytes()
            except FileNotFoundError:
                raw = None
            except OSError as error:
                found.append(Difference(name, f"cannot read it: {error.strerror}"))
                continue
            found += [Difference(name, text) for text in verify_document(db, name, raw)]
    return found


def _journal(db: apsw.Connection, home: Path, source: JournalSource) -> Iterator[str]:
    expected = Expected()
    here = store.current_generation(db, source.name)
    known = [*([here] if here else []), *store.other_generations(db, source.name)]
    for file in source.files(home):
        try:
            fd = open_journal(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield f"cannot read it: {error.strerror}"
            continue
        try:
            _read(fd, _read_up_to(fd, known), source, expected)
        except ChangedError:
            yield f"{file.name} changed while it was read; verify again"
        finally:
            os.close(fd)
    if expected.unread:
        yield f"{expected.unread} complete lines are not stored yet"
    yield from _compare(db, source, expected)


def _read_up_to(fd: int, known: list[Generation]) -> int:
    """Return how far a file is stored, in bytes."""
    return max(
        (place.place.offset for place in known if place.place.offset and resume_at(fd, place.place)),
        default=0,
    )


def _read(fd: int, limit: int, source: JournalSource, expected: Expected) -> None:
    """Decode the stored part of a file, and count the lines behind it."""
    reader = Reader(fd, Position(0, b""))
    offset = 0
    waiting: list[bytes] = []
    while (got := reader.read()) is not None:
        lines = [got.head] if isinstance(got, Giant) else got
        if isinstance(got, Giant):
            expected.take(decode_lines(waiting, origin=source.origin, final=True), waiting)
            waiting = []
            offset += got.length + 1
            if offset <= limit:
                expected.rejected.append(got.head)
            else:
                expected.unread += 1
            continue
        for line in lines:
            offset += len(line) + 1
            if offset <= limit:
                waiting.append(line)
            else:
                expected.unread += 1
        decoded = decode_lines(waiting, origin=source.origin, final=False)
        expected.take(decoded, waiting)
        waiting = waiting[decoded.consumed :]
    expected.take(decode_lines(waiting, origin=source.origin, final=True), waiting)


def _compare(db: apsw.Connection, source: JournalSource, expected: Expected) -> Iterator[str]:
    left = Counter(expected.rows)
    surplus: Counter[EventRow] = Counter()
    for row in db.execute(ROWS, (source.name,)):
        if row in left:
            if left[row] > 0:
                left[row] -= 1
            elif row[1] != expected.first_epoch:  # its twin may have been trimmed in that second
                surplus[row] += 1
    for row, count in left.items():
        if count > 0:
            yield f"{count} times too few in the database: {_short(row)}"
    for row, count in surplus.items():
        yield f"{count} times too often in the database: {_short(row)}"
    kept = Counter(raw for (raw,) in db.execute(KEPT, (source.name,)))
    for raw in expected.rejected:
        if not kept[raw]:
            yield f"not in quarantine: {raw[:SHOWN]!r}"


def _short(row: EventRow) -> str:
    return " ".join(str(value) for value in row if value is not None)[:SHOWN]
