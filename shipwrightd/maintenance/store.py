"""What import and prune write, in whole statements: rows laid out beside the database, compared, added or removed.

What is laid out are temporary tables of the one connection, on disk, so that
ten million rows need no more memory than ten. Every function that changes the
database itself expects the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from shipwrightd.decoding.rows import EVENT_COLUMNS, content_of
from shipwrightd.projections import FOLDED
from shipwrightd.projections.costs import LINK_EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from shipwrightd.decoding.rows import EventRow
    from shipwrightd.journals.store import Quarantined

# Their types change values just as those of `events` do, so that equal rows are equal here too: `salvaged` aside, which
# tells how a row was read.
LAY_OUT = """
PRAGMA temp_store = FILE;
CREATE TEMP TABLE incoming (
    seq INTEGER PRIMARY KEY, at_epoch INTEGER,  -- its time, else that of the row before it
    ts TEXT, ts_epoch INTEGER, type TEXT, issue INTEGER, stage TEXT, result TEXT, duration_s REAL, cost_usd REAL,
    model TEXT, origin TEXT, salvaged INTEGER, extra TEXT);
CREATE TEMP TABLE rejected (seq INTEGER PRIMARY KEY, offset INTEGER, length INTEGER, reason TEXT, raw BLOB);
CREATE TEMP TABLE stored (hash BLOB PRIMARY KEY, times INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE new (seq INTEGER PRIMARY KEY);
CREATE TEMP TABLE held (
    ts TEXT, ts_epoch INTEGER, type TEXT, issue INTEGER, stage TEXT, result TEXT, duration_s REAL, cost_usd REAL,
    model TEXT, origin TEXT, extra TEXT);
CREATE INDEX temp.held_ts_epoch ON held (ts_epoch, type);
CREATE TEMP TABLE old (id INTEGER PRIMARY KEY, origin TEXT, held INTEGER)"""

ADD_INCOMING = """
INSERT INTO temp.incoming (at_epoch, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin,
    salvaged, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
ADD_REJECTED = "INSERT INTO temp.rejected (offset, length, reason, raw) VALUES (?, ?, ?, ?)"

FORGET_STORED = "DELETE FROM temp.stored; DELETE FROM temp.new"
FORGET_INCOMING = "DELETE FROM temp.incoming"
# How often each row is stored already, among those whose time and origin occur in the file.
COUNT_STORED = """
INSERT INTO temp.stored (hash, times)
WITH hashed AS MATERIALIZED (  -- or each hash would be worked out twice
    SELECT row_hash(ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra) AS hash
    FROM events
    WHERE (ts_epoch BETWEEN (SELECT min(ts_epoch) FROM temp.incoming) AND (SELECT max(ts_epoch) FROM temp.incoming)
            OR ts_epoch IS NULL)
        AND +origin IN (SELECT DISTINCT origin FROM temp.incoming))
SELECT hash, count(*) FROM hashed GROUP BY hash"""
# Of equal rows the first are new, as many as the file has more than the database.
FIND_NEW = """
INSERT INTO temp.new (seq)
WITH hashed AS MATERIALIZED (
    SELECT seq, row_hash(ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra) AS hash
    FROM temp.incoming)
SELECT t.seq
FROM (SELECT seq, hash, row_number() OVER (PARTITION BY hash ORDER BY seq) AS nth,
          count(*) OVER (PARTITION BY hash) AS times
      FROM hashed) AS t
    LEFT JOIN temp.stored AS s ON s.hash = t.hash
WHERE t.nth <= t.times - coalesce(s.times, 0)
ORDER BY t.seq"""
LEAVE_OUT_PRUNED = """
DELETE FROM temp.new WHERE seq IN (
    SELECT i.seq FROM temp.incoming AS i CROSS JOIN pruned AS p ON p.origin = i.origin
    WHERE i.at_epoch < p.before_epoch)"""
HOW_MANY_NEW = "SELECT count(*) FROM temp.new"
# Imported events have ids up to 0, those read from the files ids from 1 on. Before all that are there, and were:
# a run has the id of an event that prune may have taken.
FLOOR = """
SELECT min(id) FROM (
    SELECT 1 AS id UNION ALL SELECT min(id) FROM events UNION ALL SELECT min(id) FROM pipeline_runs UNION ALL
    SELECT first_id FROM settled)"""
INSERT_NEW = """
INSERT INTO events (id, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
SELECT ?1 + row_number() OVER (ORDER BY n.seq) - 1, i.ts, i.ts_epoch, i.type, i.issue, i.stage, i.result,
    i.duration_s, i.cost_usd, i.model, i.origin, i.salvaged, i.extra
FROM temp.new AS n CROSS JOIN temp.incoming AS i ON i.seq = n.seq
ORDER BY n.seq"""
COUNT_SALVAGED = """
SELECT count(*) FROM temp.new AS n CROSS JOIN temp.incoming AS i ON i.seq = n.seq WHERE i.salvaged"""
KEEP_REJECTED = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at)
SELECT ?1, offset, length, reason, raw, ?2 FROM temp.rejected
WHERE raw NOT IN (SELECT raw FROM quarantine) ORDER BY seq"""

HAS_IMPORTED = "SELECT coalesce(min(id), 1) <= 0 FROM events"
# Of the imported rows that events ?1 to ?2, just read from a file, say again, as many as those are.
GIVE_WAY = """
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

ADD_HELD = """
INSERT INTO temp.held (ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

# Up to which event to settle: where the old events of runs and money stand before it, and few others. Neither a
# single wrong clock nor a young import at the beginning moves it far.
BOUNDARY = """
SELECT id FROM (
    SELECT id, sum(iif(ts_epoch < ?1, 1, -1)) OVER (ORDER BY id) AS weight
    FROM events
    WHERE id > ?2 AND ts_epoch IS NOT NULL AND +type IN (SELECT value FROM json_each(?3))
        AND (+origin = 'events.jsonl' OR +origin GLOB 'import/*'))
WHERE weight > 0 ORDER BY weight DESC, id LIMIT 1"""
FORGET_OLD = "DELETE FROM temp.old"
SETTLED_TO = "SELECT last_id FROM settled"
# A row without a time is old when all before it are. The last event stays: its id must not be given away again.
FIND_OLD = """
INSERT INTO temp.old (id, origin, held)
SELECT e.id, e.origin, EXISTS (
    SELECT 1 FROM temp.held AS h
    WHERE h.ts_epoch IS e.ts_epoch AND h.type IS e.type AND h.ts IS e.ts AND h.issue IS e.issue AND h.stage IS e.stage
        AND h.result IS e.result AND h.duration_s IS e.duration_s AND h.cost_usd IS e.cost_usd AND h.model IS e.model
        AND h.origin IS e.origin AND h.extra IS e.extra)
FROM events AS e
WHERE (e.ts_epoch < ?1
        OR e.ts_epoch IS NULL
            AND e.id < coalesce((SELECT min(id) FROM events WHERE ts_epoch >= ?1), 0x7fffffffffffffff))
    AND e.id < (SELECT max(id) FROM events)"""
# Events of runs and money that a rebuild still needs, and the ends of runs that a cost.record may still look back at.
KEEP_NEEDED = """
DELETE FROM temp.old WHERE id IN (
    SELECT o.id FROM temp.old AS o CROSS JOIN events AS e ON e.id = o.id
    WHERE (e.origin = 'events.jsonl' OR e.origin GLOB 'import/*') AND (
        o.id > ?1 AND e.type IN (SELECT value FROM json_each(?2))
        OR o.id > ?1 - ?3 AND e.type = 'pipeline.completed'))"""
COUNT_OLD = "SELECT origin, count(*) FILTER (WHERE NOT held), count(*) FILTER (WHERE held) FROM temp.old GROUP BY 1"
DELETE_OLD = "DELETE FROM events WHERE id IN (SELECT id FROM temp.old WHERE NOT held)"
NOTE_PRUNED = """
INSERT INTO pruned (origin, before_epoch, events, pruned_at)
SELECT origin, ?1, count(*), ?2 FROM temp.old WHERE NOT held GROUP BY origin
ON CONFLICT (origin) DO UPDATE SET
    before_epoch = max(before_epoch, excluded.before_epoch),
    events       = events + excluded.events,
    pruned_at    = excluded.pruned_at"""

NEEDED_TYPES = '["' + '","'.join(sorted({*FOLDED, "cost.record"})) + '"]'


@dataclass(frozen=True, slots=True)
class New:
    """How many of the rows laid out are not stored, but for those left out because prune took such away."""

    rows: int
    salvaged: int  # of them
    left_out: int


@dataclass(frozen=True, slots=True)
class Old:
    """Old events of one origin: how many may go, and how many stay because a file still holds them."""

    origin: str
    going: int
    held: int


def lay_out(db: apsw.Connection) -> None:
    """Make the temporary tables; outside of any transaction."""
    db.create_scalar_function("row_hash", _row_hash, len(EVENT_COLUMNS) - 1, deterministic=True)
    db.execute(LAY_OUT)


def _row_hash(*values: object) -> bytes:
    return blake2b(repr(values).encode(), digest_size=16).digest()


def add_incoming(db: apsw.Connection, rows: Iterable[EventRow], at_epoch: int | None) -> int | None:
    """Lay out rows of a file to import; `at_epoch` is the time of the row before them, returned that of the last."""
    timed = []
    for row in rows:
        at_epoch = at_epoch if row[1] is None else row[1]
        timed.append((at_epoch, *row))
    db.executemany(ADD_INCOMING, timed)
    return at_epoch


def forget_incoming(db: apsw.Connection) -> None:
    """Lay no rows out any more."""
    db.execute(FORGET_INCOMING)


def add_rejected(db: apsw.Connection, found: Sequence[Quarantined]) -> None:
    """Lay out bytes of a file to import that could not become rows."""
    db.executemany(ADD_REJECTED, [(q.offset, q.length, q.reason, q.raw) for q in found])


def find_new(db: apsw.Connection) -> New:
    """Compare the rows laid out with those stored, each as often as it stands there."""
    db.execute(FORGET_STORED)
    db.execute(COUNT_STORED)
    db.execute(FIND_NEW)
    db.execute(LEAVE_OUT_PRUNED)
    left_out = db.changes()
    return New(db.execute(HOW_MANY_NEW).get, db.execute(COUNT_SALVAGED).get, left_out)


def insert_new(db: apsw.Connection, rows: int) -> None:
    """Store the new rows, so many, before all that are there."""
    floor: int = db.execute(FLOOR).get
    db.execute(INSERT_NEW, (floor - rows,))


def give_way(db: apsw.Connection, first_id: int, last_id: int) -> int:
    """Delete imported rows that were now read from a file as well; returns how many.

    Needed where a file comes back after its export, or a copy, was imported.
    """
    if not db.execute(HAS_IMPORTED).get:
        return 0
    db.execute(GIVE_WAY, (first_id, last_id))
    return db.changes()


def keep_rejected(db: apsw.Connection, source: str, now: str) -> int:
    """Quarantine what is not there yet; returns how many pieces."""
    db.execute(KEEP_REJECTED, (source, now))
    return db.changes()


def add_held(db: apsw.Connection, rows: Iterable[EventRow], before_epoch: int) -> None:
    """Lay out the old ones among the rows of a journal's files."""
    db.executemany(ADD_HELD, [content_of(row) for row in rows if row[1] is None or row[1] < before_epoch])


def find_old(db: apsw.Connection, before_epoch: int) -> tuple[int | None, list[Old]]:
    """Find the events older than that which may go; returns up to which event to settle first, None for nothing new.

    Reads the database, changes only what is laid out beside it.
    """
    db.execute(FORGET_OLD)
    before: int | None = db.execute(SETTLED_TO).get
    lowest = -(1 << 63) if before is None else before
    boundary: int | None = db.execute(BOUNDARY, (before_epoch, lowest, NEEDED_TYPES)).get
    settled_to = lowest if boundary is None else boundary
    db.execute(FIND_OLD, (before_epoch,))
    db.execute(KEEP_NEEDED, (settled_to, NEEDED_TYPES, LINK_EVENTS))
    return boundary, [Old(*row) for row in db.execute(COUNT_OLD)]


def delete_old(db: apsw.Connection, before_epoch: int, now: str) -> None:
    """Delete what find_old found and no file holds, and note that."""
    db.execute(NOTE_PRUNED, (before_epoch, now))
    db.execute(DELETE_OLD)


def as_salvaged(row: EventRow) -> EventRow:
    """Return a row as that of a line that was salvaged."""
    return (*row[:10], 1, row[11])
