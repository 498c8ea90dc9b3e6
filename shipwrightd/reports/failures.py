"""Failures: runs and attempts at stages that failed in a period: where, with which error, and whether they recovered.

Runs and attempts count when they ended. Time grows with the period, not with the history.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import apsw
import orjson

from shipwrightd.reports.question import Question, days_of, percent_of
from shipwrightd.reports.stages import names_of
from shipwrightd.reports.throughput import TOTALS

ROWS = 20  # issues, and last failures, without a limit

# Parameters: :since <= end < :until; :stage and :issue or NULL; :stages, the names to read in the index, as JSON. A
# failed run counts at the stage it failed at.

# The attempts at each stage that succeeded or failed.
ATTEMPTS = """
SELECT value, (
    SELECT count(*) FROM pipeline_stages AS s INDEXED BY pipeline_stages_stage
    WHERE s.stage = value AND s.ended_epoch >= :since AND s.ended_epoch < :until
        AND s.status IN ('success', 'failed'))
FROM json_each(:stages) WHERE :issue IS NULL
UNION ALL
SELECT s.stage, count(*)
FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
    CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until
    AND s.status IN ('success', 'failed') AND (:stage IS NULL OR s.stage = :stage)
GROUP BY s.stage"""

# Each failed attempt and each failed run, newest first, with the fields of Failure but the error, whether the stage
# succeeded in this run later, whether it was tried again, and whether `last` leaves the run out for its attempts. Later
# always means before :until.
FAILED = """
WITH failed (kind, id, run_id, stage, attempt, ended_epoch, error_class) AS (
    SELECT 'stage', s.id, s.run_id, s.stage, s.attempt, s.ended_epoch, s.error_class
    FROM json_each(:stages) AS j CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_stage
        ON s.stage = j.value AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
    UNION ALL
    SELECT 'run', NULL, r.id, r.failed_stage, NULL, o.ended_epoch, r.error_class
    FROM run_outcomes AS o CROSS JOIN pipeline_runs AS r ON r.id = o.run_id
    WHERE o.ended_epoch >= :since AND o.ended_epoch < :until AND NOT o.good
        AND (:stage IS NULL OR r.failed_stage = :stage)
)
SELECT kind, strftime('%Y-%m-%dT%H:%M:%SZ', ended_epoch, 'unixepoch'), issue, run_id, stage, attempt, error_class,
    recovered_there OR recovered_later, recovered_there, retried, hidden
