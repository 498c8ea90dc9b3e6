"""UTC days of a period, and the weeks and months they lie in. Pure; days are texts, YYYY-MM-DD."""

from __future__ import annotations

import datetime as dt
from itertools import groupby
from typing import TYPE_CHECKING

from shipwrightd.reports.question import DAY_S, day_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from shipwrightd.reports.question import Question

MOST_DAYS = 3_660  # ten years: of a longer period only the days with something in them are worth a line
DAYS_SHOWN = 92  # a quarter; what is longer is shown by week, and what has more weeks by month
WEEKS_SHOWN = 92


def days_of(question: Question, found: Collection[str]) -> list[str]:
    """Return each day of the period up to now, and those found after it, in order.

    Without a beginning the days count from the first one found; of a period
    longer than ten years only those found are returned.
    """
    since = question.period.since
    last = max(day_of(max(min(question.period.until - 1, question.now), 0)), *found, "")
    first = day_of(since) if since is not None else min(found, default=last)
    begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    if (end - begin).days > MOST_DAYS:
        return sorted(found)
    return [(begin + dt.timedelta(days=at)).isoformat() for at in range((end - begin).days + 1)]


def length_s(question: Question, first: int | None) -> int:
    """Return the seconds from the period's beginning, or from `first` where it has none, to its end."""
    since = question.period.since
    begin = first if since is None else since
    return 0 if begin is None else max(question.end - begin, 0)


def unit_for(days: Collection[str]) -> str:
    """Return what so many days are shown by: day, week or month."""
    if not days:
        return "day"
    length = (dt.date.fromisoformat(max(days)) - dt.date.fromisoformat(min(days))).days + 1
    if length <= DAYS_SHOWN:
        return "day"
    return "week" if length <= WEEKS_SHOWN * 7 else "month"


def stretch_of(day: str, unit: str) -> str:
    """Return the day itself, the Monday of its week, or its month."""
    if unit == "month":
        return day[:7]
    if unit == "day":
        return day
    date = dt.date.fromisoformat(day)
    return (date - dt.timedelta(days=date.weekday())).isoformat()


def idle_together(stretches: Iterable[str], busy: Collection[str]) -> list[tuple[str, int]]:
    """Return the stretches, each with 1; two or more in a row that are not busy as one, with their number."""
    found: list[tuple[str, int]] = []
    for idle, run in groupby(stretches, key=lambda stretch: stretch not in busy):
        one = list(run)
        found += [(one[0], len(one))] if idle else [(stretch, 1) for stretch in one]
    return found


def start_of_day(epoch: int) -> int:
    """Return the first second of the UTC day of a time."""
    return epoch // DAY_S * DAY_S
