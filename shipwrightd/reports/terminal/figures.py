"""Figures of a period on a terminal: delivery, costs, stages and throughput."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.dora import GRADES
from shipwrightd.reports.question import idle_together
from shipwrightd.reports.terminal import STYLES, idle_cell
from shipwrightd.text import duration, money, number, percent, short_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.reports.costs import Budget, Costs, Line, Others, Pipelines
    from shipwrightd.reports.dora import Dora, Measure
    from shipwrightd.reports.stages import Detail, Stages
    from shipwrightd.reports.terminal import Cell, Field, Page
    from shipwrightd.reports.throughput import Throughput, Trend

HOUR_S = 3_600
MOST_WEEKS = 26  # lines: half a year
MEASURES = {
    "Deployment frequency": "deployment_frequency",
    "Lead time": "lead_time",
    "Change failure rate": "change_failure_rate",
    "Time to restore": "time_to_restore",
}
WIDE_GRADES = 100  # cells: room for grades in words
NARROW_WEEKS = 74  # cells: no room for counts
WIDE = 110  # cells: room for the shortest and longest attempt and the skipped ones
NARROW = 78  # cells: no room for the median and the cost
SLOWER, QUICKER = 10, -10  # percent: a trend that is shown in color
MOST_PERCENT = 999  # of a trend; the exact figure beyond does not matter
DAYS_SHOWN = 31


def dora(answer: Dora, page: Page) -> None:
    """Write the four measures with grades and weekly ticks, then the weeks."""
    period = answer.period
    page.heading("Delivery", f"{number(period.deploys)} successful runs, {number(period.failures)} failed")
    titles = ("MEASURE", "VALUE", "GRADE", "RUNS")
    lines = [(title, *_measure(getattr(period, name))) for title, name in MEASURES.items()]
    beside = 2 + sum(page.gap + max(map(len, column)) for column in zip(titles, *lines, strict=True))
    page.table(
        ["MEASURE", ">VALUE", "GRADE", ">RUNS", "WEEKS"],
        [
            (*line, page.spark([getattr(week, name).value for week in answer.weeks], beside))
            for line, name in zip(lines, MEASURES.values(), strict=True)
        ],
    )
    _weeks(answer, page)


def _measure(measure: Measure) -> tuple[str, str, str]:
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
    wide, counts = page.width >= WIDE_GRADES, page.width >= NARROW_WEEKS
    titles = [">DEPLOYS", ">FAILED"] * counts + [">PER DAY", ">LEAD TIME", ">FAILURES", ">RESTORED IN"]
    rows: list[list[Cell]] = []
    for day, count in shown:
        week = weeks[day]
        graded = [_graded(getattr(week, name), wide=wide) for name in MEASURES.values()]
        idle = [idle_cell(day, count, "week"), *"-" * len(titles)]
        rows.append([day, *[week.deploys, week.failures] * counts, *graded] if day in active else idle)
    page.heading("By week", about if wide else f"{about}; {', '.join(f'{grade[0]} {grade}' for grade in GRADES)}")
    page.table(["WEEK UNTIL", *titles], rows)


def _graded(measure: Measure, *, wide: bool) -> Cell:
    if measure.value is None or measure.grade is None:
        return "-"
    grade = measure.grade if wide else measure.grade[0]
    hours = measure.unit == "hours"
    value = short_duration(measure.value * HOUR_S) if hours else f"{measure.value:g}{' %' * (measure.unit == '%')}"
    return f"{value} {grade}", STYLES[measure.grade]


def costs(answer: Costs, page: Page) -> None:
    """Write the total, today's spending against the budget, then shares by model, stage, issue and day."""
    total = answer.total
    page.heading(
        f"Spent {money(total.cost_usd)}",
        f"{number(total.entries)} entries, {number(total.input_tokens)} tokens in, {number(total.output_tokens)} out",
    )
    page.line(_today(answer.budget), "bold red" if answer.budget.exceeded and answer.budget.enabled else "")
    page.line(_cost_per_success(answer.pipelines))
    page.line()
    _shares(page, "model", answer.by_model)
    _shares(page, "stage", answer.by_stage)
    _shares(page, "issue", answer.by_issue, others=answer.other_issues)
    page.by_time(
        {str(day.name): (day.cost_usd, day.entries) for day in answer.by_day}, {"COST": money, "ENTRIES": number}
    )


