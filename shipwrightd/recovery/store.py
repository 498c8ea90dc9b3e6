"""What healing writes into a new database, in whole statements: rows as they were, and the books around them.

Values come in the order of the columns. A row that is there already stays:
of a page and its older copy the one that was read first counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from shipwrightd.journals.lines import HASH_BYTES
from shipwrightd.journals.store import ADD_GAP

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from shipwrightd.decoding.rows import EventRow

# By table, in the order in which they are restored. What is derived and has no row here is derived again.
RESTORE = {
    "events": "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "checkpoints": "INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
DERIVED = frozenset({"pipeline_runs", "pipeline_stages"})  # again from events, unless some of these are gone
BOOKS = frozenset({"checkpoints", "generations", "line_hashes"})

IDS_BETWEEN = "SELECT id FROM events WHERE id > ? AND id <= ? ORDER BY id"
EVENTS_BETWEEN = """
SELECT id, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra
FROM events
WHERE (ts_epoch BETWEEN ?1 AND ?2 OR ts_epoch IS NULL) AND (+origin = ?3 OR +origin GLOB ?3 || '/*') AND id > 0
ORDER BY id"""
REPLACE_EVENT = """
UPDATE events SET ts = ?2, ts_epoch = ?3, type = ?4, issue = ?5, stage = ?6, result = ?7, duration_s = ?8,
    cost_usd = ?9, model = ?10, origin = ?11, salvaged = ?12, extra = ?13
WHERE id = ?1"""
COUNT_EVENTS = "SELECT count(*) FROM events WHERE id > 0"
EXPECTED = """
SELECT sum(records) - (SELECT coalesce(sum(events), 0) FROM pruned) FROM checkpoints WHERE kind = 'journal'"""
HAS_IMPORTED = """
SELECT coalesce((SELECT min(id) FROM events), 1) <= 0 OR coalesce((SELECT first_id FROM kept_range), 1) <= 0
    OR EXISTS (SELECT 1 FROM pruned WHERE origin GLOB 'import/*')"""
HISTORY_CHUNKS = (
    "SELECT first, hashes FROM line_hashes JOIN generations AS g ON g.id = generation WHERE g.source = ? ORDER BY first"
)
FORGET_GENERATIONS = "DELETE FROM generations WHERE source = ?"
HAS_EVENTS = """
SELECT EXISTS (SELECT 1 FROM events WHERE (+origin = ?1 OR +origin GLOB ?1 || '/*') AND id > 0)"""
MAX_ID = "SELECT coalesce(max(id), 0) FROM events"
HAS_PRUNED = "SELECT EXISTS (SELECT 1 FROM pruned)"
# Runs or stages whose first event is gone and that are not kept, as in a database that an earlier release pruned.
HAS_UNKEPT = """
SELECT EXISTS (
        SELECT 1 FROM pipeline_runs
        WHERE id NOT IN (SELECT id FROM events) AND id NOT IN (SELECT id FROM kept_runs))
    OR EXISTS (
        SELECT 1 FROM pipeline_stages
        WHERE id NOT IN (SELECT id FROM events) AND id NOT IN (SELECT id FROM kept_stages))"""
COUNTED = """
INSERT INTO checkpoints (source, kind, generation, records, salvaged, quarantined, gaps, newest_epoch, committed_at)
SELECT ?1, 'journal', ?2, count(*), coalesce(sum(salvaged), 0),
    (SELECT count(*) FROM quarantine WHERE source = ?1), (SELECT count(*) FROM gaps WHERE source = ?1),
    max(ts_epoch), ?3
FROM events WHERE (origin = ?1 OR origin GLOB ?1 || '/*') AND id > 0
ON CONFLICT (source) DO UPDATE SET generation = excluded.generation"""
ADD_GAPS = "UPDATE checkpoints SET gaps = gaps + ? WHERE source = ?"
ADD_RECORDS = "UPDATE checkpoints SET records = records + ? WHERE source = ?"
ADD_QUARANTINED = "UPDATE checkpoints SET quarantined = quarantined + ? WHERE source = ?"
ORIGIN_AT = "SELECT origin FROM events WHERE id <= ? ORDER BY id DESC LIMIT 1"

# A document whose bytes are unlike any that were stored is compared with the tables again.
STALE = b"\0"
SET_STALE = "UPDATE checkpoints SET digest = ?1 WHERE kind = 'document' AND digest IS NOT NULL"
FORGET_LISTS = "UPDATE checkpoints SET entries = NULL, records = max(0, records - ?2) WHERE source = ?1"
LIST_IDS = {  # in the order of the rows of documents.statements.LIST_TABLES
    "cost_entries": "SELECT id FROM cost_entries WHERE origin = 'costs.json' ORDER BY id",
    "cost_outcomes": "SELECT id FROM cost_outcomes WHERE kind = ? ORDER BY id",
    "daemon_completed": "SELECT id FROM daemon_completed ORDER BY id",
    "daemon_failures": "SELECT id FROM daemon_failures ORDER BY id",
    "memory_entries": "SELECT id FROM memory_entries WHERE repo_hash = ? AND entry_type = ? ORDER BY id",
}
DROP_BY_ID = {
    "cost_entries": "DELETE FROM cost_entries WHERE id = ?",
    "cost_outcomes": "DELETE FROM cost_outcomes WHERE id = ?",
    "daemon_completed": "DELETE FROM daemon_completed WHERE id = ?",
    "daemon_failures": "DELETE FROM daemon_failures WHERE id = ?",
    "memory_entries": "DELETE FROM memory_entries WHERE id = ?",
}
LOST_ROWS = {
    "cost_entries": """
        SELECT coalesce((SELECT records FROM checkpoints WHERE source = 'costs.json'), 0) - count(*)
        FROM cost_entries WHERE origin = 'costs.json'""",
    "cost_outcomes": """
        SELECT coalesce((SELECT records FROM checkpoints WHERE source = 'cost-outcomes.json'), 0) - count(*)
        FROM cost_outcomes""",
    "daemon_completed": "SELECT coalesce(max(id), 0) - count(*) FROM daemon_completed",
    "daemon_failures": "SELECT coalesce(max(id), 0) - count(*) FROM daemon_failures",
    "memory_entries": "SELECT coalesce(max(id), 0) - count(*) FROM memory_entries",
}
DROP_QUARANTINED = """
DELETE FROM quarantine WHERE id = (
    SELECT min(id) FROM quarantine WHERE source = ? AND raw = ? AND generation IS NULL AND state = 'kept')"""

ADD_RECOVERY = """
INSERT INTO recoveries (detected_at, finished_at, reason, set_aside, kept, refilled, lost, detail)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
RECENT = "SELECT count(*) FROM recoveries WHERE finished_at >= ?"


