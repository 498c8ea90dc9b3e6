"""SQL of recovery: copy rows, compare files with rows by content, restore checkpoints, count losses.

Values come in the order of the columns. Of several rows with one key the first one read stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from shipwrightd.decoding import EVENT_COLUMNS, row_hash
from shipwrightd.journals.store import ADD_GAP
from shipwrightd.recovery.pages import LOWEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

# By table, in the order in which they are restored. Tables that are missing here are derived again.
RESTORE = {
    "events": "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "checkpoints": "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "generations": "INSERT OR IGNORE INTO generations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "line_hashes": "INSERT OR IGNORE INTO line_hashes VALUES (?, ?, ?)",
    "quarantine": "INSERT OR IGNORE INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "gaps": "INSERT OR IGNORE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)",
    "cost_entries": "INSERT OR IGNORE INTO cost_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "sessions": "INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "memory_entries": "INSERT OR IGNORE INTO memory_entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "budgets": "INSERT OR IGNORE INTO budgets VALUES (?, ?, ?, ?, ?)",
    "cost_outcomes": "INSERT OR IGNORE INTO cost_outcomes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "daemon_state": "INSERT OR IGNORE INTO daemon_state VALUES (?, ?, ?, ?, ?, ?, ?)",
    "daemon_jobs": "INSERT OR IGNORE INTO daemon_jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "daemon_queue": "INSERT OR IGNORE INTO daemon_queue VALUES (?, ?, ?, ?, ?, ?)",
    "daemon_titles": "INSERT OR IGNORE INTO daemon_titles VALUES (?, ?, ?, ?)",
    "daemon_completed": "INSERT OR IGNORE INTO daemon_completed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "daemon_failures": "INSERT OR IGNORE INTO daemon_failures VALUES (?, ?, ?, ?, ?)",
    "heartbeats": "INSERT OR IGNORE INTO heartbeats VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "pruned": "INSERT OR IGNORE INTO pruned VALUES (?, ?, ?, ?)",
    "kept_range": "INSERT OR IGNORE INTO kept_range VALUES (?, ?, ?, ?)",
    "kept_runs": "INSERT OR IGNORE INTO kept_runs VALUES (?, ?)",
    "kept_stages": "INSERT OR IGNORE INTO kept_stages VALUES (?, ?)",
    "pipeline_runs": """
