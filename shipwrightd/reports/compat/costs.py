"""Money as the dashboard has it: the events pipeline.cost and cost.record, which are the same money twice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from shipwrightd.dashboard.as_dashboard import MONEY, cost_of, is_success
from shipwrightd.dashboard.javascript import cents, truthy
from shipwrightd.reports.compat.events import day_of, finite, meant, named, runs
from shipwrightd.reports.costs import Costs, Line, Pipelines, Total, budget
from shipwrightd.reports.question import days_of

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.reports.question import Question

Paid = list[tuple["Event", float]]


def collect(db: apsw.Connection, question: Question) -> Costs:
    """Answer for the question's period and filters; the budget is that of costs.json, in the dashboard too."""
    paid = [(event, finite(cost_of(event))) for event in meant(db, question, *MONEY)]
    paid = [(event, cost) for event, cost in paid if cost > 0]
    whole = sum(cost for _, cost in paid)
    done = runs(db, question)
    good = sum(map(is_success, done))
    days = {line.name: line for line in lines([(day_of(event), cost) for event, cost in paid], whole)}
    return Costs(
        total=Total(
            cents(whole),
            len(paid),
            sum(int(finite(event.get("input_tokens"))) for event, _ in paid),
            sum(int(finite(event.get("output_tokens"))) for event, _ in paid),
        ),
        by_model=lines([(named(event, "model"), cost) for event, cost in paid], whole),
        by_stage=lines([(named(event, "stage"), cost) for event, cost in paid], whole),
        by_issue=lines([(named(event, "issue"), cost) for event, cost in paid if truthy(event.get("issue"))], whole),
        other_issues=None,
        by_day=[days.get(day) or Line(day, 0.0, 0, 0.0 if whole else None) for day in days_of(question, _days(days))],
        budget=budget(db, question.now),
        pipelines=Pipelines(len(done), good, round(whole / good, 6) if good else None),
    )


def _days(days: dict[str | int | None, Line]) -> list[str]:
    return [day for day in days if isinstance(day, str) and len(day) == len("2026-01-31")]


def lines(paid: list[tuple[str, float]], whole: float) -> list[Line]:
    """Return a line for each name, the dearest first."""
    sums: dict[str, list[float]] = defaultdict(list)
    for name, cost in paid:
        sums[name].append(cost)
    order = sorted(sums.items(), key=lambda found: -sum(found[1]))
    return [
        Line(name, cents(sum(costs)), len(costs), round(100 * sum(costs) / whole, 4) if whole else None)
        for name, costs in order
    ]
