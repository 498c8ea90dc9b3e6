"""Failures on a terminal: counts by stage, day, error class and issue, then the latest failures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.reports.question import stretch_of
from shipwrightd.reports.terminal import minute_of
from shipwrightd.table import Column
from shipwrightd.text import number, percent, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shipwrightd.reports.failures import ClassFailures, Failure, Failures, IssueFailures
    from shipwrightd.reports.terminal import Page

SHADES = "·░▒▓█"  # none, then up to a quarter, a half, three quarters and all of the largest
ASCII_SHADES = ".-+*#"
MOST_COLUMNS = 45  # of the heatmap: leaves room for the names of stages on 80
ERROR_LENGTH = 120


def show(answer: Failures, page: Page) -> None:
    """Write the answer."""
    page.heading("Failures", f"{number(answer.failed_runs)} runs, {number(answer.failed_attempts)} attempts at stages")
    page.line(
        f"Runs: {number(answer.failed_runs)} of {number(answer.finished_runs)} finished runs failed "
        f"({percent(answer.failed_runs_percent)}), {number(answer.recovered_runs)} of them later recovered"
    )
    page.line(
        f"Attempts: {number(answer.failed_attempts)} of {number(answer.attempts)} failed "
        f"({percent(answer.failed_attempts_percent)}), {number(answer.retried_attempts)} were retried, "
        f"{number(answer.recovered_attempts)} of them successfully"
    )
    page.line()
    _stages(answer, page)
    if answer.heatmap:
        _heatmap(answer, page)
    page.heading("By error class")
    _counts(page, "ERROR CLASS", (("no class", one.error_class, one) for one in answer.by_error_class))
    page.heading("By issue", f"and {number(answer.other_issues)} more" if answer.other_issues else "")
    _counts(page, "ISSUE", (("no issue", one.issue, one) for one in answer.by_issue))
    _latest(answer.last, page)


def _stages(answer: Failures, page: Page) -> None:
    top = max((one.failed_attempts for one in answer.by_stage), default=0)
    page.heading("By stage")
    page.table(
        ["STAGE", ">ATTEMPTS", ">FAILED", ">SHARE", "", ">RUNS FAILED"],
        [
            (
                "no stage" if one.stage is None else one.stage,
                one.attempts,
                one.failed_attempts,
                percent(one.failed_percent),
                page.bar(one.failed_attempts, top, cells=16),
                one.failed_runs,
            )
            for one in answer.by_stage
        ],
    )


def _heatmap(answer: Failures, page: Page) -> None:
    unit, columns = heatmap_columns(answer.days)
    counts: Counter[tuple[str, str]] = Counter()
    for cell in answer.heatmap:
        counts[cell.stage, stretch_of(cell.day, unit)] += cell.failed_attempts
    top = max(counts.values())
    about = f"{columns[0]} to {columns[-1]}, {shade(top, top, page)} is {number(top)}"
    page.heading(f"Failed attempts by stage and {unit}", about)
    page.table(
        ["STAGE", f"{unit.upper()}S", ">FAILED"],
        [
            (
                stage,
                "".join(shade(counts[stage, column], top, page) for column in columns),
                sum(counts[stage, column] for column in columns),
            )
            for stage in (one.stage for one in answer.by_stage if one.failed_attempts)
            if stage is not None
        ],
    )


def heatmap_columns(days: list[str]) -> tuple[str, list[str]]:
    """Return the smallest unit that fits side by side, and the columns; of too many months, the last ones."""
    for unit in ("day", "week", "month"):
        columns = list(dict.fromkeys(stretch_of(day, unit) for day in days))
        if len(columns) <= MOST_COLUMNS:
            break
    return unit, columns[-MOST_COLUMNS:]


def shade(value: int, top: int, page: Page) -> str:
    """Return a cell of the heatmap, darker for a larger value; only 0 gets the lightest shade."""
    shades = SHADES if page.unicode else ASCII_SHADES
    return shades[-(-value * (len(shades) - 1) // top)] if top > 0 else shades[0]


def _counts(
    page: Page, title: str, counts: Iterable[tuple[str, str | int | None, ClassFailures | IssueFailures]]
) -> None:
    page.table(
        [title, ">RUNS", ">ATTEMPTS"],
        [
            (nameless if name is None else str(name), one.failed_runs, one.failed_attempts)
            for nameless, name, one in counts
        ],
    )


def _latest(failures: list[Failure], page: Page) -> None:
    page.heading("Latest failures", "newest first; `report runs RUN` shows all about a run")
    page.table(
        ["TIME", "ISSUE", ">RUN", "STAGE", Column("ERROR", wrap=True)],
        [
            (
                minute_of(one.ended_at),
                "-" if one.issue is None else str(one.issue),
                str(one.run),
                (one.stage or "-") + (f" #{one.attempt}" if one.attempt is not None and one.attempt > 1 else ""),
                _error(one),
            )
            for one in failures
        ],
    )


def _error(one: Failure) -> str:
    """Return the class and the text of an error; often both are the same."""
    texts = dict.fromkeys(text for text in (one.error_class, shortened(one.error or "", ERROR_LENGTH)) if text)
    return (": ".join(texts) or "-") + (" (recovered)" if one.recovered else "")
