"""The question a report answers: period, filters and page, parsed from options; and the days of a period. Pure.

Times are whole seconds since 1970, days are UTC and written YYYY-MM-DD.
"""

import datetime as dt
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from shipwrightd.clock import YEAR_10000, day_of, utc

HOUR_S = 3_600
DAY_S = 86_400
WEEK_S = 7 * DAY_S
LAST_DAYS = 36_500  # a century; more is a typing error
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S, "w": WEEK_S}
TIMES = "2026-01-31, 2026-01-31T12:00:00Z, 7d, 12h, or seconds since 1970"
MOST_DAYS = 3_660  # ten years; of a longer period only days with data get a line
DAYS_SHOWN = 92  # a quarter; a longer period is shown by week, and one with more weeks by month
WEEKS_SHOWN = 92


class QuestionError(Exception):
    """An option of a report that makes no sense, explained to whoever wrote it."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since`, included, to `until`, excluded, in seconds; `since` None means from the first event."""

    since: int | None
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What one report answers. A report reads the fields that concern it."""

    now: int  # seconds; the clock, or --now
    period: Period
    issue: int | str | None = None
    type: str | None = None  # an event's type, or its first part: "stage" matches all of stage.*
    model: str | None = None
    stage: str | None = None
    developer: str | None = None
    repo: str | None = None  # a repository's hash, the beginning of it, or its name
    status: str | None = None
    search: str | None = None
    limit: int | None = None  # rows; None for the report's default
    offset: int = 0
    cursor: str | None = None  # next_cursor of the previous page
    run: int | None = None  # pipeline_runs.id of the run to show in full
    filters: dict[str, object] = field(default_factory=dict)  # the filters that were given; repeated in the answer

    @property
    def end(self) -> int:
        """The end of the period as people mean it: now, not the second after, unless they gave an earlier one."""
        return min(self.period.until, self.now)

    @property
    def values(self) -> dict[str, Any]:
        """The period and the filters as parameters of SQL: :since <= time < :until; a filter is NULL for any value."""
        return {
            "since": self.period.since or 0,
            "until": min(self.period.until, YEAR_10000),
            "issue": self.issue,
            "model": self.model,
            "stage": self.stage,
        }


def readable(text: str, *, option: str) -> None:
    """Raise QuestionError for command-line text that is not UTF-8: nothing in the database can match it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QuestionError(f"{option} {text}: not UTF-8") from error


def moment(text: str, now: int, *, option: str, end: bool = False) -> int:
    """Return the time that a text means, in seconds. With `end`, a date without a time means the end of that day.

    Raises QuestionError for text that is not a time.
    """
    text = text.strip()
    if match := re.fullmatch(r"([0-9]{1,9})([smhdw])", text):
        return max(0, now - int(match[1]) * UNITS[match[2]])
    try:
        if re.fullmatch(r"[0-9]{1,12}([.][0-9]+)?", text):
            epoch = float(text)
        else:
            time = dt.datetime.fromisoformat(text)
            epoch = time.replace(tzinfo=time.tzinfo or dt.UTC).timestamp()
    except ValueError as error:
        raise QuestionError(f"{option} {text}: not a time; write {TIMES}") from error
    if end and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        epoch += DAY_S
    if not 0 <= epoch <= YEAR_10000:
        raise QuestionError(f"{option} {text} is outside the years 1970 to 9999")
    return int(epoch)


def period(now: int, *, days: float | None, since: str | None, until: str | None, default_days: int | None) -> Period:
    """Return the period that the options mean; without `until` it ends with the second `now`.

    Raises QuestionError if the options contradict each other or the period is empty.
    """
    if days is not None and since is not None:
        raise QuestionError("--days and --since exclude each other")
    if days is not None and not 0 < days <= LAST_DAYS:
        raise QuestionError(f"--days {days:g}: give a number of days above 0, at most {LAST_DAYS:,}")
    last = now + 1 if until is None else moment(until, now, option="--until", end=True)
    if since is not None:
        first: int | None = moment(since, now, option="--since")
    else:
        length = days if days is not None else default_days
        end = now if until is None else last
        first = None if length is None else max(0, end - round(length * DAY_S))
    if first is not None and first >= last:
        raise QuestionError(f"the period is empty: it would begin {utc(first)} and end {utc(last)}")
    return Period(first, last)


def issue_of(text: str) -> int | str:
    """Return an issue as the database has it: a number, also for `#42`, else the text."""
    bare = text.strip().removeprefix("#")
    return int(bare) if re.fullmatch(r"[0-9]{1,18}", bare) else text


def days_of(question: Question, known: Collection[str]) -> list[str]:
    """Return each day of the period up to now, and the `known` days after it, in order.

    Without a beginning the days start at the first known one; of a period
    longer than ten years only the known days are returned.
    """
    since = question.period.since
    last = max(day_of(max(min(question.period.until - 1, question.now), 0)), *known, "")
    first = day_of(since) if since is not None else min(known, default=last)
    begin, end = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    if (end - begin).days > MOST_DAYS:
        return sorted(known)
    return [(begin + dt.timedelta(days=at)).isoformat() for at in range((end - begin).days + 1)]


def unit_for(days: Collection[str]) -> str:
    """Return the unit to show these days by: day, week or month."""
    if not days:
        return "day"
    length = (dt.date.fromisoformat(max(days)) - dt.date.fromisoformat(min(days))).days + 1
    if length <= DAYS_SHOWN:
        return "day"
    return "week" if length <= WEEKS_SHOWN * 7 else "month"


def stretch_of(day: str, unit: str) -> str:
    """Return the unit that a day belongs to: the day, the Monday of its week, or its month."""
    if unit == "month":
        return day[:7]
    if unit == "day":
        return day
    date = dt.date.fromisoformat(day)
    return (date - dt.timedelta(days=date.weekday())).isoformat()


def idle_together(stretches: Iterable[str], busy: Collection[str]) -> list[tuple[str, int]]:
    """Return the stretches, each with 1; consecutive ones that are not busy become one, with their number."""
    together: list[tuple[str, int]] = []
    for idle, run in groupby(stretches, key=lambda stretch: stretch not in busy):
        one = list(run)
        together += [(one[0], len(one))] if idle else [(stretch, 1) for stretch in one]
    return together


def start_of_day(epoch: int) -> int:
    """Return the first second of the UTC day of a time."""
    return epoch // DAY_S * DAY_S


def percent_of(part: float, whole: float, digits: int = 4) -> float | None:
    """Return a part in percent of the whole, None if that is 0."""
    return round(100 * part / whole, digits) if whole else None
