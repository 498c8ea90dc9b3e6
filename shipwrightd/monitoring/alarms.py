"""Which errors stand, and when somebody is to be told. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from shipwrightd.daemon.callbacks import Turn

QUIET_S = 300.0  # at least, between two times that the same state is raised
RAISED = "raised"
RESOLVED = "resolved"
SAID = {
    ("source_error", RAISED): "a source cannot be read",
    ("source_error", RESOLVED): "a source can be read again",
    ("database_waiting", RAISED): "the database cannot be written and is waited for",
    ("database_waiting", RESOLVED): "the database can be written again",
    ("watching_degraded", RAISED): "file-system events cannot be relied on, changes show later",
    ("watching_degraded", RESOLVED): "file-system events can be relied on again",
}


@dataclass(frozen=True, slots=True, order=True)
class Trouble:
    """A state that somebody may want to be told of; of a source, the kind it is of."""

    state: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """What to tell."""

    event: str  # raised | resolved
    trouble: Trouble
    stood_s: float  # from its beginning to now, or to its end

    @property
    def text(self) -> str:
        """Return it in words of ours: no error text, no path, nothing of the data."""
        source = self.trouble.source
        return SAID[self.trouble.state, self.event] + (f": {source}" if source else "")


def standing(turn: Turn) -> frozenset[Trouble]:
    """Return the troubles of a turn."""
    found = {Trouble("source_error", family(source)) for source in turn.errors}
    if turn.waiting is not None:
        found.add(Trouble("database_waiting"))
    if turn.trouble:
        found.add(Trouble("watching_degraded"))
    return frozenset(found)


@dataclass(slots=True)
class _Course:
    """What became of one trouble so far; times are monotonic seconds."""

    began: float | None = None
    ended: float | None = None
    raised: bool = False
    raised_at: float = float("-inf")


class Alarms:
    """Raises what stands for a while, once, and resolves what has been gone for as long, once."""

    def __init__(self) -> None:
        """Begin with no trouble."""
        self._courses: dict[Trouble, _Course] = {}

    def step(self, found: AbstractSet[Trouble], *, now: float, after_s: float) -> list[Notice]:
        """Return what is to be told now that these troubles stand."""
        for trouble in found:
            self._courses.setdefault(trouble, _Course())
        notices = (
            _step(trouble, course, trouble in found, (now, after_s)) for trouble, course in self._courses.items()
        )
        return sorted((notice for notice in notices if notice), key=lambda notice: notice.trouble)


def _step(trouble: Trouble, course: _Course, stands: bool, at: tuple[float, float]) -> Notice | None:  # noqa: FBT001
    now, after_s = at
    if stands:
        course.ended = None
        course.began = now if course.began is None else course.began
        due = max(course.began + after_s, course.raised_at + QUIET_S)
        if course.raised or now < due:
            return None
        course.raised, course.raised_at = True, now
        return Notice(RAISED, trouble, now - course.began)
    if course.began is None:
        return None
    course.ended = now if course.ended is None else course.ended
    if course.raised and now < course.ended + after_s:
        return None
    told = Notice(RESOLVED, trouble, course.ended - course.began) if course.raised else None
    course.began, course.raised = None, False
    return told
