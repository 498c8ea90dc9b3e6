"""Runs and stages: from the tables into the fold, and back.

The fold decides (project_fold); here is how its state is read and written.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING

from shipwrightd.projections.rows import FAILURE, SUCCESS, Attempt, Run

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from shipwrightd.projections.fold import Fold
    from shipwrightd.projections.payload import Issue

# The newest run of an issue before an event.
LATEST_RUN = """
SELECT id, issue, template, model, goal, machine, complexity, start_seen, started_ts, started_epoch,
    phase, doubles_due, spawn_id, spawn_epoch,
    completed_id, completed_epoch, result, reported_duration_s, iterations, stages_passed, slowest_stage,
    reported_failed_stage, reported_error_class, pr_url, agent_id, self_heal_count,
    input_tokens, output_tokens, reported_cost_usd,
    reap_id, reap_epoch, reap_result, kill_id, kill_epoch, paused_stage,
    last_sign, failed_epoch, last_failed_stage, last_error_class,
    next_run_id, last_event_id, last_epoch, aged, entries_cost_usd
FROM pipeline_runs WHERE issue = +? AND id < ? ORDER BY id DESC LIMIT 1"""

# The newest runs before an event that have no issue.
LOOSE_RUNS = """
SELECT id, issue, template, model, goal, machine, complexity, start_seen, started_ts, started_epoch,
    phase, doubles_due, spawn_id, spawn_epoch,
    completed_id, completed_epoch, result, reported_duration_s, iterations, stages_passed, slowest_stage,
    reported_failed_stage, reported_error_class, pr_url, agent_id, self_heal_count,
    input_tokens, output_tokens, reported_cost_usd,
    reap_id, reap_epoch, reap_result, kill_id, kill_epoch, paused_stage,
    last_sign, failed_epoch, last_failed_stage, last_error_class,
    next_run_id, last_event_id, last_epoch, aged, entries_cost_usd
FROM pipeline_runs WHERE issue IS NULL AND id < ? ORDER BY id DESC LIMIT ?"""

# All attempts of a run; the last at a stage comes last.
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

# More than 24 h of event time have passed since the last event of a run that seemed to go on.
AGE_RUNS = """
UPDATE pipeline_runs SET aged = 1
WHERE status = 'running' AND last_epoch < (SELECT watermark_epoch FROM projection_state) - 86400"""

# The largest ts_epoch of the batch, if it is beyond what was seen before.
MOVE_WATERMARK = """
UPDATE projection_state SET watermark_epoch = ?1 WHERE watermark_epoch IS NULL OR watermark_epoch < ?1"""

CLEAR_RUNS = """
DELETE FROM pipeline_runs; DELETE FROM pipeline_stages; UPDATE projection_state SET watermark_epoch = NULL"""

RUN_COLUMNS = tuple(field.name for field in fields(Run) if field.name != "stages")
DROP_RUN = "DELETE FROM pipeline_runs WHERE id = ?"
DROP_ATTEMPT = "DELETE FROM pipeline_stages WHERE id = ?"
NO_EVENT = (1 << 63) - 1  # an id beyond all

ATTEMPT_COLUMNS = tuple(field.name for field in fields(Attempt))
Standing = tuple[bool, int | None, float | None]  # success, end in seconds, reported duration
_run_row = attrgetter(*RUN_COLUMNS)
_attempt_row = attrgetter(*ATTEMPT_COLUMNS)


class Stored:
    """What earlier batches left in the tables, as the fold asks for it."""

    def __init__(self, db: apsw.Connection, before: int = NO_EVENT) -> None:
        """Read from this database what was opened before an event."""
        self._db = db
        self._before = before
        self.runs: dict[int, Standing | None] = {}  # read from there, with their standing
        self.attempts: set[int] = set()

    def latest(self, issue: Issue) -> Run | None:
        """Return the newest run of an issue."""
        row = self._db.execute(LATEST_RUN, (issue, self._before)).fetchone()
        return self._run(row) if row else None

    def loose(self, limit: int) -> list[Run]:
        """Return the newest runs without an issue, oldest first."""
        return [self._run(row) for row in self._db.execute(LOOSE_RUNS, (self._before, limit)).fetchall()][::-1]

    def _run(self, row: Iterable[object]) -> Run:
        run = Run(*row)  # type: ignore[arg-type]
        self.runs[run.id] = standing(run)
        return run

    def stages(self, run_id: int) -> dict[str, Attempt]:
        """Return the last attempt at each stage of a run."""
        last = {row[2]: Attempt(*row) for row in self._db.execute(ATTEMPTS, (run_id,))}
        self.attempts.update(attempt.id for attempt in last.values())
        return last


def write(db: apsw.Connection, fold: Fold, stored: Stored) -> None:
    """Write what a fold changed. Rows that are there are removed first: quicker than to replace each."""
    db.executemany(DROP_RUN, [(id_,) for id_ in stored.runs.keys() & fold.runs.keys()])
    db.executemany(WRITE_RUN, map(_run_row, fold.runs.values()))
    db.executemany(DROP_ATTEMPT, [(id_,) for id_ in stored.attempts & fold.attempts.keys()])
    db.executemany(WRITE_ATTEMPT, map(_attempt_row, fold.attempts.values()))


def insert(db: apsw.Connection, runs: Iterable[Run], attempts: Iterable[Attempt]) -> None:
    """Write runs and attempts that are not there."""
    db.executemany(WRITE_RUN, map(_run_row, runs))
    db.executemany(WRITE_ATTEMPT, map(_attempt_row, attempts))


def standing(run: Run) -> Standing | None:
    """Return success, end and duration of a finished run, None for others: all that figures take from its own facts.

    The columns status, ended_epoch and duration_s say the same.
    """
    said = run.result if run.result is not None else run.reap_result
    if said is None and run.last_sign != FAILURE:
        return None
    if run.completed_epoch is not None:
        return said == SUCCESS, run.completed_epoch, run.reported_duration_s
    if said != SUCCESS and run.last_sign == FAILURE and run.failed_epoch is not None:
        return False, run.failed_epoch, run.reported_duration_s
    return said == SUCCESS, run.reap_epoch, run.reported_duration_s


def recounted(fold: Fold, stored: Stored) -> tuple[list[int], list[int]]:
    """Return the runs whose figures no longer hold, and those to be counted as they are now."""
    no_longer = []
    now = []
    for id_, run in fold.runs.items():
        before = stored.runs.get(id_)
        after = standing(run)
        if before != after:
            if before is not None:
                no_longer.append(id_)
            if after is not None:
                now.append(id_)
    return no_longer, now


def age(db: apsw.Connection, newest_epoch: int | None) -> None:
    """Move event time on and let go of runs that have been silent for a day."""
    if newest_epoch is not None:
        db.execute(MOVE_WATERMARK, (newest_epoch,))
    db.execute(AGE_RUNS)


def clear(db: apsw.Connection) -> None:
    """Forget all runs and stages, and the time."""
    db.execute(CLEAR_RUNS)
