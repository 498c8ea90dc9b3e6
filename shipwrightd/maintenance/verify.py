"""Compares files and database record by record, both ways. Reads only, and reads everything.

A row that no file holds is no difference: keeping more than the files is what
the database is for. A record that stands in it less often, or more often, than
in the files is one; of what cannot be a record, bytes that are not in quarantine.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import TYPE_CHECKING

from shipwrightd.database.connection import lock_is_held, lock_path, open_reader
from shipwrightd.decoding.events import decode_lines
from shipwrightd.decoding.rows import content_of
from shipwrightd.documents.follow import Documents
from shipwrightd.documents.snapshot import Document, Torn, read_document
from shipwrightd.documents.store import verify_document
from shipwrightd.journals import store
from shipwrightd.journals.compare import repeated_from
from shipwrightd.journals.lines import ChangedError, Giant, Position, Reader, open_journal, resume_behind
from shipwrightd.journals.sources import JOURNALS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.decoding.events import Decoded
    from shipwrightd.journals.sources import JournalSource
    from shipwrightd.journals.store import Generation

# Imported events have ids up to 0; one that a file holds as well is no difference.
ROWS = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra
FROM events WHERE (origin = ?1 OR origin LIKE ?1 || '/%') AND id BETWEEN 1 AND ?2 ORDER BY id"""
SHOWN = 120  # characters of a record in a difference
Said = tuple[object, ...]  # an event without how it was read
PATIENCE_S = 5.0  # what is written while we look, a daemon beside us stores well within this, once it may
PAUSE_S = 0.05
ATTEMPTS = 5  # at a file that changes while it is read


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a source and the database disagree."""

    source: str
    text: str


@dataclass(slots=True)
class Expected:
    """What the files of one journal say the database must hold."""

    rows: Counter[Said] = field(default_factory=Counter)
    rejected: list[bytes] = field(default_factory=list)
    first_epoch: int | None = None

    def take(self, decoded: Decoded, lines: list[bytes], *, begins: bool = False) -> None:
        """Add what some lines decode to; `begins`: they are the first of a file.

        A trim can cut a record of several lines. What is left of it at the beginning was read as part of it.
        """
        if decoded.rows and not self.rows:
            self.first_epoch = decoded.rows[0][1]
        self.rows.update(map(content_of, decoded.rows))
        rest_of_a_record = 0 if begins else -1
        for bad in decoded.rejected:
            if bad.first == rest_of_a_record:
                rest_of_a_record += bad.count
            else:
                self.rejected.append(bad.raw(lines))


def verify(home: Path, path: Path, *, delay_s: float = 0.0) -> list[Difference]:
    """Return all differences between the files of a home and a database. Raises MissingError, DatabaseError.

    Beside a running daemon a difference counts when it lasts. `delay_s`: what settings make that daemon wait
    before it looks at a file and believes it.
    """
    patience_s = delay_s + PATIENCE_S if lock_is_held(lock_path(path)) else 0.0
    with closing(open_reader(path)) as db:
        found = [
            Difference(source.name, text) for source in JOURNALS for text in _journal(db, home, source, patience_s)
        ]
        for name in Documents(home).names(db):
            found += [Difference(name, text) for text in _document(db, home, name, patience_s)]
    return found


def _document(db: apsw.Connection, home: Path, name: str, patience_s: float) -> list[str]:
    deadline = time.monotonic() + patience_s
    while (found := _compare_document(db, home, name)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return found


def _compare_document(db: apsw.Connection, home: Path, name: str) -> list[str]:
    try:
        seen = read_document(home / name, None, now_ns=0)
    except OSError as error:
        return [f"cannot read it: {error.strerror}"]
    if isinstance(seen, Torn):
        return ["changed while it was read; verify again"]
    return verify_document(db, name, seen.raw if isinstance(seen, Document) else None)


def _journal(db: apsw.Connection, home: Path, source: JournalSource, patience_s: float) -> list[str]:
    for _ in range(ATTEMPTS):
        with suppress(ChangedError):
            return list(_compare_journal(db, home, source, patience_s))
    return ["changed while it was read; verify again"]


def _compare_journal(db: apsw.Connection, home: Path, source: JournalSource, patience_s: float) -> Iterator[str]:
    expected = Expected()
    known, last_id = _books(db, source)
    behind = 0
    with ExitStack() as opened:
        files: list[int] = []
        for path in source.files(home):
            try:
                files.append(open_journal(path))
            except FileNotFoundError:
                continue
            except OSError as error:
                yield f"cannot read it: {error.strerror}"
                continue
            opened.callback(os.close, files[-1])
        for fd, newer in zip_longest(files, files[1:]):
            stop = sys.maxsize if newer is None else repeated_from(fd, newer)
            unread, end = _read(fd, _read_up_to(fd, known), stop, source, expected)
            if unread and not _comes(db, source, fd, end, time.monotonic() + patience_s):
                behind += unread
    if behind:
        yield f"{behind} complete lines are not stored yet"
    yield from _compare(db, source, expected, last_id)


def _books(db: apsw.Connection, source: JournalSource) -> tuple[list[Generation], int]:
    """Return where reading stands in each file and the last event stored by then."""
    while True:
        last_id = store.last_event_id(db)
        known = _generations(db, source)
        if store.last_event_id(db) == last_id:  # so nothing was stored between the two
            return known, last_id


def _generations(db: apsw.Connection, source: JournalSource) -> list[Generation]:
    here = store.current_generation(db, source.name)
    return [*([here] if here else []), *store.other_generations(db, source.name)]


def _comes(db: apsw.Connection, source: JournalSource, fd: int, end: int, deadline: float) -> bool:
    """Tell whether a file is stored up to `end` before the deadline."""
    while _read_up_to(fd, _generations(db, source)) < end:
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE_S)
    return True


def _read_up_to(fd: int, known: list[Generation]) -> int:
    """Return how far a file is stored, in bytes."""
    return max(
        (other.place.offset for other in known if resume_behind(fd, other.place)),
        default=0,
    )


def _read(fd: int, limit: int, stop: int, source: JournalSource, expected: Expected) -> tuple[int, int]:
    """Decode the stored part of a file; return how many lines stand behind it, and where the last one ends.

    From `stop` on, the next file repeats it.
    """
    reader = Reader(fd, Position(0, b""))
    offset = unread = 0
    begins = True
    waiting: list[bytes] = []
    while offset < stop and (got := reader.read()) is not None:
        if isinstance(got, Giant):
            expected.take(decode_lines(waiting, origin=source.origin, final=True), waiting, begins=begins)
            begins = False
            waiting = []
            offset += got.length + 1
            if offset <= limit:
                expected.rejected.append(got.head)
            else:
                unread += 1
            continue
        for line in got:
            if offset >= stop:
                break
            offset += len(line) + 1
            if offset <= limit:
                waiting.append(line)
            else:
                unread += 1
        decoded = decode_lines(waiting, origin=source.origin, final=False)
        expected.take(decoded, waiting, begins=begins)
        begins = begins and not decoded.consumed
        waiting = waiting[decoded.consumed :]
    expected.take(decode_lines(waiting, origin=source.origin, final=True), waiting, begins=begins)
    return unread, offset


def _compare(db: apsw.Connection, source: JournalSource, expected: Expected, last_id: int) -> Iterator[str]:
    missing, surplus = _count(db, source, expected, last_id)
    for row, count in missing.items():
        yield f"{count} times too few in the database: {_short(row)}"
    for row, count in surplus.items():
        yield f"{count} times too often in the database: {_short(row)}"
    kept = Counter(store.quarantined(db, source.name))
    for raw in expected.rejected:
        if not kept[raw]:
            yield f"not in quarantine: {raw[:SHOWN]!r}"


def _count(
    db: apsw.Connection, source: JournalSource, expected: Expected, last_id: int
) -> tuple[Counter[Said], Counter[Said]]:
    """Return which rows the database lacks, and which it has too often.

    What it stored before the files' first line that is like no other may be a twin that was trimmed since: it may
    stand for a line, but is none too many.
    """
    left = Counter(expected.rows)
    surplus: Counter[Said] = Counter()
    early: Counter[Said] = Counter()
    first = next((row for row, times in expected.rows.items() if times == 1), None)
    begun = first is None
    for row in db.execute(ROWS, (source.name, last_id)):
        if row not in left:
            continue
        begun = begun or row == first
        if not begun:
            early[row] += 1
        elif left[row] > 0:
            left[row] -= 1
        elif row[1] != expected.first_epoch:  # its twin may have been trimmed in that second
            surplus[row] += 1
    return left - early, surplus


def _short(row: Said) -> str:
    return " ".join(str(value) for value in row if value is not None)[:SHOWN]
