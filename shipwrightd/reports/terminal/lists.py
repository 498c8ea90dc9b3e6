"""Lists on a terminal: runs, events, the team, and what Shipwright remembers."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from shipwrightd.reports.terminal import STYLES, issue_label, minute_of
from shipwrightd.text import duration, money, number, short_duration, shortened, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shipwrightd.reports.activity import Activity, Event
    from shipwrightd.reports.memory import Entry, Failure, Memory
    from shipwrightd.reports.runs import Attempt, Detail, Run, Runs
    from shipwrightd.reports.team import Session, Team, ThisMachine
    from shipwrightd.reports.terminal import Field, Page

WIDE = 110  # cells: room for the template, the attempts and the goal of a run, and for the year of an event
GOAL_LENGTH = 40
CENT = 0.01
NAME_CELLS = 14
RUN_ERROR_LENGTH = 500
TIMELINE_CELLS = 30
MOST_LINES = 100
LAST_LINES = 10  # of a longer list
COST_SOURCES = {"entries": "from its cost entries", "reported": "as reported by the run"}

TIME = re.compile(r"\d{4}-(\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)")
DETAILS_LENGTH = 400
TEAM = "team-events.jsonl/"
TITLES = ("TIME", "TYPE", "ISSUE", "STAGE", "RESULT")
LARGEST = (19, 32, 12, 18, 10)  # cells of each column
USUAL = (14, 22, 5, 16, 7)  # while following, when later events are not known
FIRST = ("error", "reason", "reasons", "message", "note", "summary", "goal", "pattern", "outcome", "verdict")
HIDDEN = {"event_id", "payload", "from_developer", "from_machine", "received_at", "event_type"}
TITLED = ("pipeline.started", "pipeline.completed", "daemon.spawn", "daemon.reap")
RESULT_STYLES = {"success": "green", "failed": "red", "failure": "red", "skipped": "dim", "error": "red"}
TYPE_STYLES = {"pipeline": "bold", "stage": "cyan", "daemon": "blue", "cost": "yellow", "memory": "magenta"}
BAD = re.compile(r"fail|error|exceeded|kill|stuck|regression|abort")

SHOWN_QUEUE = 8
TITLE_LENGTH = 48

HASH_LENGTH = 12
TEXT_LENGTH = 400
REPO = "repo"  # the pattern with the name of the repository, which every line shows
GONE = "gone from the file"
MEMORY_LISTS = {
    "failures": ("Failures", "most frequent first"),
    "decisions": ("Decisions", "newest first"),
    "known_issues": ("Known issues", ""),
    "patterns": ("Patterns", ""),
    "global_patterns": ("Patterns of all repositories", ""),
    "learnings": ("Learnings of all repositories", ""),
    "architecture": ("Architecture", ""),
    "baselines": ("Baselines", ""),
}


def runs(answer: Runs, page: Page) -> None:
    """Write the list; or one run with a timeline of its attempts, its cost and its errors."""
    if answer.detail is not None:
        _run(answer.runs[0], answer.detail, page)
        return
    last = answer.offset + len(answer.runs)
    page.heading("Runs", f"{number(answer.offset + 1)} to {number(last)}, newest first")
    wide = page.width >= WIDE
    columns: dict[str, Field] = {
        ">ID": lambda run: str(run.id),
        ">ISSUE": lambda run: "-" if run.issue is None else str(run.issue),
        "~STATUS": lambda run: (
            f"failed: {run.failed_stage}" if run.failed_stage else run.status,
            STYLES.get(run.status, ""),
        ),
        "TEMPLATE": "template" if wide else None,
        "STARTED": lambda run: minute_of(run.started_at),
        ">TOOK": lambda run: short_duration(run.duration_s if run.running_s is None else run.running_s),
        ">STAGES": lambda run: f"{run.stages_passed}/{run.stages}" if run.stages else "-",
        ">ATTEMPTS": (lambda run: run.attempts or None) if wide else None,
        ">COST": lambda run: money(run.cost_usd) if wide else _cents(run.cost_usd),
        "~GOAL": (lambda run: shortened(run.goal or "-", GOAL_LENGTH)) if wide else None,
    }
    page.listing(answer.runs, columns)
    if answer.has_more:
        page.line(f"There are more: --offset {last}")


def _cents(cost: float | None) -> str:
    """Return US dollars to the cent, except for amounts below one."""
    return money(cost) if cost is None or 0 < abs(cost) < CENT else f"${cost:,.2f}"


def _run(run: Run, detail: Detail, page: Page) -> None:
    page.heading(f"Run {run.id}", "without an issue" if run.issue is None else f"issue {run.issue}")
    for name, value in _facts(run, detail).items():
        if value not in (None, "", "-"):
            page.line(f"{name:<{NAME_CELLS}}{value}")
    page.line()
    if detail.attempts:
        _timeline(run, detail, page)
    money_spent = {"MODEL": "model", ">IN": "input_tokens", ">OUT": "output_tokens", ">COST": "cost_usd"}
    _last("Cost entries", detail.entries, money_spent, page)
    error: Field = lambda one: shortened(one.error or "-", RUN_ERROR_LENGTH)  # noqa: E731
    _last("Errors", detail.errors, {">TRY": "attempt", "CLASS": "error_class", "~ERROR": error}, page)


def _last(title: str, items: Sequence[object], columns: Mapping[str, Field], page: Page) -> None:
    """Write the last items, if there are any, with time and stage before the other columns."""
    shown = items[-MOST_LINES:]
    if shown:
        page.heading(title, f"the last {len(shown)} of {number(len(items))}" if len(shown) < len(items) else "")
        page.listing(shown, {"AT": "at", "STAGE": "stage", **columns})


def _facts(run: Run, detail: Detail) -> dict[str, object]:
    facts, events = detail.facts, detail.events
    tokens = f"{number(facts.input_tokens)} in, {number(facts.output_tokens)} out"
    counted = "" if events.count is None else f", {number(events.count)} of them with its issue"
    passed = f"{run.stages_passed} of {run.stages} passed, {number(run.attempts)} attempts"
    return {
        **{name: getattr(run, name) for name in ("status", "goal", "template", "model", "machine")},
        "started": (run.started_at or "-") + ", estimated: its start is not in the journal" * (not facts.start_seen),
        "ended": run.ended_at,
        "took": duration(run.duration_s),
        "running for": duration(run.running_s),
        "stages": passed if run.stages else "",
        "failed at": " ".join(filter(None, (run.failed_stage, run.error_class and f"({run.error_class})"))),
        "cost": f"{money(run.cost_usd)} {COST_SOURCES.get(run.cost_source or '', '')}".strip(),
        "tokens": tokens if facts.input_tokens or facts.output_tokens else "",
        "iterations": facts.iterations,
        "self-heals": facts.self_heal_count,
        "complexity": facts.complexity,
        "paused before": facts.paused_stage,
        "reaped": f"{facts.reaped_at} {facts.reap_result or ''}".strip() if facts.reaped_at else "",
        "killed": facts.killed_at,
        "pull request": run.pr_url,
        "next run": facts.next_run_id,
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
        ">TOOK": "duration_s",
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


def activity(answer: Activity, page: Page) -> None:
    """Write a page of events."""
    count = len(answer.events)
    page.heading("Activity", f"{number(count)} event{'' if count == 1 else 's'}, newest first")
    rows = [_cells(event, page) for event in answer.events]
    widths = [max(map(len, column)) for column in zip(TITLES, *rows, strict=True)]
    _write(page, Text("  ".join([*map(str.ljust, TITLES, widths), "DETAILS"]), style="bold"))
    for event, cells in zip(answer.events, rows, strict=True):
        _write(page, _line(event, cells, widths, page))
    if answer.next_cursor is not None:
        page.line(f"There are more: --cursor {answer.next_cursor}", "dim")


def follow(events: Iterable[Event], page: Page) -> None:
    """Write events as they come, one line each, without titles."""
    for event in events:
        _write(page, _line(event, _cells(event, page), USUAL, page))


def _write(page: Page, text: Text) -> None:
    """Write one line, cut at the edge of a terminal; elsewhere in full."""
    terminal = page.console.is_terminal
    overflow: Any = "ellipsis" if page.unicode else "crop"
    text.rstrip()
    page.console.print(text, no_wrap=True, overflow=overflow if terminal else "ignore", crop=terminal)


def _cells(event: Event, page: Page) -> list[str]:
    """Return the columns of an event, each shortened to its largest width."""
    time = event.ts or "-"
    if match := TIME.match(time):
        with_year = not page.console.is_terminal or page.width >= WIDE
        time = f"{match[0][:10] if with_year else match[1]} {match[2]}"
    texts = (time, event.type or "-", issue_label(event.issue), event.stage or "-", event.result or "-")
    cells = map(visible, texts)
    return [cell if len(cell) <= most else f"{cell[: most - 1]}~" for cell, most in zip(cells, LARGEST, strict=True)]


def _line(event: Event, cells: Sequence[str], widths: Sequence[int], page: Page) -> Text:
    time, kind, issue, stage, result = map(str.ljust, cells, widths)
    style = "red" if BAD.search(event.type or "") else TYPE_STYLES.get((event.type or "").partition(".")[0], "")
    details = (" · " if page.unicode else " - ").join(_details(event))[:DETAILS_LENGTH]
    return Text.assemble(
        (time, "dim"),
        "  ",
        (kind, style),
        f"  {issue}  {stage}  ",
        (result, RESULT_STYLES.get(event.result or "", "")),
        f"  {visible(details)}",
    )


def _details(event: Event) -> Iterator[str]:
    """Yield the details of an event, the most important first."""
    if event.origin.startswith(TEAM):
        yield event.origin.removeprefix(TEAM)
    if event.duration_s is not None:
        yield duration(event.duration_s)
    if event.cost_usd is not None:
        yield money(event.cost_usd)
    if event.model:
        yield event.model
    fields = _fields(event)
    texts = dict.fromkeys(_plain(fields.pop(name)) for name in FIRST if name in fields)
    yield from texts
    if event.title and event.type in TITLED and event.title not in texts:
        yield event.title
    if fields:
        yield " ".join(f"{name}={_plain(value)}" for name, value in fields.items())


def _fields(event: Event) -> dict[str, Any]:
    """Return the other fields that have a value, including those inside a payload."""
    if not isinstance(event.extra, dict):
        return {"extra": event.extra} if event.extra else {}
    payload = event.extra.get("payload")
    inside: Any = None
    if isinstance(payload, str):
        try:
            inside = json.loads(payload)
        except (ValueError, RecursionError):
            inside = payload
    fields = inside if isinstance(inside, dict) else {"payload": inside}
    fields |= {name: value for name, value in event.extra.items() if name not in HIDDEN}
    return {name: value for name, value in fields.items() if value not in ("", None, [], {})}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def team(answer: Team, page: Page) -> None:
    """Write sessions with presence, then jobs, queue and heartbeats of this machine."""
    counts = {name: getattr(answer, name) for name in ("online", "idle", "offline", "active_jobs", "queued")}
    texts = (f"{number(count)} {name.removeprefix('active_')}" for name, count in counts.items())
    page.heading("Team", ", ".join(texts))
    if answer.sessions:
        _sessions(answer.sessions, page)
    if answer.this_machine is not None:
        _this_machine(answer.this_machine, page)


def _sessions(sessions: list[Session], page: Page) -> None:
    def dimmed(text: Callable[[Session], str | int]) -> Field:
        return lambda one: (text(one), "dim" if one.stale else "")

    columns: dict[str, Field] = {
        "DEVELOPER": dimmed(lambda one: one.id),
        "PRESENCE": "presence",
        ">SEEN": dimmed(lambda one: "left" if one.silent_s is None else duration(round(one.silent_s))),
        "DAEMON": dimmed(lambda one: "running" if one.daemon_running else "-"),
        ">EVENTS": dimmed(lambda one: one.events_24h),  # of 24 hours
        "~QUEUE": dimmed(lambda one: _queue([str(item) for item in one.queued])),
    }
    page.listing(sessions, columns)
    jobs = [
        (session.id, issue_label(job.issue), job.stage or "-", shortened(job.title or "", TITLE_LENGTH))
        for session in sessions
        for job in session.active_jobs
    ]
    if jobs:
        page.table(["DEVELOPER", "ISSUE", "STAGE", "~TITLE"], jobs)


def _queue(items: list[str]) -> str:
    more = f" +{len(items) - SHOWN_QUEUE}" if len(items) > SHOWN_QUEUE else ""
    return (" ".join(items[:SHOWN_QUEUE]) + more) or "-"


def _this_machine(machine: ThisMachine, page: Page) -> None:
    parts = ["daemon" if machine.pid is None else f"daemon pid {machine.pid}"]
    parts += [f"started {machine.started_at}"] if machine.started_at else []
    parts += [f"last poll {machine.last_poll}"] if machine.last_poll else []
    page.heading("This machine", ", ".join(parts) if machine.daemon_known else "no daemon state")
    if machine.jobs:
        jobs: dict[str, Field] = {
            "JOB": lambda job: (f"{job.repo} " if job.repo else "") + issue_label(job.issue),
            "STAGE": "stage",
            ">RUNNING": lambda job: duration(job.running_s),
            ">PID": lambda job: None if job.pid is None else str(job.pid),
            "~TITLE": lambda job: shortened(job.title or job.goal or "", TITLE_LENGTH),
        }
        page.listing(machine.jobs, jobs)
    if machine.queue:
        page.line(f"queue: {_queue([item.id for item in machine.queue])}")
    if machine.heartbeats:
        beats: dict[str, Field] = {
            "HEARTBEAT": "job",
            "ISSUE": lambda beat: issue_label(beat.issue),
            "STAGE": "stage",
            ">SILENT": lambda beat: duration(beat.silent_s),
            ">CPU": lambda beat: None if beat.cpu_percent is None else f"{beat.cpu_percent:g} %",
            ">MEMORY": lambda beat: None if beat.memory_mb is None else f"{number(beat.memory_mb)} MiB",
            "~LAST ACTIVITY": "last_activity",
        }
        page.listing(machine.heartbeats, beats)


def memory(answer: Memory, page: Page) -> None:
    """Write counts, then each list that has entries; or the matches of a search."""
    if answer.matches_total is not None:
        page.heading("Matches", f"{number(answer.matches_total)} entries, best first")
        page.listing(
            answer.matches,
            {"TYPE": "entry_type", "REPOSITORY": _repo, "LAST": _seen, ">SEEN": "frequency", "~WHERE": "snippet"},
        )
    else:
        _counts(answer, page)
        for name, (title, order) in MEMORY_LISTS.items():
            entries = [entry for entry in getattr(answer, name) if name != "patterns" or entry.name != REPO]
            if entries:
                page.heading(title, order)
                page.listing(entries, ENTRY_COLUMNS.get(name, FACT_COLUMNS))
    if answer.more:
        names = ", ".join(name.replace("_", " ") for name in answer.more)
        page.line(f"There are more {names}: --offset {answer.offset + answer.limit}, or a larger --limit")


def _counts(answer: Memory, page: Page) -> None:
    by_repo: dict[tuple[str, str], list[str]] = defaultdict(list)
    for count in answer.counts:
        gone = count.entries - count.present
        text = f"{number(count.entries)} {count.entry_type.replace('_', ' ')}"
        by_repo[count.repo_hash, count.repo or "-"].append(text + (f" ({number(gone)} gone)" if gone else ""))
    page.heading("Memory", f"{number(sum(count.entries for count in answer.counts))} entries")
    page.table(
        ["REPOSITORY", "NAME", "~ENTRIES"],
        [(repo_hash[:HASH_LENGTH], name, ", ".join(texts)) for (repo_hash, name), texts in by_repo.items()],
    )


def _failure(one: Failure) -> str:
    """Return the text of a failure with its cause and fix."""
    helped = one.fix_effectiveness_percent
    parts = (
        _short(one.name),
        f"cause: {_short(one.root_cause)}" if one.root_cause else "",
        f"fix: {_short(one.fix)}" if one.fix else "",
        "" if helped is None else f"fix helped {one.fix_resolved or 0} of {one.fix_applied} times ({helped:g} %)",
        "" if one.present else GONE,
    )
    return " | ".join(filter(None, parts))


def _repo(one: Entry) -> str:
    return one.repo or one.repo_hash[:HASH_LENGTH]


def _seen(one: Any) -> str:  # noqa: ANN401 - an entry of any type
    return (one.last_seen or "-")[:10]


def _short(text: str | None) -> str:
    return shortened(text or "-", TEXT_LENGTH)


def _named(name: str | None, value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _words(value)
    return _short(f"{name or '-'}: {text}" if text else name)


def _words(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a JSON value as text: fields as `name value`, without empty ones."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items() if _words(inner))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_words, value)))
    return "" if value is None else str(value)


ENTRY_COLUMNS: dict[str, dict[str, Field]] = {
    "failures": {">SEEN": "frequency", "LAST": _seen, "REPOSITORY": _repo, "STAGE": "stage", "~FAILURE": _failure},
    "decisions": {
        "RECORDED": _seen,
        "REPOSITORY": _repo,
        "TYPE": lambda one: _words(one.type) or "-",
        "~DECISION": lambda one: _named(one.name, one.detail),
    },
}
FACT_COLUMNS: dict[str, Field] = {
    "REPOSITORY": _repo,
    "SEEN": _seen,
    "~ENTRY": lambda one: _named(one.name, one.value) + f" | {GONE}" * (not one.present),
}
