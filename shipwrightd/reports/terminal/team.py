"""The team on a terminal: who is there, then this machine's jobs, queue and signs of life."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.terminal.table import Col, duration, number

if TYPE_CHECKING:
    from shipwrightd.reports.team import Heartbeat, RunningJob, Session, Team, ThisMachine
    from shipwrightd.reports.terminal.table import Page

SHOWN_QUEUE = 8
SHOWN_TITLE = 48


def show(answer: Team, page: Page) -> None:
    """Write the answer."""
    figures = {
        "online": answer.online,
        "idle": answer.idle,
        "offline": answer.offline,
        "jobs": answer.active_jobs,
        "queued": answer.queued,
    }
    page.heading("Team", ", ".join(f"{number(count)} {name}" for name, count in figures.items()))
    if answer.sessions:
        _sessions(answer.sessions, page)
    if answer.this_machine is not None:
        _here(answer.this_machine, page)


def _sessions(sessions: list[Session], page: Page) -> None:
    page.table(
        [
            Col("DEVELOPER"),
            Col("PRESENCE"),
            Col("SEEN", right=True),
            Col("DAEMON"),
            Col("EVENTS", right=True),  # of 24 hours
            Col("QUEUE", wrap=True),
        ],
        [_session(session) for session in sessions],
    )
    jobs = [(session, job) for session in sessions for job in session.active_jobs]
    if jobs:
        page.table(
            [Col("DEVELOPER"), Col("ISSUE"), Col("STAGE"), Col("TITLE", wrap=True)],
            [(session.id, _issue(job.issue) or "-", job.stage or "-", _short(job.title)) for session, job in jobs],
        )


def _session(session: Session) -> list[str | tuple[str, str]]:
    stale = "dim" if session.stale else ""
    return [
        (session.id, stale),
        session.presence,
        (_ago(session.silent_s), stale),
        ("running" if session.daemon_running else "-", stale),
        (number(session.events_24h), stale),
        (_queue([str(item) for item in session.queued]), stale),
    ]


def _ago(seconds: float | None) -> str:
    return "left" if seconds is None else duration(round(seconds))


def _queue(items: list[str]) -> str:
    more = f" +{len(items) - SHOWN_QUEUE}" if len(items) > SHOWN_QUEUE else ""
    return (" ".join(items[:SHOWN_QUEUE]) + more) or "-"


def _issue(issue: int | str | None) -> str:
    return "" if issue is None else f"#{issue}" if isinstance(issue, int) else issue


def _short(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= SHOWN_TITLE else text[: SHOWN_TITLE - 3] + "..."


def _here(here: ThisMachine, page: Page) -> None:
    page.heading("This machine", _daemon(here))
    if here.jobs:
        page.table(
            [Col("JOB"), Col("STAGE"), Col("RUNS FOR", right=True), Col("PID", right=True), Col("TITLE", wrap=True)],
            [_running(job) for job in here.jobs],
        )
    if here.queue:
        page.line(f"queue: {_queue([item.id for item in here.queue])}")
    if here.heartbeats:
        page.table(
            [
                Col("HEARTBEAT"),
                Col("ISSUE"),
                Col("STAGE"),
                Col("SILENT", right=True),
                Col("CPU", right=True),
                Col("MEMORY", right=True),
                Col("LAST ACTIVITY", wrap=True),
            ],
            [_heartbeat(beat) for beat in here.heartbeats],
        )


def _daemon(here: ThisMachine) -> str:
    if not here.daemon_known:
        return "no daemon state"
    parts = [f"daemon pid {here.pid}" if here.pid is not None else "daemon"]
    if here.started_at:
        parts.append(f"started {here.started_at}")
    if here.last_poll:
        parts.append(f"last poll {here.last_poll}")
    return ", ".join(parts)


def _running(job: RunningJob) -> list[str]:
    name = f"{job.repo} " if job.repo else ""
    return [
        name + (_issue(job.issue) or "-"),
        job.stage or "-",
        duration(job.running_s),
        "-" if job.pid is None else str(job.pid),
        _short(job.title or job.goal),
    ]


def _heartbeat(beat: Heartbeat) -> list[str]:
    return [
        beat.job,
        _issue(beat.issue) or "-",
        beat.stage or "-",
        duration(beat.silent_s),
        "-" if beat.cpu_percent is None else f"{beat.cpu_percent:g} %",
        "-" if beat.memory_mb is None else f"{number(beat.memory_mb)} MiB",
        beat.last_activity or "-",
    ]
