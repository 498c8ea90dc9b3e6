"""Costs on a terminal: the total, today's spending against the budget, then shares by model, stage, issue and day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.text import money, number, percent

if TYPE_CHECKING:
    from shipwrightd.reports.costs import Budget, Costs, Line, Others, Pipelines
    from shipwrightd.reports.terminal import Page


def show(answer: Costs, page: Page) -> None:
    """Write the answer."""
    total = answer.total
    page.heading(
        f"Spent {money(total.cost_usd)}",
        f"{number(total.entries)} entries, {number(total.input_tokens)} tokens in, {number(total.output_tokens)} out",
    )
    page.line(_today(answer.budget), "bold red" if answer.budget.exceeded and answer.budget.enabled else "")
    page.line(_cost_per_success(answer.pipelines))
    page.line()
    _table(page, "By model", answer.by_model)
    _table(page, "By stage", answer.by_stage)
    _table(page, "By issue", answer.by_issue, others=answer.other_issues)
    page.by_time(
        {str(day.name): (day.cost_usd, day.entries) for day in answer.by_day}, {"COST": money, "ENTRIES": number}
    )


def _today(budget: Budget) -> str:
    text = f"Today ({budget.day}, UTC): {money(budget.spent_usd)}"
    if budget.daily_budget_usd is None or budget.used_percent is None:
        text += ", no daily budget"
    else:
        text += f" of {money(budget.daily_budget_usd)} ({percent(budget.used_percent)})"
        if not budget.enabled:
            text += ", budget disabled"
        elif budget.exceeded:
            text += ", EXCEEDED"
    if budget.forecast_usd is not None:
        over = " - more than the budget" if budget.forecast_exceeded and not budget.exceeded else ""
        text += f"; at this rate {money(budget.forecast_usd)} by midnight{over}"
    return text


def _cost_per_success(pipelines: Pipelines) -> str:
    if pipelines.cost_per_success_usd is None:
        return f"No successful run among {number(pipelines.runs)} finished runs"
    runs = f"{number(pipelines.successful_runs)} of {number(pipelines.runs)} finished runs"
    return f"{money(pipelines.cost_per_success_usd)} per successful run ({runs})"


def _table(page: Page, title: str, lines: list[Line], *, others: Others | None = None) -> None:
    """Write the shares of one kind. Entries without a name and the other issues have no bar: theirs may be longest."""
    kind = title.removeprefix("By ")
    top = max((line.cost_usd for line in lines if line.name is not None), default=0.0)
    rows: list[tuple[str, Line | Others, str]] = [
        (f"no {kind}", line, "") if line.name is None else (str(line.name), line, page.bar(line.cost_usd, top))
        for line in lines
    ]
    if others is not None:
        rows.append((f"{number(others.issues)} others", others, ""))
    page.heading(title)
    page.table(
        [kind.upper(), ">COST", ">SHARE", "", ">ENTRIES"],
        [(name, money(one.cost_usd), percent(one.share_percent), bar, one.entries) for name, one, bar in rows],
    )
