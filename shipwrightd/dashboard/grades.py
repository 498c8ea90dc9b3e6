"""The four measures of delivery as the dashboard works them out of events (calculateDoraGrades). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipwrightd.dashboard.events import epoch
from shipwrightd.dashboard.javascript import NAN, cents, number, rounded, text, total, truthy
from shipwrightd.reports.dora import FAILURE_PERCENT, HOUR_S, HOURS, grade_below, grade_of_frequency
from shipwrightd.reports.question import DAY_S

if TYPE_CHECKING:
    from shipwrightd.dashboard.events import Event

COMPLETED, STARTED = "pipeline.completed", "pipeline.started"
Grades = dict[str, dict[str, Any]]


def is_success(event: Event) -> bool:
    """Tell whether a completed run says it succeeded."""
    return event.get("result") == "success"


def grades_of(events: list[Event], days: float, now: int | None) -> Grades:
    """Return the measures of the last `days` days before `now`; without it those of all events, for so many days."""
    recent = [event for event in events if now is None or epoch(event) >= now - days * DAY_S]
    done = [event for event in recent if event.get("type") == COMPLETED]
    good = sum(is_success(event) for event in done)
    return graded(
        cents(good / days) if days > 0 else 0,
        lead_times(recent),
        percent(len(done) - good, len(done)),
        recovery_times(done),
    )


def graded(per_day: float, leads: list[float], failed_percent: float | None, recoveries: list[float]) -> Grades:
    """Return the measures with their grades; where nothing happened 0, and Low, but Elite for time to restore."""
    lead = mean(leads)
    recovery = mean(recoveries)
    return {
        "deploy_freq": measure(per_day, "per day", grade_of_frequency(per_day)),
        "lead_time": measure(lead, "hours", "Low" if lead is None else grade_below(lead, HOURS)),
        "cfr": measure(
            failed_percent, "%", "Low" if failed_percent is None else grade_below(failed_percent, FAILURE_PERCENT)
        ),
        "mttr": measure(recovery, "hours", "Elite" if recovery is None else grade_below(recovery, HOURS)),
    }


def percent(part: int, whole: int) -> float | None:
    """Return a part in percent to two decimals, None of nothing."""
    return rounded(part / whole * 10_000) / 100 if whole else None


def measure(value: float | None, unit: str, grade: str) -> dict[str, Any]:
    """Return one measure in the dashboard's shape."""
    return {"value": 0 if value is None else value, "unit": unit, "grade": grade}


def mean(values: list[float]) -> float | None:
    """Return the mean to two decimals, None of nothing."""
    return cents(total(values) / len(values)) if values else None


def lead_times(recent: list[Event]) -> list[float]:
    """Return hours from the last start of an issue to each of its successes."""
    starts: dict[str, Any] = {}
    found = []
    for event in recent:
        issue = event.get("issue")
        if not truthy(issue):
            continue
        if event.get("type") == STARTED:
            starts[text(issue)] = epoch(event)
        elif event.get("type") == COMPLETED and is_success(event):
            start = number(starts.get(text(issue), NAN))
            if 0 < start < epoch(event):
                found.append((epoch(event) - start) / HOUR_S)
    return found


def recovery_times(done: list[Event]) -> list[float]:
    """Return hours from the last failure of an issue to its next success."""
    failures: dict[str, float] = {}
    found = []
    for event in done:
        issue = event.get("issue")
        if not truthy(issue):
            continue
        if not is_success(event):
            failures[text(issue)] = epoch(event)
        elif (failed := failures.get(text(issue), NAN)) > 0:
            if epoch(event) > failed:
                found.append((epoch(event) - failed) / HOUR_S)
            del failures[text(issue)]
    return found
