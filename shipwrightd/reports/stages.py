"""Stages: how long they take, how often they fail, what they cost, and which one is the bottleneck.

An attempt counts when it ended. Durations are the reported ones, 0 to 10^9 seconds. Mean, median and percentile are of
attempts that succeeded, as in Shipwright's dashboard; total time includes failed ones. The 95th percentile interpolates
as percentile_cont and Excel's PERCENTILE.INC do. Time grows with the attempts of the period.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apsw
import orjson

from shipwrightd.clock import utc
from shipwrightd.reports import distinct
from shipwrightd.reports.costs import Sum, breakdown
from shipwrightd.reports.question import DAY_S, Question, percent_of

WHOLE_RUNS = "pipeline"  # cost entries of this stage are for whole runs
HIGH_S, MEDIUM_S = 600, 300  # a longer mean has this impact; the dashboard's limits
OFTEN_PERCENT = 25
BOTTLENECKS = 5

NAMES = "SELECT min(stage) FROM pipeline_stages WHERE stage >= ?"
FIRST = """
SELECT min((SELECT min(ended_epoch) FROM pipeline_stages WHERE stage = value AND ended_epoch >= 0))
FROM json_each(?)"""

# What ended of stage ?4 from ?1 until ?2; the second half begins at ?3. One stage at a time:
# grouping would sort what the index holds in order, and takes twice as long.
ENDED = """
SELECT good + bad, good, bad, skipped, timed, round(mean, 3), round(median, 3), round(p95, 3), round(least, 3),
    round(most, 3), round(took + lost, 3), round(lost, 3), round(100.0 * bad / (good + bad), 2),
    round(early, 3), round(late, 3), round(100 * (late - early) / early, 2)
FROM (
    SELECT sum(status = 'success') AS good, sum(status = 'failed') AS bad, sum(status = 'skipped') AS skipped,
        count(good) AS timed, avg(good) AS mean, median(good) AS median, percentile_cont(good, 0.95) AS p95,
        min(good) AS least, max(good) AS most, total(good) AS took, total(lost) AS lost,
        avg(good) FILTER (WHERE ended_epoch < ?3) AS early, avg(good) FILTER (WHERE ended_epoch >= ?3) AS late
    FROM (
        SELECT status, ended_epoch,
            iif(status = 'success' AND duration_s BETWEEN 0 AND 1e9, duration_s, NULL) AS good,
            iif(status = 'failed' AND duration_s BETWEEN 0 AND 1e9, duration_s, NULL) AS lost
        FROM pipeline_stages WHERE stage = ?4 AND ended_epoch >= ?1 AND ended_epoch < ?2
    )
    HAVING count(*) > 0
)"""
TOTAL_S = 10  # of the columns of ENDED
NOTHING_ENDED = (0, 0, 0, 0, 0, None, None, None, None, None, 0.0, 0.0, None, None, None, None)

# One stage in detail.
# Attempts at :stage that ended in the period, by duration, in ranges between :limits (a JSON array).
DURATIONS = """
WITH steps (least, below) AS (
    SELECT value, lead(value) OVER (ORDER BY key) FROM json_each(:limits)
), took AS MATERIALIZED (
    SELECT duration_s, count(*) AS attempts, sum(status = 'failed') AS failed
    FROM pipeline_stages
    WHERE stage = :stage AND ended_epoch >= :since AND ended_epoch < :until
        AND duration_s BETWEEN 0 AND 1e9 AND status IN ('success', 'failed')
    GROUP BY duration_s
)
SELECT least, below, coalesce(sum(attempts), 0), coalesce(sum(failed), 0)
FROM steps LEFT JOIN took ON duration_s >= least AND (below IS NULL OR duration_s < below)
GROUP BY least ORDER BY least"""
LIMITS = "[0, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800, 86400]"
DAYS = """
SELECT date(ended_epoch / 86400 * 86400, 'unixepoch'), sum(status IN ('success', 'failed')), sum(status = 'failed'),
    sum(status = 'skipped'), round(avg(took) FILTER (WHERE status = 'success'), 3), round(total(took), 3)
FROM (SELECT ended_epoch, status,
        iif(duration_s BETWEEN 0 AND 1e9 AND status <> 'skipped', duration_s, NULL) AS took
      FROM pipeline_stages WHERE stage = :stage AND ended_epoch >= :since AND ended_epoch < :until)
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
    begin = db.execute(FIRST, (orjson.dumps(names).decode(),)).get if since is None else since
    middle = end if begin is None else second_half(begin, end)
    ended = {name: row for name in names for row in db.execute(ENDED, (since or 0, until, middle, name))}
    total = sum(row[TOTAL_S] for row in ended.values())
    sums = breakdown(db, Question(now=question.now, period=question.period), by_stage=True)
    paid, all_paid = sums["stage"], sum(sums["day"].values(), Sum())
    ended = {name: NOTHING_ENDED for name in paid if name != WHOLE_RUNS} | ended
    stages = []
    for name, (*counts, failure_percent, early, late, trend) in ended.items():
        cost, share_percent = paid.get(name, Sum()), percent_of(counts[TOTAL_S], total, 2)
        fields = (name, *counts, share_percent, failure_percent, cost.usd, cost.entries, early, late, trend)
        stages.append(Stage(*fields))
    stages.sort(key=lambda one: (-one.total_s, -one.attempts, one.stage))
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
        bottlenecks=[bottleneck(one) for one in stages if one.total_s > 0][:BOTTLENECKS],
        detail=detail_of(db, question, question.stage) if question.stage is not None and chosen else None,
    )


def names_of(db: apsw.Connection) -> list[str]:
    """Return the names of all stages with an attempt."""
    return list(distinct(db, NAMES))


def second_half(begin: int, end: int) -> int:
    """Return where the second half of a period begins, in seconds.

    As in the dashboard it is half of the days, rounded down; of less than two days, half of the seconds.
    """
    days = (end - begin) // DAY_S
    return end - (days // 2 * DAY_S if days > 1 else (end - begin) // 2)


def detail_of(db: apsw.Connection, question: Question, name: str) -> Detail:
    """Return the attempts at a stage in the question's period by duration and by day."""
    values = question.values | {"stage": name, "limits": LIMITS}
    steps = [Step(*row) for row in db.execute(DURATIONS, values)]
    used = [at for at, step in enumerate(steps) if step.attempts]
    days = [Day(*row) for row in db.execute(DAYS, values)]
    return Detail(name, steps[used[0] : used[-1] + 1] if used else [], days)


def bottleneck(one: Stage) -> Bottleneck:
    """Return the impact of a stage that took time, and what to do about it.

    The stages with the most total time come first, not those with the longest mean: that is what runs wait for.
    """
    average, every = one.mean_s or 0.0, one.total_s / one.attempts
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


def rows(answer: Stages) -> Iterable[dict[str, Any]]:
    """Return one row a stage."""
    return map(asdict, answer.stages)
