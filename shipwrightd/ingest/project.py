"""Projections: what new events and cost entries add up to, in the transaction that stores them.

Order of work for a batch: fold its events into runs and stages, find the twin
of each cost.record, add up what runs cost, and bring the metrics of the days
and weeks concerned up to it. Whatever the batches are, the rows come out the
same; `rebuild` is nothing but the same work from the first event on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.ingest import project_costs as costs, project_metrics as metrics, project_runs as runs
from shipwrightd.ingest.project_fold import Fold

if TYPE_CHECKING:
    import apsw

REBUILD_EVENTS = 50_000  # events folded at once: bounds memory
ORIGIN = "events.jsonl"

# All that says something about runs and money, in order. By range of id alone:
# a first load has no other index on events.
LIFECYCLE = """
SELECT type, id, issue, stage, ts_epoch, duration_s, extra, ts, result, model
FROM events
WHERE id BETWEEN ? AND ? AND +origin = 'events.jsonl' AND +type IN (
    'pipeline.started', 'pipeline.completed', 'pipeline.budget_paused',
    'stage.started', 'stage.completed', 'stage.complete', 'stage.failed', 'stage.skipped',
    'daemon.spawn', 'daemon.reap', 'daemon.stale_kill', 'daemon.stuck_kill', 'daemon.hard_limit', 'daemon.stale_dead')
ORDER BY id"""
NEWEST = "SELECT max(ts_epoch) FROM events WHERE id BETWEEN ? AND ? AND +origin = 'events.jsonl'"
LAST_EVENT = "SELECT max(id) FROM events"


def project(db: apsw.Connection, first_id: int, last_id: int) -> None:
    """Take in the new events first_id to last_id; those of team journals tell of other machines and are passed over.

    Expects the caller's transaction.
    """
    stored = runs.Stored(db)
    fold = Fold(stored)
    fold.take(db.execute(LIFECYCLE, (first_id, last_id)))
    if fold.runs:
        known = list(stored.runs.intersection(fold.runs))
        metrics.take_out_runs(db, known)
        runs.write(db, fold, stored)
        metrics.add_runs(db, list(fold.runs))
    runs.age(db, db.execute(NEWEST, (first_id, last_id)).get)
