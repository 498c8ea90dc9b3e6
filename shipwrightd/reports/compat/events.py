"""The events that a question means, as the dashboard reads them, and what it gets out of one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shipwrightd.dashboard import events
from shipwrightd.dashboard.as_dashboard import COMPLETED
from shipwrightd.dashboard.javascript import number, text, truthy

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.reports.question import Question

UNKNOWN = "unknown"  # as the dashboard calls a stage or model that an event does not name


def meant(db: apsw.Connection, question: Question, *types: str) -> list[Event]:
    """Return the events of these types that period, issue, stage and model leave, in order of the file."""
    return [
        event
        for event in events.since(db, types, _since(question))
        if events.epoch(event) < question.period.until and _fits(event, question)
    ]


def _since(question: Question) -> float:
    return math.nan if question.period.since is None else question.period.since


def _fits(event: Event, question: Question) -> bool:
    return all(
        wanted is None or text(event.get(key)) == text(wanted)
        for key, wanted in (("issue", question.issue), ("stage", question.stage), ("model", question.model))
    )


def runs(db: apsw.Connection, question: Question) -> list[Event]:
    """Return the completed runs that the question means; they name no stage and no model."""
    return [
        event
        for event in events.since(db, (COMPLETED,), _since(question))
        if events.epoch(event) < question.period.until and question.issue in (None, event.get("issue"))
    ]


def finite(value: Any) -> float:  # noqa: ANN401 - any JSON
    """Return a value as a number, 0 for what is none."""
    found = number(value)
    return found if math.isfinite(found) else 0


def named(event: Event, key: str) -> str:
    """Return what an event says under a key as text, `unknown` where it says nothing."""
    return text(event[key]) if truthy(event.get(key)) else UNKNOWN


def day_of(event: Event) -> str:
    """Return the day in an event's ts, an empty text where there is none."""
    ts = event.get("ts")
    return ts.partition("T")[0] if isinstance(ts, str) else ""
