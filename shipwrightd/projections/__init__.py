"""Runs, stages, money and metrics, derived from events and cost entries in the transaction that stores those.

Each batch is processed in this order: fold its events into runs and stages,
match each cost.record with its twin, sum up what runs cost, update the metrics
of the days and weeks concerned. The rows do not depend on how events are cut
into batches, so `rebuild` is the same work from the first event on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from shipwrightd.projections import costs, metrics, runs
from shipwrightd.projections.fold import Fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from shipwrightd.decoding import EventRow
    from shipwrightd.projections.fold import Event

REBUILD_EVENTS = 50_000  # events folded at a time: bounds memory

# The events of runs, in order. By range of id alone: during a first load events have no other index.
LIFECYCLE = """
SELECT type, id, issue, stage, ts_epoch, duration_s, extra, ts, result, model
FROM events
WHERE id BETWEEN ? AND ? AND (+origin = 'events.jsonl' OR +origin GLOB 'import/*') AND +type IN (
    'pipeline.started', 'pipeline.completed', 'pipeline.budget_paused',
    'stage.started', 'stage.completed', 'stage.complete', 'stage.failed', 'stage.skipped',
    'daemon.spawn', 'daemon.reap',
    'daemon.stale_kill', 'daemon.stuck_kill', 'daemon.hard_limit', 'daemon.stale_dead')
ORDER BY id"""
FOLDED = frozenset(re.findall(r"'([a-z]+\.[a-z_]+)'", LIFECYCLE))
DERIVED_FROM = FOLDED | {"cost.record"}  # types of the events that a rebuild needs
NEWEST = """
SELECT max(ts_epoch) FROM events
WHERE id BETWEEN ? AND ? AND (+origin = 'events.jsonl' OR +origin GLOB 'import/*')"""
FIRST_EVENT = "SELECT coalesce(min(id), 1) FROM events"
LAST_EVENT = "SELECT coalesce(max(id), 0) FROM events"
ENTRIES = "SELECT id FROM cost_entries"
RUNS = "SELECT id FROM pipeline_runs"


@dataclass(slots=True)
class Batch:
    """The events of runs and money among rows that were just stored, so that they need not be read back."""

    first_id: int
    last_id: int
    newest_epoch: int | None = None
    events: list[Event] = field(default_factory=list)
    has_costs: bool = False

    def add(self, rows: Sequence[EventRow], first_id: int) -> None:
        """Add rows that were stored with ids from `first_id` on."""
        self.last_id = first_id + len(rows) - 1
        for id_, row in enumerate(rows, first_id):
            kind = row[2]
            if kind is not None and kind in FOLDED:
                self.events.append((kind, id_, row[3], row[4], row[1], row[6], row[11], row[0], row[5], row[8]))
            elif kind == "cost.record":
                self.has_costs = True
        newest = max(filter(None, map(itemgetter(1), rows)), default=None)
        if newest is not None and (self.newest_epoch is None or newest > self.newest_epoch):
            self.newest_epoch = newest


def project(db: apsw.Connection, first_id: int, last_id: int) -> None:
    """Project the stored events `first_id` to `last_id`; team events belong to other machines and are skipped.

    Expects the caller's transaction.
    """
    batch = Batch(first_id, last_id, db.execute(NEWEST, (first_id, last_id)).get, has_costs=True)
    batch.events = list(db.execute(LIFECYCLE, (first_id, last_id)))
    project_batch(db, batch)


def project_batch(db: apsw.Connection, batch: Batch) -> None:
    """Project a batch of this machine's events. Expects the caller's transaction."""
    stored = runs.StoredRuns(db)
    fold = Fold(stored)
    fold.take(batch.events)
    if fold.runs:
        subtract, add = runs.changed_outcomes(fold, stored)
        metrics.subtract_runs(db, subtract)
        runs.write(db, fold, stored)
        metrics.add_runs(db, add)
    if batch.has_costs or fold.opened:
        costs.add_events(db, batch.first_id, batch.last_id, fold)
    runs.age(db, batch.newest_epoch)


def rebuild(db: apsw.Connection) -> None:
    """Derive all projections again from events and the entries of costs.json.

    The rows come out the same, except for cost_entries.id of entries taken
    from events. What lies in the kept range is restored, not derived.
    Expects the caller's transaction.
    """
    kept = runs.kept_range(db)
    db.execute(runs.CLEAR)
    db.execute(metrics.CLEAR)
    costs.clear(db, kept)
    metrics.add_entries(db, [id_ for (id_,) in db.execute(ENTRIES)])
    first, last = db.execute(FIRST_EVENT).get, db.execute(LAST_EVENT).get
    if kept is not None:
        _project_all(db, first, kept.first_id - 1)
        metrics.add_runs(db, runs.restore_kept(db, kept))
        costs.sum_runs(db, [id_ for (id_,) in db.execute(RUNS)])  # imported runs lose entries to the kept ones
        runs.age(db, kept.watermark_epoch)
        first = kept.last_id + 1
    _project_all(db, first, last)
    runs.age(db, None)


def _project_all(db: apsw.Connection, first_id: int, last_id: int) -> None:
    for first in range(first_id, last_id + 1, REBUILD_EVENTS):
        project(db, first, min(last_id, first + REBUILD_EVENTS - 1))
