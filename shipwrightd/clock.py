"""The time of one look, read once and passed down."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: seconds of the monotonic clock, seconds since 1970, and UTC text to the second."""

    monotonic: float
    wall: float
    text: str


def now() -> Now:
    """Read the clocks."""
    wall = time.time()
    text = dt.datetime.fromtimestamp(wall, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Now(time.monotonic(), wall, text)
