"""Figures of a period on a terminal: delivery, costs, stages, throughput and failures."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.reports.dora import GRADES, MEASURES
from shipwrightd.reports.question import HOUR_S, idle_together, stretch_of
from shipwrightd.reports.terminal import STYLES, idle_cell, minute_of
from shipwrightd.table import gap_of
from shipwrightd.text import duration, money, number, percent, short_duration, shortened

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipwrightd.reports.costs import Budget, Costs, Line, Others
    from shipwrightd.reports.dora import Dora, Measure
    from shipwrightd.reports.failures import Failure, Failures
    from shipwrightd.reports.stages import Detail, Stages
    from shipwrightd.reports.terminal import Cell, Field, Page
    from shipwrightd.reports.throughput import Throughput

MOST_WEEKS = 26  # lines: half a year
WIDE_GRADES = 100  # cells: room for grades in words
NARROW_WEEKS = 74  # cells: no room for counts
WIDE = 110  # cells: room for the shortest and longest attempt and the skipped ones
NARROW = 78  # cells: no room for the median and the cost
SLOWER, QUICKER = 10, -10  # percent: a trend that is shown in color
MOST_PERCENT = 999  # of a trend; the exact figure beyond does not matter
DAYS_SHOWN = 31
SHADES = "·░▒▓█"  # none, then up to a quarter, a half, three quarters and all of the largest
ASCII_SHADES = ".-+*#"
MOST_COLUMNS = 45  # of the heatmap: leaves room for the names of stages on 80
ERROR_LENGTH = 120


def dora(answer: Dora, page: Page) -> None:
    """Write the four measures with grades and weekly ticks, then the weeks."""
    period = answer.period
    page.heading("Delivery", f"{number(period.deploys)} successful runs, {number(period.failures)} failed")
    measures = {name: getattr(period, name) for name in MEASURES}
    lines = [
        (name.replace("_", " ").capitalize(), _value(one, duration), one.grade or "-", number(one.samples))
        for name, one in measures.items()
    ]
    titles = ("MEASURE", "VALUE", "GRADE", "RUNS")
    beside = 2 + sum(gap_of(page.width) + max(map(len, column)) for column in zip(titles, *lines, strict=True))
    page.table(
        ["MEASURE", ">VALUE", "GRADE", ">RUNS", "WEEKS"],
        [
            (*line, page.spark([getattr(week, name).value for week in answer.weeks], beside))
            for line, name in zip(lines, measures, strict=True)
        ],
    )
    _weeks(answer, page)


def _value(measure: Measure, hours: Callable[[float], str]) -> str:
    if measure.value is None:
        return "-"
    return hours(measure.value * HOUR_S) if measure.unit == "hours" else f"{measure.value:g} {measure.unit}"


def _weeks(answer: Dora, page: Page) -> None:
    weeks = {(week.end or "")[:10]: week for week in answer.weeks}
    active = {day for day, week in weeks.items() if week.deploys + week.failures}
    lines = idle_together(weeks, active)
    shown = lines[-MOST_WEEKS:]
    about = "newest last" if len(shown) == len(lines) else f"the last {len(shown)}; --format csv has them all"
    wide, counts = page.width >= WIDE_GRADES, page.width >= NARROW_WEEKS
    titles = [">DEPLOYS", ">FAILED"] * counts + [">PER DAY", ">LEAD TIME", ">FAILURES", ">RESTORED IN"]
    rows: list[list[Cell]] = []
    for day, count in shown:
        week = weeks[day]
        graded = [_graded(getattr(week, name), wide=wide) for name in MEASURES]
        cells = [*[week.deploys, week.failures] * counts, *graded] if day in active else "-" * len(titles)
        rows.append([idle_cell(day, count, "week"), *cells])
    page.heading("By week", about if wide else f"{about}; {', '.join(f'{grade[0]} {grade}' for grade in GRADES)}")
    page.table(["WEEK UNTIL", *titles], rows)


def _graded(measure: Measure, *, wide: bool) -> Cell:
    if measure.grade is None:
        return "-"
    value = _value(measure, short_duration).removesuffix(" per day")
    return f"{value} {measure.grade if wide else measure.grade[0]}", STYLES[measure.grade]


def costs(answer: Costs, page: Page) -> None:
    """Write the total, today's spending against the budget, then shares by model, stage, issue and day."""
    total, runs = answer.total, answer.pipelines
    page.heading(
        f"Spent {money(total.cost_usd)}",
        f"{number(total.entries)} entries, {number(total.input_tokens)} tokens in, {number(total.output_tokens)} out",
    )
    page.line(_today(answer.budget), "bold red" if answer.budget.exceeded and answer.budget.enabled else "")
    if runs.cost_per_success_usd is None:
        page.line(f"No successful run among {number(runs.runs)} finished runs")
    else:
        successes = f"{number(runs.successful_runs)} of {number(runs.runs)} finished runs"
        page.line(f"{money(runs.cost_per_success_usd)} per successful run ({successes})")
    page.line()
    _shares(page, "model", answer.by_model)
    _shares(page, "stage", answer.by_stage)
    _shares(page, "issue", answer.by_issue, answer.other_issues)
    page.by_time(
        {str(day.name): (day.cost_usd, day.entries) for day in answer.by_day}, {"COST": money, "ENTRIES": number}
    )


