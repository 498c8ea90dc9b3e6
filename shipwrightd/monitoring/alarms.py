"""Decides when an operator is told about an error that persists, and that it is over. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from shipwrightd.daemon.callbacks import PassReport

QUIET_S = 300.0  # minimum between two notices that the same trouble began
RAISED = "raised"
RESOLVED = "resolved"
TEXTS = {
    ("source_error", RAISED): "a source cannot be read",
    ("source_error", RESOLVED): "a source can be read again",
    ("database_waiting", RAISED): "the database cannot be written; waiting for it",
    ("database_waiting", RESOLVED): "the database can be written again",
    ("watching_degraded", RAISED): "file-system events are unreliable, changes are noticed later",
    ("watching_degraded", RESOLVED): "file-system events are reliable again",
}


@dataclass(frozen=True, slots=True, order=True)
class Trouble:
    """An error that may persist; `source` is a kind of source, or empty."""

    state: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A trouble that has lasted long enough to be reported, or is over."""

    event: str  # raised | resolved
    trouble: Trouble
    stood_s: float  # how long it has lasted, or did

    @property
    def text(self) -> str:
        """Return it in words, with no error text, no path and no data."""
        source = self.trouble.source
        return TEXTS[self.trouble.state, self.event] + (f": {source}" if source else "")


def open_troubles(report: PassReport) -> frozenset[Trouble]:
    """Return the troubles at the end of one pass of the loop."""
    found = {Trouble("source_error", family(source)) for source in report.errors}
    if report.waiting is not None:
        found.add(Trouble("database_waiting"))
    if report.trouble:
        found.add(Trouble("watching_degraded"))
    return frozenset(found)


@dataclass(slots=True)
class _Course:
    """The history of one trouble; times are monotonic seconds."""

    trouble: Trouble
    began: float | None = None
    ended: float | None = None
    raised: bool = False
    raised_at: float = float("-inf")

    def present(self, now: float, after_s: float) -> Notice | None:
        """Return a notice if the trouble has lasted for `after_s` and was not raised in the last few minutes."""
        self.ended = None
        self.began = now if self.began is None else self.began
        if self.raised or now < max(self.began + after_s, self.raised_at + QUIET_S):
            return None
        self.raised, self.raised_at = True, now
        return Notice(RAISED, self.trouble, now - self.began)

    def absent(self, now: float, after_s: float) -> Notice | None:
        """Return a notice if the trouble was raised and has been gone for `after_s`."""
        if self.began is None:
            return None
        self.ended = now if self.ended is None else self.ended
        if self.raised and now < self.ended + after_s:
            return None
        notice = Notice(RESOLVED, self.trouble, self.ended - self.began) if self.raised else None
        self.began, self.raised = None, False
        return notice


class Alarms:
    """Raises each trouble once when it has lasted for a while, and resolves it once when it has been gone as long."""

    def __init__(self) -> None:
        """Start without troubles."""
        self._courses: dict[Trouble, _Course] = {}

    def step(self, troubles: AbstractSet[Trouble], *, now: float, after_s: float) -> list[Notice]:
        """Return the notices due at `now`, given the troubles that are present."""
        for trouble in troubles:
            self._courses.setdefault(trouble, _Course(trouble))
        notices = (
            course.present(now, after_s) if trouble in troubles else course.absent(now, after_s)
            for trouble, course in self._courses.items()
        )
        return sorted((notice for notice in notices if notice), key=lambda notice: notice.trouble)
