"""Delivery as the dashboard has it: from pipeline.started and pipeline.completed alone, its weeks cut twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.clock import utc
from shipwrightd.dashboard.as_dashboard import COMPLETED, STARTED, grades_of, is_success, lead_times, recovery_times
from shipwrightd.dashboard.events import epoch
from shipwrightd.reports.compat.events import meant
from shipwrightd.reports.dora import MOST_WEEKS, Delivery, Dora, Measure
from shipwrightd.reports.question import DAY_S, WEEK_S

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.reports.question import Question


def collect(db: apsw.Connection, question: Question) -> Dora:
    """Answer for the question's period, and the weeks it touches.

    Of the weeks only the last seven days have figures, as in the dashboard; the others are 0.
    """
    events = meant(db, question, COMPLETED, STARTED)
    end = question.end
    since = question.period.since
    if since is None:
        since = max(min((int(epoch(event)) for event in events), default=end - WEEK_S), end - MOST_WEEKS * WEEK_S)
    weeks = range(max(1, -(-(end - since) // WEEK_S)) - 1, -1, -1)
    return Dora(
        delivery(question.period.since, end, events, (end - since) / DAY_S),
        [_week(events, end - at * WEEK_S, question.now) for at in weeks],
    )


def _week(events: list[Event], end: int, now: int) -> Delivery:
    start = end - WEEK_S
    found = [event for event in events if max(start, now - WEEK_S) <= epoch(event) < end]
    return delivery(start, end, found, WEEK_S / DAY_S)


def delivery(start: int | None, end: int, events: list[Event], days: float) -> Delivery:
    """Return the measures that the dashboard works out of these events."""
    grades = grades_of(events, days, None)
    done = [event for event in events if event["type"] == COMPLETED]
    good = sum(map(is_success, done))
    samples = {
        "deploy_freq": good,
        "lead_time": len(lead_times(events)),
        "cfr": len(done),
        "mttr": len(recovery_times(done)),
    }
    frequency, lead, failed, restore = (
        Measure(grades[name]["value"], grades[name]["unit"], grades[name]["grade"], count)
        for name, count in samples.items()
    )
    return Delivery(utc(start), utc(end), good, len(done) - good, frequency, lead, failed, restore)
