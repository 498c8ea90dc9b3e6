"""The figures as the dashboard computes them from events, errors included. One function an endpoint.

They follow the functions of the same name in server.ts: what is added up, in which order, with which rounding.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from shipwrightd.dashboard import events as journal
from shipwrightd.dashboard.events import epoch
from shipwrightd.dashboard.javascript import NAN, cents, entries, number, parse_int, plus, rounded, text, total, truthy
from shipwrightd.dashboard.request import (
    BOTTLENECK_DAYS,
    STAGE,
    FailsError,
    daily,
    day_at,
    graded,
    percent,
    ranked,
    trend,
)
from shipwrightd.reports.question import DAY_S, HOUR_S, WEEK_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.dashboard.request import Answer, Grades, Request

COMPLETED, STARTED = "pipeline.completed", "pipeline.started"
STAGE_COMPLETED, STAGE_FAILED = "stage.completed", "stage.failed"
MONEY = ("pipeline.cost", "cost.record")  # the same cost twice
PRICES = {"opus": (15, 75), "sonnet": (3, 15), "haiku": (0.25, 1.25)}  # US dollars a million tokens, in and out


def history(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/history."""
    days = request.dora_period()
    events = journal.since(db, (COMPLETED, STAGE_COMPLETED), NAN)
    done = [event for event in events if event["type"] == COMPLETED]
    good = [event for event in done if is_success(event)]
    starts = journal.since(db, (COMPLETED, STARTED), request.cutoff(days))
    recent = sum(epoch(event) >= request.now - DAY_S for event in good)
    return {
        "success_rate": percent(len(good), len(done)) or 0,
        "avg_duration_s": rounded(mean_duration(good)) if good else 0,
        "throughput_per_hour": cents(recent / 24),
        "total_completed": len(good),
        "total_failed": len(done) - len(good),
        "stage_durations": {stage: rounded(mean_duration(found)) for stage, found in by_stage(events)},
        "daily_counts": daily_counts(done, request),
        "dora_grades": grades_of(starts, days, request.now),
    }


def by_stage(events: list[Event]) -> list[tuple[str, list[Event]]]:
    """Return the events of each stage that completed, in the order of an object's keys."""
    stages: dict[str, list[Event]] = {}
    for event in events:
        if event["type"] == STAGE_COMPLETED and truthy(event.get("stage")):
            stages.setdefault(text(event["stage"]), []).append(event)
    return entries(stages)


def durations(events: list[Event]) -> list[Any]:
    """Return the duration of each event, 0 for none."""
    return [event.get("duration_s") or 0 for event in events]


def mean_duration(events: list[Event]) -> float:
    """Return the mean duration of events, of which there is at least one."""
    return number(total(durations(events))) / len(events)


def daily_counts(done: list[Event], request: Request) -> list[Answer]:
    """Return completed and failed runs of each of the last seven days."""
    counts = {day: {"completed": 0, "failed": 0} for day in request.days(7)}
    for event in done:
        if (day := day_of(event)) in counts:
            counts[day]["completed" if is_success(event) else "failed"] += 1
    return [{"date": day, **count} for day, count in counts.items()]


def day_of(event: Event) -> str:
    """Return the date in an event's ts. Raises FailsError if ts is not text."""
    ts = event.get("ts")
    if not truthy(ts):
        return ""
    if not isinstance(ts, str):
        raise FailsError(f"the ts of an event is {text(ts)}, not text")
    return ts.partition("T")[0]


