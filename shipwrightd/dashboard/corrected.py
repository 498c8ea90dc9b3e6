"""The dashboard's figures in its own shapes, from runs, stages and costs: each run and each dollar once.

Where the dashboard is right these are the same figures. docs/dashboard.md lists the differences.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shipwrightd.dashboard.javascript import cents, rounded
from shipwrightd.dashboard.request import BOTTLENECK_DAYS, STAGE, daily, day_at, graded, percent, ranked, trend
from shipwrightd.reports import costs, dora
from shipwrightd.reports.question import DAY_S, HOUR_S, WEEK_S, Period, Question, start_of_day
from shipwrightd.reports.stages import names_of

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.request import Answer, Grades, Request
    from shipwrightd.reports.dora import Sums

ALL_ISSUES = 1 << 40

TOTALS = "SELECT count(*), coalesce(sum(good), 0), avg(duration_s) FILTER (WHERE good) FROM run_outcomes"
GOOD_SINCE = "SELECT coalesce(sum(good), 0) FROM run_outcomes WHERE ended_epoch >= ? AND ended_epoch <= ?"
BY_DAY = """
SELECT date(ended_epoch / 86400 * 86400, 'unixepoch'), sum(good), count(*) - sum(good)
FROM run_outcomes WHERE ended_epoch >= ? AND ended_epoch <= ? GROUP BY ended_epoch / 86400"""
# Successful attempts with a duration. ?1 stage; ?2 to ?3 seconds; the second half begins at ?4.
ATTEMPTS = """
SELECT count(*), avg(duration_s), min(duration_s), max(duration_s), min(ended_epoch),
    avg(duration_s) FILTER (WHERE ended_epoch < ?4), avg(duration_s) FILTER (WHERE ended_epoch >= ?4)
FROM pipeline_stages
WHERE stage = ?1 AND ended_epoch >= ?2 AND ended_epoch <= ?3 AND status = 'success' AND duration_s IS NOT NULL
HAVING count(*) > 0"""
# The dashboard's heatmap has no period, so this reads the index of all attempts at a stage.
FAILED = """
SELECT date(ended_epoch / 86400 * 86400, 'unixepoch'), count(*)
FROM pipeline_stages WHERE stage = ? AND status = 'failed' AND ended_epoch IS NOT NULL
GROUP BY ended_epoch / 86400"""


def history(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/history."""
    totals: list[tuple[Any, ...]] = db.execute(TOTALS).fetchall()
    runs, good, took = totals[0]
    now, days = request.now, request.dora_period()
    period = Period(max(now - days * DAY_S, 0), now + 1)  # the second `now` included
    recent = dora.sums(db, period, now + 1, max(now + 1, 1)).get(0, dora.Sums())
    return {
        "success_rate": percent(good, runs) or 0,
        "avg_duration_s": rounded(took),
        "throughput_per_hour": cents(db.execute(GOOD_SINCE, (now - DAY_S, now)).get / 24),
        "total_completed": good,
        "total_failed": runs - good,
        "stage_durations": {row[0]: rounded(row[2]) for row in attempts(db, request, math.nan, now)},
        "daily_counts": [
            {"date": day, "completed": completed, "failed": failed}
            for day, (completed, failed) in by_day(db, request, 7).items()
        ],
        "dora_grades": measures(recent, days),
    }


