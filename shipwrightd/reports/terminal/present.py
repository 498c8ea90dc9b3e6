"""The present state on a terminal: the team, and what Shipwright remembers."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shipwrightd.reports.terminal import issue_label
from shipwrightd.text import duration, number, shortened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipwrightd.reports.memory import Decision, Fact, Failure, Match, Memory
    from shipwrightd.reports.team import Session, Team, ThisMachine
    from shipwrightd.reports.terminal import Field, Page

SHOWN_QUEUE = 8
TITLE_LENGTH = 48
HASH_LENGTH = 12
TEXT_LENGTH = 400
REPO = "repo"  # the pattern with the name of the repository, which every line shows
GONE = "gone from the file"
LISTS: dict[str, str] = {
    "known_issues": "Known issues",
    "patterns": "Patterns",
    "global_patterns": "Patterns of all repositories",
    "learnings": "Learnings of all repositories",
    "architecture": "Architecture",
    "baselines": "Baselines",
}


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
    jobs = [(session, job) for session in sessions for job in session.active_jobs]
    if jobs:
        page.table(
            ["DEVELOPER", "ISSUE", "STAGE", "~TITLE"],
            [(session.id, issue_label(job.issue), job.stage or "-", _title(job.title)) for session, job in jobs],
        )


def _queue(items: list[str]) -> str:
    more = f" +{len(items) - SHOWN_QUEUE}" if len(items) > SHOWN_QUEUE else ""
    return (" ".join(items[:SHOWN_QUEUE]) + more) or "-"


def _title(text: str | None) -> str:
    return shortened(text or "", TITLE_LENGTH)


def _this_machine(machine: ThisMachine, page: Page) -> None:
    page.heading("This machine", _daemon(machine))
    if machine.jobs:
        jobs: dict[str, Field] = {
            "JOB": lambda job: (f"{job.repo} " if job.repo else "") + issue_label(job.issue),
            "STAGE": "stage",
            ">RUNNING": lambda job: duration(job.running_s),
            ">PID": lambda job: None if job.pid is None else str(job.pid),
            "~TITLE": lambda job: _title(job.title or job.goal),
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


def _daemon(machine: ThisMachine) -> str:
    if not machine.daemon_known:
        return "no daemon state"
    parts = ["daemon" if machine.pid is None else f"daemon pid {machine.pid}"]
    if machine.started_at:
        parts.append(f"started {machine.started_at}")
    if machine.last_poll:
        parts.append(f"last poll {machine.last_poll}")
    return ", ".join(parts)


def memory(answer: Memory, page: Page) -> None:
    """Write counts, then each list that has entries; or the matches of a search."""
    if answer.matches_total is not None:
        page.heading("Matches", f"{number(answer.matches_total)} entries, best first")
        seen: dict[str, Field] = {"LAST": _seen, ">SEEN": "frequency", "~WHERE": "snippet"}
        page.listing(answer.matches, {"TYPE": "entry_type", "REPOSITORY": _repo, **seen})
    else:
        _counts(answer, page)
        _entries("Failures", answer.failures, page)
        _entries("Decisions", answer.decisions, page)
        for name, title in LISTS.items():
            _entries(title, [fact for fact in getattr(answer, name) if fact.name != REPO], page)
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


def _entries(title: str, entries: Sequence[Failure | Decision | Fact], page: Page) -> None:
    if not entries:
        return
    page.heading(title, {"Failures": "most frequent first", "Decisions": "newest first"}.get(title, ""))
    columns: dict[str, Field] = {
        "REPOSITORY": _repo,
        "SEEN": _seen,
        "~ENTRY": lambda one: _named(one.name, one.value) + f" | {GONE}" * (not one.present),
    }
    if title == "Failures":
        columns = {">SEEN": "frequency", "LAST": _seen, "REPOSITORY": _repo, "STAGE": "stage", "~FAILURE": _failure}
    elif title == "Decisions":
        columns = {"RECORDED": _seen, "REPOSITORY": _repo, "TYPE": lambda one: _text(one.type) or "-"}
        columns["~DECISION"] = lambda one: _named(one.name, one.detail)
    page.listing(entries, columns)


def _failure(one: Failure) -> str:
    """Return the text of a failure with its cause and fix."""
    parts = [_short(one.name)]
    if one.root_cause:
        parts.append(f"cause: {_short(one.root_cause)}")
    if one.fix:
        parts.append(f"fix: {_short(one.fix)}")
    if one.fix_effectiveness_percent is not None:
        resolved = f"{one.fix_resolved or 0} of {one.fix_applied} times"
        parts.append(f"fix helped {resolved} ({one.fix_effectiveness_percent:g} %)")
    if not one.present:
        parts.append(GONE)
    return " | ".join(parts)


def _repo(one: Failure | Decision | Fact | Match) -> str:
    return one.repo or one.repo_hash[:HASH_LENGTH]


def _seen(one: Failure | Decision | Fact | Match) -> str:
    return (one.last_seen or "-")[:10]


def _short(text: str | None) -> str:
    return shortened(text or "-", TEXT_LENGTH)


def _named(name: str | None, value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _text(value)
    return _short(f"{name or '-'}: {text}" if text else name)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a JSON value as text: fields as `name value`, without empty ones."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items() if _text(inner))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))
    return "" if value is None else str(value)
