"""Projections: what new events and cost entries add up to, in the transaction that stores them.

Order of work for a batch: fold its events into runs and stages, find the twin
of each cost.record, add up what runs cost, and bring the metrics of the days
and weeks concerned up to it. Whatever the batches are, the rows come out the
same; `rebuild` is nothing but the same work from the first event on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.ingest import project_costs as costs
from shipwrightd.ingest import project_metrics as metrics
from shipwrightd.ingest import project_runs as runs
from shipwrightd.ingest.project_fold import Fold

if TYPE_CHECKING:
    import apsw

REBUILD_EVENTS = 50_000  # events folded at once: bounds memory

# All that says something about runs and money, in order. By range of id alone:
# a first load has no other index on events.
LIFECYCLE = """
SELECT type, id, issue, stage, ts_epoch, duration_s, extra, ts, result, model
FROM events
WHERE id BETWEEN ? AND ? AND +origin = 'events.jsonl' AND +type IN (
    'pipeline.started', 'pipeline.completed', 'pipeline.budget_paused',
    'stage.started', 'stage.completed', 'stage.complete', 'stage.failed', 'stage.skipped',
    'daemon.spawn', 'daemon.reap',
    'daemon.stale_kill', 'daemon.stuck_kill', 'daemon.hard_limit', 'daemon.stale_dead')
ORDER BY id"""
NEWEST = "SELECT max(ts_epoch) FROM events WHERE id BETWEEN ? AND ? AND +origin = 'events.jsonl'"
LAST_EVENT = "SELECT coalesce(max(id), 0) FROM events"
ENTRIES = "SELECT id FROM cost_entries"


def project(db: apsw.Connection, first_id: int, last_id: int) -> None:
    """Take in the new events first_id to last_id; those of team journals, of other machines, do not count.

    Expects the caller's transaction.
    """
    stored = runs.Stored(db)
    fold = Fold(stored)
    fold.take(db.execute(LIFECYCLE, (first_id, last_id)))
    if fold.runs:
        no_longer, now = runs.recounted(fold, stored)
        metrics.take_out_runs(db, no_longer)
        runs.write(db, fold, stored)
        metrics.add_runs(db, now)
    costs.take_events(db, first_id, last_id, fold)
    runs.age(db, db.execute(NEWEST, (first_id, last_id)).get)


def project_costs(db: apsw.Connection, first_cost_id: int, last_cost_id: int) -> None:
    """Take in the entries first_cost_id to last_cost_id of costs.json, which were just stored.

    Expects the caller's transaction.
    """
    if last_cost_id >= first_cost_id:
        costs.take_entries(db, first_cost_id, last_cost_id)


def rebuild(db: apsw.Connection) -> None:
    """Derive everything anew from events and the entries of costs.json.

    Expects the caller's transaction. The rows are those that were there, but
    for cost_entries.id of entries taken from events.
    """
    runs.clear(db)
    metrics.clear(db)
    costs.clear(db)
    metrics.add_entries(db, [id_ for (id_,) in db.execute(ENTRIES)])
    last: int = db.execute(LAST_EVENT).get
    for first in range(1, last + 1, REBUILD_EVENTS):
        project(db, first, min(last, first + REBUILD_EVENTS - 1))