def by_day(db: apsw.Connection, request: Request, period: float) -> dict[str, tuple[int, int]]:
    """Return the successful and failed runs of each of the last `period` days."""
    days = dict.fromkeys(request.days(period), (0, 0))
    first = (request.now // DAY_S - len(days) + 1) * DAY_S
    return days | {day: (good, bad) for day, good, bad in db.execute(BY_DAY, (first, request.now))}


def measures(runs: Sums, days: int) -> Grades:
    """Return the measures of sums of runs."""
    leads = [runs.lead_s / HOUR_S / runs.leads] if runs.leads else []
    recoveries = [runs.recovery_s / HOUR_S / runs.recoveries] if runs.recoveries else []
    return graded(cents(runs.good / days), leads, percent(runs.bad, runs.good + runs.bad), recoveries)


def dora_trend(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/dora-trend: each week separately, without its end."""
    ends = request.week_ends()
    by_week = dora.sums(db, Period(max(ends[0] - WEEK_S, 0), request.now), request.now, WEEK_S) if ends else {}
    weeks = [by_week.get(at, dora.Sums()) for at in range(len(ends) - 1, -1, -1)]
    return {
        "weeks": [{"week": day_at(end), "grades": measures(week, 7)} for end, week in zip(ends, weeks, strict=True)]
    }


def attempts(db: apsw.Connection, request: Request, since: float, half: float) -> list[tuple[Any, ...]]:
    """Return name, attempts, mean, shortest, longest, first end and both halves' means of each stage, in order of ends.

    NaN for `since` means from the beginning, for `half` no first half.
    """
    first, middle = (0 if math.isnan(value) else int(value) for value in (since, half))
    stages = [(name, *row) for name in names_of(db) for row in db.execute(ATTEMPTS, (name, first, request.now, middle))]
    return sorted(stages, key=lambda row: row[5])


def stage_performance(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/stage-performance."""
    period = request.period(7)
    since = request.cutoff(period)
    half = math.nan if math.isnan(period) else request.now - math.floor(period / 2) * DAY_S
    paid = costs.breakdown(db, Question(now=request.now, period=span(request, since)), by_stage=True)["stage"]
    stages = []
    for name, count, mean, least, most, _, *halves in attempts(db, request, since, half):
        cost = cents(paid[name].usd) if name in paid else 0
        values = (name, rounded(mean), least, most, count, cost, trend(mean, *halves))
        stages.append(dict(zip(STAGE, values, strict=True)))
    return {"stages": stages}


def span(request: Request, since: float) -> Period:
    """Return the period from `since` to now, empty if that is later; NaN means from the beginning."""
    end = request.now + 1
    return Period(None if math.isnan(since) else min(max(int(since), 0), end), end)


def bottlenecks(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/bottlenecks."""
    stages = attempts(db, request, request.cutoff(BOTTLENECK_DAYS), math.nan)
    return ranked([(row[0], rounded(row[2])) for row in stages])


def throughput_trend(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/throughput-trend: successful runs an hour on each whole day."""
    days = by_day(db, request, request.period(30))
    return daily({day: good / 24 for day, (good, _) in days.items()}, "throughput")


def failure_heatmap(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/metrics/failure-heatmap: failed attempts by stage and day, each once."""
    stages = {name: dict(db.execute(FAILED, (name,))) for name in names_of(db)}
    return {"heatmap": {name: days for name, days in stages.items() if days}}


def costs_breakdown(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/costs/breakdown from cost_entries: each cost once, and by issue."""
    period = span(request, request.cutoff(request.period(7)))
    answer = costs.collect(db, Question(now=request.now, period=period, limit=ALL_ISSUES))
    return {
        "byStage": _named(answer.by_stage),
        "byModel": _named(answer.by_model),
        "byIssue": _named([line for line in answer.by_issue if line.name is not None]),
        "total": cents(answer.total.cost_usd),
    }


def _named(lines: list[costs.Line]) -> dict[str, float]:
    return {"unknown" if line.name is None else str(line.name): cents(line.cost_usd) for line in lines}


def costs_trend(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/costs/trend: the costs of each day, also of the whole first day."""
    days = request.days(request.period(30))
    period = span(request, start_of_day(request.now) - (len(days) - 1) * DAY_S)
    sums = costs.breakdown(db, Question(now=request.now, period=period), by_stage=True)["day"] if days else {}
    return daily({day: sums[day].usd if day in sums else 0 for day in days}, "cost")
