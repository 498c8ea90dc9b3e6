"""Delivery on a terminal: the four measures with grades and weekly ticks, then the weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.dora import GRADES
from shipwrightd.reports.question import idle_together
from shipwrightd.reports.terminal import STYLES, idle_cell
from shipwrightd.text import duration, number, short_duration

if TYPE_CHECKING:
    from shipwrightd.reports.dora import Delivery, Dora, Measure
    from shipwrightd.reports.terminal import Cell, Page

HOUR_S = 3_600
WIDE = 100  # cells: room for grades in words
NARROW = 74  # cells: no room for counts
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
    titles = ("MEASURE", "VALUE", "GRADE", "RUNS")
    lines = [(title, *_cells(getattr(period, name))) for title, name in MEASURES.items()]
    beside = 2 + sum(page.gap + max(map(len, column)) for column in zip(titles, *lines, strict=True))
    page.table(
        ["MEASURE", ">VALUE", "GRADE", ">RUNS", "WEEKS"],
        [
            (*line, page.spark([getattr(week, name).value for week in answer.weeks], beside))
            for line, name in zip(lines, MEASURES.values(), strict=True)
        ],
    )
    _weeks(answer, page)


def _cells(measure: Measure) -> tuple[str, str, str]:
    value = "-"
    if measure.value is not None:
        value = duration(measure.value * HOUR_S) if measure.unit == "hours" else f"{measure.value:g} {measure.unit}"
    return value, measure.grade or "-", number(measure.samples)


def _weeks(answer: Dora, page: Page) -> None:
    weeks = {(week.end or "")[:10]: week for week in answer.weeks}
    active = {day for day, week in weeks.items() if week.deploys + week.failures}
    lines = idle_together(weeks, active)
    shown = lines[-MOST_WEEKS:]
    about = "newest last" if len(shown) == len(lines) else f"the last {len(shown)}; --format csv has them all"
    wide = page.width >= WIDE
    counts = page.width >= NARROW
    titles = [">DEPLOYS", ">FAILED"] * counts + [">PER DAY", ">LEAD TIME", ">FAILURES", ">RESTORED IN"]
    page.heading("By week", about if wide else f"{about}; {', '.join(f'{grade[0]} {grade}' for grade in GRADES)}")
    page.table(
        ["WEEK UNTIL", *titles],
        [
            _week(day, weeks[day], wide=wide, counts=counts)
            if day in active
            else [idle_cell(day, count, "week"), *"-" * len(titles)]
            for day, count in shown
        ],
    )


def _week(day: str, week: Delivery, *, wide: bool, counts: bool) -> list[Cell]:
    numbers = [week.deploys, week.failures] * counts
    return [day, *numbers, *(_graded(getattr(week, name), wide=wide) for name in MEASURES.values())]


def _graded(measure: Measure, *, wide: bool) -> Cell:
    if measure.value is None or measure.grade is None:
        return "-"
    grade = measure.grade if wide else measure.grade[0]
    hours = measure.unit == "hours"
    value = short_duration(measure.value * HOUR_S) if hours else f"{measure.value:g}{' %' * (measure.unit == '%')}"
    return f"{value} {grade}", STYLES[measure.grade]
