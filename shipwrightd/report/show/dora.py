"""Delivery on a terminal: the four measures with their grades and a line of weeks each, then the weeks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.report.page import Col, duration, number

if TYPE_CHECKING:
    from shipwrightd.report.dora import Delivery, Dora, Measure
    from shipwrightd.report.page import Page

HOUR_S = 3_600
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
    page.table(
        [Col("MEASURE"), Col("VALUE", right=True), Col("GRADE"), Col("RUNS", right=True), Col("WEEKS")],
        [
            (
                title,
                told(getattr(period, name)),
                getattr(period, name).grade or "-",
                number(getattr(period, name).samples),
                page.spark([getattr(week, name).value for week in answer.weeks]),
            )
            for title, name in MEASURES.items()
        ],
    )
    page.heading("By week", "newest last")
    page.table(
        [
            Col("WEEK UNTIL"),
            Col("DEPLOYS", right=True),
            Col("FAILED", right=True),
            *(Col(title.upper(), right=True) for title in MEASURES),
        ],
        [_week(week) for week in answer.weeks],
    )


def _week(week: Delivery) -> list[str]:
    figures = [getattr(week, name) for name in MEASURES.values()]
    return [(week.end or "")[:10], number(week.deploys), number(week.failures), *(_graded(f) for f in figures)]


def _graded(measure: Measure) -> str:
    return f"{told(measure)} {measure.grade}" if measure.grade else "-"


def told(measure: Measure) -> str:
    """Return a measure with its unit."""
    if measure.value is None:
        return "-"
    if measure.unit == "hours":
        return duration(measure.value * HOUR_S)
    return f"{measure.value:g} {measure.unit}"
