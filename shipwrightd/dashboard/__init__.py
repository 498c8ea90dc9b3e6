"""The dashboard's API: the same paths, parameters and shapes; which function answers which path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shipwrightd.dashboard import as_dashboard, corrected, documents, events
from shipwrightd.dashboard.javascript import as_json
from shipwrightd.dashboard.request import FailsError, RefusedError, parse
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from shipwrightd.dashboard.request import Request

    Endpoint = Callable[[apsw.Connection, Request], Any]

__all__ = ["PATHS", "FailsError", "RefusedError", "answer", "checked"]

# Corrected, and as the dashboard answers.
EXACT: Final[dict[str, tuple[Endpoint, Endpoint]]] = {
    "/api/metrics/history": (corrected.history, as_dashboard.history),
    "/api/metrics/dora-trend": (corrected.dora_trend, as_dashboard.dora_trend),
    "/api/metrics/stage-performance": (corrected.stage_performance, as_dashboard.stage_performance),
    "/api/metrics/bottlenecks": (corrected.bottlenecks, as_dashboard.bottlenecks),
    "/api/metrics/throughput-trend": (corrected.throughput_trend, as_dashboard.throughput_trend),
    "/api/metrics/failure-heatmap": (corrected.failure_heatmap, as_dashboard.failure_heatmap),
    "/api/costs/breakdown": (corrected.costs_breakdown, as_dashboard.costs_breakdown),
    "/api/costs/trend": (corrected.costs_trend, as_dashboard.costs_trend),
    "/api/activity": (events.activity, events.activity_as_dashboard),
    "/api/team": (documents.team, documents.team_as_dashboard),
    "/api/team/activity": (events.team_activity, events.team_activity_as_dashboard),
    "/api/memory/patterns": (documents.patterns, documents.patterns_as_dashboard),
    "/api/memory/decisions": (documents.decisions, documents.decisions_as_dashboard),
    "/api/memory/global": (documents.learnings, documents.learnings_as_dashboard),
    "/api/queue/detailed": (documents.queue, documents.queue_as_dashboard),
}
OF_ISSUE: Final[dict[str, tuple[Endpoint, Endpoint]]] = {
    "/api/events/": (events.events_of_issue, events.events_of_issue_as_dashboard),
    "/api/memory/failures/": (documents.failures, documents.failures_as_dashboard),
}
PATHS: Final = (*EXACT, *(f"{path}N" for path in OF_ISSUE))


def answer(db: apsw.Connection, path: str, now: int, *, compat: bool) -> Any:  # noqa: ANN401 - any JSON
    """Return the JSON for a path with parameters at `now` seconds; with `compat` the dashboard's own, errors included.

    Raises QuestionError for an unknown path, RefusedError if the dashboard answers 400, FailsError if it answers 500.
    """
    return as_json(checked(path)[compat](db, parse(path, now)))


def checked(path: str) -> tuple[Endpoint, Endpoint]:
    """Return the endpoints of a path, corrected and as the dashboard. Raises QuestionError for an unknown path."""
    bare = parse(path, 0).path
    for start, both in OF_ISSUE.items():
        if bare.startswith(start):
            return both
    if bare not in EXACT:
        raise QuestionError(f"{path!r} is not one of {', '.join(PATHS)}")
    return EXACT[bare]
