"""A request to the dashboard: path and parameters, parsed as the dashboard parses them. Pure."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from shipwrightd.dashboard.javascript import parse_int
from shipwrightd.reports.question import DAY_S, QuestionError

MOST_DAYS = 366_000  # of a period: a thousand years, more than the dashboard could answer in time
YEAR = 365
LARGEST = (1 << 63) - 1


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
