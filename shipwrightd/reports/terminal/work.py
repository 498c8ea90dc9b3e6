"""Work on a terminal: runs as a list or one in full, and what failed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.reports.question import stretch_of
from shipwrightd.reports.terminal import STYLES, minute_of
from shipwrightd.text import duration, money, number, percent, short_duration, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipwrightd.reports.failures import Failure, Failures
    from shipwrightd.reports.runs import Attempt, Detail, Run, Runs
    from shipwrightd.reports.terminal import Cell, Field, Page

WIDE = 110  # cells: room for the template, the attempts and the goal
GOAL_LENGTH = 40
CENT = 0.01
NAME_CELLS = 14
RUN_ERROR_LENGTH = 500
TIMELINE_CELLS = 30
MOST_LINES = 100
LAST_LINES = 10  # of a longer list
COST_SOURCES = {"entries": "from its cost entries", "reported": "as reported by the run"}

SHADES = "·░▒▓█"  # none, then up to a quarter, a half, three quarters and all of the largest
ASCII_SHADES = ".-+*#"
MOST_COLUMNS = 45  # of the heatmap: leaves room for the names of stages on 80
ERROR_LENGTH = 120


def runs(answer: Runs, page: Page) -> None:
    """Write the list; or one run with a timeline of its attempts, its cost and its errors."""
    if answer.detail is not None:
        _run(answer.runs[0], answer.detail, page)
        return
    last = answer.offset + len(answer.runs)
    page.heading("Runs", f"{number(answer.offset + 1)} to {number(last)}, newest first")
    wide = page.width >= WIDE
    columns: dict[str, tuple[Field, bool]] = {  # and whether it is shown
        ">ID": (lambda run: str(run.id), True),
        ">ISSUE": (lambda run: _text(run.issue), True),
        "~STATUS": (_status, True),
        "TEMPLATE": ("template", wide),
        "STARTED": (lambda run: minute_of(run.started_at), True),
        ">TOOK": (lambda run: short_duration(run.duration_s if run.running_s is None else run.running_s), True),
        ">STAGES": (lambda run: f"{run.stages_passed}/{run.stages}" if run.stages else "-", True),
        ">ATTEMPTS": (lambda run: run.attempts or None, wide),
        ">COST": (lambda run: money(run.cost_usd) if wide else _cents(run.cost_usd), True),
        "~GOAL": (lambda run: shortened(run.goal or "-", GOAL_LENGTH), wide),
    }
    page.listing(answer.runs, {title: show for title, (show, shown) in columns.items() if shown})
    if answer.has_more:
        page.line(f"There are more: --offset {last}")


def _status(run: Run) -> Cell:
    return f"failed: {run.failed_stage}" if run.failed_stage else run.status, STYLES.get(run.status, "")


def _cents(cost: float | None) -> str:
    """Return US dollars to the cent, except for amounts below one."""
    return money(cost) if cost is None or 0 < abs(cost) < CENT else f"${cost:,.2f}"


def _text(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def _run(run: Run, detail: Detail, page: Page) -> None:
    page.heading(f"Run {run.id}", "without an issue" if run.issue is None else f"issue {run.issue}")
    for name, value in _facts(run, detail).items():
        if value not in ("", "-"):
            page.line(f"{name:<{NAME_CELLS}}{value}")
    page.line()
    if detail.attempts:
        _timeline(run, detail, page)
    stage_and: dict[str, Field] = {"AT": "at", "STAGE": "stage"}
    tokens_and_cost = {"MODEL": "model", ">IN": "input_tokens", ">OUT": "output_tokens", ">COST": "cost_usd"}
    _last("Cost entries", detail.entries, stage_and | tokens_and_cost, page)
    error: Field = lambda one: shortened(one.error or "-", RUN_ERROR_LENGTH)  # noqa: E731
    _last("Errors", detail.errors, stage_and | {">TRY": "attempt", "CLASS": "error_class", "~ERROR": error}, page)


def _last(title: str, items: Sequence[object], columns: Mapping[str, Field], page: Page) -> None:
    """Write the last items, if there are any."""
    shown = items[-MOST_LINES:]
    if shown:
        page.heading(title, f"the last {len(shown)} of {number(len(items))}" if len(shown) < len(items) else "")
        page.listing(shown, columns)


def _facts(run: Run, detail: Detail) -> dict[str, str]:
    facts, events = detail.facts, detail.events
    started = run.started_at or "-"
    tokens = f"{number(facts.input_tokens)} in, {number(facts.output_tokens)} out"
    counted = "" if events.count is None else f", {number(events.count)} of them with its issue"
    passed = f"{run.stages_passed} of {run.stages} passed, {number(run.attempts)} attempts"
    return {
        **{name: getattr(run, name) or "" for name in ("status", "goal", "template", "model", "machine")},
        "started": started if facts.start_seen else f"{started}, estimated: its start is not in the journal",
        "ended": run.ended_at or "",
        "took": duration(run.duration_s),
        "running for": duration(run.running_s),
        "stages": passed if run.stages else "",
        "failed at": " ".join(filter(None, (run.failed_stage, run.error_class and f"({run.error_class})"))),
        "cost": f"{money(run.cost_usd)} {COST_SOURCES.get(run.cost_source or '', '')}".strip(),
        "tokens": tokens if facts.input_tokens or facts.output_tokens else "",
        "iterations": _text(facts.iterations),
        "self-heals": _text(facts.self_heal_count),
        "complexity": _text(facts.complexity),
        "paused before": facts.paused_stage or "",
        "reaped": f"{facts.reaped_at} {facts.reap_result or ''}".strip() if facts.reaped_at else "",
        "killed": facts.killed_at or "",
        "pull request": run.pr_url or "",
        "next run": _text(facts.next_run_id),
        "events": f"{events.first_id} to {events.last_id}{counted}",
    }


def _timeline(run: Run, detail: Detail, page: Page) -> None:
    attempts = detail.attempts
    if len(attempts) > MOST_LINES:
        attempts = attempts[: MOST_LINES - LAST_LINES] + attempts[-LAST_LINES:]
    left_out = len(detail.attempts) - len(attempts)
    begin = min([0.0, *(one.offset_s for one in detail.attempts if one.offset_s is not None)])
    ends = ((one.offset_s or 0.0) + (one.duration_s or 0.0) for one in detail.attempts)
    end = max([run.duration_s or run.running_s or 0.0, *ends])
    page.heading("Stages", f"{number(left_out)} in the middle left out, --format json has them" if left_out else "")
    columns: dict[str, Field] = {
        "STAGE": "stage",
        ">TRY": "attempt",
        "STATUS": "status",
        ">AT": lambda one: short_duration(None if one.offset_s is None else max(one.offset_s, 0)),
        ">TOOK": lambda one: short_duration(one.duration_s),
        f"0 to {short_duration(end)}": lambda one: _bar(one, begin, end, page),
    }
    page.listing(attempts, columns)


def _bar(attempt: Attempt, begin: float, end: float, page: Page) -> str:
    """Return a bar from the start of an attempt to its end, at least one cell long."""
    if attempt.offset_s is None:
        return ""
    length = max(end - begin, 1.0)
    at = min(int(TIMELINE_CELLS * (attempt.offset_s - begin) / length), TIMELINE_CELLS - 1)
    took = end - attempt.offset_s if attempt.status == "running" else attempt.duration_s or 0.0
    bar = page.bar(min(took, length), length, TIMELINE_CELLS)[: TIMELINE_CELLS - at]
    return " " * at + (bar or page.bar(1, 1, 1))


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
    _stages(answer, page)
    if answer.heatmap:
        _heatmap(answer, page)
    page.heading("By error class")
    counts: dict[str, Field] = {">RUNS": "failed_runs", ">ATTEMPTS": "failed_attempts"}
    page.listing(answer.by_error_class, {"ERROR CLASS": lambda one: _named(one.error_class, "class"), **counts})
    page.heading("By issue", f"and {number(answer.other_issues)} more" if answer.other_issues else "")
    page.listing(answer.by_issue, {"ISSUE": lambda one: _named(one.issue, "issue"), **counts})
    page.heading("Latest failures", "newest first; `report runs RUN` shows all about a run")
    columns: dict[str, Field] = {
        "TIME": lambda one: minute_of(one.ended_at),
        "ISSUE": lambda one: _named(one.issue),
        ">RUN": lambda one: str(one.run),
        "STAGE": lambda one: (one.stage or "-") + (f" #{one.attempt}" if (one.attempt or 0) > 1 else ""),
        "~ERROR": _error,
    }
    page.listing(answer.last, columns)


def _named(name: str | int | None, kind: str = "") -> str:
    return str(name) if name is not None else f"no {kind}" if kind else "-"


def _stages(answer: Failures, page: Page) -> None:
    top = max((one.failed_attempts for one in answer.by_stage), default=0)
    page.heading("By stage")
    columns: dict[str, Field] = {
        "STAGE": lambda one: _named(one.stage, "stage"),
        ">ATTEMPTS": "attempts",
        ">FAILED": "failed_attempts",
        ">SHARE": "failed_percent",
        "": lambda one: page.bar(one.failed_attempts, top, cells=16),
        ">RUNS FAILED": "failed_runs",
    }
    page.listing(answer.by_stage, columns)


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


def _error(one: Failure) -> str:
    """Return the class and the text of an error; often both are the same."""
    texts = dict.fromkeys(text for text in (one.error_class, shortened(one.error or "", ERROR_LENGTH)) if text)
    return (": ".join(texts) or "-") + (" (recovered)" if one.recovered else "")
