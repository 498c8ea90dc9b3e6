"""Stages: how long they take, how often they fail, what they cost, and which one is the bottleneck.

An attempt counts when it ended. Durations are the reported ones, 0 to 10^9 seconds. Mean, median and percentile are of
attempts that succeeded, as in Shipwright's dashboard; total time includes failed ones. The 95th percentile interpolates
as percentile_cont and Excel's PERCENTILE.INC do. Time grows with the attempts of the period.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apsw

from shipwrightd.clock import day_of, utc
from shipwrightd.reports.costs import Sum, breakdown
from shipwrightd.reports.question import DAY_S, Period, Question, percent_of

WHOLE_RUNS = "pipeline"  # cost entries of this stage are for whole runs
HIGH_S, MEDIUM_S = 600, 300  # a longer mean has this impact; the dashboard's limits
OFTEN_PERCENT = 25
BOTTLENECKS = 5

# One step in the index for each name.
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

# One stage in detail.
# Attempts at ?3 that ended from ?1 until ?2, by duration.
DURATIONS = """
WITH steps (least, below) AS (
    VALUES (0, 1), (1, 2), (2, 5), (5, 10), (10, 20), (20, 30), (30, 60), (60, 120), (120, 300), (300, 600),
        (600, 1200), (1200, 1800), (1800, 3600), (3600, 7200), (7200, 14400), (14400, 28800), (28800, 86400),
        (86400, NULL)
), took AS MATERIALIZED (
    SELECT duration_s, count(*) AS attempts, sum(status = 'failed') AS failed
    FROM pipeline_stages
    WHERE stage = ?3 AND ended_epoch >= ?1 AND ended_epoch < ?2
        AND duration_s BETWEEN 0 AND 1e9 AND status IN ('success', 'failed')
    GROUP BY duration_s
)
SELECT least, below, coalesce(sum(attempts), 0), coalesce(sum(failed), 0)
FROM steps LEFT JOIN took ON duration_s >= least AND (below IS NULL OR duration_s < below)
GROUP BY least ORDER BY least"""
DAYS = """
SELECT ended_epoch / 86400, sum(status = 'success'), sum(status = 'failed'), sum(status = 'skipped'),
    avg(took) FILTER (WHERE status = 'success'), coalesce(sum(took), 0)
FROM (SELECT ended_epoch, status,
        iif(duration_s BETWEEN 0 AND 1e9 AND status <> 'skipped', duration_s, NULL) AS took
      FROM pipeline_stages WHERE stage = ?3 AND ended_epoch >= ?1 AND ended_epoch < ?2)
GROUP BY 1 ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class Stage:
    """The attempts at one stage that ended in the period; None if nothing was measured."""

    stage: str
    attempts: int  # succeeded and failed
    succeeded: int
    failed: int
    skipped: int
    timed: int  # successful attempts with a duration, which the durations are of
    mean_s: float | None
    median_s: float | None
    p95_s: float | None
    min_s: float | None
    max_s: float | None
    total_s: float  # of all attempts
    failed_s: float  # of total_s, the time of attempts that failed
    share_percent: float | None  # of the time of all stages
    failure_percent: float | None  # of the attempts
    cost_usd: float  # cost entries of this stage
    cost_entries: int
    first_half_mean_s: float | None
    second_half_mean_s: float | None
    trend_percent: float | None  # second half compared with the first, + is slower


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """A stage worth speeding up, and why."""

    stage: str
    mean_s: float
    attempts: int
    share_percent: float | None
    impact: str  # high | medium: successful attempts, or all, take more than 600 s | 300 s on average; low
    reason: str
    suggestion: str


@dataclass(frozen=True, slots=True)
class Step:
    """The attempts whose duration is in one range."""

    from_s: int
    below_s: int | None  # None: no limit
    attempts: int
    failed: int


@dataclass(frozen=True, slots=True)
class Day:
    """The attempts that ended on one day."""

    day: str  # YYYY-MM-DD, UTC
    attempts: int  # succeeded and failed
    failed: int
    skipped: int
    mean_s: float | None  # of those that succeeded
    total_s: float


@dataclass(frozen=True, slots=True)
class Detail:
    """One stage: durations from its shortest to its longest attempt, and the days on which an attempt ended."""

    stage: str
    durations: list[Step]
    days: list[Day]


@dataclass(frozen=True, slots=True)
class Stages:
    """The answer; the stages with the most total time come first."""

    start: str | None  # UTC; None: from the first event
    end: str  # UTC
    second_half_start: str | None  # UTC; the trend compares what ended before and after it
    attempts: int  # at all stages
    total_s: float  # of all stages
    cost_usd: float  # of all cost entries of the period
    whole_runs_cost_usd: float  # of that, entries of stage "pipeline": whole runs
    other_cost_usd: float  # of that, entries without a stage
    stages: list[Stage]  # all, or the one named
    bottlenecks: list[Bottleneck]  # most total time first
    detail: Detail | None  # if the question names a stage

    @property
    def empty(self) -> bool:
        """Tell whether the period has no attempt that ended and no cost of a stage."""
        return not self.stages


