"""Requests to the dashboard, parsed as it parses them, and parts of its answers. Pure."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from shipwrightd.dashboard.javascript import cents, parse_int, rounded, total
from shipwrightd.reports.dora import FAILURE_PERCENT, HOURS, grade_below, grade_of_frequency
from shipwrightd.reports.question import DAY_S, WEEK_S, QuestionError

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_DAYS = 366_000  # of a period: a thousand years, more than the dashboard could answer in time
YEAR = 365
LARGEST = (1 << 63) - 1
SLOW_S, MODERATE_S = 600, 300
BOTTLENECKS = 5
BOTTLENECK_DAYS = 7
STAGE = ("name", "avgDuration", "minDuration", "maxDuration", "count", "cost", "trend")
Answer = dict[str, Any]
Grades = dict[str, dict[str, Any]]


class RefusedError(QuestionError):
    """The dashboard answers 400 to this, with the same words."""


class FailsError(QuestionError):
    """The dashboard answers 500 to this."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the dashboard answers 500 to this: {why}; without --compat there is an answer")


@dataclass(frozen=True, slots=True)
class Request:
    """A path and its parameters."""

    path: str
    now: int  # seconds
    parameters: dict[str, str] = field(default_factory=dict)  # the first of each name

    def text(self, name: str, default: str) -> str:
        """Return a parameter; the default for an empty one."""
        return self.parameters.get(name) or default

    def integer(self, name: str, default: int) -> float:
        """Return a parameter as parseInt reads it, NaN if it is not a number."""
        return parse_int(self.text(name, str(default)))

    def period(self, default: int) -> float:
        """Return the parameter `period`, in days. Raises QuestionError for more than a thousand years."""
        days = self.integer("period", default)
        if days > MOST_DAYS:
            raise QuestionError(f"period={days:.0f}: at most {MOST_DAYS} days; the dashboard could not answer either")
        return max(days, -MOST_DAYS) if days < 0 else days

    def dora_period(self) -> int:
        """Return the days of the delivery figures: the parameter from 1 to 365, else 7."""
        days = self.integer("period", 7)
        return int(days) if 0 < days <= YEAR else 7

    def issue(self, position: int) -> int:
        """Return the issue at a position in the path. Raises RefusedError for 0 and for text that is not an issue."""
        parts = self.path.split("/")
        issue = issue_of((parts[position] if len(parts) > position else "") or "0")
        if not issue:
            raise RefusedError("Invalid issue number")
        return issue

    def cutoff(self, days: float) -> float:
        """Return the time `days` days ago in seconds; NaN for NaN."""
        return self.now - days * DAY_S

    def week_ends(self) -> list[int]:
        """Return the end of each week of the period in seconds, oldest first."""
        period = self.period(30)
        weeks = 0 if math.isnan(period) else max(math.ceil(period / 7), 0)
        return [self.now - at * WEEK_S for at in range(weeks - 1, -1, -1)]

    def days(self, period: float) -> list[str]:
        """Return each UTC day of the last `period` days, oldest first."""
        count = 0 if math.isnan(period) else max(int(period), 0)
        return [day_at(self.now - at * DAY_S) for at in range(count - 1, -1, -1)]


def parse(address: str, now: int) -> Request:
    """Parse an address: a path with parameters, or a full URL."""
    url = urlsplit(address)
    parameters: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        parameters.setdefault(name, value)
    return Request(url.path, now, parameters)


def issue_of(text: str) -> int | None:
    """Return the number that parseInt reads, within the range of the database; None if there is none."""
    number = parse_int(text)
    return None if math.isnan(number) else int(max(min(number, LARGEST), -LARGEST))


def day_at(epoch: int) -> str:
    """Return the UTC day of a time of the years 1 to 9999, before 1970 as well."""
    return (dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=epoch)).date().isoformat()


# -- parts of answers


def ranked(averages: list[tuple[str, float]]) -> Answer:
    """Return the five stages with the longest average, with the dashboard's advice."""
    order = sorted(averages, key=lambda one: -one[1])[:BOTTLENECKS]
    return {"bottlenecks": [_bottleneck(stage, average) for stage, average in order]}


def _bottleneck(stage: str, average: float) -> Answer:
    if average > SLOW_S:
        impact = "high"
        words = f"averages {rounded(average / 60):.0f}min — consider parallelization or caching"
    elif average > MODERATE_S:
        impact, words = "medium", "is moderately slow — review for optimization opportunities"
    else:
        impact, words = "low", "is performing well"
    return {"stage": stage, "avgDuration": average, "impact": impact, "suggestion": f"{stage} {words}"}


def graded(per_day: float, leads: list[float], failed_percent: float | None, recoveries: list[float]) -> Grades:
    """Return the measures with their grades; without data 0 and Low, for time to restore Elite."""
    return {
        "deploy_freq": {"value": per_day, "unit": "per day", "grade": grade_of_frequency(per_day)},
        "lead_time": measure(mean(leads), "hours", HOURS),
        "cfr": measure(failed_percent, "%", FAILURE_PERCENT),
        "mttr": measure(mean(recoveries), "hours", HOURS, absent="Elite"),
    }


def percent(part: int, whole: int) -> float | None:
    """Return a part in percent to two decimals, None if the whole is 0."""
    return rounded(part / whole * 10_000) / 100 if whole else None


def measure(value: float | None, unit: str, limits: tuple[float, ...], absent: str = "Low") -> dict[str, Any]:
    """Return one measure of which less is better in the dashboard's shape; without a value 0 and the grade `absent`."""
    return {"value": value or 0, "unit": unit, "grade": absent if value is None else grade_below(value, limits)}


def mean(values: list[float]) -> float | None:
    """Return the mean to two decimals, None without values."""
    return cents(total(values) / len(values)) if values else None


def trend(mean: float, early: float | None, late: float | None) -> float:
    """Return the second half compared with the first, in percent; a half without attempts counts as the mean of all."""
    first, second = (mean if half is None else half for half in (early, late))
    return rounded((second - first) / first * 100) if first > 0 else 0


def daily(counts: Mapping[str, Any], key: str) -> Answer:
    """Return a figure of each day under a key."""
    return {"daily": [{"date": day, key: cents(count)} for day, count in counts.items()]}
