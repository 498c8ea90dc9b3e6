"""Pair each cost.record with its twin in costs.json, or store it as an entry of its own, and sum up runs.

Pairs do not depend on the order of arrival: events and entries each have an
order, and each takes the first free partner that fits. (The first event and
the first entry that fits it prefer each other to all others, so they are a
pair whatever arrives in between; the same then holds for the rest.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from shipwrightd.projections import metrics

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import apsw

    from shipwrightd.projections.fold import Fold
    from shipwrightd.projections.runs import KeptRange

# An entry taken from an event, the entry of costs.json for the same money, and the event: their ids.
Twins = tuple[int, int, int]

LAST_ENTRY = "SELECT coalesce(max(id), 0) FROM cost_entries"
WAITING = "SELECT entries_waiting FROM projection_state"
ADD_WAITING = "UPDATE projection_state SET entries_waiting = entries_waiting + ? WHERE id = 1"

# Stores each new cost.record as an entry. Fallback emitters write numbers as text.
ADD_EVENTS = """
INSERT INTO cost_entries
    (input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, origin, event_id)
SELECT CAST(extra ->> '$.input_tokens' AS INTEGER), CAST(extra ->> '$.output_tokens' AS INTEGER),
    model, stage, issue, cost_usd, ts, ts_epoch, 'events.jsonl', id
FROM events
WHERE id BETWEEN ? AND ? AND +type = 'cost.record' AND (+origin = 'events.jsonl' OR +origin GLOB 'import/*')
ORDER BY id"""

# Of entries ?1 to ?2 those from events, with the entries of costs.json that fit each, in order of events.
ENTRIES_FOR_EVENTS = """
SELECT f.id, c.id, f.event_id
FROM cost_entries AS f CROSS JOIN cost_entries AS c INDEXED BY cost_entries_ts_epoch
    ON c.ts_epoch BETWEEN f.ts_epoch - 120 AND f.ts_epoch + 120
    AND c.origin = 'costs.json' AND c.event_id IS NULL
    AND c.input_tokens IS f.input_tokens AND c.output_tokens IS f.output_tokens
    AND c.model IS f.model AND c.stage IS f.stage AND round(c.cost_usd, 4) IS round(f.cost_usd, 4)
WHERE f.id BETWEEN ?1 AND ?2 AND f.origin = 'events.jsonl'
ORDER BY f.event_id, c.id"""

# Entries ?1 to ?2 of costs.json, with the entries from events that fit each, in order of entries.
EVENTS_FOR_ENTRIES = """
SELECT f.id, c.id, f.event_id
FROM cost_entries AS c CROSS JOIN cost_entries AS f INDEXED BY cost_entries_ts_epoch
    ON f.ts_epoch BETWEEN c.ts_epoch - 120 AND c.ts_epoch + 120
    AND f.origin = 'events.jsonl'
    AND c.input_tokens IS f.input_tokens AND c.output_tokens IS f.output_tokens
    AND c.model IS f.model AND c.stage IS f.stage AND round(c.cost_usd, 4) IS round(f.cost_usd, 4)
WHERE c.id BETWEEN ?1 AND ?2 AND c.origin = 'costs.json' AND c.event_id IS NULL
ORDER BY c.id, f.event_id"""

DROP_TWIN = "DELETE FROM cost_entries WHERE id = ?"
SET_EVENT = "UPDATE cost_entries SET event_id = ? WHERE id = ?"

# A whole pipeline's cost.record has no issue: it follows the pipeline.completed with as many tokens.
SET_ISSUES = """
UPDATE cost_entries AS c SET issue = (
    SELECT e.issue FROM events AS e
    WHERE e.id BETWEEN c.event_id - 1000 AND c.event_id - 1 AND +e.type = 'pipeline.completed'
        AND (+e.origin = 'events.jsonl' OR +e.origin GLOB 'import/*')
        AND CASE WHEN json_valid(e.extra) THEN CAST(e.extra ->> '$.input_tokens' AS INTEGER) = c.input_tokens
            AND CAST(e.extra ->> '$.output_tokens' AS INTEGER) = c.output_tokens END
    ORDER BY e.id DESC LIMIT 1)
WHERE id BETWEEN ? AND ? AND issue IS NULL AND stage = 'pipeline' AND origin = 'events.jsonl'
    AND input_tokens + output_tokens > 0"""

# The run that each entry ? (JSON) belongs to: the newest of its issue that started no later.
RUNS_OF_ENTRIES = """
SELECT DISTINCT (
    SELECT r.id FROM pipeline_runs AS r
    WHERE r.issue = c.issue AND +r.started_epoch <= c.ts_epoch ORDER BY r.id DESC LIMIT 1)
FROM cost_entries AS c
WHERE c.id IN (SELECT value FROM json_each(?)) AND c.issue IS NOT NULL"""

# New runs ? (JSON) to which older entries now belong, and the runs to which those belonged before.
RUNS_OF_OPENED = """
SELECT DISTINCT n.id, (
    SELECT p.id FROM pipeline_runs AS p
    WHERE p.issue = n.issue AND p.id < n.id AND +p.started_epoch <= c.ts_epoch ORDER BY p.id DESC LIMIT 1)
