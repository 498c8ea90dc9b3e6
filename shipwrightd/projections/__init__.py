"""Projections: what new events and cost entries add up to, in the transaction that stores them.

Order of work for a batch: fold its events into runs and stages, find the twin
of each cost.record, add up what runs cost, and bring the metrics of the days
and weeks concerned up to it. Whatever the batches are, the rows come out the
same; `rebuild` is nothing but the same work from the first event on, or, after
a prune, from the first one behind what is settled (project_settled).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING

from shipwrightd.projections import costs, metrics, runs, settled
from shipwrightd.projections.fold import Fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from shipwrightd.decoding.rows import EventRow
    from shipwrightd.projections.fold import Event
    from shipwrightd.projections.settled import Settled

REBUILD_EVENTS = 50_000  # events folded at once: bounds memory

# All that says something about runs and money, in order. By range of id alone:
# a first load has no other index on events.
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
NEWEST = """
SELECT max(ts_epoch) FROM events
WHERE id BETWEEN ? AND ? AND (+origin = 'events.jsonl' OR +origin GLOB 'import/*')"""
FIRST_EVENT = "SELECT coalesce(min(id), 1) FROM events"
LAST_EVENT = "SELECT coalesce(max(id), 0) FROM events"
ENTRIES = "SELECT id FROM cost_entries"


@dataclass(slots=True)
class Batch:
    """What concerns runs and money among rows that were just stored, so that they need not be read back."""

    first_id: int
    last_id: int
    newest_epoch: int | None = None
    events: list[Event] = field(default_factory=list)
    has_costs: bool = False

    def add(self, rows: Sequence[EventRow], first_id: int) -> None:
        """Note rows that got ids from `first_id` on."""
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


def project(db: apsw.Connection, first_id: int, last_id: int, before: int = runs.NO_EVENT) -> None:
    """Take in the stored events first_id to last_id; those of team journals, of other machines, do not count.

    Runs from event `before` on are left alone. Expects the caller's transaction.
    """
    batch = Batch(first_id, last_id, db.execute(NEWEST, (first_id, last_id)).get, has_costs=True)
    batch.events = list(db.execute(LIFECYCLE, (first_id, last_id)))
    project_batch(db, batch, before)


def project_batch(db: apsw.Connection, batch: Batch, before: int = runs.NO_EVENT) -> None:
    """Take in a batch of this machine's events. Expects the caller's transaction."""
    stored = runs.Stored(db, before)
    fold = Fold(stored)
    fold.take(batch.events)
    if fold.runs:
        no_longer, now = runs.recounted(fold, stored)
        metrics.take_out_runs(db, no_longer)
        runs.write(db, fold, stored)
        metrics.add_runs(db, now)
    if batch.has_costs or fold.opened:
        costs.take_events(db, batch.first_id, batch.last_id, fold)
    runs.age(db, batch.newest_epoch)


def project_costs(db: apsw.Connection, first_cost_id: int, last_cost_id: int) -> None:
    """Take in the entries first_cost_id to last_cost_id of costs.json, which were just stored.

    Expects the caller's transaction.
    """
    if last_cost_id >= first_cost_id:
        costs.take_entries(db, first_cost_id, last_cost_id)


def rebuild(db: apsw.Connection) -> None:
    """Derive everything anew from events and the entries of costs.json; what prune settled stays as it is.

    Expects the caller's transaction. The rows are those that were there, but
    for cost_entries.id of entries taken from events.
    """
    _project_all(db, _begin(db).last_id + 1, db.execute(LAST_EVENT).get)
    runs.age(db, None)


def settle(db: apsw.Connection, last_id: int | None) -> None:
    """Derive everything anew, for the last time up to an event, which may go afterwards with all before it.

    None: settle nothing more than before, but what was imported since.

    Expects the caller's transaction.
    """
    kept = _begin(db)
    last_id = kept.last_id if last_id is None else max(last_id, kept.last_id)
    _project_all(db, kept.last_id + 1, last_id)
    settled.keep(db, min(kept.first_id, db.execute(FIRST_EVENT).get), last_id)
    _project_all(db, last_id + 1, db.execute(LAST_EVENT).get)
    runs.age(db, None)
    settled.note_watermark(db)


def _begin(db: apsw.Connection) -> Settled:
    """Set the projections to what is settled, and what was imported before it; returns that."""
    first: int = db.execute(FIRST_EVENT).get
    kept = settled.load(db, first)
    settled.restore(db, kept)
    metrics.clear(db)
    costs.clear(db, kept.first_id, kept.last_id)
    metrics.add_entries(db, [id_ for (id_,) in db.execute(ENTRIES)])
    _project_all(db, first, kept.first_id - 1, kept.first_id)
    ids = settled.follow(db, kept)
    metrics.add_runs(db, ids)
    costs.sum_runs(db, ids)
    return kept


def _project_all(db: apsw.Connection, first_id: int, last_id: int, before: int = runs.NO_EVENT) -> None:
    for first in range(first_id, last_id + 1, REBUILD_EVENTS):
        project(db, first, min(last_id, first + REBUILD_EVENTS - 1), before)
