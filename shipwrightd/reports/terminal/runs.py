"""Runs on a terminal: the list; or one run with its attempts drawn along the time, its money and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.terminal.short import short
from shipwrightd.reports.terminal.table import STATES, Col, duration, money, number

if TYPE_CHECKING:
    from shipwrightd.reports.runs import Attempt, Detail, Run, Runs
    from shipwrightd.reports.terminal.table import Page

WIDE = 110  # columns: room for the template, the attempts and the goal, too
GOAL_LETTERS = 40
CENT = 0.01
NAME_LETTERS = 14
ERROR_LETTERS = 500
CELLS = 30  # of the drawing
MOST_LINES = 100
ENDS = 10  # lines of a longer list shown from its end


def show(answer: Runs, page: Page) -> None:
    """Write the answer."""
    if answer.detail is None:
        _list(answer, page)
    else:
        _run(answer.runs[0], answer.detail, page)


def _list(answer: Runs, page: Page) -> None:
    last = answer.offset + len(answer.runs)
    page.heading("Runs", f"{number(answer.offset + 1)} to {number(last)}, newest first")
    wide = page.console.width >= WIDE
    page.table(
        [
            Col("ID", right=True),
            Col("ISSUE", right=True),
            Col("STATUS", wrap=True),
            *((Col("TEMPLATE"),) if wide else ()),
            Col("STARTED"),
            Col("TOOK", right=True),
            Col("STAGES", right=True),
            *((Col("ATTEMPTS", right=True),) if wide else ()),
            Col("COST", right=True),
            *((Col("GOAL", wrap=True),) if wide else ()),
        ],
        [_line(run, wide=wide) for run in answer.runs],
    )
    if answer.has_more:
        page.line(f"There are more: --offset {last}")


def _line(run: Run, *, wide: bool) -> list[str | tuple[str, str]]:
    return [
        str(run.id),
        _named(run.issue),
        (f"failed: {run.failed_stage}" if run.failed_stage else run.status, STATES.get(run.status, "")),
        *((run.template or "-",) if wide else ()),
        (run.started_at or "-")[:16].replace("T", " "),
        short(run.duration_s if run.running_s is None else run.running_s),
        f"{run.stages_passed}/{run.stages}" if run.stages else "-",
        *((number(run.attempts) if run.attempts else "-",) if wide else ()),
        money(run.cost_usd) if wide else _cents(run.cost_usd),
        *((_short(run.goal, GOAL_LETTERS),) if wide else ()),
    ]


def _cents(cost: float | None) -> str:
    """Return US dollars to the cent, but for what is less than one."""
    return money(cost) if cost is None or 0 < abs(cost) < CENT else f"${cost:,.2f}"


def _named(value: object) -> str:
    return "-" if value is None or value == "" else str(value)


def _short(text: str | None, letters: int) -> str:
    if not text:
        return "-"
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _run(run: Run, detail: Detail, page: Page) -> None:
    issue = "without an issue" if run.issue is None else f"issue {run.issue}"
    page.heading(f"Run {run.id}", issue)
    for name, said in _facts(run, detail):
        if said not in ("", "-"):
            page.line(f"{name:<{NAME_LETTERS}}{said}")
    page.line()
    if detail.attempts:
        _timeline(run, detail, page)
    if detail.entries:
        _money(detail, page)
    if detail.errors:
        _errors(detail, page)


def _facts(run: Run, detail: Detail) -> list[tuple[str, str]]:
    said, events = detail.facts, detail.events
    started = run.started_at or "-"
    tokens = f"{number(said.input_tokens)} in, {number(said.output_tokens)} out"
    source = {"entries": "by its cost entries", "reported": "as it said itself"}.get(run.cost_source or "", "")
    counted = "" if events.count is None else f", {number(events.count)} of them name its issue"
    return [
        ("status", run.status),
        ("goal", run.goal or ""),
        ("template", run.template or ""),
        ("model", run.model or ""),
        ("machine", run.machine or ""),
        ("started", started if said.start_seen else f"{started}, worked out: its start was not seen"),
        ("ended", run.ended_at or ""),
        ("took", duration(run.duration_s)),
        ("running for", duration(run.running_s)),
        (
            "stages",
            f"{run.stages_passed} of {run.stages} passed, {number(run.attempts)} attempts" if run.stages else "",
        ),
        ("failed at", " ".join(filter(None, (run.failed_stage, run.error_class and f"({run.error_class})")))),
        ("cost", f"{money(run.cost_usd)} {source}".strip()),
        ("tokens", tokens if said.input_tokens or said.output_tokens else ""),
        ("iterations", _named(said.iterations)),
        ("self-heals", _named(said.self_heal_count)),
        ("complexity", _named(said.complexity)),
        ("paused before", said.paused_stage or ""),
        ("reaped", f"{said.reaped_at} {said.reap_result or ''}".strip() if said.reaped_at else ""),
        ("killed", said.killed_at or ""),
        ("pull request", run.pr_url or ""),
        ("next run", _named(said.next_run_id)),
        ("events", f"{events.first_id} to {events.last_id}{counted}"),
    ]


def _timeline(run: Run, detail: Detail, page: Page) -> None:
    attempts = _ends_of(detail.attempts)
    first = min((found.offset_s for found in detail.attempts if found.offset_s is not None), default=0.0)
    begin = min(first, 0.0)
    last = max([run.duration_s or run.running_s or 0.0, *(_end(found) for found in detail.attempts)])
    left_out = len(detail.attempts) - len(attempts)
    page.heading("Stages", f"{number(left_out)} in the middle left out, --format json has them" if left_out else "")
    page.table(
        [
            Col("STAGE"),
            Col("TRY", right=True),
            Col("STATUS"),
            Col("AT", right=True),
            Col("TOOK", right=True),
            Col(f"0 to {short(last)}"),
        ],
        [
            (
                found.stage,
                str(found.attempt),
                found.status,
                short(None if found.offset_s is None else max(found.offset_s, 0)),
                short(found.duration_s),
                _drawn(found, begin, last, page),
            )
            for found in attempts
        ],
    )


def _ends_of(attempts: list[Attempt]) -> list[Attempt]:
    """Return all attempts; of very many, the first and the last ones."""
    return attempts if len(attempts) <= MOST_LINES else attempts[: MOST_LINES - ENDS] + attempts[-ENDS:]


def _end(found: Attempt) -> float:
    return (found.offset_s or 0.0) + (found.duration_s or 0.0)


def _drawn(found: Attempt, begin: float, last: float, page: Page) -> str:
    """Return a bar that begins where the attempt did, at least one cell long."""
    if found.offset_s is None:
        return ""
    length = max(last - begin, 1.0)
    at = min(int(CELLS * (found.offset_s - begin) / length), CELLS - 1)
    took = last - found.offset_s if found.status == "running" else found.duration_s or 0.0
    bar = page.bar(min(took, length), length, CELLS)[: CELLS - at]
    return " " * at + (bar or page.bar(1, 1, 1))


def _money(detail: Detail, page: Page) -> None:
    entries = detail.entries if len(detail.entries) <= MOST_LINES else detail.entries[-MOST_LINES:]
    page.heading(
        "Cost entries",
        f"the last {len(entries)} of {number(len(detail.entries))}" * (len(entries) < len(detail.entries)),
    )
    page.table(
        [Col("AT"), Col("STAGE"), Col("MODEL"), Col("IN", right=True), Col("OUT", right=True), Col("COST", right=True)],
        [
            (
                entry.at or "-",
                entry.stage or "-",
                entry.model or "-",
                number(entry.input_tokens),
                number(entry.output_tokens),
                money(entry.cost_usd),
            )
            for entry in entries
        ],
    )


def _errors(detail: Detail, page: Page) -> None:
    errors = detail.errors[-MOST_LINES:]
    page.heading(
        "Errors", f"the last {len(errors)} of {number(len(detail.errors))}" * (len(errors) < len(detail.errors))
    )
    page.table(
        [Col("AT"), Col("STAGE"), Col("TRY", right=True), Col("CLASS"), Col("ERROR", wrap=True)],
        [
            (
                error.at or "-",
                error.stage or "-",
                _named(error.attempt),
                error.error_class or "-",
                _short(error.error, ERROR_LETTERS),
            )
            for error in errors
        ],
    )
