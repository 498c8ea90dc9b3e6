"""All SQL of a journal: events, the files they were read from, line hashes, quarantine, gaps and checkpoints.

Every function that writes expects the caller's transaction, so that rows and the checkpoint that accounts for them
commit together or not at all.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import orjson

from shipwrightd.database import ALL_BITS
from shipwrightd.journals.lines import HASH_BYTES, Place, anchor_hash
from shipwrightd.projections import Batch, project_batch, rebuild

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.decoding import EventRow, Quarantined
    from shipwrightd.journals import JournalSource
    from shipwrightd.journals.lines import Position

WINDOW_LINES = 65_536  # of a file; a trim keeps 5,000, this also covers rewrites by age of any usual size
REMEMBERED_LINES = 1_000_000  # of all files together

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
SELECT g.id, g.state, g.device, g.inode, g.offset, g.anchor, g.anchor_bytes, g.lines, g.settled
FROM checkpoints AS c JOIN generations AS g ON g.id = c.generation WHERE c.source = ?"""
GENERATIONS = """
SELECT id, state, device, inode, offset, anchor, anchor_bytes, lines, settled
FROM generations WHERE source = ? ORDER BY id DESC"""
ADD_GENERATION = """
INSERT INTO generations (source, state, device, inode, offset, anchor, anchor_bytes, lines, settled)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
MOVE_GENERATION = """
UPDATE generations SET offset = ?, anchor = ?, anchor_bytes = ?, lines = ?, settled = ? WHERE id = ?"""
STORED_LINES = "SELECT lines FROM generations WHERE id = ?"
SET_STATE = "UPDATE generations SET state = ? WHERE id = ?"
REPLACE_OTHERS = """
UPDATE generations SET state = 'replaced'
WHERE source = ? AND state = 'rotated' AND id NOT IN (SELECT value FROM json_each(?) WHERE value IS NOT NULL)"""
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
SET_REARRANGED_AFTER = "UPDATE checkpoints SET rearranged_after = ? WHERE source = ?"

REARRANGED_AFTER = "SELECT max(rearranged_after) FROM checkpoints WHERE source = ?"

LINE_HASHES = "SELECT hashes FROM line_hashes WHERE generation = ? ORDER BY first"
ADD_LINE_HASHES = "INSERT INTO line_hashes (generation, first, hashes) VALUES (?, ?, ?)"
PRUNE_LINE_HASHES = "DELETE FROM line_hashes WHERE generation = ? AND first + length(hashes) / 8 <= ?"
DROP_LINE_HASHES = "DELETE FROM line_hashes WHERE generation = ?"
# The oldest files beyond the bound, and those whose row is gone.
FORGET_LINE_HASHES = """
DELETE FROM line_hashes WHERE generation NOT IN (
    SELECT id FROM (
        SELECT g.id, sum(coalesce(h.lines, 0)) OVER (ORDER BY g.id DESC) - coalesce(h.lines, 0) AS newer
        FROM generations AS g LEFT JOIN (
            SELECT generation, sum(length(hashes)) / 8 AS lines FROM line_hashes GROUP BY generation) AS h
            ON h.generation = g.id)
    WHERE newer < ?)"""

ADD_QUARANTINE = """
INSERT INTO quarantine (source, generation, offset, length, reason, raw, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)"""
PRUNED = "SELECT origin, before_epoch FROM pruned"
QUARANTINED = "SELECT raw FROM quarantine WHERE source = ?"
KEPT_IN_QUARANTINE = "SELECT id, source, raw, length FROM quarantine WHERE state = 'kept' ORDER BY id"
MARK_RECOVERED = "UPDATE quarantine SET state = 'recovered' WHERE id = ?"
ADD_GAP = """
INSERT INTO gaps (source, reason, detected_at, after_event, old_offset, detail) VALUES (?, ?, ?, ?, ?, ?)"""
LAST_GAP = "SELECT max(after_event) FROM gaps WHERE source = ?"
SET_ERROR = """
INSERT INTO source_errors (source, error, since) VALUES (?, ?, ?)
ON CONFLICT (source) DO UPDATE SET error = excluded.error WHERE error <> excluded.error"""
CLEAR_ERROR = "DELETE FROM source_errors WHERE source = ?"
CLEAR_ERRORS = "DELETE FROM source_errors"


HAS_IMPORTED = "SELECT coalesce(min(id), 1) <= 0 FROM events"
# Of the imported rows that equal events ?1 to ?2, just read from a file, as many as those are.
DROP_IMPORTED_TWINS = """
DELETE FROM events WHERE id IN (
    SELECT id FROM (
        SELECT id,
            row_number() OVER (
                PARTITION BY ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra,
                    id > 0
                ORDER BY id DESC) AS nth,
            count(*) FILTER (WHERE id > 0) OVER (
                PARTITION BY ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra)
                AS again
        FROM (
            SELECT * FROM events WHERE id BETWEEN ?1 AND ?2
            UNION ALL
            SELECT * FROM events
            WHERE id <= 0 AND ts_epoch IN (SELECT ts_epoch FROM events WHERE id BETWEEN ?1 AND ?2)
            UNION ALL
            SELECT * FROM events
            WHERE id <= 0 AND ts_epoch IS NULL
                AND EXISTS (SELECT 1 FROM events WHERE id BETWEEN ?1 AND ?2 AND +ts_epoch IS NULL)))
    WHERE id <= 0 AND nth <= again)"""


@dataclass(frozen=True, slots=True)
class Generation:
    """One row of generations: how far one physical file is stored."""

    id: int
    state: str  # current | rotated | replaced
    place: Place
    lines: int
    settled: bool


@dataclass(slots=True)
class Counts:
    """What a batch adds to a source's totals."""

    records: int = 0
    salvaged: int = 0
    quarantined: int = 0
    gaps: int = 0
    newest_epoch: int | None = None