def dora_trend(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/dora-trend: events of a week, of which only the last seven days before now count."""
    ends = request.week_ends()
    events = journal.since(db, (COMPLETED, STARTED), ends[0] - WEEK_S) if ends else []
    weeks = []
    for end in ends:
        within = [event for event in events if end - WEEK_S <= epoch(event) < end]
        weeks.append({"week": day_at(end), "grades": grades_of(within, 7, request.now)})
    return {"weeks": weeks}


def stage_performance(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/stage-performance."""
    period = request.period(7)
    half = NAN if math.isnan(period) else request.now - math.floor(period / 2) * DAY_S
    events = journal.since(db, (STAGE_COMPLETED,), request.cutoff(period))
    return {"stages": [_stage(name, found, half) for name, found in by_stage(events)]}


def _stage(name: str, events: list[Event], half: float) -> Answer:
    early = [event for event in events if epoch(event) < half]
    late = [event for event in events if not epoch(event) < half]
    paid = [event["cost_usd"] for event in events if number(event.get("cost_usd")) > 0]
    average = mean_duration(events)
    halves = [mean_duration(part) if part else None for part in (early, late)]
    took = [number(duration) for duration in durations(events)]
    values = (name, rounded(average), min(took), max(took), len(took), cents(total(paid)), trend(average, *halves))
    return dict(zip(STAGE, values, strict=True))


def bottlenecks(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/bottlenecks."""
    stages = by_stage(journal.since(db, (STAGE_COMPLETED,), request.cutoff(BOTTLENECK_DAYS)))
    return ranked([(stage, rounded(mean_duration(events))) for stage, events in stages])


def throughput_trend(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/metrics/throughput-trend."""
    period = request.period(30)
    counts = dict.fromkeys(request.days(period), 0)
    for event in journal.since(db, (COMPLETED,), request.cutoff(period)):
        if is_success(event) and (day := day_of(event)) in counts:
            counts[day] += 1
    return daily({day: count / 24 for day, count in counts.items()}, "throughput")


def failure_heatmap(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/metrics/failure-heatmap."""
    heatmap: dict[str, Counter[str]] = {}
    for event in journal.since(db, (STAGE_FAILED,), NAN):
        stage = text(event["stage"]) if truthy(event.get("stage")) else "unknown"
        if day := day_of(event):
            heatmap.setdefault(stage, Counter())[day] += 1
    return {"heatmap": heatmap}


def cost_of(event: Event) -> Any:  # noqa: ANN401 - a number, or text if the event has text
    """Return the cost in an event, else the price of its tokens. Raises FailsError if the model is not text."""
    cost = event.get("cost_usd")
    if truthy(cost):
        return cost
    model = event.get("model") or "sonnet"
    if not isinstance(model, str):
        raise FailsError(f"the model of an event is {text(model)}, not text")
    price_in, price_out = PRICES.get(model.lower(), PRICES["sonnet"])
    read, written = (number(event.get(key) or 0) for key in ("input_tokens", "output_tokens"))
    return read / 1_000_000 * price_in + written / 1_000_000 * price_out


def costs_breakdown(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/costs/breakdown."""
    sums: dict[str, dict[str, Any]] = {"stage": {}, "model": {}, "issue": {}}
    spent: Any = 0
    for event, cost in _paid(db, request, request.period(7)):
        spent = plus(spent, cost)
        for key, part in sums.items():
            named = event.get(key)
            if truthy(named) or key != "issue":
                name = text(named) if truthy(named) else "unknown"
                part[name] = plus(part.get(name) or 0, cost)
    issues = sums["issue"]
    for name in list(issues):
        key = text(parse_int(name))  # under which the dashboard looks up what it rounds
        issues[key] = cents(issues.get(key, NAN))
    return {
        "byStage": {name: cents(cost) for name, cost in sums["stage"].items()},
        "byModel": {name: cents(cost) for name, cost in sums["model"].items()},
        "byIssue": issues,
        "total": cents(spent),
    }


def _paid(db: apsw.Connection, request: Request, days: float) -> Iterator[tuple[Event, Any]]:
    """Yield the events of the last `days` days that cost something, with their cost."""
    for event in journal.since(db, MONEY, request.cutoff(days)):
        if number(cost := cost_of(event)) > 0:
            yield event, cost


def costs_trend(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/costs/trend."""
    period = request.period(30)
    sums: dict[str, Any] = dict.fromkeys(request.days(period), 0)
    for event, cost in _paid(db, request, period):
        if (day := day_of(event)) in sums:
            sums[day] = plus(sums[day], cost)
    return daily(sums, "cost")


# -- the four measures of delivery (calculateDoraGrades)


def is_success(event: Event) -> bool:
    """Tell whether a completed run reports success."""
    return event.get("result") == "success"


def grades_of(events: list[Event], days: float, now: int) -> Grades:
    """Return the measures of the `days` days before `now`."""
    recent = [event for event in events if epoch(event) >= now - days * DAY_S]
    done = [event for event in recent if event.get("type") == COMPLETED]
    good = sum(is_success(event) for event in done)
    return graded(
        cents(good / days) if days > 0 else 0,
        lead_times(recent),
        percent(len(done) - good, len(done)),
        recovery_times(done),
    )


def lead_times(recent: list[Event]) -> list[float]:
    """Return hours from the last start of an issue to each of its successes."""
    starts: dict[str, Any] = {}
    hours = []
    for issue, event in _by_issue(recent):
        if event.get("type") == STARTED:
            starts[issue] = epoch(event)
        elif event.get("type") == COMPLETED and is_success(event):
            start = number(starts.get(issue, NAN))
            if 0 < start < epoch(event):
                hours.append((epoch(event) - start) / HOUR_S)
    return hours


def recovery_times(done: list[Event]) -> list[float]:
    """Return hours from the last failure of an issue to its next success."""
    failures: dict[str, float] = {}
    hours = []
    for issue, event in _by_issue(done):
        if not is_success(event):
            failures[issue] = epoch(event)
        elif (failed := failures.get(issue, NAN)) > 0:
            if epoch(event) > failed:
                hours.append((epoch(event) - failed) / HOUR_S)
            del failures[issue]
    return hours


def _by_issue(events: list[Event]) -> Iterator[tuple[str, Event]]:
    return ((text(event["issue"]), event) for event in events if truthy(event.get("issue")))