def restore(db: apsw.Connection, table: str, rows: Iterable[Sequence[object]]) -> int:
    """Put rows back where no row of their key is; returns how many."""
    before = db.total_changes()
    db.executemany(RESTORE[table], rows)
    return db.total_changes() - before


def replace_event(db: apsw.Connection, number: int, row: EventRow) -> None:
    """Let an event say what its line says."""
    db.execute(REPLACE_EVENT, (number, *row))


def add_gap(db: apsw.Connection, source: str, hole: tuple[int, int], rows: int, now: str) -> None:
    """Record that events between two ids, (after, up to], were lost with their page."""
    _add_gap(db, source, hole[0], {"first_id": hole[0] + 1, "last_id": hole[1], "rows": rows}, now)


def lost_rows(db: apsw.Connection, table: str) -> int:
    """Return how many rows a list's table lacks, by what its document ever brought or by ids, which count from 1."""
    found: int = db.execute(LOST_ROWS[table]).get
    return max(0, found)


def add_row_gap(db: apsw.Connection, source: str, table: str, rows: int, now: str) -> None:
    """Record that rows of a list were lost with their page, and that no document holds them any more."""
    _add_gap(db, source, db.execute(MAX_ID).get, {"table": table, "rows": rows}, now)


def _add_gap(db: apsw.Connection, source: str, event_id: int, detail: dict[str, int | str], now: str) -> None:
    values = (source, "lost_in_damaged_database", now, event_id, None, orjson.dumps(detail).decode())
    db.execute(ADD_GAP, values)
    db.execute(ADD_GAPS, (1, source))


def forget_books(db: apsw.Connection, source: str) -> None:
    """Forget where reading stood in the files of a source."""
    db.execute(FORGET_GENERATIONS, (source,))
    db.execute("DELETE FROM line_hashes WHERE 0 = ?", (source,))


def set_current(db: apsw.Connection, source: str, generation: int | None, now: str) -> None:
    """Say in which file reading goes on; totals that are not known are counted."""
    db.execute(COUNTED, (source, generation, now))


def history_is_whole(db: apsw.Connection, source: str, lines: int) -> bool:
    """Tell whether the chunks of a history follow each other up to the last line."""
    expected = None
    for first, hashes in db.execute(HISTORY_CHUNKS, (source,)):
        if expected is not None and first != expected:
            return False
        expected = first + len(hashes) // HASH_BYTES
    return expected == lines if expected is not None else lines == 0


def set_stale(db: apsw.Connection) -> None:
    """Have every document that was there compared with its rows again."""
    db.execute(SET_STALE, (STALE,))


def expected_events(db: apsw.Connection) -> int | None:
    """Return how many events the books say there were, None when they do not say."""
    if db.execute(HAS_PRUNED).get and db.execute(HAS_IMPORTED).get:
        return None  # what went of which cannot be told
    found: int | None = db.execute(EXPECTED).get
    return found


def missing_ids(db: apsw.Connection, after: int, to: int) -> list[int]:
    """Return the ids in a range that no event has."""
    there = {number for (number,) in db.execute(IDS_BETWEEN, (after, to))}
    return [number for number in range(after + 1, to + 1) if number not in there]


def source_at(db: apsw.Connection, number: int) -> str:
    """Return the journal that the last event up to an id came from."""
    origin: str | None = db.execute(ORIGIN_AT, (number,)).get
    return (origin or "events.jsonl").partition("/")[0]


def drop_list(db: apsw.Connection, source: str, rows: Iterable[tuple[str, int]]) -> None:
    """Drop rows of a document, by table and id, which it is about to bring again, and what was known of its lists."""
    dropped = 0
    for table, number in rows:
        db.execute(DROP_BY_ID[table], (number,))
        dropped += 1
    db.execute(FORGET_LISTS, (source, dropped))


def drop_quarantined(db: apsw.Connection, source: str, pieces: Iterable[bytes]) -> None:
    """Drop what is in quarantine of a document that is about to bring it again."""
    db.executemany(DROP_QUARANTINED, [(source, raw) for raw in pieces])


def add_recovery(
    db: apsw.Connection, told: tuple[str, str, str, str], counts: tuple[int, int, int], detail: str
) -> None:
    """Record a recovery: when it was found and finished, why, and the name of what was set aside; rows; detail."""
    db.execute(ADD_RECOVERY, (*told, *counts, detail))


def has_events(db: apsw.Connection, source: str) -> bool:
    """Tell whether events of a journal are there."""
    return bool(db.execute(HAS_EVENTS, (source,)).get)