def current_generation(db: apsw.Connection, source: str) -> Generation | None:
    """Return the file that reading is in, or None if the source was never read."""
    row = db.execute(CURRENT, (source,)).fetchone()
    return _generation(row) if row else None


def rearranged_after(db: apsw.Connection, source: str) -> int:
    """Return the last event when lines were last removed or moved other than by a trim, 0 when they never were."""
    after: int | None = db.execute(REARRANGED_AFTER, (source,)).get
    return after or 0


def generations(db: apsw.Connection, source: str) -> list[Generation]:
    """Return the files of a source that are remembered, newest first."""
    return [_generation(row) for row in db.execute(GENERATIONS, (source,))]


def _generation(row: Sequence[object]) -> Generation:
    number, state, device, inode, offset, anchor, anchor_bytes, lines, settled = row
    place = Place(device & ALL_BITS, inode & ALL_BITS, offset, anchor, anchor_bytes)  # type: ignore[arg-type,operator]
    return Generation(number, state, place, lines, bool(settled))  # type: ignore[arg-type]


def _signed(number: int) -> int:
    """Return an inode number as SQLite holds it; network and union file systems use all 64 bits."""
    return number - ALL_BITS - 1 if number >> 63 else number


def stored_lines(db: apsw.Connection, generation: int) -> int:
    """Return how many lines of a file are stored."""
    lines: int | None = db.execute(STORED_LINES, (generation,)).get
    return lines or 0


def line_hashes(db: apsw.Connection, generation: int) -> array[int]:
    """Return the hashes of the last lines that were read of a file, at most WINDOW_LINES, in its order."""
    hashes = array("Q")
    for (chunk,) in db.execute(LINE_HASHES, (generation,)):
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


def add_events(db: apsw.Connection, rows: Sequence[EventRow], first_id: int | None = None) -> None:
    """Insert event rows in order, the first one under an id if that is given, larger than all others."""
    if rows and first_id is not None:
        db.execute(INSERT_EVENT_AT, (first_id, *rows[0]))
        rows = rows[1:]
    whole = len(rows) - len(rows) % MANY
    for start in range(0, whole, MANY):
        db.execute(INSERT_MANY_EVENTS, tuple(chain.from_iterable(rows[start : start + MANY])))
    db.executemany(INSERT_EVENT, rows[whole:])