INSERT OR IGNORE INTO pipeline_runs VALUES (
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
    "pipeline_stages": "INSERT OR IGNORE INTO pipeline_stages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "recoveries": "INSERT OR IGNORE INTO recoveries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
DERIVED = frozenset({"pipeline_runs", "pipeline_stages"})  # derived again, unless events are missing
CHECKPOINTS = frozenset({"checkpoints", "generations", "line_hashes"})

# -- files compared with rows

# On disk, so that ten million rows need no more memory than ten. A hash is that of a row or of bytes in quarantine.
CREATE_STAGING = """
PRAGMA temp_store = FILE;
CREATE TEMP TABLE stored (
    hash  INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    id    INTEGER,                    -- of a row
    held  INTEGER NOT NULL DEFAULT 0  -- times in the file that is being read
)"""
SMALL_CACHE = "PRAGMA cache_size = -16384; PRAGMA shrink_memory"  # KiB; each sort takes as much again
STAGE_STORED = """
DELETE FROM temp.stored;
INSERT INTO temp.stored (hash, count, id)
SELECT hash, count(*), max(id)
FROM (
    SELECT row_hash(ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
        AS hash, id
    FROM events WHERE id > 0 AND (+origin = ?1 OR +origin GLOB ?1 || '/*')
    UNION ALL
    SELECT piece_hash(raw), NULL FROM quarantine WHERE source = ?1)
GROUP BY hash"""
# Of equal records the first ones are those that are stored. The id is that of a row like no other, else 0.
COUNT_RECORD = """
INSERT INTO temp.stored (hash, count, held) VALUES (?, 0, 1)
ON CONFLICT (hash) DO UPDATE SET held = held + 1
RETURNING held > count, iif(count = 1, coalesce(id, 0), 0)"""
END_FILE = "UPDATE temp.stored SET count = max(count, held), held = 0 WHERE held"
# A row that equals no record of the file.
IS_GARBLED = """
SELECT 1 FROM events JOIN temp.stored
    ON hash = row_hash(ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
WHERE events.id = ? AND NOT held"""
DROP_EVENT = "DELETE FROM events WHERE id = ?"

# -- checkpoints

# Without its last chunk, a file's lines after a trim's overlap would be taken for new.
DROP_INCOMPLETE_HASHES = """
DELETE FROM line_hashes WHERE generation NOT IN (
    SELECT g.id FROM generations AS g JOIN line_hashes AS h ON h.generation = g.id
    GROUP BY g.id
    HAVING max(first + length(hashes) / 8) = g.lines AND sum(length(hashes)) / 8 = g.lines - min(first))"""
FORGET_GENERATION = "DELETE FROM generations WHERE id = ?"
REPLACED = "UPDATE generations SET state = 'replaced' WHERE source = ? AND state = 'current' AND id <> ?"
SET_CURRENT = """
INSERT INTO checkpoints (source, kind, generation, records, salvaged, quarantined, gaps, newest_epoch, committed_at)
SELECT ?1, 'journal', ?2, count(*), coalesce(sum(salvaged), 0),
    (SELECT count(*) FROM quarantine WHERE source = ?1), (SELECT count(*) FROM gaps WHERE source = ?1),
    max(ts_epoch), ?3
FROM events WHERE (+origin = ?1 OR +origin GLOB ?1 || '/*') AND id > 0
ON CONFLICT (source) DO UPDATE SET
    generation  = excluded.generation,
    records     = max(records, excluded.records),
    quarantined = max(quarantined, excluded.quarantined)"""
HAS_EVENTS = """
SELECT EXISTS (SELECT 1 FROM events WHERE (+origin = ?1 OR +origin GLOB ?1 || '/*') AND id > 0)"""
WAS_READ = """
SELECT EXISTS (SELECT 1 FROM events WHERE (+origin = ?1 OR +origin GLOB ?1 || '/*') AND id > 0)
    OR EXISTS (SELECT 1 FROM generations WHERE source = ?1 AND lines > 0)"""

# -- losses

EVENTS_BETWEEN = "SELECT count(*) FROM events WHERE id > ? AND id <= ?"
# NULL if imported events may have been pruned: `records` does not count them.
EXPECTED = """
SELECT iif(EXISTS (SELECT 1 FROM pruned) AND (
        coalesce((SELECT min(id) FROM events), 1) <= 0 OR coalesce((SELECT first_id FROM kept_range), 1) <= 0
        OR EXISTS (SELECT 1 FROM pruned WHERE origin GLOB 'import/*')),
    NULL, sum(records) - (SELECT coalesce(sum(events), 0) FROM pruned))
FROM checkpoints WHERE kind = 'journal'"""
COUNT_EVENTS = "SELECT count(*) FROM events WHERE id > 0"
HIGHEST_ID = """
SELECT max(
    coalesce((SELECT max(id) FROM events), 0), coalesce((SELECT last_id FROM kept_range), 0),
    coalesce((SELECT max(id) FROM pipeline_runs), 0), coalesce((SELECT max(id) FROM pipeline_stages), 0),
    coalesce((SELECT sum(records) FROM checkpoints WHERE kind = 'journal'), 0))"""
# Runs or stages whose first event is gone and that are not kept, as in a database that an earlier release pruned.
HAS_UNKEPT = """
SELECT EXISTS (
        SELECT 1 FROM pipeline_runs
        WHERE id NOT IN (SELECT id FROM events) AND id NOT IN (SELECT id FROM kept_runs))
    OR EXISTS (
        SELECT 1 FROM pipeline_stages
        WHERE id NOT IN (SELECT id FROM events) AND id NOT IN (SELECT id FROM kept_stages))"""
COUNT_GAP = "UPDATE checkpoints SET gaps = gaps + 1 WHERE source = ?"

# -- documents

# A document whose bytes are unlike any that were stored is compared with the tables again.
STALE = b"\0"
SET_STALE = "UPDATE checkpoints SET digest = ?1 WHERE kind = 'document' AND digest IS NOT NULL"
DOCUMENTS = "SELECT source FROM checkpoints WHERE kind = 'document'"
SET_RECORDS = "UPDATE checkpoints SET records = ?2 WHERE source = ?1"
# Without the hashes of its entries a list is compared with its rows.
FORGET_LISTS = "UPDATE checkpoints SET entries = NULL WHERE source = ?1 OR source GLOB ?1 || '/*'"
# The tables of lists: the document or folder that each is read from; how many rows it should have, by the checkpoint or
# by ids, which count from 1; and how many it has.
LISTS = {
    "cost_entries": (
        "costs.json",
        """
SELECT coalesce((SELECT records FROM checkpoints WHERE source = 'costs.json'), 0), count(*)
FROM cost_entries WHERE origin = 'costs.json'""",
    ),
    "cost_outcomes": ("cost-outcomes.json", "SELECT coalesce(max(id), 0), count(*) FROM cost_outcomes"),
    "daemon_completed": ("daemon-state.json", "SELECT coalesce(max(id), 0), count(*) FROM daemon_completed"),
    "daemon_failures": ("daemon-state.json", "SELECT coalesce(max(id), 0), count(*) FROM daemon_failures"),
    "memory_entries": ("memory", "SELECT coalesce(max(id), 0), count(*) FROM memory_entries"),
}
MAX_QUARANTINE = "SELECT coalesce(max(id), 0) FROM quarantine"
DROP_REPEATED = """
DELETE FROM quarantine WHERE id > ?1 AND EXISTS (
    SELECT 1 FROM quarantine AS q
    WHERE q.id <= ?1 AND q.source = quarantine.source AND q.raw = quarantine.raw AND q.reason = quarantine.reason)"""

ADD_RECOVERY = """
INSERT INTO recoveries (detected_at, finished_at, reason, set_aside, kept, refilled, lost, detail)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
RECENT = "SELECT count(*) FROM recoveries WHERE finished_at >= strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-1 hour')"


def restore(db: apsw.Connection, table: str, rows: Iterable[Sequence[object]]) -> int:
    """Insert rows whose key no row has yet; return how many."""
    before = db.total_changes()
    db.executemany(RESTORE[table], rows)
    return db.total_changes() - before


def create_staging(db: apsw.Connection) -> None:
    """Create the temporary tables of the comparison. Must not be called in a transaction."""
    db.execute(CREATE_STAGING)
    create_row_hash(db)
    db.create_scalar_function("piece_hash", lambda *raw: hash(raw[0]), 1, deterministic=True)


def create_row_hash(db: apsw.Connection) -> None:
    """Add the SQL function row_hash, which takes all columns of an event but its id."""
    db.create_scalar_function("row_hash", lambda *row: row_hash(row), len(EVENT_COLUMNS), deterministic=True)


def count_lost(db: apsw.Connection, holes: Iterable[tuple[int, int]]) -> int:
    """Return an upper bound of the events that were lost in holes, which are ranges of ids (after, up to].

    Ids of imported events count down from 0: of a hole at their end only the last id is known.
    """
    highest: int = db.execute(HIGHEST_ID).get
    imported = journaled = 0
    for after, to in holes:
        low, high = min(0, to - 1) if after == LOWEST else after, min(to, highest)
        imported += _absent(db, low, min(high, 0))
        journaled += _absent(db, max(low, 0), high)
    expected = db.execute(EXPECTED).get
    if expected is not None:
        journaled = min(journaled, max(0, expected - db.execute(COUNT_EVENTS).get))
    return imported + journaled


def _absent(db: apsw.Connection, after: int, to: int) -> int:
    there: int = db.execute(EVENTS_BETWEEN, (after, to)).get
    return max(0, to - after - there)


def add_gap(db: apsw.Connection, source: str, after_event: int, detail: dict[str, int | str], now: str) -> None:
    """Record that rows were lost with their pages."""
    values = (source, "lost_in_damaged_database", now, after_event, None, orjson.dumps(detail).decode())
    db.execute(ADD_GAP, values)
    db.execute(COUNT_GAP, (source,))
