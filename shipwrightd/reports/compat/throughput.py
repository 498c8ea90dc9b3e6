"""Throughput as the dashboard has it: pipeline.completed alone, which a failing run does not write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.dashboard.as_dashboard import is_success, percent
from shipwrightd.dashboard.events import epoch
from shipwrightd.dashboard.javascript import cents, rounded
from shipwrightd.reports.compat.events import day_of, finite, runs
from shipwrightd.reports.question import DAY_S, days_of, length_s
from shipwrightd.reports.throughput import HOUR_S, QUEUED, Day, Throughput

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.reports.question import Question

ACTIVE = "SELECT count(*) FROM daemon_jobs WHERE present"  # what the dashboard counts as running


def collect(db: apsw.Connection, question: Question) -> Throughput:
    """Answer for the question's period, and issue if it names one."""
    done = runs(db, question)
    good = [event for event in done if is_success(event)]
    length = length_s(question, min((int(epoch(event)) for event in done), default=None))
    days = by_day(done)
    best = max(sorted(days.values(), key=lambda day: day.day), key=lambda day: day.successful, default=None)
    return Throughput(
        finished=len(done),
        successful=len(good),
        failed=len(done) - len(good),
        success_percent=percent(len(good), len(done)),
        days=length / DAY_S,
        per_day=cents(len(good) * DAY_S / length) if length else None,
        per_hour=cents(len(good) * HOUR_S / length) if length else None,
        mean_success_duration_s=rounded(sum(finite(event.get("duration_s")) for event in good) / len(good))
        if good
        else None,
        best_day=best if best is not None and best.successful else None,
        queued=db.execute(QUEUED, (None,)).get,
        running=db.execute(ACTIVE).get,
        trend=None,
        by_day=[days.get(day, Day(day, 0, 0, 0)) for day in days_of(question, days)],
    )


def by_day(done: list[Event]) -> dict[str, Day]:
    """Return completed runs by the day in their ts."""
    found: dict[str, Day] = {}
    for event in done:
        name, good = day_of(event), is_success(event)
        if len(name) == len("2026-01-31"):
            day = found.get(name, Day(name, 0, 0, 0))
            found[name] = Day(name, day.finished + 1, day.successful + good, day.failed + (not good))
    return found
