"""Shipwright's dashboard, asked of the database: the same addresses, parameters and shapes.

`answer` is all that is used from outside. Which function answers what stands here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shipwrightd.dashboard import as_dashboard, corrected, documents, feed
from shipwrightd.dashboard.javascript import as_json
from shipwrightd.dashboard.request import FailsError, RefusedError, asked
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from shipwrightd.dashboard.request import Asked

    Endpoint = Callable[[apsw.Connection, Asked], Any]

__all__ = ["PATHS", "FailsError", "RefusedError", "answer", "checked"]

# Ours, and the original's.
EXACT: Final[dict[str, tuple[Endpoint, Endpoint]]] = {
    "/api/metrics/history": (corrected.history, as_dashboard.history),
    "/api/metrics/dora-trend": (corrected.dora_trend, as_dashboard.dora_trend),
    "/api/metrics/stage-performance": (corrected.stage_performance, as_dashboard.stage_performance),
    "/api/metrics/bottlenecks": (corrected.bottlenecks, as_dashboard.bottlenecks),
    "/api/metrics/throughput-trend": (corrected.throughput_trend, as_dashboard.throughput_trend),
    "/api/metrics/failure-heatmap": (corrected.failure_heatmap, as_dashboard.failure_heatmap),
    "/api/costs/breakdown": (corrected.costs_breakdown, as_dashboard.costs_breakdown),
    "/api/costs/trend": (corrected.costs_trend, as_dashboard.costs_trend),
    "/api/activity": (feed.activity, feed.activity_original),
    "/api/team": (documents.team, documents.team_original),
    "/api/team/activity": (feed.team_activity, feed.team_activity_original),
    "/api/memory/patterns": (documents.patterns, documents.patterns_original),
    "/api/memory/decisions": (documents.decisions, documents.decisions_original),
    "/api/memory/global": (documents.learnings, documents.learnings_original),
    "/api/queue/detailed": (documents.queue, documents.queue_original),
}
OF_ISSUE: Final[dict[str, tuple[Endpoint, Endpoint]]] = {
    "/api/events/": (feed.events_of_issue, feed.events_of_issue_original),
    "/api/memory/failures/": (documents.failures, documents.failures_original),
}
PATHS: Final = (*EXACT, *(f"{path}N" for path in OF_ISSUE))


def answer(db: apsw.Connection, path: str, now: int, *, compat: bool) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON that the dashboard answers at `now` seconds to a path with parameters; its errors with compat.

    Raises QuestionError for an unknown path, RefusedError where the dashboard answers 400, FailsError where it
    answers 500.
    """
    return as_json(checked(path)[compat](db, asked(path, now)))


def checked(path: str) -> tuple[Endpoint, Endpoint]:
    """Return what answers a path, ours and the original's. Raises QuestionError for an unknown one."""
    found = asked(path, 0).path
    for start, both in OF_ISSUE.items():
        if found.startswith(start):
            return both
    if found not in EXACT:
        raise QuestionError(f"{path!r} is none of {', '.join(PATHS)}")
    return EXACT[found]
