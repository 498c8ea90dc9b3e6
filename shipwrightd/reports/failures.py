"""Failures: runs and attempts at stages that failed in a period: where, with which error, and whether they recovered.

Runs and attempts count when they ended. Time grows with the period, not with the history.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from shipwrightd.clock import YEAR_10000, utc
from shipwrightd.reports.question import days_of, percent_of
from shipwrightd.reports.stages import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from shipwrightd.reports.question import Question

ROWS = 20  # issues, and last failures, without a limit

# Parameters: :since <= end < :until; :stage and :issue or NULL; :limit. Attempts are read stage by stage in the index
# of their ends (:stages, a JSON array), or run by run if there is an issue, for which :stages is empty. A failed run
# counts at the stage it failed at.

# The attempts at each stage that succeeded or failed.
ATTEMPTS = """
SELECT value, (
    SELECT count(*) FROM pipeline_stages AS s INDEXED BY pipeline_stages_stage
    WHERE s.stage = value AND s.ended_epoch >= :since AND s.ended_epoch < :until
        AND s.status IN ('success', 'failed'))
FROM json_each(:stages)
UNION ALL
SELECT s.stage, count(*)
FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
    CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until
    AND s.status IN ('success', 'failed') AND (:stage IS NULL OR s.stage = :stage)
GROUP BY s.stage"""

FINISHED = """
SELECT count(*) FROM run_outcomes
WHERE ended_epoch >= :since AND ended_epoch < :until AND (:issue IS NULL OR issue = :issue)"""

# What failed, counted by kind: heat (stage and day), stage, class, issue (the first ones), issues (their number),
# recovered runs, retried, recovered attempts.
FAILED = """
WITH attempts AS MATERIALIZED (
    SELECT s.run_id, s.stage, s.attempt, s.ended_epoch, s.error_class, r.issue
    FROM json_each(:stages) AS j
        CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_stage
            ON s.stage = j.value AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
        CROSS JOIN pipeline_runs AS r ON r.id = s.run_id
    UNION ALL
    SELECT s.run_id, s.stage, s.attempt, s.ended_epoch, s.error_class, r.issue
    FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
        CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
    WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
        AND (:stage IS NULL OR s.stage = :stage)
), runs AS MATERIALIZED (
    SELECT r.issue, r.failed_stage, r.error_class, o.ended_epoch, (
        SELECT n.ended_epoch FROM pipeline_runs AS n INDEXED BY pipeline_runs_issue
        WHERE n.issue = r.issue AND n.id > r.id AND n.status = 'success' ORDER BY n.id LIMIT 1) AS recovered_epoch
    FROM run_outcomes AS o CROSS JOIN pipeline_runs AS r ON r.id = o.run_id
    WHERE o.ended_epoch >= :since AND o.ended_epoch < :until AND NOT o.good
        AND (:issue IS NULL OR o.issue = :issue) AND (:stage IS NULL OR r.failed_stage = :stage)
), parts (kind, key, day, attempts, runs) AS (
    SELECT 'heat', stage, date(ended_epoch / 86400 * 86400, 'unixepoch'), count(*), 0
    FROM attempts GROUP BY stage, ended_epoch / 86400
    UNION ALL
    SELECT 'stage', failed_stage, NULL, 0, count(*) FROM runs GROUP BY failed_stage
    UNION ALL
    SELECT 'class', error_class, NULL, count(*), 0 FROM attempts GROUP BY error_class
    UNION ALL
    SELECT 'class', error_class, NULL, 0, count(*) FROM runs GROUP BY error_class
    UNION ALL
    SELECT 'issue', issue, NULL, count(*), 0 FROM attempts GROUP BY issue
    UNION ALL
    SELECT 'issue', issue, NULL, 0, count(*) FROM runs GROUP BY issue
    UNION ALL
    SELECT 'recovered runs', NULL, NULL, 0, count(*) FROM runs
    WHERE recovered_epoch >= ended_epoch AND recovered_epoch < :until
    UNION ALL
    SELECT 'retried', NULL, NULL, count(*), 0 FROM attempts AS a WHERE EXISTS (
        SELECT 1 FROM pipeline_stages AS n
        WHERE n.run_id = a.run_id AND n.stage = a.stage AND n.attempt > a.attempt
            AND coalesce(n.started_epoch, n.ended_epoch) < :until)
    UNION ALL
    SELECT 'recovered attempts', NULL, NULL, count(*), 0 FROM attempts AS a WHERE EXISTS (
        SELECT 1 FROM pipeline_stages AS n
        WHERE n.run_id = a.run_id AND n.stage = a.stage AND n.attempt > a.attempt
            AND n.status = 'success' AND n.ended_epoch < :until)
), added AS MATERIALIZED (
    SELECT kind, key, day, sum(attempts) AS attempts, sum(runs) AS runs FROM parts GROUP BY kind, key, day
)
SELECT kind, key, day, attempts, runs FROM added WHERE kind <> 'issue' OR key IS NULL
UNION ALL
SELECT 'issues', NULL, NULL, count(*), 0 FROM added WHERE kind = 'issue' AND key IS NOT NULL
UNION ALL
SELECT * FROM (
    SELECT kind, key, day, attempts, runs FROM added WHERE kind = 'issue' AND key IS NOT NULL
    ORDER BY runs DESC, attempts DESC, key LIMIT :limit)"""

# The last failures: attempts, and runs of which no attempt failed. Recovered: later, before :until, the stage succeeded
# in the same run, or a run of the issue succeeded (for an attempt, its own run too).
LAST = """
WITH failed (kind, id, run_id, ended_epoch) AS (
    SELECT 'stage', s.id, NULL, s.ended_epoch
    FROM json_each(:stages) AS j CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_stage
        ON s.stage = j.value AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
    UNION ALL
    SELECT 'stage', s.id, NULL, s.ended_epoch
    FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
        CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
    WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
        AND (:stage IS NULL OR s.stage = :stage)
    UNION ALL
    SELECT 'run', NULL, o.run_id, o.ended_epoch
    FROM run_outcomes AS o CROSS JOIN pipeline_runs AS r ON r.id = o.run_id
    WHERE o.ended_epoch >= :since AND o.ended_epoch < :until AND NOT o.good
        AND (:issue IS NULL OR o.issue = :issue) AND (:stage IS NULL OR r.failed_stage = :stage)
        AND NOT EXISTS (SELECT 1 FROM pipeline_stages AS s WHERE s.run_id = o.run_id AND s.status = 'failed')
), last AS MATERIALIZED (
    SELECT * FROM failed ORDER BY ended_epoch DESC, coalesce(id, run_id) DESC LIMIT :limit
)
SELECT l.kind, l.ended_epoch, r.issue, r.id, iif(l.kind = 'run', r.failed_stage, s.stage), s.attempt,
    coalesce(s.error_class, iif(l.kind = 'run', r.error_class, NULL)), s.error,
    EXISTS (
        SELECT 1 FROM pipeline_stages AS n
        WHERE n.run_id = s.run_id AND n.stage = s.stage AND n.attempt > s.attempt
            AND n.status = 'success' AND n.ended_epoch < :until)
    OR (l.kind = 'stage' AND r.status = 'success' AND r.ended_epoch >= l.ended_epoch AND r.ended_epoch < :until)
    OR coalesce((
        SELECT n.ended_epoch FROM pipeline_runs AS n INDEXED BY pipeline_runs_issue
        WHERE n.issue = r.issue AND n.id > r.id AND n.status = 'success' ORDER BY n.id LIMIT 1
    ) BETWEEN l.ended_epoch AND :until - 1, 0)
