"""Delivery: how often, how fast, how many fail, how soon they recover; for a period and each of its weeks.

The four measures and their grades are those of Shipwright's dashboard (calculateDoraGrades); docs/dashboard.md lists
where its figures differ and why. Everything comes from run_outcomes: time grows with the finished runs of the period.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import apsw

from shipwrightd.clock import utc
from shipwrightd.reports.question import DAY_S, HOUR_S, WEEK_S, Period, Question

MOST_WEEKS = 104  # of a period without a beginning

# ?1 <= end < ?2; ?3 an issue or NULL. One row for each interval of ?4 seconds, counted back from ?5.
OUTCOMES = """
SELECT max(?5 - 1 - ended_epoch, 0) / ?4, sum(good), count(*) - sum(good),
    coalesce(sum(lead_time_s), 0), count(lead_time_s), coalesce(sum(recovery_s), 0), sum(recoveries)
FROM run_outcomes
WHERE ended_epoch >= ?1 AND ended_epoch < ?2 AND (?3 IS NULL OR issue = ?3)
GROUP BY 1"""
FIRST = "SELECT min(ended_epoch) FROM run_outcomes WHERE ended_epoch < ?"

DEPLOYS_PER_DAY = (1.0, 1 / 7, 1 / 30)  # at least: Elite, High, Medium
HOURS = (1.0, 24.0, 168.0)  # less than: Elite, High, Medium; of lead time and of time to restore
FAILURE_PERCENT = (5.0, 10.0, 15.0)
MEASURES = ("deployment_frequency", "lead_time", "change_failure_rate", "time_to_restore")
GRADES = ("Elite", "High", "Medium", "Low")


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure; value and grade are None without a sample."""

    value: float | None
    unit: str  # per day | hours | %
    grade: str | None  # Elite | High | Medium | Low
    samples: int  # runs behind it


@dataclass(frozen=True, slots=True)
class Delivery:
    """The four measures of an interval."""

    start: str | None  # UTC; None: from the first run
    end: str | None  # UTC, excluded
    deploys: int  # successful runs
    failures: int
    deployment_frequency: Measure
    lead_time: Measure
    change_failure_rate: Measure
    time_to_restore: Measure


@dataclass(frozen=True, slots=True)
class Dora:
    """The answer: the period, and its weeks, oldest first, counted back from its end."""

    period: Delivery
    weeks: list[Delivery]

    @property
    def empty(self) -> bool:
        """Tell whether no run ended in the period or its weeks."""
        return not any(part.deploys + part.failures for part in (self.period, *self.weeks))


class Sums(NamedTuple):
    """Sums of the runs that ended in an interval."""

    good: int = 0
    bad: int = 0
    lead_s: int = 0
    leads: int = 0
    recovery_s: int = 0
    recoveries: int = 0


def collect(db: apsw.Connection, question: Question) -> Dora:
    """Answer for the question's period, and its weeks."""
    until, end = question.period.until, question.end
    since = question.period.since
    if since is None:
        oldest = db.execute(FIRST, (until,)).get
        since = end - WEEK_S if oldest is None else max(oldest, end - MOST_WEEKS * WEEK_S)
    weeks = max(1, -(-(end - since) // WEEK_S))
    by_week = sums(db, Period(end - weeks * WEEK_S, until), end, WEEK_S, question.issue)
    first = question.period.since or 0
    overall = sums(db, Period(first, until), end, until - first, question.issue).get(0, Sums())
    return Dora(
        delivery(question.period.since, end, (end - since) / DAY_S, overall),
        [
            delivery(end - (at + 1) * WEEK_S, end - at * WEEK_S, 7, by_week.get(at, Sums()))
            for at in range(weeks - 1, -1, -1)
        ],
    )


def sums(db: apsw.Connection, period: Period, end: int, step: int, issue: object = None) -> dict[int, Sums]:
    """Return the sums of each interval of `step` seconds that has runs, counted back from `end`: 0 is the last."""
    rows = db.execute(OUTCOMES, (period.since or 0, period.until, issue, step, end))
    return {at: Sums(*values) for at, *values in rows}


def delivery(start: int | None, end: int, days: float, totals: Sums) -> Delivery:
    """Return the measures of an interval of some days."""
    per_day = rounded(totals.good / days) if days else 0.0
    return Delivery(
        start=utc(start),
        end=utc(end),
        deploys=totals.good,
        failures=totals.bad,
        deployment_frequency=Measure(per_day, "per day", grade_of_frequency(per_day), totals.good),
        lead_time=_measure(totals.lead_s / HOUR_S, totals.leads, "hours", HOURS),
        change_failure_rate=_measure(100 * totals.bad, totals.good + totals.bad, "%", FAILURE_PERCENT),
        time_to_restore=_measure(totals.recovery_s / HOUR_S, totals.recoveries, "hours", HOURS),
    )


def _measure(total: float, samples: int, unit: str, limits: tuple[float, ...]) -> Measure:
    if not samples:
        return Measure(None, unit, None, 0)
    value = rounded(total / samples)
    return Measure(value, unit, grade_below(value, limits), samples)


def grade_of_frequency(per_day: float) -> str:
    """Return the grade of a number of deployments a day."""
    return next((grade for grade, least in zip(GRADES, DEPLOYS_PER_DAY, strict=False) if per_day >= least), "Low")


def grade_below(value: float, limits: tuple[float, ...]) -> str:
    """Return the grade of a figure of which less is better."""
    return next((grade for grade, limit in zip(GRADES, limits, strict=False) if value < limit), "Low")


def rounded(value: float) -> float:
    """Return a figure to two decimals, rounded half up as JavaScript's Math.round does."""
    return int(value * 100 + 0.5) / 100


def rows(answer: Dora) -> Iterable[dict[str, Any]]:
    """Return one row for the period and one for each week."""
    for part in (answer.period, *answer.weeks):
        row: dict[str, Any] = {"kind": "period" if part is answer.period else "week"}
        row |= {name: getattr(part, name) for name in ("start", "end", "deploys", "failures")}
        for name in MEASURES:
            measure: Measure = getattr(part, name)
            column = f"{name}_{measure.unit.replace(' ', '_').replace('%', 'percent')}"
            row |= {column: measure.value, f"{column}_grade": measure.grade}
        yield row
