"""Runs on a terminal: the list; or one run with a timeline of its attempts, its cost and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.terminal import STYLES, minute_of
from shipwrightd.table import Column
from shipwrightd.text import duration, money, number, short_duration, shortened

if TYPE_CHECKING:
    from shipwrightd.reports.runs import Attempt, Detail, Run, Runs
    from shipwrightd.reports.terminal import Cell, Page

WIDE = 110  # cells: room for the template, the attempts and the goal
GOAL_LENGTH = 40
CENT = 0.01
NAME_CELLS = 14
ERROR_LENGTH = 500
TIMELINE_CELLS = 30
MOST_LINES = 100
LAST_LINES = 10  # of a longer list
COST_SOURCES = {"entries": "from its cost entries", "reported": "as reported by the run"}


def show(answer: Runs, page: Page) -> None:
    """Write the answer."""
    if answer.detail is None:
        _list(answer, page)
    else:
        _run(answer.runs[0], answer.detail, page)


def _list(answer: Runs, page: Page) -> None:
    last = answer.offset + len(answer.runs)
    page.heading("Runs", f"{number(answer.offset + 1)} to {number(last)}, newest first")
    status = Column("STATUS", wrap=True)
    if page.width < WIDE:
        page.table([">ID", ">ISSUE", status, "STARTED", ">TOOK", ">STAGES", ">COST"], map(_line, answer.runs))
    else:
        middle = ["TEMPLATE", "STARTED", ">TOOK", ">STAGES", ">ATTEMPTS", ">COST"]
        page.table([">ID", ">ISSUE", status, *middle, Column("GOAL", wrap=True)], map(_wide_line, answer.runs))
    if answer.has_more:
        page.line(f"There are more: --offset {last}")


def _line(run: Run) -> list[Cell]:
    return [
        str(run.id),
        _text(run.issue),
        (f"failed: {run.failed_stage}" if run.failed_stage else run.status, STYLES.get(run.status, "")),
        minute_of(run.started_at),
        short_duration(run.duration_s if run.running_s is None else run.running_s),
        f"{run.stages_passed}/{run.stages}" if run.stages else "-",
        _cents(run.cost_usd),
    ]


def _wide_line(run: Run) -> list[Cell]:
    cells = _line(run)
    goal = shortened(run.goal or "-", GOAL_LENGTH)
    attempts = number(run.attempts) if run.attempts else "-"
    return [*cells[:3], run.template or "-", *cells[3:-1], attempts, money(run.cost_usd), goal]


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
    if detail.entries:
        _costs(detail, page)
    if detail.errors:
        _errors(detail, page)


def _facts(run: Run, detail: Detail) -> dict[str, str]:
    facts, events = detail.facts, detail.events
    started = run.started_at or "-"
    tokens = f"{number(facts.input_tokens)} in, {number(facts.output_tokens)} out"
    counted = "" if events.count is None else f", {number(events.count)} of them with its issue"
    passed = f"{run.stages_passed} of {run.stages} passed, {number(run.attempts)} attempts"
    return {
        "status": run.status,
        "goal": run.goal or "",
        "template": run.template or "",
        "model": run.model or "",
        "machine": run.machine or "",
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
    page.table(
        ["STAGE", ">TRY", "STATUS", ">AT", ">TOOK", f"0 to {short_duration(end)}"],
        [
            (
                one.stage,
                one.attempt,
                one.status,
                short_duration(None if one.offset_s is None else max(one.offset_s, 0)),
                short_duration(one.duration_s),
                _bar(one, begin, end, page),
            )
            for one in attempts
        ],
    )


def _bar(attempt: Attempt, begin: float, end: float, page: Page) -> str:
    """Return a bar from the start of an attempt to its end, at least one cell long."""
    if attempt.offset_s is None:
        return ""
    length = max(end - begin, 1.0)
    at = min(int(TIMELINE_CELLS * (attempt.offset_s - begin) / length), TIMELINE_CELLS - 1)
    took = end - attempt.offset_s if attempt.status == "running" else attempt.duration_s or 0.0
    bar = page.bar(min(took, length), length, TIMELINE_CELLS)[: TIMELINE_CELLS - at]
    return " " * at + (bar or page.bar(1, 1, 1))


def _last(shown: int, count: int) -> str:
    return f"the last {shown} of {number(count)}" if shown < count else ""


def _costs(detail: Detail, page: Page) -> None:
    entries = detail.entries[-MOST_LINES:]
    page.heading("Cost entries", _last(len(entries), len(detail.entries)))
    page.table(
        ["AT", "STAGE", "MODEL", ">IN", ">OUT", ">COST"],
        [
            (one.at, one.stage or "-", one.model or "-", one.input_tokens, one.output_tokens, money(one.cost_usd))
            for one in entries
        ],
    )


def _errors(detail: Detail, page: Page) -> None:
    errors = detail.errors[-MOST_LINES:]
    page.heading("Errors", _last(len(errors), len(detail.errors)))
    page.table(
        ["AT", "STAGE", ">TRY", "CLASS", Column("ERROR", wrap=True)],
        [
            (one.at, one.stage or "-", one.attempt, one.error_class, shortened(one.error or "-", ERROR_LENGTH))
            for one in errors
        ],
    )
