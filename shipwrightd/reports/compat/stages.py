"""Stages as the dashboard has them: the events stage.completed alone, which build and test do not write."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from shipwrightd.clock import utc
from shipwrightd.dashboard.as_dashboard import STAGE_COMPLETED, bottlenecks
from shipwrightd.dashboard.events import epoch
from shipwrightd.dashboard.javascript import cents, rounded, text, truthy
from shipwrightd.dashboard.request import Request
from shipwrightd.reports.compat.events import finite, meant
from shipwrightd.reports.stages import Bottleneck, Stage, Stages, second_half

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.reports.question import Question


def collect(db: apsw.Connection, question: Question) -> Stages:
    """Answer for the question's period; the bottlenecks are those of the last seven days, as in the dashboard."""
    since, end = question.period.since, question.end
    events = [event for event in meant(db, question, STAGE_COMPLETED) if truthy(event.get("stage"))]
    begin = since if since is not None else min((int(epoch(event)) for event in events), default=None)
    middle = end if begin is None else second_half(begin, end)
    by_stage: dict[str, list[Event]] = {}
    for event in events:
        by_stage.setdefault(text(event["stage"]), []).append(event)
    found = [stage(name, done, middle) for name, done in by_stage.items()]
    return Stages(
        start=utc(since),
        end=utc(end) or "",
        second_half_start=None if begin is None else utc(middle),
        attempts=len(events),
        total_s=sum(one.total_s for one in found),
        cost_usd=sum(one.cost_usd for one in found),
        whole_runs_cost_usd=0.0,
        other_cost_usd=0.0,
        stages=found,
        bottlenecks=[_bottleneck(one, by_stage) for one in bottlenecks(db, Request("", question.now))["bottlenecks"]],
        detail=None,
    )


def stage(name: str, events: list[Event], middle: int) -> Stage:
    """Return what the dashboard says of a stage; it knows no failures, medians or percentiles."""
    took = [finite(event.get("duration_s")) for event in events]
    early = [one for one, event in zip(took, events, strict=True) if epoch(event) < middle]
    late = [one for one, event in zip(took, events, strict=True) if not epoch(event) < middle]
    first, second = (fmean(half) if half else fmean(took) for half in (early, late))
    paid = [cost for event in events if (cost := finite(event.get("cost_usd"))) > 0]
    return Stage(
        stage=name,
        attempts=len(events),
        succeeded=len(events),
        failed=0,
        skipped=0,
        timed=len(events),
        mean_s=rounded(fmean(took)),
        median_s=None,
        p95_s=None,
        min_s=min(took),
        max_s=max(took),
        total_s=sum(took),
        failed_s=0.0,
        share_percent=None,
        failure_percent=None,
        cost_usd=cents(sum(paid)),
        cost_entries=len(paid),
        first_half_mean_s=first,
        second_half_mean_s=second,
        trend_percent=rounded((second - first) / first * 100) if first > 0 else 0,
    )


def _bottleneck(said: dict[str, Any], by_stage: dict[str, list[Event]]) -> Bottleneck:
    attempts = len(by_stage.get(said["stage"], ()))
    words = said["suggestion"]
    return Bottleneck(said["stage"], said["avgDuration"], attempts, None, said["impact"], words, words)
