"""The team on a terminal: sessions with presence, then jobs, queue and heartbeats of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.terminal import issue_label
from shipwrightd.table import Column
from shipwrightd.text import duration, number, shortened

if TYPE_CHECKING:
    from shipwrightd.reports.team import Session, Team, ThisMachine
    from shipwrightd.reports.terminal import Cell, Page

SHOWN_QUEUE = 8
TITLE_LENGTH = 48


def show(answer: Team, page: Page) -> None:
    """Write the answer."""
    counts = {
        "online": answer.online,
        "idle": answer.idle,
        "offline": answer.offline,
        "jobs": answer.active_jobs,
        "queued": answer.queued,
    }
    page.heading("Team", ", ".join(f"{number(count)} {name}" for name, count in counts.items()))
    if answer.sessions:
        _sessions(answer.sessions, page)
    if answer.this_machine is not None:
        _this_machine(answer.this_machine, page)


def _sessions(sessions: list[Session], page: Page) -> None:
    page.table(  # EVENTS are those of 24 hours
        ["DEVELOPER", "PRESENCE", ">SEEN", "DAEMON", ">EVENTS", Column("QUEUE", wrap=True)],
        [_session(session) for session in sessions],
    )
    jobs = [(session, job) for session in sessions for job in session.active_jobs]
    if jobs:
        page.table(
            ["DEVELOPER", "ISSUE", "STAGE", Column("TITLE", wrap=True)],
            [(session.id, issue_label(job.issue), job.stage or "-", _title(job.title)) for session, job in jobs],
        )


def _session(session: Session) -> list[Cell]:
    style = "dim" if session.stale else ""
    return [
        (session.id, style),
        session.presence,
        ("left" if session.silent_s is None else duration(round(session.silent_s)), style),
        ("running" if session.daemon_running else "-", style),
        (session.events_24h, style),
        (_queue([str(item) for item in session.queued]), style),
    ]


def _queue(items: list[str]) -> str:
    more = f" +{len(items) - SHOWN_QUEUE}" if len(items) > SHOWN_QUEUE else ""
    return (" ".join(items[:SHOWN_QUEUE]) + more) or "-"


def _title(text: str | None) -> str:
    return shortened(text or "", TITLE_LENGTH)


def _this_machine(machine: ThisMachine, page: Page) -> None:
    page.heading("This machine", _daemon(machine))
    if machine.jobs:
        page.table(
            ["JOB", "STAGE", ">RUNNING", ">PID", Column("TITLE", wrap=True)],
            [
                (
                    (f"{job.repo} " if job.repo else "") + issue_label(job.issue),
                    job.stage or "-",
                    duration(job.running_s),
                    None if job.pid is None else str(job.pid),
                    _title(job.title or job.goal),
                )
                for job in machine.jobs
            ],
        )
    if machine.queue:
        page.line(f"queue: {_queue([item.id for item in machine.queue])}")
    if machine.heartbeats:
        page.table(
            ["HEARTBEAT", "ISSUE", "STAGE", ">SILENT", ">CPU", ">MEMORY", Column("LAST ACTIVITY", wrap=True)],
            [
                (
                    beat.job,
                    issue_label(beat.issue),
                    beat.stage or "-",
                    duration(beat.silent_s),
                    None if beat.cpu_percent is None else f"{beat.cpu_percent:g} %",
                    None if beat.memory_mb is None else f"{number(beat.memory_mb)} MiB",
                    beat.last_activity or "-",
                )
                for beat in machine.heartbeats
            ],
        )


def _daemon(machine: ThisMachine) -> str:
    if not machine.daemon_known:
        return "no daemon state"
    parts = ["daemon" if machine.pid is None else f"daemon pid {machine.pid}"]
    if machine.started_at:
        parts.append(f"started {machine.started_at}")
    if machine.last_poll:
        parts.append(f"last poll {machine.last_poll}")
    return ", ".join(parts)
