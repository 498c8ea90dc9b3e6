"""Decides when an operator is told about an error that persists, and that it is over. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from shipwrightd.daemon.callbacks import Turn

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


def open_troubles(turn: Turn) -> set[Trouble]:
    """Return the troubles at the end of one turn of the loop."""
    found = {Trouble("source_error", family(source)) for source in turn.errors}
    if turn.waiting is not None:
        found.add(Trouble("database_waiting"))
    if turn.trouble:
        found.add(Trouble("watching_degraded"))
    return found


@dataclass(slots=True)
class _Course:
    """The history of one trouble; times are monotonic seconds."""

    began: float | None = None
    ended: float | None = None
    raised: bool = False
    raised_at: float = float("-inf")


class Alarms:
    """Raises each trouble once when it has lasted for a while, and resolves it once when it has been gone as long."""

    def __init__(self) -> None:
        """Start without troubles."""
        self._courses: dict[Trouble, _Course] = {}

    def step(self, troubles: AbstractSet[Trouble], *, now: float, after_s: float) -> list[Notice]:
        """Return the notices due at `now`, given the troubles that are present."""
        notices = []
        for trouble in sorted(self._courses.keys() | troubles):
            course = self._courses.setdefault(trouble, _Course())
            if trouble in troubles:
                course.began, course.ended = now if course.began is None else course.began, None
                if not course.raised and now >= max(course.began + after_s, course.raised_at + QUIET_S):
                    course.raised, course.raised_at = True, now
                    notices.append(Notice(RAISED, trouble, now - course.began))
            elif course.began is not None:
                course.ended = now if course.ended is None else course.ended
                if course.raised and now >= course.ended + after_s:
                    notices.append(Notice(RESOLVED, trouble, course.ended - course.began))
                    course.raised = False
                if not course.raised:
                    course.began = None
        return notices
