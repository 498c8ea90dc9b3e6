"""Stages: how long they take, how often they fail, what they cost, and which one holds up the rest.

An attempt counts where it ended. Durations are those that were reported, 0 to
10^9 seconds; how long a stage takes is told by the attempts that succeeded, as
in Shipwright's dashboard, the time it took in all by the failed ones too. The
95th percentile interpolates between neighbours, as percentile_cont and Excel's
PERCENTILE.INC do. Time grows with the attempts of the period.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipwrightd.clock import utc
from shipwrightd.reports.question import DAY_S
from shipwrightd.reports.stages_cost import Money, spent
from shipwrightd.reports.stages_one import Detail, one_stage

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from shipwrightd.reports.question import Question

WHOLE_RUNS = "pipeline"  # money under this name is that of whole runs
HIGH_S, MEDIUM_S = 600, 300  # more than that in the mean; the dashboard's limits
OFTEN_PERCENT = 25
BOTTLENECKS = 5

# Names are hopped through, so that only they are read.
NAMES = """
WITH RECURSIVE names (stage) AS (
    SELECT min(stage) FROM pipeline_stages
    UNION ALL
    SELECT (SELECT min(stage) FROM pipeline_stages WHERE stage > names.stage) FROM names WHERE stage IS NOT NULL
)
SELECT stage FROM names WHERE stage IS NOT NULL"""
FIRST = "SELECT min(ended_epoch) FROM pipeline_stages WHERE stage = ? AND ended_epoch >= 0"

# What ended of stage ?4 from ?1 until ?2; the second half begins at ?3. One stage at a time:
# grouping would sort what the index holds in order, and takes twice as long.
ENDED = """
SELECT sum(status = 'success'), sum(status = 'failed'), sum(status = 'skipped'),
    count(good), coalesce(sum(good), 0), median(good), percentile_cont(good, 0.95), min(good), max(good),
    coalesce(sum(lost), 0), coalesce(sum(good) FILTER (WHERE early), 0), count(good) FILTER (WHERE early)
FROM (
    SELECT status, ended_epoch < ?3 AS early,
        iif(status = 'success' AND duration_s BETWEEN 0 AND 1e9, duration_s, NULL) AS good,
        iif(status = 'failed' AND duration_s BETWEEN 0 AND 1e9, duration_s, NULL) AS lost
    FROM pipeline_stages WHERE stage = ?4 AND ended_epoch >= ?1 AND ended_epoch < ?2
)
HAVING count(*) > 0"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The attempts at one stage that ended in the period; None where nothing was measured."""

    stage: str
    attempts: int  # succeeded and failed
    succeeded: int
    failed: int
    skipped: int
    timed: int  # successful attempts with a duration: those the durations are of
    mean_s: float | None
    median_s: float | None
    p95_s: float | None
    min_s: float | None
    max_s: float | None
    total_s: float  # of all attempts
    failed_s: float  # of total_s, what went into attempts that failed
    share_percent: float | None  # of the time of all stages
    failure_percent: float | None  # of the attempts
    cost_usd: float  # cost entries of this stage
    cost_entries: int
    first_half_mean_s: float | None
    second_half_mean_s: float | None
    trend_percent: float | None  # second half against the first, + for slower


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A stage worth making quicker, and why."""

    stage: str
    mean_s: float
    attempts: int
    share_percent: float | None
    impact: str  # high, medium: attempts that succeed, or all of them, take above 600 s, 300 s in the mean; else low
    reason: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class Stages:
    """The whole answer; the stages that took most time in all come first."""

    start: str | None  # UTC; None: all there was before
    end: str  # UTC
    second_half_start: str | None  # UTC: where the trend's halves meet
    attempts: int  # at all stages
    total_s: float  # of all stages
    cost_usd: float  # all that the period's cost entries add up to
    whole_runs_cost_usd: float  # of that, entries of stage "pipeline": whole runs, no stage can be told
    other_cost_usd: float  # of that, entries that name no stage
    stages: list[Stage]  # all, or the one that was asked for
    bottlenecks: list[Bottleneck]  # the first is the one: it takes the largest share of all stages' time
    detail: Detail | None  # of one stage, when it was asked for

    @property
    def empty(self) -> bool:
        """Tell whether no attempt ended, and nothing was spent on a stage, in the period."""
        return not self.stages


def collect(db: apsw.Connection, question: Question) -> Stages:
    """Answer for the question's period and, if it names one, its stage."""
    since, until, end = question.period.since, question.period.until, question.end
    names = [name for (name,) in db.execute(NAMES)]
    begin = since if since is not None else first(db, names)
    middle = end if begin is None else second_half(begin, end)
    counted = [(name, *row) for name in names for row in db.execute(ENDED, (since or 0, until, middle, name))]
    money = spent(db, question.period)
    total = sum(row[5] + row[10] for row in counted)
    known = {row[0]: stage(row, total, money.stages.get(row[0], Money())) for row in counted}
    for name, paid in money.stages.items():
        if name not in known and name != WHOLE_RUNS:
            known[name] = stage((name, *(0,) * 5, *(None,) * 4, *(0,) * 3), total, paid)
    stages = sorted(known.values(), key=lambda found: (-found.total_s, -found.attempts, found.stage))
    asked = [found for found in stages if question.stage in (None, found.stage)]
    return Stages(
        start=utc(since),
        end=utc(end) or "",
        second_half_start=None if begin is None else utc(middle),
        attempts=sum(found.attempts for found in stages),
        total_s=round(total, 3),
        cost_usd=money.all.usd,
        whole_runs_cost_usd=money.stages.get(WHOLE_RUNS, Money()).usd,
        other_cost_usd=money.other.usd,
        stages=asked,
        bottlenecks=bottlenecks(stages),
        detail=one_stage(db, question.period, question.stage) if question.stage is not None and asked else None,
    )


