"""Read and write runs and stages: the stored state from which the fold continues."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING

import orjson

from shipwrightd.projections.fold import FAILURE, SUCCESS, Attempt, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from shipwrightd.projections.fold import Fold
    from shipwrightd.projections.payload import Issue

# The newest runs of an issue, or of those without one.
NEWEST_RUNS = """
SELECT id, issue, template, model, goal, machine, complexity, start_seen, started_ts, started_epoch,
    phase, doubles_due, spawn_id, spawn_epoch,
    completed_id, completed_epoch, result, reported_duration_s, iterations, stages_passed, slowest_stage,
    reported_failed_stage, reported_error_class, pr_url, agent_id, self_heal_count,
    input_tokens, output_tokens, reported_cost_usd,
    reap_id, reap_epoch, reap_result, kill_id, kill_epoch, paused_stage,
    last_sign, failed_epoch, last_failed_stage, last_error_class,
    next_run_id, last_event_id, last_epoch, aged, entries_cost_usd
FROM pipeline_runs WHERE issue IS +? ORDER BY id DESC LIMIT ?"""

# All attempts of a run, the last attempt at each stage last.
ATTEMPTS = """
SELECT id, run_id, stage, attempt, status, slot, started_epoch, ended_epoch, duration_s,
    reason, error, error_class
FROM pipeline_stages WHERE run_id = +? ORDER BY stage, attempt"""

WRITE_RUN = """
INSERT INTO pipeline_runs (
    id, issue, template, model, goal, machine, complexity, start_seen, started_ts, started_epoch,
    phase, doubles_due, spawn_id, spawn_epoch,
    completed_id, completed_epoch, result, reported_duration_s, iterations, stages_passed, slowest_stage,
    reported_failed_stage, reported_error_class, pr_url, agent_id, self_heal_count,
    input_tokens, output_tokens, reported_cost_usd,
    reap_id, reap_epoch, reap_result, kill_id, kill_epoch, paused_stage,
    last_sign, failed_epoch, last_failed_stage, last_error_class,
    next_run_id, last_event_id, last_epoch, aged, entries_cost_usd)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?,
    ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

WRITE_ATTEMPT = """
INSERT INTO pipeline_stages (
    id, run_id, stage, attempt, status, slot, started_epoch, ended_epoch, duration_s,
    reason, error, error_class)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

# A running run is given up when event time is more than 24 h past its last event.
AGE_RUNS = """
UPDATE pipeline_runs SET aged = 1
WHERE status = 'running' AND last_epoch < (SELECT watermark_epoch FROM projection_state) - 86400"""
MOVE_WATERMARK = """
UPDATE projection_state SET watermark_epoch = ?1 WHERE watermark_epoch IS NULL OR watermark_epoch < ?1"""
CLEAR = """
DELETE FROM pipeline_runs; DELETE FROM pipeline_stages; UPDATE projection_state SET watermark_epoch = NULL"""
DROP_RUN = "DELETE FROM pipeline_runs WHERE id = ?"
DROP_ATTEMPT = "DELETE FROM pipeline_stages WHERE id = ?"

KEPT_RANGE = "SELECT first_id, last_id, watermark_epoch FROM kept_range"
KEPT_RUNS = "SELECT facts FROM kept_runs ORDER BY id"
KEPT_STAGES = "SELECT facts FROM kept_stages ORDER BY id"
# Runs imported later than the kept range precede its runs.
LINK_IMPORTED = """
UPDATE pipeline_runs AS r SET next_run_id = (
    SELECT n.id FROM pipeline_runs AS n WHERE n.issue = r.issue AND n.id > r.id ORDER BY n.id LIMIT 1)
WHERE id < ? AND next_run_id IS NULL AND issue IS NOT NULL"""

FORGET_KEPT = "DELETE FROM kept_runs; DELETE FROM kept_stages"
KEEP_RUN = "INSERT INTO kept_runs (id, facts) VALUES (?, ?)"
KEEP_STAGE = "INSERT INTO kept_stages (id, facts) VALUES (?, ?)"
KEEP_RANGE = """
INSERT INTO kept_range (id, first_id, last_id, watermark_epoch)
SELECT 1, min(id), ?1, (
    SELECT max(epoch) FROM (
        SELECT watermark_epoch AS epoch FROM kept_range UNION ALL
        SELECT max(ts_epoch) FROM events WHERE origin = 'events.jsonl' OR origin GLOB 'import/*'))
FROM (
    SELECT 1 AS id UNION ALL SELECT min(id) FROM events UNION ALL SELECT min(id) FROM pipeline_runs UNION ALL
    SELECT min(event_id) FROM cost_entries UNION ALL SELECT first_id FROM kept_range)
