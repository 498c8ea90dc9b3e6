"""Compare files and database record by record, both ways. Reads only, and reads everything.

A row that no file holds is no difference: keeping more than the files is what the database is for. A record must be in
the database as often as in the one file that holds it most; of what was stored since lines were last removed from the
journal or moved in it, no more often than in all files together. Bytes that cannot be a record must be in quarantine.
Memory is constant: hashes of rows go to a temporary table and are counted there.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.database import open_reader
from shipwrightd.database.lock import lock_is_held, lock_path
from shipwrightd.decoding import content_of, row_hash
from shipwrightd.documents import Documents
from shipwrightd.documents.snapshot import Document, Torn, read_document
from shipwrightd.documents.store import verify_document
from shipwrightd.journals import JOURNALS, store
from shipwrightd.journals.lines import ChangedError, hidden_by, open_files, position_at, resume_at
from shipwrightd.journals.records import TOO_LONG, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import apsw

    from shipwrightd.decoding import EventRow, Quarantined
    from shipwrightd.journals import JournalSource
    from shipwrightd.journals.records import Chunk
    from shipwrightd.journals.store import Generation

# Without `salvaged`: how a row was read, not what it says. Imported events have ids up to 0; one that a file holds as
# well is no difference.
ROWS = """
SELECT id, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra
FROM events
WHERE (+origin = ?1 OR +origin GLOB ?1 || '/*') AND id BETWEEN 1 AND ?2
    AND (ts_epoch BETWEEN (SELECT min(ts_epoch) FROM temp.seen) AND (SELECT max(ts_epoch) FROM temp.seen)
        OR ts_epoch IS NULL)"""
MAKE_TABLES = """
CREATE TABLE temp.seen (
    hash INTEGER NOT NULL,
    file INTEGER NOT NULL,  -- number of the file, -1 for the database
    at   INTEGER NOT NULL,  -- position in the file, events.id in the database
    ts_epoch INTEGER        -- in a file
);
CREATE TABLE temp.pieces (hash INTEGER NOT NULL, file INTEGER NOT NULL);
CREATE TABLE temp.covered (first INTEGER NOT NULL, last INTEGER NOT NULL)  -- events.id"""
ADD_SEEN = "INSERT INTO temp.seen VALUES (?, ?, ?, ?)"
ADD_PIECE = "INSERT INTO temp.pieces VALUES (?, ?)"
# What was stored between the first and the last record of a file that are like no other must be in that file; of the
# newest file, all that was stored since. Elsewhere a copy may stand for a line that was trimmed.
COVER = """
INSERT INTO temp.covered
SELECT first_id, CASE WHEN file = ? THEN 9223372036854775807 ELSE last_id END
FROM (
    SELECT file, first_value(id) OVER by_place AS first_id, last_value(id) OVER by_place AS last_id,
        row_number() OVER by_place AS number
    FROM (
        SELECT max(file) AS file, min(at) FILTER (WHERE file >= 0) AS at, min(at) FILTER (WHERE file < 0) AS id
        FROM temp.seen GROUP BY hash HAVING count(*) = 2 AND min(file) = -1 AND max(file) >= 0)
    WINDOW by_place AS (PARTITION BY file ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING))
WHERE number = 1"""
DROP = "DROP TABLE temp.seen; DROP TABLE temp.pieces; DROP TABLE temp.covered"
COUNTED = """
SELECT hash,
    coalesce(max(times) FILTER (WHERE file >= 0), 0) AS least,
    coalesce(sum(times) FILTER (WHERE file >= 0), 0) AS most,
    coalesce(sum(times) FILTER (WHERE file < 0), 0) AS stored,
    coalesce(sum(inside), 0) AS covered
FROM (
    SELECT hash, file, count(*) AS times,
        sum(file < 0 AND at > ? AND EXISTS (SELECT 1 FROM temp.covered WHERE at BETWEEN first AND last)) AS inside
    FROM temp.seen GROUP BY hash, file)
