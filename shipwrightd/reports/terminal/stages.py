"""Stages on a terminal: one line each, the bottleneck in words, the money; of one stage its durations and days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.terminal.short import short
from shipwrightd.reports.terminal.table import Col, duration, money, number

if TYPE_CHECKING:
    from shipwrightd.reports.stages import Detail, Stage, Stages, Step
    from shipwrightd.reports.terminal.table import Page

WIDE = 110  # columns: room for the shortest attempt and the skipped ones, too
NARROW = 78  # columns: no room for the median and the money
SLOWER, QUICKER = 10, -10  # percent: a trend worth a colour
MOST_PERCENT = 999  # of a trend; beyond, the number says nothing
DAYS_SHOWN = 31


def show(answer: Stages, page: Page) -> None:
    """Write the answer."""
    page.heading("Stages", f"{number(answer.attempts)} attempts, {duration(answer.total_s)} in all")
    _table(answer, page)
    if answer.detail is None:
        _bottleneck(answer, page)
        _money(answer, page)
    else:
        _detail(answer.detail, page)


def _table(answer: Stages, page: Page) -> None:
    columns = {
        "DONE": True,
        "FAIL": True,
        "MEAN": True,
        "MEDIAN": page.console.width >= NARROW,
        "95 %": True,
        "MIN": page.console.width >= WIDE,
        "MAX": page.console.width >= WIDE,
        "SKIPPED": page.console.width >= WIDE,
        "TIME": True,
        "COST": page.console.width >= NARROW,
        "TREND": True,
    }
    page.table(
        [Col("STAGE", wrap=True), *(Col(title, right=True) for title, fits in columns.items() if fits)],
        [
            [found.stage, *(cell for cell, fits in zip(_cells(found), columns.values(), strict=True) if fits)]
            for found in answer.stages
        ],
    )


def _cells(found: Stage) -> list[str | tuple[str, str]]:
    return [
        number(found.attempts),
        _percent(found.failure_percent),
        short(found.mean_s),
        short(found.median_s),
        short(found.p95_s),
        short(found.min_s),
        short(found.max_s),
        number(found.skipped),
        _percent(found.share_percent),
        money(found.cost_usd) if found.cost_entries else "-",
        _trend(found.trend_percent),
    ]


def _trend(change: float | None) -> str | tuple[str, str]:
    if change is None:
        return "-"
    style = "red" if change > SLOWER else "green" if change < QUICKER else ""
    return (f"{change:+.0f} %" if change <= MOST_PERCENT else f"> {MOST_PERCENT} %"), style


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def _bottleneck(answer: Stages, page: Page) -> None:
    if answer.bottlenecks:
        first = answer.bottlenecks[0]
        page.line(f"Bottleneck: {first.stage}, {first.reason}", style="bold")
        page.line(f"Impact {first.impact}: {first.suggestion}")


def _money(answer: Stages, page: Page) -> None:
    parts = [f"Money: {money(answer.cost_usd)} in all"]
    if answer.whole_runs_cost_usd:
        parts.append(f"{money(answer.whole_runs_cost_usd)} of it for whole runs, of which no stage is told")
    if answer.other_cost_usd:
        parts.append(f"{money(answer.other_cost_usd)} of it without a stage")
    page.line("; ".join(parts))


def _detail(detail: Detail, page: Page) -> None:
    if detail.durations:
        page.heading("Durations", f"attempts at {detail.stage}, those that failed too")
        top = max(step.attempts for step in detail.durations)
        page.table(
            [
                Col("FROM", right=True),
                Col("BELOW", right=True),
                Col("DONE", right=True),
                Col("FAILED", right=True),
                Col(""),
            ],
            [_step(step, page.bar(step.attempts, top)) for step in detail.durations],
        )
    days = detail.days[-DAYS_SHOWN:]
    left_out = len(detail.days) - len(days)
    page.heading("By day", f"the last {len(days)} of {len(detail.days)} days" if left_out else "newest last")
    top_s = max((day.mean_s or 0 for day in days), default=0)
    page.table(
        [Col("DAY"), *(Col(title, right=True) for title in ("DONE", "FAILED", "SKIPPED", "MEAN")), Col("")],
        [
            (
                day.day,
                number(day.attempts),
                number(day.failed),
                number(day.skipped),
                duration(day.mean_s),
                page.bar(day.mean_s or 0, top_s),
            )
            for day in days
        ],
    )


def _step(step: Step, bar: str) -> tuple[str, ...]:
    below = "-" if step.below_s is None else duration(step.below_s)
    return duration(step.from_s), below, number(step.attempts), number(step.failed), bar
