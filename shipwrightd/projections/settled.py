"""What is settled: the projections as they stood behind the last event that prune could take, to go on from.

A run can only be changed while it is the newest of its issue, or one of the
newest without an issue. So these are kept aside as they were; all other
settled runs are in their tables, and stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from shipwrightd.projections import runs
from shipwrightd.projections.rows import Attempt, Run
from shipwrightd.projections.unassigned import RUNS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

LOAD = "SELECT first_id, last_id, watermark_epoch FROM settled"
KEEP = """
INSERT INTO settled (id, first_id, last_id, watermark_epoch) VALUES (1, ?, ?, NULL)
ON CONFLICT (id) DO UPDATE SET first_id = excluded.first_id, last_id = excluded.last_id"""
NOTE_WATERMARK = "UPDATE settled SET watermark_epoch = (SELECT watermark_epoch FROM projection_state)"

# What later events can change: called when nothing later is in the tables.
CHANGEABLE_RUNS = """
SELECT * FROM pipeline_runs WHERE id IN (
    SELECT max(id) FROM pipeline_runs WHERE issue IS NOT NULL GROUP BY issue
    UNION ALL
    SELECT id FROM (SELECT id FROM pipeline_runs WHERE issue IS NULL ORDER BY id DESC LIMIT ?))"""
CHANGEABLE_STAGES = "SELECT * FROM pipeline_stages WHERE run_id IN (SELECT id FROM settled_runs)"
FORGET_KEPT = "DELETE FROM settled_runs; DELETE FROM settled_stages"
KEEP_RUN = "INSERT INTO settled_runs (id, facts) VALUES (?, ?)"
KEEP_STAGE = "INSERT INTO settled_stages (id, facts) VALUES (?, ?)"

DROP_RUNS = """
DELETE FROM pipeline_runs WHERE id NOT BETWEEN ? AND ? OR id IN (SELECT id FROM settled_runs)"""
DROP_STAGES = """
DELETE FROM pipeline_stages WHERE id NOT BETWEEN ? AND ? OR run_id IN (SELECT id FROM settled_runs)"""
KEPT_RUNS = "SELECT facts FROM settled_runs ORDER BY id"
KEPT_STAGES = "SELECT facts FROM settled_stages ORDER BY id"
YOUNG_AGAIN = "UPDATE pipeline_runs SET aged = 0 WHERE aged"
SET_WATERMARK = "UPDATE projection_state SET watermark_epoch = ?"

# Imported runs before the settled ones are followed by those.
FOLLOW_IMPORTED = """
UPDATE pipeline_runs AS r SET next_run_id = (
    SELECT n.id FROM pipeline_runs AS n WHERE n.issue = r.issue AND n.id > r.id ORDER BY n.id LIMIT 1)
WHERE id < ? AND next_run_id IS NULL AND issue IS NOT NULL"""
SETTLED_RUNS = "SELECT id FROM pipeline_runs WHERE id BETWEEN ? AND ?"


@dataclass(frozen=True, slots=True)
class Settled:
    """The events, first to last, whose projections are not derived again; last = first - 1 for none."""

    first_id: int
    last_id: int
    watermark_epoch: int | None = None


def load(db: apsw.Connection, first_event: int) -> Settled:
    """Return what is settled; nothing, from the first event on, before the first prune."""
    row = db.execute(LOAD).fetchone()
    return Settled(*row) if row else Settled(first_event, first_event - 1)


def restore(db: apsw.Connection, settled: Settled) -> None:
    """Set runs and stages to what they were when all that is settled had been taken in, and nothing else."""
    if settled.last_id < settled.first_id:
        runs.clear(db)
    else:
        db.execute(DROP_STAGES, (settled.first_id, settled.last_id))
        db.execute(DROP_RUNS, (settled.first_id, settled.last_id))
        kept = [Run(**{"issue": None, **orjson.loads(facts)}) for (facts,) in db.execute(KEPT_RUNS)]
        attempts = [Attempt(**{"started_epoch": None, **orjson.loads(facts)}) for (facts,) in db.execute(KEPT_STAGES)]
        runs.insert(db, kept, attempts)
        db.execute(YOUNG_AGAIN)
    db.execute(SET_WATERMARK, (settled.watermark_epoch,))


def follow(db: apsw.Connection, settled: Settled) -> list[int]:
    """Join the settled runs to the imported ones before them; returns their ids."""
    db.execute(FOLLOW_IMPORTED, (settled.first_id,))
    return [id_ for (id_,) in db.execute(SETTLED_RUNS, (settled.first_id, settled.last_id))]


def keep(db: apsw.Connection, first_id: int, last_id: int) -> None:
    """Settle events first_id to last_id; expects that runs and stages hold what they made and nothing later."""
    db.execute(FORGET_KEPT)
    db.executemany(KEEP_RUN, list(_facts(db, CHANGEABLE_RUNS, runs.RUN_COLUMNS, RUNS)))
    db.executemany(KEEP_STAGE, list(_facts(db, CHANGEABLE_STAGES, runs.ATTEMPT_COLUMNS)))
    db.execute(KEEP, (first_id, last_id))


def note_watermark(db: apsw.Connection) -> None:
    """Remember how far event time has come, whatever events go."""
    db.execute(NOTE_WATERMARK)


def _facts(db: apsw.Connection, query: str, columns: Sequence[str], *values: Any) -> Iterator[tuple[int, str]]:  # noqa: ANN401 - of any type that SQLite takes
    cursor = db.execute(query, values)
    for row in cursor:
        found = dict(zip((column[0] for column in cursor.get_description()), row, strict=True))
        yield found["id"], orjson.dumps({name: found[name] for name in columns if found[name] is not None}).decode()