GROUP BY hash
HAVING least > 0 AND (least > stored OR covered > most)"""
LOST_PIECES = "SELECT hash FROM temp.pieces GROUP BY hash HAVING min(file) >= 0"
SHOWN = 120  # characters of a record in a difference
PATIENCE_S = 5.0  # a daemon stores within this time what is written while we look, once it may
PAUSE_S = 0.05
ATTEMPTS = 5  # at a file that changes while it is read


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a source and the database disagree."""

    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An open file of a journal and up to which byte it is stored."""

    fd: int
    end: int


def verify(home: Path, path: Path, *, delay_s: float = 0.0) -> list[Difference]:
    """Return all differences between the files of a home and a database. Raises MissingError, DatabaseError.

    Beside a running daemon a difference counts when it lasts. `delay_s`: how long that daemon's settings make it wait
    before it looks at a file and trusts it.
    """
    patience_s = delay_s + PATIENCE_S if lock_is_held(lock_path(path)) else 0.0
    differences: list[Difference] = []
    with closing(open_reader(path)) as db:
        db.execute("PRAGMA query_only = OFF")  # for the temporary tables; the file itself is open for reading only
        for source in JOURNALS:
            differences += [Difference(source.name, text) for text in _journal(db, home, source, patience_s)]
        for name in Documents(home).names(db):
            differences += [Difference(name, text) for text in _document(db, home, name, patience_s)]
    return differences


def _document(db: apsw.Connection, home: Path, name: str, patience_s: float) -> list[str]:
    deadline = time.monotonic() + patience_s
    while (texts := _compare_document(db, home, name)) and time.monotonic() < deadline:
        time.sleep(PAUSE_S)
    return texts


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
    with ExitStack() as opened:
        paths = source.files(home)
        files, refused = open_files(paths)
        for fd in files.values():
            opened.callback(os.close, fd)
        if error := refused.get(paths[-1]) or hidden_by(refused):
            yield f"cannot read {Path(error.filename).name}: {error.strerror}"
        with db:  # nothing is stored between the two
            known, last_id = store.generations(db, source.name), store.last_event_id(db)
        stored = [Stored(fd, _stored_up_to(fd, known)) for fd in files.values()]
        wrong, lost = _compare_counts(db, source, stored, last_id)
        deadline = time.monotonic() + patience_s
        unread_lines = 0
        for file in stored:
            lines, end = _unread(file, source)
            if lines and not _comes(db, source, file.fd, end, deadline):
                unread_lines += lines
        if unread_lines:
            yield f"{unread_lines} complete lines are not stored yet"
        yield from _texts(source, stored, wrong, lost)


def _compare_counts(
    db: apsw.Connection, source: JournalSource, files: list[Stored], last_id: int
) -> tuple[dict[int, str], set[int]]:
    """Count the records of the stored parts of a journal's files and of the database, up to an event's id.

    Return what is wrong by row hash, and the hashes of bytes that are not in quarantine. Raises ChangedError when a
    file is cut or written over meanwhile.
    """
    db.execute(MAKE_TABLES)
    try:
        with db:
            for number, file in enumerate(files):
                _add_file(db, source, number, file)
            rows = db.execute(ROWS, (source.name, last_id))
            db.executemany(ADD_SEEN, ((hash(row[1:]), -1, row[0], None) for row in rows))
            db.executemany(ADD_PIECE, ((hash(raw), -1) for raw in store.quarantined(db, source.name)))
            db.execute(COVER, (len(files) - 1,))
        wrong = {
            number: f"{least - times} times too few" if least > times else f"{covered - most} times too often"
            for number, least, most, times, covered in db.execute(COUNTED, (store.rearranged_after(db, source.name),))
        }
        return wrong, {piece for (piece,) in db.execute(LOST_PIECES)}
    finally:
        db.execute(DROP)


def _add_file(db: apsw.Connection, source: JournalSource, number: int, file: Stored) -> None:
    """Write the hashes of a file's rows and rejected bytes to the temporary tables."""
    at = 0
    for chunk, rejected in _stored_chunks(source, file):
        db.executemany(ADD_SEEN, ((row_hash(row), number, at + i, row[1]) for i, row in enumerate(chunk.rows)))
        db.executemany(ADD_PIECE, ((hash(piece.raw), number) for piece in rejected))
        at += len(chunk.rows)


def _stored_chunks(source: JournalSource, file: Stored) -> Iterator[tuple[Chunk, list[Quarantined]]]:
    """Yield the chunks of the stored part of a file, and what of each must be in quarantine.

    A trim can cut a record of several lines. What is left of it at the beginning was read as part of it.
    """
    torn = 0  # bytes at the beginning that may be the rest of a record
    for chunk in records(file.fd, source.origin, stop=file.end):
        rejected = chunk.rejected
        while rejected and rejected[0].offset == torn and rejected[0].reason != TOO_LONG:
            torn += rejected[0].length + 1
            rejected = rejected[1:]
        yield chunk, rejected


def _texts(source: JournalSource, files: list[Stored], wrong: dict[int, str], lost: set[int]) -> Iterator[str]:
    """Describe the differences, reading the files again for what the records say."""
    for file in files if wrong or lost else ():
        for chunk, rejected in _stored_chunks(source, file):
            for row in chunk.rows:
                if text := wrong.pop(row_hash(row), None):
                    yield f"{text} in the database: {_short(row)}"
            for piece in rejected:
                if hash(piece.raw) in lost:
                    lost.remove(hash(piece.raw))
                    yield f"not in quarantine: {piece.raw[:SHOWN]!r}"


def _stored_up_to(fd: int, known: Iterable[Generation]) -> int:
    """Return how far a file is stored, in bytes."""
    return max((row.place.offset for row in known if resume_at(fd, row.place)), default=0)


def _unread(file: Stored, source: JournalSource) -> tuple[int, int]:
    """Return how many complete lines are behind the stored part of a file, and where the last of them ends."""
    lines, end = 0, file.end
    for chunk in records(file.fd, source.origin, position=position_at(file.fd, file.end)):
        lines += chunk.count
        end += chunk.size
    return lines, end


def _comes(db: apsw.Connection, source: JournalSource, fd: int, end: int, deadline: float) -> bool:
    """Tell whether a file is stored up to `end` before the deadline."""
    while _stored_up_to(fd, store.generations(db, source.name)) < end:
        if time.monotonic() >= deadline:
            return False
        time.sleep(PAUSE_S)
    return True


def _short(row: EventRow) -> str:
    return " ".join(str(value) for value in content_of(row) if value is not None)[:SHOWN]
