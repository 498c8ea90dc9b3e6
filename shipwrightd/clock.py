"""Times: the clocks, read once and passed down; seconds since 1970 as UTC text and back."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

YEAR_10000 = 253_402_300_800  # in seconds since 1970; no time is that late


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: seconds of the monotonic clock, seconds since 1970, and UTC text to the second."""

    monotonic: float
    wall: float
    text: str


def now() -> Now:
    """Read the clocks."""
    wall = time.time()
    return Now(time.monotonic(), wall, utc(wall) or "")


def utc(epoch: float | None) -> str | None:
    """Return seconds since 1970 as UTC text; None for None and for times outside the years 1970 to 9999."""
    if epoch is None or not 0 <= epoch < YEAR_10000:
        return None
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def day_of(epoch: int) -> str:
    """Return the UTC day of a time, YYYY-MM-DD."""
    return dt.datetime.fromtimestamp(epoch, dt.UTC).strftime("%Y-%m-%d")


def seconds_of(text: str | None) -> float | None:
    """Return an ISO 8601 time as seconds since 1970; None if it is not one."""
    try:
        return dt.datetime.fromisoformat(text).timestamp() if text else None
    except ValueError:
        return None
