"""Rows and checkpoint of a journal: what is written, in whole statements.

Every function that writes expects the caller's transaction, so that rows and
the checkpoint that accounts for them commit together or not at all.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from shipwrightd.database.connection import ALL_BITS
from shipwrightd.journals.align import HASH_BYTES, WINDOW_LINES
from shipwrightd.journals.lines import Place, Position

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import apsw

    from shipwrightd.decoding.rows import EventRow

INSERT_EVENT = """
INSERT INTO events (ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
MANY = 500  # rows a statement: a third faster than one by one; apsw keeps statements below 16 KiB prepared
INSERT_MANY_EVENTS = INSERT_EVENT + ",(?,?,?,?,?,?,?,?,?,?,?,?)" * (MANY - 1)
EVENTS_AT = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra
FROM events
WHERE (ts_epoch IN (SELECT value FROM json_each(?2)) OR (?3 AND ts_epoch IS NULL))
    AND (+origin = ?1 OR +origin GLOB ?1 || '/*') AND id > 0"""
LAST_EVENT = "SELECT max(id) FROM events"
# The last id ever used, also by events that a damaged database lost: their runs are kept.
LAST_ID = "SELECT max(coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT last_id FROM kept_range), 0))"
INSERT_EVENT_AT = """
INSERT INTO events (id, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

CURRENT = """
SELECT g.id, g.state, g.device, g.inode, g.offset, g.anchor, g.anchor_bytes, g.lines
FROM checkpoints AS c JOIN generations AS g ON g.id = c.generation WHERE c.source = ?"""
OTHERS = """
SELECT id, state, device, inode, offset, anchor, anchor_bytes, lines
FROM generations WHERE source = ? AND state <> 'current' ORDER BY id DESC"""
ADD_GENERATION = """
INSERT INTO generations (source, state, device, inode, offset, anchor, anchor_bytes, lines)
VALUES (?, 'current', ?, ?, ?, ?, ?, ?)"""
MOVE_GENERATION = "UPDATE generations SET offset = ?, anchor = ?, anchor_bytes = ?, lines = ? WHERE id = ?"
END_GENERATION = "UPDATE generations SET state = ? WHERE id = ?"
IDENTIFY_GENERATION = "UPDATE generations SET device = ?, inode = ? WHERE id = ?"
PRUNE_GENERATIONS = """
DELETE FROM generations WHERE id IN (
    SELECT id FROM (
        SELECT id, row_number() OVER (PARTITION BY state ORDER BY id DESC) AS age
        FROM generations WHERE source = ? AND state <> 'current')
    WHERE age > 16)"""
MOVE_CHECKPOINT = """
INSERT INTO checkpoints (source, kind, generation, records, salvaged, quarantined, gaps, newest_epoch, committed_at)
VALUES (?1, 'journal', ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (source) DO UPDATE SET
    generation   = coalesce(excluded.generation, generation),
    records      = records + excluded.records,
    salvaged     = salvaged + excluded.salvaged,
    quarantined  = quarantined + excluded.quarantined,
    gaps         = gaps + excluded.gaps,
    newest_epoch = max(coalesce(newest_epoch, excluded.newest_epoch), coalesce(excluded.newest_epoch, newest_epoch)),
    committed_at = excluded.committed_at"""

LOAD_HISTORY = "SELECT hashes FROM history WHERE source = ? ORDER BY first"
ADD_HISTORY = "INSERT INTO history (source, first, hashes) VALUES (?, ?, ?)"
PRUNE_HISTORY = "DELETE FROM history WHERE source = ? AND first + length(hashes) / 8 <= ?"
CLEAR_HISTORY = "DELETE FROM history WHERE source = ?"

ADD_QUARANTINE = """
INSERT INTO quarantine (source, generation, offset, length, reason, raw, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)"""
PRUNED = "SELECT origin, before_epoch FROM pruned"
QUARANTINED = "SELECT raw FROM quarantine WHERE source = ?"
KEPT_IN_QUARANTINE = "SELECT id, source, raw, length FROM quarantine WHERE state = 'kept' ORDER BY id"
MARK_RECOVERED = "UPDATE quarantine SET state = 'recovered' WHERE id = ?"
ADD_GAP = """
INSERT INTO gaps (source, reason, detected_at, after_event, old_offset, detail) VALUES (?, ?, ?, ?, ?, ?)"""
SET_ERROR = """
INSERT INTO source_errors (source, error, since) VALUES (?, ?, ?)
ON CONFLICT (source) DO UPDATE SET error = excluded.error WHERE error <> excluded.error"""
CLEAR_ERROR = "DELETE FROM source_errors WHERE source = ?"
CLEAR_ERRORS = "DELETE FROM source_errors"


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of generations: where reading stands in one physical file."""

    id: int
    state: str
    place: Place
    lines: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that could not become a row, and where they stood in their file."""

    offset: int
    length: int
    reason: str
    raw: bytes


@dataclass(slots=True)
class Counts:
    """What a batch adds to a source's totals."""

    records: int = 0
    salvaged: int = 0
    quarantined: int = 0
    gaps: int = 0
    newest_epoch: int | None = None


def current_generation(db: apsw.Connection, source: str) -> Generation | None:
    """Return where reading stands, or None if the source was never read."""
    row = db.execute(CURRENT, (source,)).fetchone()
    return _generation(row) if row else None


def other_generations(db: apsw.Connection, source: str) -> list[Generation]:
    """Return the files this source was read from before, newest first."""
    return [_generation(row) for row in db.execute(OTHERS, (source,))]


def _generation(row: Sequence[object]) -> Generation:
    number, state, device, inode, offset, anchor, anchor_bytes, lines = row
    place = Place(device & ALL_BITS, inode & ALL_BITS, offset, anchor, anchor_bytes)  # type: ignore[arg-type,operator]
    return Generation(number, state, place, lines)  # type: ignore[arg-type]


def _signed(number: int) -> int:
    """Return an inode number as SQLite holds it; network and union file systems use all 64 bits."""
    return number - ALL_BITS - 1 if number >> 63 else number


def load_history(db: apsw.Connection, source: str) -> array[int]:
    """Return the hashes of the current file's last lines, at most WINDOW_LINES, in its order."""
    hashes = array("Q")
    for (chunk,) in db.execute(LOAD_HISTORY, (source,)):
        hashes.frombytes(chunk)
    return hashes[-WINDOW_LINES:]


def events_at(db: apsw.Connection, source: str, epochs: AbstractSet[int | None]) -> Iterator[Sequence[object]]:
    """Yield what was read of a journal and has one of these times, in the order of EVENT_COLUMNS."""
    times = orjson.dumps([epoch for epoch in epochs if epoch is not None]).decode()
    yield from db.execute(EVENTS_AT, (source, times, None in epochs))


def quarantined(db: apsw.Connection, source: str) -> Iterator[bytes]:
    """Yield the bytes of a journal that could not become rows."""
    for (raw,) in db.execute(QUARANTINED, (source,)):
        yield raw


def pruned_before(db: apsw.Connection) -> dict[str, int]:
    """Return for each origin that prune removed events of before when, in seconds since 1970."""
    return dict(db.execute(PRUNED))


def last_event_id(db: apsw.Connection) -> int:
    """Return the id of the newest event, 0 when there is none."""
    found: int | None = db.execute(LAST_EVENT).get
    return found or 0


def last_id(db: apsw.Connection) -> int:
    """Return the largest id that an event has, or had when it was lost."""
    found: int = db.execute(LAST_ID).get
    return found


def add_event(db: apsw.Connection, number: int, row: EventRow) -> None:
    """Insert an event under an id that none has."""
    db.execute(INSERT_EVENT_AT, (number, *row))


def add_events(db: apsw.Connection, rows: Sequence[EventRow], first_id: int | None = None) -> None:
    """Insert event rows in order, the first one under an id if that is given."""
    if rows and first_id is not None and first_id != last_event_id(db) + 1:
        add_event(db, first_id, rows[0])
        rows = rows[1:]
    whole = len(rows) - len(rows) % MANY
    for start in range(0, whole, MANY):
        db.execute(INSERT_MANY_EVENTS, tuple(chain.from_iterable(rows[start : start + MANY])))
    db.executemany(INSERT_EVENT, rows[whole:])


def add_history(db: apsw.Connection, source: str, first: int, hashes: bytes) -> None:
    """Append line hashes that begin at position `first`, and forget what left the window."""
    kept = hashes[-WINDOW_LINES * HASH_BYTES :]
    end = first + len(hashes) // HASH_BYTES
    db.execute(ADD_HISTORY, (source, end - len(kept) // HASH_BYTES, kept))
    db.execute(PRUNE_HISTORY, (source, end - WINDOW_LINES))


def replace_history(db: apsw.Connection, source: str, end: int, hashes: bytes) -> None:
    """Set the history of a file to the hashes of the lines before position `end`; empty for none."""
    db.execute(CLEAR_HISTORY, (source,))
    if hashes:
        add_history(db, source, end - len(hashes) // HASH_BYTES, hashes)


def add_generation(
    db: apsw.Connection,
    source: str,
    identity: tuple[int, int],
    position: Position,
    lines: int,
) -> int:
    """Record a file as the one that is read now, and return its number."""
    place = (*map(_signed, identity), position.offset, position.anchor, len(position.before))
    db.execute(ADD_GENERATION, (source, *place, lines))
    number = db.last_insert_rowid()
    db.execute(PRUNE_GENERATIONS, (source,))
    return number


def move_generation(db: apsw.Connection, number: int, position: Position, lines: int) -> None:
    """Advance the reading position of one file."""
    db.execute(MOVE_GENERATION, (position.offset, position.anchor, len(position.before), lines, number))


def identify_generation(db: apsw.Connection, number: int, identity: tuple[int, int]) -> None:
    """Note under which device and inode a file was found again."""
    db.execute(IDENTIFY_GENERATION, (*map(_signed, identity), number))


def end_generation(db: apsw.Connection, number: int, state: str) -> None:
    """Say that a file is no longer the current one."""
    db.execute(END_GENERATION, (state, number))


def move_checkpoint(db: apsw.Connection, source: str, generation: int | None, counts: Counts, now: str) -> None:
    """Add a batch to the source's totals; generation None leaves the current one."""
    values = (counts.records, counts.salvaged, counts.quarantined, counts.gaps, counts.newest_epoch)
    db.execute(MOVE_CHECKPOINT, (source, generation, *values, now))


def add_quarantine(
    db: apsw.Connection, source: str, generation: int | None, found: Sequence[Quarantined], now: str
) -> None:
    """Keep bytes that could not become rows."""
    db.executemany(ADD_QUARANTINE, [(source, generation, q.offset, q.length, q.reason, q.raw, now) for q in found])


def kept_in_quarantine(db: apsw.Connection) -> list[tuple[int, str, bytes, int]]:
    """Return id, source, bytes and full length of all that waits in quarantine."""
    return list(db.execute(KEPT_IN_QUARANTINE))


def mark_recovered(db: apsw.Connection, number: int) -> None:
    """Say that a retry made rows of these bytes."""
    db.execute(MARK_RECOVERED, (number,))


def add_gap(db: apsw.Connection, source: str, reason: str, detail: dict[str, int], now: str) -> None:
    """Record that a stretch of the source passed unseen."""
    values = (source, reason, now, last_event_id(db), detail.get("old_offset"), orjson.dumps(detail).decode())
    db.execute(ADD_GAP, values)


def set_error(db: apsw.Connection, source: str, error: str | None, now: str) -> None:
    """Say what stands in a source's way, or None when nothing does."""
    if error is None:
        db.execute(CLEAR_ERROR, (source,))
    else:
        db.execute(SET_ERROR, (source, error, now))


def clear_errors(db: apsw.Connection) -> None:
    """Forget the errors of an earlier process."""
    db.execute(CLEAR_ERRORS)
