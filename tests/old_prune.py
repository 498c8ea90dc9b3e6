"""A database as the releases up to schema 9 left it after a prune, which deleted events that runs derive from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
from projection import Books

from shipwrightd.database import transaction
from shipwrightd.database.migrate import known, migrate, migrations_folder
from shipwrightd.projections.runs import ATTEMPT_COLUMNS, RUN_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

SCHEMA = 9
# What later events could change: the newest run of each issue, and the newest 32 without one.
OPEN_RUNS = """
SELECT * FROM pipeline_runs WHERE id IN (
    SELECT max(id) FROM pipeline_runs WHERE issue IS NOT NULL GROUP BY issue
    UNION ALL
    SELECT id FROM (SELECT id FROM pipeline_runs WHERE issue IS NULL ORDER BY id DESC LIMIT 32))"""
OPEN_STAGES = "SELECT * FROM pipeline_stages WHERE run_id IN (SELECT id FROM settled_runs)"
SETTLE = """
INSERT INTO settled SELECT 1, coalesce(min(id), 1), coalesce(max(id), 0), NULL FROM events"""
# Ends of runs stay, for the cost.record that follows them, and the last event.
DELETE_SETTLED = """
DELETE FROM events
WHERE id <= (SELECT last_id FROM settled) AND type <> 'pipeline.completed' AND id % 3 > 0
    AND id < (SELECT max(id) FROM events);
UPDATE settled SET watermark_epoch = (SELECT watermark_epoch FROM projection_state)"""


def fresh_at_schema_9(folder: str, name: str) -> Books:
    """Return a new database as the last release with that prune made it."""
    early = Path(folder) / "early"
    early.mkdir(exist_ok=True)
    for migration in known()[:SCHEMA]:
        shutil.copy(migrations_folder() / migration.name, early)
    books = Books(Path(folder) / name)
    migrate(books.db, early)
    return books


def settle(books: Books) -> None:
    """Set aside, as that prune did, what the events so far made."""
    with transaction(books.db):
        books.db.executemany("INSERT INTO settled_runs VALUES (?, ?)", _facts(books.db, OPEN_RUNS, RUN_COLUMNS))
        books.db.executemany("INSERT INTO settled_stages VALUES (?, ?)", _facts(books.db, OPEN_STAGES, ATTEMPT_COLUMNS))
        books.db.execute(SETTLE)


def delete_settled(books: Books) -> None:
    """Delete most of the events up to there."""
    with transaction(books.db):
        books.db.execute(DELETE_SETTLED)


def _facts(db: apsw.Connection, query: str, columns: Sequence[str]) -> list[tuple[object, str]]:
    cursor = db.execute(query)
    rows = [dict(zip((column[0] for column in cursor.get_description()), row, strict=True)) for row in cursor]
    return [
        (row["id"], orjson.dumps({name: row[name] for name in columns if row[name] is not None}).decode())
        for row in rows
    ]