WHERE true
ON CONFLICT (id) DO UPDATE SET first_id = excluded.first_id, last_id = max(last_id, excluded.last_id),
    watermark_epoch = excluded.watermark_epoch"""
ALL_RUNS = "SELECT * FROM pipeline_runs"
ALL_STAGES = "SELECT * FROM pipeline_stages"

RUN_COLUMNS = tuple(field.name for field in fields(Run) if field.name != "stages")
ATTEMPT_COLUMNS = tuple(field.name for field in fields(Attempt))
Outcome = tuple[bool, int | None, float | None]  # success, end in seconds, reported duration
_run_row = attrgetter(*RUN_COLUMNS)
_attempt_row = attrgetter(*ATTEMPT_COLUMNS)


@dataclass(frozen=True, slots=True)
class KeptRange:
    """The events, first to last, whose projections cannot be derived again."""

    first_id: int
    last_id: int
    watermark_epoch: int | None


class StoredRuns:
    """Reads the runs and attempts that earlier batches stored."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.outcomes: dict[int, Outcome | None] = {}  # of each run that was read
        self.attempts: set[int] = set()  # ids of those that were read

    def newest(self, issue: Issue, limit: int = 1) -> list[Run]:
        """Return the newest runs of an issue, or of those without one, oldest first."""
        runs = [Run(*row) for row in self._db.execute(NEWEST_RUNS, (issue, limit))][::-1]
        self.outcomes.update((run.id, outcome_of(run)) for run in runs)
        return runs

    def stages(self, run_id: int) -> dict[str, Attempt]:
        """Return the last attempt at each stage of a run."""
        last = {row[2]: Attempt(*row) for row in self._db.execute(ATTEMPTS, (run_id,))}
        self.attempts.update(attempt.id for attempt in last.values())
        return last


def write(db: apsw.Connection, fold: Fold, stored: StoredRuns) -> None:
    """Write the runs and attempts that a fold changed. Delete and insert is faster than replacing each row."""
    db.executemany(DROP_RUN, [(id_,) for id_ in stored.outcomes.keys() & fold.runs.keys()])
    db.executemany(WRITE_RUN, map(_run_row, fold.runs.values()))
    db.executemany(DROP_ATTEMPT, [(id_,) for id_ in stored.attempts & fold.attempts.keys()])
    db.executemany(WRITE_ATTEMPT, map(_attempt_row, fold.attempts.values()))


def outcome_of(run: Run) -> Outcome | None:
    """Return success, end and duration of a finished run, None for others.

    Equals the generated columns status, ended_epoch and duration_s.
    """
    result = run.reap_result if run.result is None else run.result
    if result is None and run.last_sign != FAILURE:
        return None
    ended = run.reap_epoch
    if run.completed_epoch is not None:
        ended = run.completed_epoch
    elif result != SUCCESS and run.last_sign == FAILURE and run.failed_epoch is not None:
        ended = run.failed_epoch
    return result == SUCCESS, ended, run.reported_duration_s


def changed_outcomes(fold: Fold, stored: StoredRuns) -> tuple[list[int], list[int]]:
    """Return the runs to subtract from the metrics as they were, and those to add as they are now."""
    after = {id_: outcome_of(run) for id_, run in fold.runs.items()}
    changed = [id_ for id_, outcome in after.items() if outcome != stored.outcomes.get(id_)]
    return [id_ for id_ in changed if stored.outcomes.get(id_)], [id_ for id_ in changed if after[id_]]


def age(db: apsw.Connection, newest_epoch: int | None) -> None:
    """Advance event time and give up runs that were silent for a day."""
    if newest_epoch is not None:
        db.execute(MOVE_WATERMARK, (newest_epoch,))
    db.execute(AGE_RUNS)


def kept_range(db: apsw.Connection) -> KeptRange | None:
    """Return the events whose projections are kept, None in a database whose events are all there."""
    row = db.execute(KEPT_RANGE).fetchone()
    return KeptRange(*row) if row else None


def restore_kept(db: apsw.Connection, kept: KeptRange) -> list[int]:
    """Insert the kept runs and stages behind those imported later; return the ids of the runs."""
    ids = []

    def run_rows() -> Iterator[tuple[object, ...]]:
        for (facts,) in db.execute(KEPT_RUNS):
            run = Run(**{"issue": None, **orjson.loads(facts)})
            ids.append(run.id)
            yield _run_row(run)

    db.executemany(WRITE_RUN, run_rows())
    stages = (Attempt(**{"started_epoch": None, **orjson.loads(facts)}) for (facts,) in db.execute(KEPT_STAGES))
    db.executemany(WRITE_ATTEMPT, map(_attempt_row, stages))
    db.execute(LINK_IMPORTED, (kept.first_id,))
    return ids


def keep(db: apsw.Connection, last_id: int) -> None:
    """Keep all runs and stages as they are after event `last_id`, in place of those kept before."""
    db.execute(FORGET_KEPT)
    db.executemany(KEEP_RUN, _facts(db, ALL_RUNS, RUN_COLUMNS))
    db.executemany(KEEP_STAGE, _facts(db, ALL_STAGES, ATTEMPT_COLUMNS))
    db.execute(KEEP_RANGE, (last_id,))


def _facts(db: apsw.Connection, query: str, columns: Sequence[str]) -> Iterator[tuple[int, str]]:
    cursor = db.execute(query)
    for row in cursor:
        values = dict(zip((column[0] for column in cursor.get_description()), row, strict=True))
        yield values["id"], orjson.dumps({name: values[name] for name in columns if values[name] is not None}).decode()
