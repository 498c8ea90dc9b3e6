"""Throughput on a terminal: rates, then finished runs by day, week or month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.table import Column
from shipwrightd.text import duration, number, percent

if TYPE_CHECKING:
    from shipwrightd.reports.terminal import Cell, Page
    from shipwrightd.reports.throughput import Throughput, Trend


def show(answer: Throughput, page: Page) -> None:
    """Write the answer."""
    now = [("Running now", number(answer.running), ""), ("Waiting now", number(answer.queued), "in the daemon's queue")]
    if not answer.finished:
        days = [day.day for day in answer.by_day]
        page.heading("Finished runs: 0", f"none ended from {days[0]} to {days[-1]}" if days else "none ended")
        _measures(page, now)
        return
    page.heading(
        f"Finished runs: {number(answer.finished)}",
        f"{number(answer.successful)} successful, {number(answer.failed)} failed, in {round(answer.days, 1):g} days",
    )
    best = answer.best_day
    _measures(
        page,
        [
            ("Finished per day", _rate(answer.per_day), f"{_rate(answer.per_hour)} per hour"),
            ("Successful", percent(answer.success_percent), f"{number(answer.successful)} runs"),
            ("Mean duration", duration(answer.mean_success_duration_s), "of a successful run"),
            ("Best day", number(best.successful), f"successful on {best.day}") if best else ("Best day", "-", ""),
            ("Trend", *_trend(answer.trend)),
            *now,
        ],
    )
    page.by_time(
        {day.day: (day.successful + day.failed, day.successful, day.failed) for day in answer.by_day},
        {"FINISHED": number, "SUCCESSFUL": number, "FAILED": _failed},
    )


def _measures(page: Page, rows: list[tuple[str, str, str]]) -> None:
    page.table(["MEASURE", ">VALUE", Column("", wrap=True)], rows)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _trend(trend: Trend | None) -> tuple[str, str]:
    if trend is None:
        return "-", ""
    change = "-" if trend.change_percent is None else f"{trend.change_percent:+.1f} %"
    return (
        change,
        f"{_rate(trend.first.per_day)} per day in the first half, {_rate(trend.second.per_day)} in the second",
    )


def _failed(count: float) -> Cell:
    return number(count), "red" if count else ""
