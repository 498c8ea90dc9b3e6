"""Failures on a terminal: how many, where, when, of what class, and the last ones in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.question import stretch_of
from shipwrightd.reports.terminal.table import Col, number, percent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shipwrightd.reports.failures import Cell, ClassFailures, Failure, Failures, IssueFailures
    from shipwrightd.reports.terminal.table import Page

PART = 100  # percent
SHADES = "·░▒▓█"  # none, then up to a quarter, a half, three quarters and all of the largest
ASCII_SHADES = ".-+*#"
MOST_COLUMNS = 45  # of the heatmap: leaves room for the names of stages on 80
ERROR_LETTERS = 120


def show(answer: Failures, page: Page) -> None:
    """Write the answer."""
    page.heading("Failures", f"{number(answer.failed_runs)} runs, {number(answer.failed_attempts)} attempts at stages")
    page.line(
        f"Runs: {number(answer.failed_runs)} of {number(answer.finished_runs)} finished ones failed "
        f"({_percent(answer.failed_runs_percent)}), {number(answer.recovered_runs)} of them recovered since"
    )
    page.line(
        f"Attempts: {number(answer.failed_attempts)} of {number(answer.attempts)} failed "
        f"({_percent(answer.failed_attempts_percent)}), {number(answer.retried_attempts)} tried again, "
        f"{number(answer.recovered_attempts)} of them with success"
    )
    page.line()
    _stages(answer, page)
    if answer.heatmap:
        _heatmap(answer, page)
    page.heading("By error class")
    _counts(page, "ERROR CLASS", (("not told", one.error_class, one) for one in answer.by_error_class))
    page.heading("By issue", f"and {number(answer.other_issues)} more" if answer.other_issues else "")
    _counts(page, "ISSUE", (("no issue", one.issue, one) for one in answer.by_issue))
    _last(answer.last, page)


def _percent(share_percent: float | None) -> str:
    return percent(None if share_percent is None else share_percent / PART)


def _stages(answer: Failures, page: Page) -> None:
    top = max((one.failed_attempts for one in answer.by_stage), default=0)
    page.heading("By stage")
    page.table(
        [
            Col("STAGE"),
            Col("ATTEMPTS", right=True),
            Col("FAILED", right=True),
            Col("SHARE", right=True),
            Col(""),
            Col("RUNS FAILED", right=True),
        ],
        [
            (
                "not known" if one.stage is None else one.stage,
                number(one.attempts),
                number(one.failed_attempts),
                _percent(one.failed_percent),
                page.bar(one.failed_attempts, top, cells=16),
                number(one.failed_runs),
            )
            for one in answer.by_stage
        ],
    )


def _heatmap(answer: Failures, page: Page) -> None:
    unit, columns = across(answer.days)
    counts = folded(answer.heatmap, unit)
    top = max(counts.values())
    about = f"{columns[0]} to {columns[-1]}, {shade(top, top, page)} is {number(top)}"
    page.heading(f"Failed attempts by stage and {unit}", about)
    stages = [one.stage for one in answer.by_stage if one.failed_attempts and one.stage is not None]
    page.table(
        [Col("STAGE"), Col(f"{unit.upper()}S"), Col("FAILED", right=True)],
        [
            (
                stage,
                "".join(shade(counts.get((stage, column), 0), top, page) for column in columns),
                number(sum(counts.get((stage, column), 0) for column in columns)),
            )
            for stage in stages
        ],
    )


def across(days: list[str]) -> tuple[str, list[str]]:
    """Return the smallest unit of which all fit side by side, and the columns; of too many months the last ones."""
    for unit in ("day", "week", "month"):
        columns = list(dict.fromkeys(stretch_of(day, unit) for day in days))
        if len(columns) <= MOST_COLUMNS:
            break
    return unit, columns[-MOST_COLUMNS:]


def folded(cells: Iterable[Cell], unit: str) -> dict[tuple[str, str], int]:
    """Return the failed attempts by stage and day, week or month."""
    counts: dict[tuple[str, str], int] = {}
    for cell in cells:
        key = (cell.stage, stretch_of(cell.day, unit))
        counts[key] = counts.get(key, 0) + cell.failed_attempts
    return counts


def shade(value: int, top: int, page: Page) -> str:
    """Return one square: the darker, the nearer to the largest; only nothing looks like nothing."""
    shades = SHADES if page.unicode else ASCII_SHADES
    return shades[-(-value * (len(shades) - 1) // top)] if top > 0 else shades[0]


def _counts(
    page: Page, title: str, counts: Iterable[tuple[str, str | int | None, ClassFailures | IssueFailures]]
) -> None:
    page.table(
        [Col(title), Col("RUNS", right=True), Col("ATTEMPTS", right=True)],
        [
            (nameless if name is None else str(name), number(one.failed_runs), number(one.failed_attempts))
            for nameless, name, one in counts
        ],
    )


def _last(last: list[Failure], page: Page) -> None:
    page.heading("The last ones", "newest first; `report runs RUN` tells all of a run")
    page.table(
        [Col("TIME"), Col("ISSUE"), Col("RUN", right=True), Col("STAGE"), Col("WHAT", wrap=True)],
        [
            (
                (one.ended_at or "-")[:16].replace("T", " "),
                "-" if one.issue is None else str(one.issue),
                str(one.run),
                _place(one),
                _what(one),
            )
            for one in last
        ],
    )


def _place(one: Failure) -> str:
    again = f" #{one.attempt}" if one.attempt is not None and one.attempt > 1 else ""
    return f"{one.stage or '-'}{again}"


def _what(one: Failure) -> str:
    """Say what went wrong, each thing once: the class is often all there is of the error."""
    said = dict.fromkeys(text for text in (one.error_class, shortened(one.error or "")) if text)
    return (": ".join(said) or "-") + (" (recovered)" if one.recovered else "")


def shortened(text: str) -> str:
    """Return a text cut to what a cell of a table bears; what is left out shows as dots."""
    return text if len(text) <= ERROR_LETTERS else f"{text[: ERROR_LETTERS - 3]}..."
