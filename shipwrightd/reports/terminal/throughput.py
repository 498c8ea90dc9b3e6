"""Throughput on a terminal: the rates, then the days; weeks where there are many, months where there are more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.question import idle_together, stretch_of, unit_for
from shipwrightd.reports.terminal.short import idle
from shipwrightd.reports.terminal.table import Col, duration, number, percent

if TYPE_CHECKING:
    from shipwrightd.reports.terminal.table import Page
    from shipwrightd.reports.throughput import Day, Throughput, Trend

PART = 100  # percent


def show(answer: Throughput, page: Page) -> None:
    """Write the answer."""
    if not answer.finished:
        _nothing(answer, page)
        return
    page.heading(
        f"Finished runs: {number(answer.finished)}",
        f"{number(answer.successful)} successful, {number(answer.failed)} failed, in {round(answer.days, 1):g} days",
    )
    page.table(
        [Col("MEASURE"), Col("VALUE", right=True), Col("", wrap=True)],
        [
            ("Finished a day", _rate(answer.per_day), f"{_rate(answer.per_hour)} an hour"),
            ("Successful", _percent(answer.success_percent), f"{number(answer.successful)} runs"),
            ("A success takes", duration(answer.mean_success_duration_s), "on average"),
            ("Best day", *_best(answer.best_day)),
            ("Trend", *_trend(answer.trend)),
            *_now(answer),
        ],
    )
    _days(page, answer.by_day)


def _nothing(answer: Throughput, page: Page) -> None:
    """Say that no run ended, and what goes on all the same."""
    days = [day.day for day in answer.by_day]
    page.heading("Finished runs: 0", f"none ended from {days[0]} to {days[-1]}" if days else "none ended")
    page.table([Col("MEASURE"), Col("VALUE", right=True), Col("", wrap=True)], _now(answer))


def _now(answer: Throughput) -> list[tuple[str, str, str]]:
    return [
        ("Running now", number(answer.running), ""),
        ("Waiting now", number(answer.queued), "in the daemon's queue"),
    ]


def _percent(share_percent: float | None) -> str:
    return percent(None if share_percent is None else share_percent / PART)


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _best(day: Day | None) -> tuple[str, str]:
    return ("-", "") if day is None else (number(day.successful), f"successful on {day.day}")


def _trend(trend: Trend | None) -> tuple[str, str]:
    if trend is None:
        return "-", ""
    change = "-" if trend.change_percent is None else f"{trend.change_percent:+.1f} %"
    told = f"{_rate(trend.first.per_day)} a day in the first half, {_rate(trend.second.per_day)} in the second"
    return change, told


def _days(page: Page, days: list[Day]) -> None:
    unit = unit_for([day.day for day in days])
    found: dict[str, tuple[int, int]] = {}
    for day in days:
        stretch = stretch_of(day.day, unit)
        good, bad = found.get(stretch, (0, 0))
        found[stretch] = (good + day.successful, bad + day.failed)
    page.heading(f"By {unit}", "UTC")
    top = max((good + bad for good, bad in found.values()), default=0)
    busy = {stretch for stretch, counts in found.items() if any(counts)}
    page.table(
        [
            Col("WEEK FROM" if unit == "week" else unit.upper()),
            Col("FINISHED", right=True),
            Col(""),
            Col("SUCCESSFUL", right=True),
            Col("FAILED", right=True),
        ],
        [
            _line(stretch, *found[stretch], page.bar(sum(found[stretch]), top))
            if stretch in busy
            else (idle(stretch, length, unit), "-", "", "-", "-")
            for stretch, length in idle_together(found, busy)
        ],
    )


def _line(stretch: str, good: int, bad: int, bar: str) -> tuple[str | tuple[str, str], ...]:
    return stretch, number(good + bad), bar, number(good), (number(bad), "red" if bad else "")