def _today(budget: Budget) -> str:
    text = f"Today ({budget.day}, UTC): {money(budget.spent_usd)}"
    if budget.daily_budget_usd is None:
        text += ", no daily budget"
    else:
        text += f" of {money(budget.daily_budget_usd)} ({percent(budget.used_percent)})"
        text += ", budget disabled" if not budget.enabled else ", EXCEEDED" if budget.exceeded else ""
    if budget.forecast_usd is not None:
        over = " - more than the budget" if budget.forecast_exceeded and not budget.exceeded else ""
        text += f"; at this rate {money(budget.forecast_usd)} by midnight{over}"
    return text


def _shares(page: Page, kind: str, lines: list[Line], others: Others | None = None) -> None:
    """Write the shares of one kind. Entries without a name and the other issues have no bar: theirs may be longest."""
    top = max((line.cost_usd for line in lines if line.name is not None), default=0.0)
    rows: list[tuple[str, Line | Others, str]] = [
        (f"no {kind}", line, "") if line.name is None else (str(line.name), line, page.bar(line.cost_usd, top))
        for line in lines
    ]
    if others is not None:
        rows.append((f"{number(others.issues)} others", others, ""))
    page.heading(f"By {kind}")
    page.table(
        [kind.upper(), ">COST", ">SHARE", "", ">ENTRIES"],
        [(name, money(one.cost_usd), percent(one.share_percent), bar, one.entries) for name, one, bar in rows],
    )


def stages(answer: Stages, page: Page) -> None:
    """Write one line a stage, the bottleneck and the costs; of one stage its durations and days."""
    page.heading("Stages", f"{number(answer.attempts)} attempts, {duration(answer.total_s)} in all")
    wide, narrow = page.width >= WIDE, page.width < NARROW
    columns: dict[str, Field] = {
        "~STAGE": "stage",
        ">DONE": "attempts",
        ">FAIL": lambda one: _percent(one.failure_percent),
        ">MEAN": "mean_s",
        ">MEDIAN": None if narrow else "median_s",
        ">95 %": "p95_s",
        ">MIN": "min_s" if wide else None,
        ">MAX": "max_s" if wide else None,
        ">SKIPPED": "skipped" if wide else None,
        ">TIME": lambda one: _percent(one.share_percent),
        ">COST": None if narrow else lambda one: money(one.cost_usd if one.cost_entries else None),
        ">TREND": lambda one: _slower(one.trend_percent),
    }
    page.listing(answer.stages, columns)
    if answer.detail is not None:
        _detail(answer.detail, page)
        return
    for first in answer.bottlenecks[:1]:
        page.line(f"Bottleneck: {first.stage}, {first.reason}", style="bold")
        page.line(f"Impact {first.impact}: {first.suggestion}")
    parts = [f"Cost: {money(answer.cost_usd)} in all"]
    if answer.whole_runs_cost_usd:
        parts.append(f"{money(answer.whole_runs_cost_usd)} of it for entire runs, not split by stage")
    if answer.other_cost_usd:
        parts.append(f"{money(answer.other_cost_usd)} of it without a stage")
    page.line("; ".join(parts))


def _slower(change: float | None) -> Cell:
    if change is None:
        return "-"
    style = "red" if change > SLOWER else "green" if change < QUICKER else ""
    return (f"{change:+.0f} %" if change <= MOST_PERCENT else f"> {MOST_PERCENT} %"), style


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def _detail(detail: Detail, page: Page) -> None:
    if detail.durations:
        page.heading("Durations", f"of attempts at {detail.stage}, including failed ones")
        top = max(step.attempts for step in detail.durations)
        steps: dict[str, Field] = {
            ">FROM": lambda step: duration(step.from_s),
            ">BELOW": lambda step: duration(step.below_s),
            ">DONE": "attempts",
            ">FAILED": "failed",
            "": lambda step: page.bar(step.attempts, top),
        }
        page.listing(detail.durations, steps)
    days = detail.days[-DAYS_SHOWN:]
    left_out = len(detail.days) - len(days)
    page.heading("By day", f"the last {len(days)} of {len(detail.days)} days" if left_out else "newest last")
    top_s = max((day.mean_s or 0 for day in days), default=0)
    columns: dict[str, Field] = {
        "DAY": "day",
        ">DONE": "attempts",
        ">FAILED": "failed",
        ">SKIPPED": "skipped",
        ">MEAN": lambda day: duration(day.mean_s),
        "": lambda day: page.bar(day.mean_s or 0, top_s),
    }
    page.listing(days, columns)