def first(db: apsw.Connection, names: Iterable[str]) -> int | None:
    """Return when the first attempt at some stages ended, in seconds; None where there is none."""
    ends = [db.execute(FIRST, (name,)).get for name in names]
    return min((end for end in ends if end is not None), default=None)


def second_half(begin: int, end: int) -> int:
    """Return where the second half of a period begins, in seconds.

    As in the dashboard it is the last half of the days, rounded down; of less than two days, of the seconds.
    """
    days = (end - begin) // DAY_S
    return end - (days // 2 * DAY_S if days > 1 else (end - begin) // 2)


def stage(row: tuple[Any, ...], total: float, paid: Money) -> Stage:
    """Return a row of STAGES with what follows from it."""
    name, good, bad, skipped, timed, took, median, p95, least, most, lost, took_early, timed_early = row
    early = mean(took_early, timed_early)
    late = mean(took - took_early, timed - timed_early)
    return Stage(
        stage=name,
        attempts=good + bad,
        succeeded=good,
        failed=bad,
        skipped=skipped,
        timed=timed,
        mean_s=seconds(mean(took, timed)),
        median_s=seconds(median),
        p95_s=seconds(p95),
        min_s=seconds(least),
        max_s=seconds(most),
        total_s=round(took + lost, 3),
        failed_s=round(lost, 3),
        share_percent=share(took + lost, total),
        failure_percent=share(bad, good + bad),
        cost_usd=paid.usd,
        cost_entries=paid.entries,
        first_half_mean_s=seconds(early),
        second_half_mean_s=seconds(late),
        trend_percent=share(late - early, early) if early and late is not None else None,
    )


def bottlenecks(stages: list[Stage]) -> list[Bottleneck]:
    """Return the stages that took most time in all, the most first.

    The whole time, not the mean, is what waiting for a stage adds up to: one slow
    attempt in a month holds up less than a minute lost in each run.
    """
    return [bottleneck(found) for found in stages if found.total_s > 0][:BOTTLENECKS]


def bottleneck(found: Stage) -> Bottleneck:
    """Return what to say of a stage: how long an attempt takes, and whether that is spent in vain."""
    average, every = found.mean_s or 0.0, mean(found.total_s, found.attempts) or 0.0
    longest = max(average, every)
    impact = "high" if longest > HIGH_S else "medium" if longest > MEDIUM_S else "low"
    advice = {
        "high": "do parts of it side by side, or keep what they make for the next run",
        "medium": "look for what can be shortened",
        "low": "no attempt takes long",
    }[impact]
    if found.failed_s * 2 > found.total_s:
        advice = "most of its time goes into attempts that fail: mend that first"
    elif (found.failure_percent or 0) >= OFTEN_PERCENT:
        advice += f"; {found.failure_percent:.0f} % of its attempts fail: mend that first"
    times = "1 attempt" if found.attempts == 1 else f"{found.attempts:,} attempts"
    took = f"{average:,.0f} s in the mean" if found.timed else f"none that succeeded, {every:,.0f} s in the mean"
    reason = f"{found.share_percent:.1f} % of the time of all stages: {times}, {took}"
    return Bottleneck(found.stage, average, found.attempts, found.share_percent, impact, reason, advice)


def mean(total: float, count: int) -> float | None:
    """Return the mean, None of nothing."""
    return total / count if count else None


def seconds(value: float | None) -> float | None:
    """Return a duration to the millisecond."""
    return None if value is None else round(value, 3)


def share(part: float, whole: float) -> float | None:
    """Return a part in percent of the whole, None where there is no whole."""
    return round(100 * part / whole, 2) if whole else None


def rows(answer: Stages) -> Iterable[dict[str, Any]]:
    """Return one row a stage."""
    for found in answer.stages:
        yield {name: getattr(found, name) for name in Stage.__dataclass_fields__}