FROM last AS l
    LEFT JOIN pipeline_stages AS s ON s.id = l.id
    JOIN pipeline_runs AS r ON r.id = coalesce(s.run_id, l.run_id)
ORDER BY l.ended_epoch DESC, coalesce(l.id, l.run_id) DESC"""


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


class Count(NamedTuple):
    """Failed attempts and failed runs of one kind and key."""

    key: Any = None
    day: str | None = None
    attempts: int = 0
    runs: int = 0


def collect(db: apsw.Connection, question: Question) -> Failures:
    """Answer for the question's period, its stage and its issue."""
    stages = [] if question.issue is not None else names_of(db) if question.stage is None else [question.stage]
    values = {
        "stages": orjson.dumps(stages).decode(),
        "since": question.period.since or 0,
        "until": min(question.period.until, YEAR_10000),
        "stage": question.stage,
        "issue": question.issue,
        "limit": ROWS if question.limit is None else question.limit,
    }
    counts: defaultdict[str, list[Count]] = defaultdict(list)
    for kind, *count in db.execute(FAILED, values):
        counts[kind].append(Count(*count))
    runs_recovered, retried, retried_well, issues = (
        next(iter(counts[kind]), Count()) for kind in ("recovered runs", "retried", "recovered attempts", "issues")
    )
    tried = {stage: number for stage, number in db.execute(ATTEMPTS, values) if number}
    finished = db.execute(FINISHED, values).get
    heat = [Cell(one.key, one.day or "", one.attempts) for one in counts["heat"]]
    failed, failed_runs = sum(cell.failed_attempts for cell in heat), sum(one.runs for one in counts["stage"])
    attempts = sum(tried.values())
    last = [(kind, utc(ended), *rest, bool(again)) for kind, ended, *rest, again in db.execute(LAST, values)]
    return Failures(
        finished_runs=finished,
        failed_runs=failed_runs,
        failed_runs_percent=percent_of(failed_runs, finished),
        recovered_runs=runs_recovered.runs,
        attempts=attempts,
        failed_attempts=failed,
        failed_attempts_percent=percent_of(failed, attempts),
        retried_attempts=retried.attempts,
        recovered_attempts=retried_well.attempts,
        by_stage=by_stage(tried, heat, {one.key: one.runs for one in counts["stage"]}),
        by_error_class=[ClassFailures(one.key, one.attempts, one.runs) for one in _ranked(counts["class"])],
        by_issue=[IssueFailures(one.key, one.attempts, one.runs) for one in _ranked(counts["issue"])],
        other_issues=issues.attempts - sum(one.key is not None for one in counts["issue"]),
        days=days_of(question, {cell.day for cell in heat}),
        heatmap=heat,
        last=[Failure(*one) for one in last],
    )


def by_stage(tried: dict[str, int], heat: list[Cell], runs: dict[str | None, int]) -> list[StageFailures]:
    """Return a line for each stage with a failure, most failed attempts first."""
    failed: dict[str | None, int] = dict.fromkeys(runs, 0)
    for cell in heat:
        failed[cell.stage] = failed.get(cell.stage, 0) + cell.failed_attempts
    lines = []
    for stage, number in failed.items():
        attempts = tried.get(stage or "", 0)
        lines.append(StageFailures(stage, attempts, number, percent_of(number, attempts), runs.get(stage, 0)))
    return sorted(lines, key=lambda one: (one.stage is None, -one.failed_attempts, -one.failed_runs, one.stage or ""))


def _ranked(counts: list[Count]) -> list[Count]:
    return sorted(counts, key=lambda one: (one.key is None, -one.runs, -one.attempts, str(one.key)))


def rows(answer: Failures) -> Iterable[dict[str, Any]]:
    """Return one row for each of the last failures."""
    return (asdict(one) for one in answer.last)
