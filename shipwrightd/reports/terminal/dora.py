"""Delivery on a terminal: the four measures with their grades and a line of weeks each, then the weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.dora import GRADES
from shipwrightd.reports.question import idle_together
from shipwrightd.reports.terminal.short import idle, short
from shipwrightd.reports.terminal.table import GRADES as COLOURS
from shipwrightd.reports.terminal.table import Col, duration, number

if TYPE_CHECKING:
    from shipwrightd.reports.dora import Delivery, Dora, Measure
    from shipwrightd.reports.terminal.table import Page

HOUR_S = 3_600
WIDE = 100  # columns: room for grades in words
NARROW = 74  # columns: no room for counts
MOST_WEEKS = 26  # lines: half a year
MEASURES = {
    "Deployment frequency": "deployment_frequency",
    "Lead time": "lead_time",
    "Change failure rate": "change_failure_rate",
    "Time to restore": "time_to_restore",
}


def show(answer: Dora, page: Page) -> None:
    """Write the answer."""
    period = answer.period
    page.heading("Delivery", f"{number(period.deploys)} successful runs, {number(period.failures)} failed")
    heads = ("MEASURE", "VALUE", "GRADE", "RUNS")
    lines = [(title, *_told(getattr(period, name))) for title, name in MEASURES.items()]
    beside = 2 + sum(page.gap + max(map(len, column)) for column in zip(heads, *lines, strict=True))
    page.table(
        [Col("MEASURE"), Col("VALUE", right=True), Col("GRADE"), Col("RUNS", right=True), Col("WEEKS")],
        [
            (*line, page.spark([getattr(week, name).value for week in answer.weeks], beside))
            for line, name in zip(lines, MEASURES.values(), strict=True)
        ],
    )
    _weeks(answer, page)


def _told(measure: Measure) -> tuple[str, str, str]:
    return told(measure), measure.grade or "-", number(measure.samples)


def _weeks(answer: Dora, page: Page) -> None:
    weeks = {(week.end or "")[:10]: week for week in answer.weeks}
    busy = {day for day, week in weeks.items() if week.deploys + week.failures}
    lines = idle_together(weeks, busy)
    shown = lines[-MOST_WEEKS:]
    about = "newest last" if len(shown) == len(lines) else f"the last {len(shown)}; --format csv has them all"
    wide, narrow = page.console.width >= WIDE, page.console.width < NARROW
    page.heading("By week", about if wide else f"{about}; {', '.join(f'{grade[0]} {grade}' for grade in GRADES)}")
    page.table(
        [
            Col("WEEK UNTIL"),
            *(Col(title, right=True) for title in ("DEPLOYS", "FAILED") if not narrow),
            *(Col(title, right=True) for title in ("PER DAY", "LEAD TIME", "FAILURES", "RESTORED IN")),
        ],
        [
            _week(day, weeks[day], wide=wide, narrow=narrow) if day in busy else _idle(day, length, narrow=narrow)
            for day, length in shown
        ],
    )


def _week(day: str, week: Delivery, *, wide: bool, narrow: bool) -> list[str | tuple[str, str]]:
    counts = [] if narrow else [number(week.deploys), number(week.failures)]
    return [day, *counts, *(_graded(getattr(week, name), wide=wide) for name in MEASURES.values())]


def _idle(day: str, length: int, *, narrow: bool) -> list[str | tuple[str, str]]:
    return [idle(day, length, "week"), *("-" * (len(MEASURES) + (0 if narrow else 2)))]


def _graded(measure: Measure, *, wide: bool) -> str | tuple[str, str]:
    if measure.value is None or measure.grade is None:
        return "-"
    grade = measure.grade if wide else measure.grade[0]
    return f"{_brief(measure.value, measure.unit)} {grade}", COLOURS[measure.grade]


def _brief(value: float, unit: str) -> str:
    if unit == "hours":
        return short(value * HOUR_S)
    return f"{value:g}{' %' if unit == '%' else ''}"


def told(measure: Measure) -> str:
    """Return a measure with its unit."""
    if measure.value is None:
        return "-"
    if measure.unit == "hours":
        return duration(measure.value * HOUR_S)
    return f"{measure.value:g} {measure.unit}"
