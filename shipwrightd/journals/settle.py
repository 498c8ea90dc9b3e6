"""Decide whether a rewrite has finished, so that the file's content can be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from shipwrightd.clock import Now

JUMP_S = 0.5  # a larger change between the clocks means that one was set, or that the machine slept
PATIENCE = 5  # times settle_s: how long to wait for a file that is written to all the time


class Clocks:
    """Notices that the machine slept or its clock was set: for a while, ages of files tell nothing.

    Writers slept, too: a file that looks old may be half of one that is about to be continued.
    """

    def __init__(self) -> None:
        self._apart: float | None = None  # seconds between the two clocks
        self.jumped = -math.inf  # monotonic seconds

    def compare(self, now: Now) -> None:
        """Compare the clocks; to be called once a poll."""
        apart = now.wall - now.monotonic
        if self._apart is not None and abs(apart - self._apart) > JUMP_S:
            self.jumped = now.monotonic
        if self._apart is None or self.jumped == now.monotonic:
            self._apart = apart


class Settling:
    """Watches one file from poll to poll."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._signature: tuple[int, ...] = ()
        self._since = 0.0  # monotonic seconds
        self._first = 0.0

    def restart(self) -> None:
        """Begin again with the next poll."""
        self._signature = ()

    def is_settled(self, info: os.stat_result, settle_s: float, now: Now) -> bool:
        """Tell whether the file was not written to for settle_s, or was waited for long enough."""
        if now.wall - info.st_mtime > settle_s and now.monotonic - self._clocks.jumped >= settle_s:
            return True
        signature = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        if not self._signature:
            self._first = now.monotonic
        if self._signature != signature:
            self._signature = signature
            self._since = now.monotonic
        return now.monotonic - self._since >= settle_s or now.monotonic - self._first >= PATIENCE * settle_s