FROM json_each(?) AS opened
    CROSS JOIN pipeline_runs AS n ON n.id = opened.value
    CROSS JOIN cost_entries AS c ON c.issue = n.issue AND +c.ts_epoch >= n.started_epoch"""

# A run costs the sum of its issue's entries from its start to the first start of a later run.
SUM_RUNS = """
UPDATE pipeline_runs AS r SET entries_cost_usd = (
    SELECT round(sum(c.cost_usd), 6)
    FROM (SELECT coalesce(min(+n.started_epoch), 9223372036854775807) AS epoch
          FROM pipeline_runs AS n WHERE n.issue = r.issue AND n.id > r.id) AS next_start
        CROSS JOIN cost_entries AS c
    WHERE c.issue = r.issue AND +c.ts_epoch >= r.started_epoch AND +c.ts_epoch < next_start.epoch)
WHERE r.id IN (SELECT value FROM json_each(?))"""

# Undo all pairs and drop the entries taken from events, except for events ?1 to ?2.
DROP_TAKEN = "DELETE FROM cost_entries WHERE origin = 'events.jsonl' AND event_id NOT BETWEEN ?1 AND ?2"
PART_TWINS = "UPDATE cost_entries SET event_id = NULL WHERE event_id NOT BETWEEN ?1 AND ?2"
COUNT_WAITING = """
UPDATE projection_state SET entries_waiting = (
    SELECT count(*) FROM cost_entries WHERE origin = 'costs.json' AND event_id IS NULL)"""


def add_events(db: apsw.Connection, first_id: int, last_id: int, fold: Fold) -> None:
    """Store the cost.records among new events unless costs.json has their twins; then sum up the runs concerned."""
    touched = _runs(db, RUNS_OF_OPENED, [run.id for run in fold.opened])
    before: int = db.execute(LAST_ENTRY).get
    db.execute(ADD_EVENTS, (first_id, last_id))
    new = range(before + 1, before + 1 + db.changes())
    twins = []
    if new and db.execute(WAITING).get:
        twins = pair_up(db.execute(ENTRIES_FOR_EVENTS, (new[0], new[-1])))
        _join(db, twins)
    if len(new) > len(twins):
        db.execute(SET_ISSUES, (new[0], new[-1]))
        metrics.add_entries(db, new)
        touched |= _runs(db, RUNS_OF_ENTRIES, new)
    sum_runs(db, touched)


def add_entries(db: apsw.Connection, first_id: int, last_id: int) -> None:
    """Project the entries `first_id` to `last_id` of costs.json, which were just stored.

    They replace their twins that were taken from events. Expects the caller's transaction.
    """
    new = range(first_id, last_id + 1)
    if not new:
        return
    db.execute(ADD_WAITING, (len(new),))
    twins = pair_up(db.execute(EVENTS_FOR_ENTRIES, (first_id, last_id)))
    taken = [id_ for id_, _, _ in twins]
    touched = _runs(db, RUNS_OF_ENTRIES, taken)
    metrics.add_entries(db, taken, -1)
    _join(db, twins)
    metrics.add_entries(db, new)
    sum_runs(db, touched | _runs(db, RUNS_OF_ENTRIES, new))


def pair_up(candidates: Iterable[Twins]) -> list[Twins]:
    """Return the pairs: each takes its first free partner. `candidates` are in the order in which they choose."""
    taken: set[int] = set()
    entries: set[int] = set()
    pairs = []
    for twins in candidates:
        if twins[0] not in taken and twins[1] not in entries:
            taken.add(twins[0])
            entries.add(twins[1])
            pairs.append(twins)
    return pairs


def _join(db: apsw.Connection, pairs: list[Twins]) -> None:
    db.executemany(DROP_TWIN, [(taken,) for taken, _, _ in pairs])
    db.executemany(SET_EVENT, [(event, entry) for _, entry, event in pairs])
    if pairs:
        db.execute(ADD_WAITING, (-len(pairs),))


def _runs(db: apsw.Connection, statement: str, ids: Collection[int]) -> set[int]:
    if not ids:
        return set()
    rows = db.execute(statement, (orjson.dumps(list(ids)).decode(),))
    return {id_ for row in rows for id_ in row if id_ is not None}


def sum_runs(db: apsw.Connection, ids: Collection[int]) -> None:
    """Sum up what runs cost."""
    if ids:
        db.execute(SUM_RUNS, (orjson.dumps(list(ids)).decode(),))


def clear(db: apsw.Connection, kept: KeptRange | None) -> None:
    """Undo what cost.records added, except for those in the kept range."""
    ids = (1, 0) if kept is None else (kept.first_id, kept.last_id)
    db.execute(DROP_TAKEN, ids)
    db.execute(PART_TWINS, ids)
    db.execute(COUNT_WAITING)