def collect(db: apsw.Connection, question: Question) -> Stages:
    """Answer for the question's period and, if it names one, its stage."""
    since, until, end = question.period.since, question.period.until, question.end
    names = names_of(db)
    begin = since if since is not None else first(db, names)
    middle = end if begin is None else second_half(begin, end)
    counted = [(name, *row) for name in names for row in db.execute(ENDED, (since or 0, until, middle, name))]
    sums = breakdown(db, Question(now=question.now, period=question.period), by_stage=True)
    paid, all_paid = sums["stage"], sum(sums["day"].values(), Sum())
    total = sum(row[5] + row[10] for row in counted)
    known = {row[0]: stage(row, total, paid.get(row[0], Sum())) for row in counted}
    for name, cost in paid.items():
        if name not in known and name != WHOLE_RUNS:
            known[name] = stage((name, *(0,) * 5, *(None,) * 4, *(0,) * 3), total, cost)
    stages = sorted(known.values(), key=lambda one: (-one.total_s, -one.attempts, one.stage))
    chosen = [one for one in stages if question.stage in (None, one.stage)]
    return Stages(
        start=utc(since),
        end=utc(end) or "",
        second_half_start=None if begin is None else utc(middle),
        attempts=sum(one.attempts for one in stages),
        total_s=round(total, 3),
        cost_usd=all_paid.usd,
        whole_runs_cost_usd=paid.get(WHOLE_RUNS, Sum()).usd,
        other_cost_usd=(all_paid - sum(paid.values(), Sum())).usd,
        stages=chosen,
        bottlenecks=bottlenecks(stages),
        detail=detail_of(db, question.period, question.stage) if question.stage is not None and chosen else None,
    )


def names_of(db: apsw.Connection) -> list[str]:
    """Return the names of all stages with an attempt."""
    return [name for (name,) in db.execute(NAMES)]


def first(db: apsw.Connection, names: Iterable[str]) -> int | None:
    """Return when the first attempt at any of some stages ended, in seconds; None if there is none."""
    ends = [db.execute(FIRST, (name,)).get for name in names]
    return min((end for end in ends if end is not None), default=None)


def second_half(begin: int, end: int) -> int:
    """Return where the second half of a period begins, in seconds.

    As in the dashboard it is half of the days, rounded down; of less than two days, half of the seconds.
    """
    days = (end - begin) // DAY_S
    return end - (days // 2 * DAY_S if days > 1 else (end - begin) // 2)


def stage(row: tuple[Any, ...], total: float, paid: Sum) -> Stage:
    """Return a row of ENDED, behind its stage's name, as a Stage."""
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
        share_percent=percent_of(took + lost, total, 2),
        failure_percent=percent_of(bad, good + bad, 2),
        cost_usd=paid.usd,
        cost_entries=paid.entries,
        first_half_mean_s=seconds(early),
        second_half_mean_s=seconds(late),
        trend_percent=percent_of(late - early, early, 2) if early and late is not None else None,
    )


def detail_of(db: apsw.Connection, period: Period, name: str) -> Detail:
    """Return the attempts at a stage in a period by duration and by day."""
    values = (period.since or 0, period.until, name)
    steps = [Step(*row) for row in db.execute(DURATIONS, values)]
    used = [at for at, step in enumerate(steps) if step.attempts]
    days = [
        Day(day_of(day * DAY_S), good + bad, bad, skipped, seconds(mean), round(total, 3))
        for day, good, bad, skipped, mean, total in db.execute(DAYS, values)
    ]
    return Detail(name, steps[used[0] : used[-1] + 1] if used else [], days)


def bottlenecks(stages: list[Stage]) -> list[Bottleneck]:
    """Return the stages with the most total time, most first.

    Total time and not the mean is what runs wait for: one slow attempt a month delays less than a minute in each run.
    """
    return [bottleneck(one) for one in stages if one.total_s > 0][:BOTTLENECKS]


def bottleneck(one: Stage) -> Bottleneck:
    """Return the impact of a stage, and what to do about it."""
    average, every = one.mean_s or 0.0, mean(one.total_s, one.attempts) or 0.0
    longest = max(average, every)
    impact = "high" if longest > HIGH_S else "medium" if longest > MEDIUM_S else "low"
    advice = {
        "high": "run parts of it in parallel, or cache their results for the next run",
        "medium": "look for parts that can be shortened",
        "low": "no attempt takes long",
    }[impact]
    if one.failed_s * 2 > one.total_s:
        advice = "most of its time is spent on attempts that fail: fix those first"
    elif (one.failure_percent or 0) >= OFTEN_PERCENT:
        advice += f"; {one.failure_percent:.0f} % of its attempts fail: fix those first"
    times = "1 attempt" if one.attempts == 1 else f"{one.attempts:,} attempts"
    took = f"{average:,.0f} s on average" if one.timed else f"none succeeded, {every:,.0f} s on average"
    reason = f"{one.share_percent:.1f} % of the time of all stages: {times}, {took}"
    return Bottleneck(one.stage, average, one.attempts, one.share_percent, impact, reason, advice)


def mean(total: float, count: int) -> float | None:
    """Return the mean, None if the count is 0."""
    return total / count if count else None


def seconds(value: float | None) -> float | None:
    """Return a duration to the millisecond."""
    return None if value is None else round(value, 3)


def rows(answer: Stages) -> Iterable[dict[str, Any]]:
    """Return one row a stage."""
    return map(asdict, answer.stages)
