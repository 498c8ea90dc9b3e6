"""Whether a file is at rest: what it holds is meant, and no more of it is being written."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipwrightd.clock import Now
    from shipwrightd.journals.lines import Place

JUMP_S = 0.5  # what the clocks may differ by more than before; beyond it one was set, or the machine slept
PATIENCE = 5  # times the settling time: how long a file that never rests is waited for


class Rest:
    """Judges one file from look to look."""

    def __init__(self) -> None:
        self._signature: tuple[int, ...] = ()
        self._since = 0.0  # monotonic seconds
        self._first = 0.0
        self._apart: float | None = None  # seconds between the two clocks
        self._jumped = -math.inf  # monotonic seconds

    def compare_clocks(self, now: Now) -> None:
        """Notice that the machine slept or its clock was set: for a while, ages of files then tell nothing.

        Whoever writes slept, too: what looks old may be half of a file that is about to be written on.
        """
        apart = now.wall - now.monotonic
        if self._apart is not None and abs(apart - self._apart) > JUMP_S:
            self._jumped = now.monotonic
        if self._apart is None or self._jumped == now.monotonic:
            self._apart = apart

    def forget(self) -> None:
        """Begin anew with the next look."""
        self._signature = ()

    def is_settled(self, info: os.stat_result, settle_s: float, now: Now) -> bool:
        """Tell whether the file was left alone for settle_s, or was waited for long enough."""
        if now.wall - info.st_mtime > settle_s and now.monotonic - self._jumped >= settle_s:
            return True
        signature = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)
        if not self._signature:
            self._first = now.monotonic
        if self._signature != signature:
            self._signature = signature
            self._since = now.monotonic
        return now.monotonic - self._since >= settle_s or now.monotonic - self._first >= PATIENCE * settle_s

    def is_whole(self, fd: int, place: Place, settle_s: float, now: Now) -> bool:
        """Tell whether a file that may have taken another's place is all that it is meant to be.

        A rename changes ctime only, so another inode with mtime < ctime was
        renamed into place and not written to since (measured on ext4, tmpfs).
        """
        info = os.fstat(fd)
        other = (info.st_dev, info.st_ino) != (place.device, place.inode)
        return (other and info.st_mtime_ns < info.st_ctime_ns) or self.is_settled(info, settle_s, now)