def _today(budget: Budget) -> str:
    text = f"Today ({budget.day}, UTC): {money(budget.spent_usd)}"
    if budget.daily_budget_usd is None or budget.used_percent is None:
        text += ", no daily budget"
    else:
        text += f" of {money(budget.daily_budget_usd)} ({percent(budget.used_percent)})"
        text += ", budget disabled" if not budget.enabled else ", EXCEEDED" if budget.exceeded else ""
    if budget.forecast_usd is not None:
        over = " - more than the budget" if budget.forecast_exceeded and not budget.exceeded else ""
        text += f"; at this rate {money(budget.forecast_usd)} by midnight{over}"
    return text


def _cost_per_success(pipelines: Pipelines) -> str:
    if pipelines.cost_per_success_usd is None:
        return f"No successful run among {number(pipelines.runs)} finished runs"
    runs = f"{number(pipelines.successful_runs)} of {number(pipelines.runs)} finished runs"
    return f"{money(pipelines.cost_per_success_usd)} per successful run ({runs})"


def _shares(page: Page, kind: str, lines: list[Line], *, others: Others | None = None) -> None:
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
    columns: dict[str, tuple[Field, int]] = {  # with the width of a terminal from which on it is shown
        "~STAGE": ("stage", 0),
        ">DONE": ("attempts", 0),
        ">FAIL": (lambda one: _percent(one.failure_percent), 0),
        ">MEAN": (lambda one: short_duration(one.mean_s), 0),
        ">MEDIAN": (lambda one: short_duration(one.median_s), NARROW),
        ">95 %": (lambda one: short_duration(one.p95_s), 0),
        ">MIN": (lambda one: short_duration(one.min_s), WIDE),
        ">MAX": (lambda one: short_duration(one.max_s), WIDE),
        ">SKIPPED": ("skipped", WIDE),
        ">TIME": (lambda one: _percent(one.share_percent), 0),
        ">COST": (lambda one: money(one.cost_usd if one.cost_entries else None), NARROW),
        ">TREND": (lambda one: _slower(one.trend_percent), 0),
    }
    page.listing(answer.stages, {title: show for title, (show, width) in columns.items() if page.width >= width})
    if answer.detail is not None:
        _detail(answer.detail, page)
        return
    if answer.bottlenecks:
        first = answer.bottlenecks[0]
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
    page.table(
        ["DAY", ">DONE", ">FAILED", ">SKIPPED", ">MEAN", ""],
        [
            (day.day, day.attempts, day.failed, day.skipped, duration(day.mean_s), page.bar(day.mean_s or 0, top_s))
            for day in days
        ],
    )


def throughput(answer: Throughput, page: Page) -> None:
    """Write the rates, then finished runs by day, week or month."""
    measures = ["MEASURE", ">VALUE", "~"]
    now = [("Running now", number(answer.running), ""), ("Waiting now", number(answer.queued), "in the daemon's queue")]
    if not answer.finished:
        days = [day.day for day in answer.by_day]
        page.heading("Finished runs: 0", f"none ended from {days[0]} to {days[-1]}" if days else "none ended")
        page.table(measures, now)
        return
    page.heading(
        f"Finished runs: {number(answer.finished)}",
        f"{number(answer.successful)} successful, {number(answer.failed)} failed, in {round(answer.days, 1):g} days",
    )
    best = answer.best_day
    rows = [
        ("Finished per day", _rate(answer.per_day), f"{_rate(answer.per_hour)} per hour"),
        ("Successful", percent(answer.success_percent), f"{number(answer.successful)} runs"),
        ("Mean duration", duration(answer.mean_success_duration_s), "of a successful run"),
        ("Best day", number(best.successful), f"successful on {best.day}") if best else ("Best day", "-", ""),
        ("Trend", *_trend(answer.trend)),
    ]
    page.table(measures, [*rows, *now])
    page.by_time(
        {day.day: (day.finished, day.successful, day.failed) for day in answer.by_day},
        {"FINISHED": number, "SUCCESSFUL": number, "FAILED": lambda count: (number(count), "red" if count else "")},
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _trend(trend: Trend | None) -> Sequence[str]:
    if trend is None:
        return "-", ""
    change = "-" if trend.change_percent is None else f"{trend.change_percent:+.1f} %"
    first, second = _rate(trend.first.per_day), _rate(trend.second.per_day)
    return change, f"{first} per day in the first half, {second} in the second"
