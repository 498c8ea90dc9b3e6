"""Money on a terminal: the total, today against the budget, then who and what had which share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.question import idle_together, stretch_of, unit_for
from shipwrightd.reports.terminal.short import idle
from shipwrightd.reports.terminal.table import Col, money, number, percent

if TYPE_CHECKING:
    from shipwrightd.reports.costs import Budget, Costs, Line, Others, Pipelines
    from shipwrightd.reports.terminal.table import Page

PART = 100  # percent


def show(answer: Costs, page: Page) -> None:
    """Write the answer."""
    total = answer.total
    page.heading(
        f"Spent {money(total.cost_usd)}",
        f"{number(total.entries)} entries, {number(total.input_tokens)} tokens in, {number(total.output_tokens)} out",
    )
    page.line(today(answer.budget), "bold red" if answer.budget.exceeded and answer.budget.enabled else "")
    page.line(success(answer.pipelines))
    page.line()
    _table(page, "By model", answer.by_model, nameless="not known")
    _table(page, "By stage", answer.by_stage, nameless="not known")
    _table(page, "By issue", answer.by_issue, nameless="no issue", others=answer.other_issues)
    _days(page, answer.by_day)


def today(budget: Budget) -> str:
    """Say what today cost so far, beside the daily budget."""
    said = f"Today ({budget.day}, UTC): {money(budget.spent_usd)}"
    if budget.daily_budget_usd is None or budget.used_percent is None:
        said += ", no daily budget is set"
    else:
        said += f" of {money(budget.daily_budget_usd)} ({percent(budget.used_percent / PART)})"
        if not budget.enabled:
            said += ", a budget that is switched off"
        elif budget.exceeded:
            said += ", EXCEEDED"
    if budget.forecast_usd is not None:
        over = " - more than the budget" if budget.forecast_exceeded and not budget.exceeded else ""
        said += f"; at this pace {money(budget.forecast_usd)} by midnight{over}"
    return said


def success(pipelines: Pipelines) -> str:
    """Say what a successful run costs."""
    if pipelines.cost_per_success_usd is None:
        return f"No successful run among {number(pipelines.runs)} finished ones"
    runs = f"{number(pipelines.successful_runs)} of {number(pipelines.runs)} finished runs"
    return f"{money(pipelines.cost_per_success_usd)} for each successful run ({runs})"


def _table(page: Page, title: str, lines: list[Line], *, nameless: str, others: Others | None = None) -> None:
    top = max((line.cost_usd for line in lines if line.name is not None), default=0.0)
    rows: list[tuple[str, Line | Others, str]] = [
        (nameless, line, "") if line.name is None else (str(line.name), line, page.bar(line.cost_usd, top))
        for line in lines
    ]
    if others is not None:  # no bar: it would dwarf those with a name
        rows.append((f"{number(others.issues)} others", others, ""))
    page.heading(title)
    page.table(
        [
            Col(title.removeprefix("By ").upper()),
            Col("COST", right=True),
            Col("SHARE", right=True),
            Col(""),
            Col("ENTRIES", right=True),
        ],
        [(name, money(one.cost_usd), _share(one.share_percent), bar, number(one.entries)) for name, one, bar in rows],
    )


def _share(share_percent: float | None) -> str:
    return percent(None if share_percent is None else share_percent / PART)


def _days(page: Page, days: list[Line]) -> None:
    unit = unit_for([str(day.name) for day in days])
    spent: dict[str, tuple[float, int]] = {}
    for day in days:
        stretch = stretch_of(str(day.name), unit)
        before = spent.get(stretch, (0.0, 0))
        spent[stretch] = (before[0] + day.cost_usd, before[1] + day.entries)
    page.heading(f"By {unit}", "UTC")
    top = max((cost for cost, _ in spent.values()), default=0.0)
    busy = {stretch for stretch, (_, entries) in spent.items() if entries}
    page.table(
        [
            Col("WEEK FROM" if unit == "week" else unit.upper()),
            Col("COST", right=True),
            Col(""),
            Col("ENTRIES", right=True),
        ],
        [
            (stretch, money(spent[stretch][0]), page.bar(spent[stretch][0], top), number(spent[stretch][1]))
            if stretch in busy
            else (idle(stretch, length, unit), "-", "", "-")
            for stretch, length in idle_together(spent, busy)
        ],
    )
