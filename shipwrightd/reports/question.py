"""What a report is asked: the period, the filters, the page. Texts of a command line in, values out; pure.

Times are whole seconds since 1970, UTC.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field

DAY_S = 86_400
WEEK_S = 7 * DAY_S
LAST_DAYS = 36_500  # a century: more is a typing error
UNITS = {"s": 1, "m": 60, "h": 3_600, "d": DAY_S, "w": WEEK_S}
TIMES = "2026-01-31, 2026-01-31T12:00:00Z, 7d, 12h, or seconds since 1970"
YEAR_10000 = 253_402_300_800


class QuestionError(Exception):
    """An option of a report that makes no sense, in words for the one who wrote it."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` up to but not with `until`, in seconds; None for all there was before."""

    since: int | None
    until: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question put to the database. A report reads the fields that concern it."""

    now: int  # seconds: the clock, or what --now says
    period: Period
    issue: int | str | None = None
    type: str | None = None  # an event's type, or its first part: "stage" is all of stage.*
    model: str | None = None
    stage: str | None = None
    developer: str | None = None
    repo: str | None = None  # a repository's hash, the beginning of it, or its name
    status: str | None = None
    search: str | None = None
    limit: int | None = None  # rows; None for the report's own default
    offset: int = 0
    cursor: str | None = None  # as the page before gave it
    run: int | None = None  # pipeline_runs.id: this one in full
    filters: dict[str, object] = field(default_factory=dict)  # those that were given, for the answer to repeat

    @property
    def end(self) -> int:
        """The end of the period as people mean it: now, not the second after, unless they named an earlier one."""
        return min(self.period.until, self.now)


def readable(text: str, *, option: str) -> None:
    """Raise QuestionError for a text of a command line that was not UTF-8: nothing in the database can be it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QuestionError(f"{option} {text}: not UTF-8, as all names are that were ever stored") from error


def utc(epoch: float | None) -> str | None:
    """Return seconds as UTC text, None for None and for what no calendar has."""
    if epoch is None or not 0 <= epoch < YEAR_10000:
        return None
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_of(epoch: int) -> str:
    """Return the UTC day of a time, YYYY-MM-DD."""
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%d")


def moment(text: str, now: int, *, option: str, end: bool = False) -> int:
    """Return the time that a text means, in seconds. With `end`, a mere date means its end.

    Raises QuestionError for what is no time.
    """
    text = text.strip()
    if match := re.fullmatch(r"([0-9]{1,9})([smhdw])", text):
        return max(0, now - int(match[1]) * UNITS[match[2]])
    if re.fullmatch(r"[0-9]{1,12}([.][0-9]+)?", text):
        return _checked(float(text), text, option)
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            day = dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)
            return _checked(day.timestamp() + (DAY_S if end else 0), text, option)
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise QuestionError(f"{option} {text}: no such time; write {TIMES}") from error
    return _checked(found.replace(tzinfo=found.tzinfo or dt.UTC).timestamp(), text, option)


def _checked(epoch: float, text: str, option: str) -> int:
    if not 0 <= epoch <= YEAR_10000:
        raise QuestionError(f"{option} {text} lies outside the years 1970 to 9999")
    return int(epoch)


def period(now: int, *, days: float | None, since: str | None, until: str | None, default_days: int | None) -> Period:
    """Return the period that the options mean; it ends with the second `now` unless `until` says otherwise.

    Raises QuestionError when they contradict each other or leave nothing between them.
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
    """Return an issue as it stands in the database: a number, `#42` too, else the text."""
    bare = text.strip().removeprefix("#")
    return int(bare) if re.fullmatch(r"[0-9]{1,18}", bare) else text