def add_line_hashes(db: apsw.Connection, generation: int, first: int, hashes: bytes) -> None:
    """Append the hashes of lines that begin at position `first` of a file, and drop what left the window."""
    kept = hashes[-WINDOW_LINES * HASH_BYTES :]
    end = first + len(hashes) // HASH_BYTES
    if kept:
        db.execute(ADD_LINE_HASHES, (generation, end - len(kept) // HASH_BYTES, kept))
        db.execute(PRUNE_LINE_HASHES, (generation, end - WINDOW_LINES))


def drop_line_hashes(db: apsw.Connection, generation: int) -> None:
    """Forget the lines of a file."""
    db.execute(DROP_LINE_HASHES, (generation,))


def add_generation(db: apsw.Connection, source: str, generation: Generation) -> int:
    """Remember a file, forget the oldest ones beyond the bounds, and return the new file's number."""
    place = generation.place
    values = (_signed(place.device), _signed(place.inode), place.offset, place.anchor, place.anchor_bytes)
    db.execute(ADD_GENERATION, (source, generation.state, *values, generation.lines, generation.settled))
    number = db.last_insert_rowid()
    db.execute(PRUNE_GENERATIONS, (source,))
    db.execute(FORGET_LINE_HASHES, (REMEMBERED_LINES,))
    return number


def move_generation(db: apsw.Connection, number: int, position: Position, lines: int, *, settled: bool = True) -> None:
    """Advance the reading position of one file."""
    db.execute(
        MOVE_GENERATION, (position.offset, anchor_hash(position.before), len(position.before), lines, settled, number)
    )


def set_state(db: apsw.Connection, number: int, state: str) -> None:
    """Record whether a file is the current one, has a rotated name, or was replaced."""
    db.execute(SET_STATE, (state, number))


def replace_others(db: apsw.Connection, source: str, named: Sequence[int | None]) -> None:
    """Record that all but these rotated files lost their name: their inode numbers may be given to other files."""
    db.execute(REPLACE_OTHERS, (source, orjson.dumps(named).decode()))


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


def ends_with_gap(db: apsw.Connection, source: str) -> bool:
    """Tell whether nothing was stored since the last gap of a source: another one would be the same."""
    after: int | None = db.execute(LAST_GAP, (source,)).get
    return after == last_event_id(db)


def set_error(db: apsw.Connection, source: str, error: str | None, now: str) -> None:
    """Say what stands in a source's way, or None when nothing does."""
    if error is None:
        db.execute(CLEAR_ERROR, (source,))
    else:
        db.execute(SET_ERROR, (source, error, now))


def clear_errors(db: apsw.Connection) -> None:
    """Forget the errors of an earlier process."""
    db.execute(CLEAR_ERRORS)


def drop_imported_twins(db: apsw.Connection, first_id: int, last_id: int) -> int:
    """Delete imported rows that were now read from a file as well; return how many.

    Needed when a file comes back after its export, or a copy of it, was imported.
    """
    if not db.execute(HAS_IMPORTED).get:
        return 0
    db.execute(DROP_IMPORTED_TWINS, (first_id, last_id))
    return db.changes()


class BatchWriter:
    """Collects the rows, quarantined bytes and gaps of one transaction and updates projections and totals.

    Made inside the transaction and finished before it commits; nothing of it outlives a rollback.
    """

    def __init__(self, db: apsw.Connection, source: JournalSource, now: Now) -> None:
        self._db = db
        self._source = source
        self._now = now
        self._next_id: int = db.execute(LAST_ID).get + 1
        self._batch = Batch(self._next_id, self._next_id - 1)
        self.counts = Counts()

    def add_rows(self, rows: Sequence[EventRow], salvaged: int) -> None:
        """Store rows in order."""
        add_events(self._db, rows, self._next_id)
        self._batch.add(rows, self._next_id)
        self._next_id += len(rows)
        self.counts.records += len(rows)
        self.counts.salvaged += salvaged

    def quarantine(self, generation: int | None, rejected: Sequence[Quarantined]) -> None:
        """Keep bytes that could not become rows."""
        if rejected:
            add_quarantine(self._db, self._source.name, generation, rejected, self._now.text)
            self.counts.quarantined += len(rejected)

    def gap(self, reason: str, detail: dict[str, int]) -> None:
        """Record that a stretch passed unseen."""
        add_gap(self._db, self._source.name, reason, detail, self._now.text)
        self.counts.gaps += 1

    def finish(self, generation: int | None = None, *, rearranged: bool = False) -> None:
        """Update projections and totals; `generation` is the new current one, if any.

        `rearranged`: lines were removed from the journal or moved other than by a trim.
        """
        self.counts.newest_epoch = self._batch.newest_epoch
        dropped = self.counts.records and drop_imported_twins(self._db, self._batch.first_id, self._batch.last_id)
        if dropped and self._source.projected:
            rebuild(self._db)
        elif self.counts.records and self._source.projected:
            project_batch(self._db, self._batch)
        move_checkpoint(self._db, self._source.name, generation, self.counts, self._now.text)
        if rearranged:
            self._db.execute(SET_REARRANGED_AFTER, (self._next_id - 1, self._source.name))