def throughput(answer: Throughput, page: Page) -> None:
    """Write the rates, then finished runs by day, week or month."""
    now = [("Running now", number(answer.running), ""), ("Waiting now", number(answer.queued), "in the daemon's queue")]
    if not answer.finished:
        days = [day.day for day in answer.by_day]
        page.heading("Finished runs: 0", f"none ended from {days[0]} to {days[-1]}" if days else "none ended")
        page.table(["MEASURE", ">VALUE", "~"], now)
        return
    page.heading(
        f"Finished runs: {number(answer.finished)}",
        f"{number(answer.successful)} successful, {number(answer.failed)} failed, in {round(answer.days, 1):g} days",
    )
    best, trend = answer.best_day, answer.trend
    change = None if trend is None else trend.change_percent
    rates = (
        trend and f"{_rate(trend.first.per_day)} per day in the first half, {_rate(trend.second.per_day)} in the second"
    )
    rows = [
        ("Finished per day", _rate(answer.per_day), f"{_rate(answer.per_hour)} per hour"),
        ("Successful", percent(answer.success_percent), f"{number(answer.successful)} runs"),
        ("Mean duration", duration(answer.mean_success_duration_s), "of a successful run"),
        ("Best day", number(best.successful), f"successful on {best.day}") if best else ("Best day", "-", ""),
        ("Trend", "-" if change is None else f"{change:+.1f} %", rates or ""),
    ]
    page.table(["MEASURE", ">VALUE", "~"], [*rows, *now])
    page.by_time(
        {day.day: (day.finished, day.successful, day.failed) for day in answer.by_day},
        {"FINISHED": number, "SUCCESSFUL": number, "FAILED": lambda count: (number(count), "red" if count else "")},
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def failures(answer: Failures, page: Page) -> None:
    """Write counts by stage, day, error class and issue, then the latest failures."""
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
    top = max((one.failed_attempts for one in answer.by_stage), default=0)
    page.heading("By stage")
    by_stage: dict[str, Field] = {
        "STAGE": lambda one: _named(one.stage, "no stage"),
        ">ATTEMPTS": "attempts",
        ">FAILED": "failed_attempts",
        ">SHARE": "failed_percent",
        "": lambda one: page.bar(one.failed_attempts, top, cells=16),
        ">RUNS FAILED": "failed_runs",
    }
    page.listing(answer.by_stage, by_stage)
    if answer.heatmap:
        _heatmap(answer, page)
    counts = {">RUNS": "failed_runs", ">ATTEMPTS": "failed_attempts"}
    page.heading("By error class")
    page.listing(answer.by_error_class, {"ERROR CLASS": lambda one: _named(one.error_class, "no class"), **counts})
    page.heading("By issue", f"and {number(answer.other_issues)} more" if answer.other_issues else "")
    page.listing(answer.by_issue, {"ISSUE": lambda one: _named(one.issue, "no issue"), **counts})
    page.heading("Latest failures", "newest first; `report runs RUN` shows all about a run")
    last: dict[str, Field] = {
        "TIME": lambda one: minute_of(one.ended_at),
        "ISSUE": lambda one: _named(one.issue, "-"),
        ">RUN": lambda one: str(one.run),
        "STAGE": lambda one: (one.stage or "-") + (f" #{one.attempt}" if (one.attempt or 0) > 1 else ""),
        "~ERROR": _error,
    }
    page.listing(answer.last, last)


def _named(name: str | int | None, absent: str) -> str:
    return absent if name is None else str(name)


def _heatmap(answer: Failures, page: Page) -> None:
    unit, columns = heatmap_columns(answer.days)
    counts: Counter[tuple[str | None, str]] = Counter()
    for cell in answer.heatmap:
        counts[cell.stage, stretch_of(cell.day, unit)] += cell.failed_attempts
    top = max(counts.values())
    about = f"{columns[0]} to {columns[-1]}, {shade(top, top, page)} is {number(top)}"
    page.heading(f"Failed attempts by stage and {unit}", about)
    by_stage: dict[str, Field] = {
        "STAGE": lambda stage: stage,
        f"{unit.upper()}S": lambda stage: "".join(shade(counts[stage, column], top, page) for column in columns),
        ">FAILED": lambda stage: sum(counts[stage, column] for column in columns),
    }
    page.listing([one.stage for one in answer.by_stage if one.failed_attempts], by_stage)


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


def _error(one: Failure) -> str:
    """Return the class and the text of an error; often both are the same."""
    texts = dict.fromkeys(text for text in (one.error_class, shortened(one.error or "", ERROR_LENGTH)) if text)
    return (": ".join(texts) or "-") + (" (recovered)" if one.recovered else "")
