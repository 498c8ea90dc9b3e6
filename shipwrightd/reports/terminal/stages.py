"""Stages on a terminal: one line each, the bottleneck and the costs; of one stage its durations and days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.table import Column
from shipwrightd.text import duration, money, number, short_duration

if TYPE_CHECKING:
    from shipwrightd.reports.stages import Detail, Stage, Stages
    from shipwrightd.reports.terminal import Cell, Page

WIDE = 110  # cells: room for the shortest and longest attempt and the skipped ones
NARROW = 78  # cells: no room for the median and the cost
SLOWER, QUICKER = 10, -10  # percent: a trend that is shown in color
MOST_PERCENT = 999  # of a trend; the exact figure beyond does not matter
DAYS_SHOWN = 31
COLUMNS = {  # title: width of a terminal from which on it is shown
    ">DONE": 0,
    ">FAIL": 0,
    ">MEAN": 0,
    ">MEDIAN": NARROW,
    ">95 %": 0,
    ">MIN": WIDE,
    ">MAX": WIDE,
    ">SKIPPED": WIDE,
    ">TIME": 0,
    ">COST": NARROW,
    ">TREND": 0,
}


def show(answer: Stages, page: Page) -> None:
    """Write the answer."""
    page.heading("Stages", f"{number(answer.attempts)} attempts, {duration(answer.total_s)} in all")
    page.table(
        [Column("STAGE", wrap=True), *(title for title, width in COLUMNS.items() if page.width >= width)],
        [
            [
                one.stage,
                *(cell for cell, width in zip(_cells(one), COLUMNS.values(), strict=True) if page.width >= width),
            ]
            for one in answer.stages
        ],
    )
    if answer.detail is None:
        _bottleneck(answer, page)
        _costs(answer, page)
    else:
        _detail(answer.detail, page)


def _cells(stage: Stage) -> list[Cell]:
    return [
        stage.attempts,
        _percent(stage.failure_percent),
        short_duration(stage.mean_s),
        short_duration(stage.median_s),
        short_duration(stage.p95_s),
        short_duration(stage.min_s),
        short_duration(stage.max_s),
        stage.skipped,
        _percent(stage.share_percent),
        money(stage.cost_usd) if stage.cost_entries else "-",
        _trend(stage.trend_percent),
    ]


def _trend(change: float | None) -> Cell:
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


def _costs(answer: Stages, page: Page) -> None:
    parts = [f"Cost: {money(answer.cost_usd)} in all"]
    if answer.whole_runs_cost_usd:
        parts.append(f"{money(answer.whole_runs_cost_usd)} of it for entire runs, not split by stage")
    if answer.other_cost_usd:
        parts.append(f"{money(answer.other_cost_usd)} of it without a stage")
    page.line("; ".join(parts))


def _detail(detail: Detail, page: Page) -> None:
    if detail.durations:
        page.heading("Durations", f"of attempts at {detail.stage}, including failed ones")
        top = max(step.attempts for step in detail.durations)
        page.table(
            [">FROM", ">BELOW", ">DONE", ">FAILED", ""],
            [
                (
                    duration(step.from_s),
                    duration(step.below_s),
                    step.attempts,
                    step.failed,
                    page.bar(step.attempts, top),
                )
                for step in detail.durations
            ],
        )
    days = detail.days[-DAYS_SHOWN:]
    left_out = len(detail.days) - len(days)
    page.heading("By day", f"the last {len(days)} of {len(detail.days)} days" if left_out else "newest last")
    top_s = max((day.mean_s or 0 for day in days), default=0)
    page.table(
        ["DAY", ">DONE", ">FAILED", ">SKIPPED", ">MEAN", ""],
        [
            (day.day, day.attempts, day.failed, day.skipped, duration(day.mean_s), page.bar(day.mean_s or 0, top_s))
            for day in days
        ],
    )