FROM (
    SELECT f.*, r.issue,
        EXISTS (
            SELECT 1 FROM pipeline_stages AS n
            WHERE n.run_id = f.run_id AND n.stage = f.stage AND n.attempt > f.attempt
                AND coalesce(n.started_epoch, n.ended_epoch) < :until) AS retried,
        EXISTS (
            SELECT 1 FROM pipeline_stages AS n
            WHERE n.run_id = f.run_id AND n.stage = f.stage AND n.attempt > f.attempt
                AND n.status = 'success' AND n.ended_epoch < :until) AS recovered_there,
        (f.kind = 'stage' AND r.status = 'success' AND r.ended_epoch BETWEEN f.ended_epoch AND :until - 1)
        OR coalesce((
            SELECT n.ended_epoch FROM pipeline_runs AS n INDEXED BY pipeline_runs_issue
            WHERE n.issue = r.issue AND n.id > r.id AND n.status = 'success' ORDER BY n.id LIMIT 1
        ) BETWEEN f.ended_epoch AND :until - 1, 0) AS recovered_later,
        f.kind = 'run' AND EXISTS (
            SELECT 1 FROM pipeline_stages AS s WHERE s.run_id = f.run_id AND s.status = 'failed') AS hidden
    FROM failed AS f CROSS JOIN pipeline_runs AS r ON r.id = f.run_id
    WHERE :issue IS NULL OR r.issue = :issue
)
ORDER BY ended_epoch DESC, coalesce(id, run_id) DESC"""
Row = tuple[Any, ...]
KIND, ENDED_AT, ISSUE, STAGE, ERROR_CLASS, RECOVERED, RECOVERED_THERE, RETRIED, HIDDEN = 0, 1, 2, 4, 6, 7, 8, 9, 10
ERROR = "SELECT error FROM pipeline_stages WHERE run_id = ? AND stage = ? AND attempt = ?"


@dataclass(frozen=True, slots=True)
class StageFailures:
    """Failures at one stage."""

    stage: str | None  # None: runs whose failed stage is unknown
    attempts: int  # successful and failed ones, not the skipped
    failed_attempts: int
    failed_percent: float | None  # of the attempts
    failed_runs: int  # runs that failed at this stage


@dataclass(frozen=True, slots=True)
class ClassFailures:
    """Failures with one class of error."""

    error_class: str | None  # None: not reported
    failed_attempts: int
    failed_runs: int


@dataclass(frozen=True, slots=True)
class IssueFailures:
    """Failures of one issue."""

    issue: int | str | None  # None: runs without one
    failed_attempts: int
    failed_runs: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the heatmap, stage by day; cells without a failure are left out."""

    stage: str
    day: str  # UTC
    failed_attempts: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure: a failed attempt, or a failed run without a known failed attempt."""

    kind: str  # stage | run
    ended_at: str | None  # UTC
    issue: int | str | None
    run: int  # pipeline_runs.id
    stage: str | None
    attempt: int | None  # None for a run
    error_class: str | None
    error: str | None  # as reported, in full
    recovered: bool  # a later attempt at the stage in this run, or a later run of the issue, succeeded before the end


@dataclass(frozen=True, slots=True)
class Failures:
    """The answer."""

    finished_runs: int
    failed_runs: int
    failed_runs_percent: float | None
    recovered_runs: int  # failed runs whose issue succeeded later, before the period's end
    attempts: int  # at stages, successful and failed
    failed_attempts: int
    failed_attempts_percent: float | None
    retried_attempts: int  # failed ones followed by another in the same run
    recovered_attempts: int  # failed ones followed by a successful one in the same run
    by_stage: list[StageFailures]  # most failures first
    by_error_class: list[ClassFailures]
    by_issue: list[IssueFailures]  # the first ones, as many as the limit
    other_issues: int  # issues with failures that are not in by_issue
    days: list[str]  # each UTC day of the period, the columns of the heatmap
    heatmap: list[Cell]
    last: list[Failure]  # newest first, as many as the limit

    @property
    def empty(self) -> bool:
        """Tell whether nothing failed in the period."""
        return not (self.failed_runs or self.failed_attempts)


def collect(db: apsw.Connection, question: Question) -> Failures:
    """Answer for the question's period, its stage and its issue."""
    stages = names_of(db) if question.stage is None else [question.stage]
    values = question.values | {"stages": orjson.dumps(stages).decode()}
    limit = ROWS if question.limit is None else question.limit
    failed: list[Row] = db.execute(FAILED, values).fetchall()
    tried = {stage: number for stage, number in db.execute(ATTEMPTS, values) if number}
    attempts, runs = ([row for row in failed if row[KIND] == kind] for kind in ("stage", "run"))
    heat = Counter((row[STAGE], row[ENDED_AT][:10]) for row in attempts)
    by_stage = [
        StageFailures(stage, tried.get(stage, 0), number, percent_of(number, tried.get(stage, 0)), failed_runs)
        for stage, number, failed_runs in counted(attempts, runs, STAGE)
    ]
    by_issue = [IssueFailures(*counts) for counts in counted(attempts, runs, ISSUE)]
    named = [one for one in by_issue if one.issue is not None]
    ((finished, *_),) = db.execute(TOTALS, values)
    all_tried = sum(tried.values())
    return Failures(
        finished_runs=finished,
        failed_runs=len(runs),
        failed_runs_percent=percent_of(len(runs), finished),
        recovered_runs=sum(row[RECOVERED] for row in runs),
        attempts=all_tried,
        failed_attempts=len(attempts),
        failed_attempts_percent=percent_of(len(attempts), all_tried),
        retried_attempts=sum(row[RETRIED] for row in attempts),
        recovered_attempts=sum(row[RECOVERED_THERE] for row in attempts),
        by_stage=sorted(by_stage, key=lambda one: (one.stage is None, -one.failed_attempts)),
        by_error_class=[ClassFailures(*counts) for counts in counted(attempts, runs, ERROR_CLASS)],
        by_issue=[*named[:limit], *by_issue[len(named) :]],
        other_issues=max(len(named) - limit, 0),
        days=days_of(question, {day for _, day in heat}),
        heatmap=[Cell(*cell, number) for cell, number in sorted(heat.items())],
        last=[failure(db, row) for row in islice((row for row in failed if not row[HIDDEN]), limit)],
    )


def counted(attempts: list[Row], runs: list[Row], column: int) -> list[tuple[Any, int, int]]:
    """Return each value of a column with its failed attempts and failed runs: most runs first, None last."""
    in_attempts, in_runs = (Counter(row[column] for row in rows) for rows in (attempts, runs))
    order = sorted(
        in_attempts.keys() | in_runs.keys(),
        key=lambda value: (value is None, -in_runs[value], -in_attempts[value], isinstance(value, str), value),
    )
    return [(value, in_attempts[value], in_runs[value]) for value in order]


def failure(db: apsw.Connection, row: Row) -> Failure:
    """Return a row of FAILED with its error, which may be long."""
    kind, ended_at, issue, run, stage, attempt, error_class, recovered, *_ = row
    error = db.execute(ERROR, (run, stage, attempt)).get
    return Failure(kind, ended_at, issue, run, stage, attempt, error_class, error, bool(recovered))


def rows(answer: Failures) -> Iterable[dict[str, Any]]:
    """Return one row for each of the last failures."""
    return map(asdict, answer.last)
