"""What a support archive tells of the database: counts, places and reasons, never what a record says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shipwrightd.database import migrate
from shipwrightd.doctor.database import expected, objects, pragmas
from shipwrightd.doctor.scrub import public, said

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from shipwrightd.doctor.finding import Case

LIMIT = 1_000  # rows of each list, the newest
COUNTS = (
    ("budgets", "SELECT count(*) FROM budgets"),
    ("checkpoints", "SELECT count(*) FROM checkpoints"),
    ("cost_entries", "SELECT count(*) FROM cost_entries"),
    ("cost_outcomes", "SELECT count(*) FROM cost_outcomes"),
    ("daemon_completed", "SELECT count(*) FROM daemon_completed"),
    ("daemon_failures", "SELECT count(*) FROM daemon_failures"),
    ("daemon_jobs", "SELECT count(*) FROM daemon_jobs"),
    ("daemon_queue", "SELECT count(*) FROM daemon_queue"),
    ("daemon_state", "SELECT count(*) FROM daemon_state"),
    ("daemon_titles", "SELECT count(*) FROM daemon_titles"),
    ("events", "SELECT count(*) FROM events"),
    ("gaps", "SELECT count(*) FROM gaps"),
    ("generations", "SELECT count(*) FROM generations"),
    ("heartbeats", "SELECT count(*) FROM heartbeats"),
    ("kept_range", "SELECT count(*) FROM kept_range"),
    ("kept_runs", "SELECT count(*) FROM kept_runs"),
    ("kept_stages", "SELECT count(*) FROM kept_stages"),
    ("line_hashes", "SELECT count(*) FROM line_hashes"),
    ("memory_entries", "SELECT count(*) FROM memory_entries"),
    ("metrics", "SELECT count(*) FROM metrics"),
    ("pipeline_runs", "SELECT count(*) FROM pipeline_runs"),
    ("pipeline_stages", "SELECT count(*) FROM pipeline_stages"),
    ("projection_state", "SELECT count(*) FROM projection_state"),
    ("pruned", "SELECT count(*) FROM pruned"),
    ("quarantine", "SELECT count(*) FROM quarantine"),
    ("recoveries", "SELECT count(*) FROM recoveries"),
    ("run_outcomes", "SELECT count(*) FROM run_outcomes"),
    ("schema_version", "SELECT count(*) FROM schema_version"),
    ("sessions", "SELECT count(*) FROM sessions"),
    ("source_errors", "SELECT count(*) FROM source_errors"),
)
APPLIED = "SELECT version, name, checksum, applied_at FROM schema_version ORDER BY version"
CHECKPOINTS = """
SELECT c.source, c.kind, c.generation, c.records, c.salvaged, c.quarantined, c.gaps, c.newest_epoch,
       c.committed_at, g.state, g.offset, g.anchor_bytes, g.lines
FROM checkpoints AS c LEFT JOIN generations AS g ON g.id = c.generation ORDER BY c.source LIMIT ?"""
QUARANTINE = """
SELECT id, source, generation, offset, length, reason, seen_at, state FROM quarantine ORDER BY id DESC LIMIT ?"""
GAPS = "SELECT id, source, reason, detected_at, after_event, old_offset, detail FROM gaps ORDER BY id DESC LIMIT ?"
ERRORS = "SELECT source, error, since FROM source_errors ORDER BY source LIMIT ?"
NAMES = """
SELECT source FROM checkpoints UNION SELECT source FROM quarantine
UNION SELECT source FROM gaps UNION SELECT source FROM source_errors"""


def names(db: apsw.Connection) -> list[str]:
    """Return every source that the database knows by name."""
    return [name for (name,) in db.execute(NAMES)]


def theirs(db: apsw.Connection) -> list[str]:
    """Return the names of tables, indexes and views that are not ours."""
    return sorted(objects(db).keys() - expected(migrate.version(db)).keys())


def parts(case: Case) -> dict[str, Callable[[apsw.Connection], object]]:
    """Return what is asked of the database, by the name of its file in the archive."""
    return {
        "pragmas": pragmas,
        "migrations": lambda db: _rows(db, APPLIED, ()),
        "schema": schema,
        "tables": lambda db: {name: db.execute(statement).get for name, statement in COUNTS},
        "checkpoints": lambda db: _named(case, _rows(db, CHECKPOINTS, (LIMIT,))),
        "quarantine": lambda db: _named(case, _rows(db, QUARANTINE, (LIMIT,))),
        "gaps": lambda db: [_counted(row) for row in _named(case, _rows(db, GAPS, (LIMIT,)))],
        "errors": lambda db: [_shortened(row) for row in _named(case, _rows(db, ERRORS, (LIMIT,)))],
    }


def schema(db: apsw.Connection) -> dict[str, object]:
    """Return the SQL of everything that is as the migrations make it, and the names of what is not."""
    found, wanted = objects(db), expected(migrate.version(db))
    same = {name: sql for name, (_, sql) in wanted.items() if found.get(name) == wanted[name]}
    return {
        "same": same,
        "missing": sorted(wanted.keys() - found.keys()),
        "altered": sorted(name for name in wanted.keys() & found.keys() if name not in same),
        "theirs": len(found.keys() - wanted.keys()),
    }


def _rows(db: apsw.Connection, statement: str, values: tuple[int, ...]) -> list[dict[str, object]]:
    cursor = db.execute(statement, values)
    return [dict(zip((name for name, *_ in cursor.get_description()), row, strict=True)) for row in cursor]


def _named(case: Case, rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return [{**row, "source": public(case, str(row["source"]))} for row in rows]


def _counted(row: dict[str, object]) -> dict[str, object]:
    """Return a gap with the numbers of its detail alone."""
    detail = json.loads(str(row["detail"] or "{}"))
    return {**row, "detail": {key: value for key, value in detail.items() if isinstance(value, int)}}


def _shortened(row: dict[str, object]) -> dict[str, object]:
    return {**row, "error": said(str(row["error"]))}
