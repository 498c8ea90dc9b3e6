"""Failures: runs and attempts at stages that failed in a period, where, with what error, and what came of them.

A run counts when it ended, an attempt when it ended. Attempts are found stage by
stage in the index of their ends, so time grows with the period and not with
all there ever was.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shipwrightd.clock import YEAR_10000, utc
from shipwrightd.reports.failures_sql import ATTEMPTS, FAILED, FINISHED, LAST
from shipwrightd.reports.question import days_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from shipwrightd.reports.question import Question

ROWS = 20  # issues, and failures in words, unless a limit says otherwise


@dataclass(frozen=True, slots=True)
class StageFailures:
    """What failed at one stage."""

    stage: str | None  # None: runs of which no stage is known to have failed
    attempts: int  # successful and failed ones, not the skipped
    failed_attempts: int
    failed_percent: float | None  # of the attempts
    failed_runs: int  # runs that failed at this stage


@dataclass(frozen=True, slots=True)
class ClassFailures:
    """What failed with one class of error."""

    error_class: str | None  # None: none was told
    failed_attempts: int
    failed_runs: int


@dataclass(frozen=True, slots=True)
class IssueFailures:
    """What failed of one issue."""

    issue: int | str | None  # None: runs without one
    failed_attempts: int
    failed_runs: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of stage by day; squares without a failure are left out."""

    stage: str
    day: str  # UTC
    failed_attempts: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure in words: a failed attempt, or a failed run of which no attempt is known to have failed."""

    kind: str  # stage | run
    ended_at: str | None  # UTC
    issue: int | str | None
    run: int  # pipeline_runs.id
    stage: str | None
    attempt: int | None  # None for a run
    error_class: str | None
    error: str | None  # as it was told, whole
    recovered: bool  # a later attempt at the stage in this run, or a later run of the issue, succeeded in time


@dataclass(frozen=True, slots=True)
class Failures:
    """The whole answer."""

    finished_runs: int
    failed_runs: int
    failed_runs_percent: float | None
    recovered_runs: int  # failed runs whose issue succeeded later, before the period's end
    attempts: int  # at stages, successful and failed
    failed_attempts: int
    failed_attempts_percent: float | None
    retried_attempts: int  # failed ones that were followed by another in the same run
    recovered_attempts: int  # failed ones of which a later one in the same run succeeded
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


@dataclass(frozen=True, slots=True)
class Count:
    """Failed attempts and failed runs of one kind and key."""

    key: Any
    day: str | None
    attempts: int
    runs: int


def collect(db: apsw.Connection, question: Question) -> Failures:
    """Answer for the question's period, its stage and its issue."""
    values = {
        "since": question.period.since or 0,
        "until": min(question.period.until, YEAR_10000),
        "stage": question.stage,
        "issue": question.issue,
        "limit": ROWS if question.limit is None else question.limit,
    }
    found: dict[str, list[Count]] = {}
    for kind, *count in db.execute(FAILED, values):
        found.setdefault(kind, []).append(Count(*count))
    tried = {stage: number for stage, number in db.execute(ATTEMPTS, values) if number}
    finished = db.execute(FINISHED, values).get
    heat = [Cell(one.key, one.day or "", one.attempts) for one in found.get("heat", ())]
    failed, failed_runs = sum(cell.failed_attempts for cell in heat), sum(one.runs for one in found.get("stage", ()))
    attempts = sum(tried.values())
    return Failures(
        finished_runs=finished,
        failed_runs=failed_runs,
        failed_runs_percent=percent_of(failed_runs, finished),
        recovered_runs=_only(found, "recovered").runs,
        attempts=attempts,
        failed_attempts=failed,
        failed_attempts_percent=percent_of(failed, attempts),
        retried_attempts=_only(found, "retried").attempts,
        recovered_attempts=_only(found, "mended").attempts,
        by_stage=by_stage(tried, heat, {one.key: one.runs for one in found.get("stage", ())}),
        by_error_class=[ClassFailures(one.key, one.attempts, one.runs) for one in _ranked(found, "class")],
        by_issue=[IssueFailures(one.key, one.attempts, one.runs) for one in _ranked(found, "issue")],
        other_issues=_only(found, "issues").attempts - sum(one.key is not None for one in found.get("issue", ())),
        days=days_of(question, {cell.day for cell in heat}),
        heatmap=heat,
        last=[failure(row) for row in db.execute(LAST, values)],
    )


def by_stage(tried: dict[str, int], heat: list[Cell], runs: dict[str | None, int]) -> list[StageFailures]:
    """Return a line for each stage at which something failed, most failed attempts first."""
    failed: dict[str | None, int] = dict.fromkeys(runs, 0)
    for cell in heat:
        failed[cell.stage] = failed.get(cell.stage, 0) + cell.failed_attempts
    lines = [
        StageFailures(
            stage,
            attempts=tried.get(stage or "", 0),
            failed_attempts=number,
            failed_percent=percent_of(number, tried.get(stage or "", 0)),
            failed_runs=runs.get(stage, 0),
        )
        for stage, number in failed.items()
    ]
    return sorted(lines, key=lambda one: (one.stage is None, -one.failed_attempts, -one.failed_runs, one.stage or ""))


def _ranked(found: dict[str, list[Count]], kind: str) -> list[Count]:
    counts = found.get(kind, [])
    return sorted(counts, key=lambda one: (one.key is None, -one.runs, -one.attempts, str(one.key)))


def _only(found: dict[str, list[Count]], kind: str) -> Count:
    return found.get(kind, [Count(None, None, 0, 0)])[0]


def failure(row: tuple[Any, ...]) -> Failure:
    """Return one row of LAST."""
    kind, ended_epoch, issue, run, stage, attempt, error_class, error, recovered = row
    return Failure(kind, utc(ended_epoch), issue, run, stage, attempt, error_class, error, bool(recovered))


def percent_of(part: int, whole: int) -> float | None:
    """Return a share in percent, None of nothing."""
    return round(100 * part / whole, 4) if whole else None


def rows(answer: Failures) -> Iterable[dict[str, Any]]:
    """Return one row for each of the last failures."""
    return (asdict(one) for one in answer.last)
