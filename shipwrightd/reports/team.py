"""The team: each developer at each machine, and this machine: who is online, what runs, what is queued.

Presence is that of Shipwright's dashboard: online until 30 s after the last heartbeat, idle until 120 s. Jobs and
queues in the registry that are malformed are left out.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apsw
import orjson

from shipwrightd.clock import utc
from shipwrightd.reports.question import DAY_S, Question

ONLINE_S = 30
IDLE_S = 120
STALE_S = DAY_S  # after that the dashboard hides it

SESSIONS = """
SELECT id, developer, machine, hostname, platform, last_heartbeat_ms, daemon_running IS 1,
    iif(typeof(daemon_pid) = 'integer', daemon_pid, NULL), active_jobs, queued
FROM sessions
WHERE present AND (?1 IS NULL OR developer = ?1 OR id = ?1)
ORDER BY last_heartbeat_ms DESC, id"""
EVENTS = """
SELECT substr(origin, length('team-events.jsonl/') + 1), count(*) FROM events INDEXED BY events_ts_epoch
WHERE ts_epoch >= ?1 AND ts_epoch < ?2 AND origin >= 'team-events.jsonl/' AND origin < 'team-events.jsonl0'
GROUP BY 1"""
DAEMON = "SELECT pid, started_at, last_poll, config FROM daemon_state WHERE present"
# ?1 is now. The stage is that of the issue's newest run in the events.
JOBS = """
SELECT issue, title, goal, nullif(repo, ''), pid, started_at, max(0.0, ?1 - unixepoch(started_at)),
    (SELECT s.stage FROM pipeline_stages AS s
     WHERE s.run_id = (SELECT max(r.id) FROM pipeline_runs AS r WHERE r.issue = j.issue)
     ORDER BY s.id DESC LIMIT 1)
FROM daemon_jobs AS j WHERE present ORDER BY started_at, id"""
QUEUE = """
SELECT q.id, q.issue, q.repo, (SELECT t.title FROM daemon_titles AS t WHERE t.id = q.id)
FROM daemon_queue AS q WHERE q.present ORDER BY q.position, q.id"""
HEARTBEATS = """
SELECT id, pid, issue, stage, iteration, memory_mb, cpu_pct, last_activity, updated_at,
    max(0.0, ?1 - updated_epoch)
FROM heartbeats WHERE present ORDER BY updated_epoch DESC, id"""


@dataclass(frozen=True, slots=True)
class Job:
    """A job of a developer's machine, from the registry."""

    issue: int | str | None
    title: str | None
    stage: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A developer at a machine."""

    id: str  # developer@machine
    developer: str
    machine: str
    hostname: str | None
    platform: str | None
    presence: str  # online | idle | offline
    last_seen: str | None  # UTC; None: disconnected, or never seen
    silent_s: float | None  # since then; 0 if its clock is ahead
    stale: bool  # no heartbeat for more than a day, or disconnected
    daemon_running: bool
    daemon_pid: int | None
    active_jobs: list[Job]
    queued: list[int | str]  # issues, in file order
    events_24h: int  # events from there of the last 24 hours


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job of this machine's daemon."""

    issue: int | str | None
    title: str | None
    goal: str | None
    repo: str | None  # None: the daemon's own
    pid: int | None
    started_at: str | None  # UTC
    running_s: float | None
    stage: str | None  # of the newest run of the issue


@dataclass(frozen=True, slots=True)
class QueuedItem:
    """An item in the queue of this machine's daemon."""

    id: str  # as written: 56 or owner/repo:58
    issue: int | str | None
    repo: str | None
    title: str | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The last heartbeat of a job on this machine."""

    job: str
    pid: int | None
    issue: int | str | None
    stage: str | None
    iteration: int | None
    memory_mb: float | None  # MiB
    cpu_percent: float | None
    last_activity: str | None
    updated_at: str | None  # UTC
    silent_s: float | None


@dataclass(frozen=True, slots=True)
class ThisMachine:
    """The local machine, from the daemon's state and the heartbeats."""

    daemon_known: bool  # its state file exists; it need not be running
    pid: int | None
    started_at: str | None  # UTC
    last_poll: str | None  # UTC
    poll_interval_s: float | None
    max_parallel: float | None
    jobs: list[RunningJob]
    queue: list[QueuedItem]
    heartbeats: list[Heartbeat]


@dataclass(frozen=True, slots=True)
class Team:
    """The answer; the totals are of `sessions`."""

    online: int
    idle: int
    offline: int
    active_jobs: int
    queued: int
    sessions: list[Session]
    this_machine: ThisMachine | None  # None if the question names a developer

    @property
    def empty(self) -> bool:
        """Tell whether there are no sessions and nothing of this machine."""
        here = self.this_machine
        return not self.sessions and not (here and (here.daemon_known or here.jobs or here.queue or here.heartbeats))


def collect(db: apsw.Connection, question: Question) -> Team:
    """Answer for question.now; `developer` may be a name or name@machine."""
    now = question.now
    events: list[Any] = db.execute(EVENTS, (now - DAY_S, now + 1)).fetchall()
    counts: dict[str, int] = dict(events)
    sessions = [_session(row, counts, now) for row in db.execute(SESSIONS, (question.developer,))]
    presences = [session.presence for session in sessions]
    return Team(
        online=presences.count("online"),
        idle=presences.count("idle"),
        offline=presences.count("offline"),
        active_jobs=sum(len(session.active_jobs) for session in sessions),
        queued=sum(len(session.queued) for session in sessions),
        sessions=sessions,
        this_machine=this_machine(db, now) if question.developer is None else None,
    )


def _session(row: tuple[Any, ...], counts: dict[str, int], now: int) -> Session:
    *machine, heartbeat_ms, running, pid, active_jobs, queued = row
    last_seen = utc(heartbeat_ms / 1000) if isinstance(heartbeat_ms, int | float) and heartbeat_ms > 0 else None
    silent = None if last_seen is None else max(0.0, round(now - heartbeat_ms / 1000, 3))
    jobs, issues = (value if isinstance(value, list) else [] for value in map(_parsed, (active_jobs, queued)))
    stale = silent is None or silent > STALE_S
    active = [_job(value) for value in jobs if isinstance(value, dict)]
    waiting = [value for value in issues if value.__class__ in {int, str} and value != ""]
    seen = (presence(silent), last_seen, silent, stale)
    fields = (*machine, *seen, bool(running), pid, active, waiting, counts.get(machine[0], 0))
    return Session(*fields)


def presence(silent_s: float | None) -> str:
    """Return online, idle or offline by the seconds since the last heartbeat."""
    if silent_s is None or silent_s >= IDLE_S:
        return "offline"
    return "online" if silent_s < ONLINE_S else "idle"


def _parsed(text: object) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(text) if isinstance(text, str) else None
    except orjson.JSONDecodeError:
        return None


def _job(value: dict[str, Any]) -> Job:
    issue, *texts = map(value.get, ("issue", "title", "stage"))
    return Job(
        issue if issue.__class__ in {int, str} and issue not in {0, ""} else None,
        *(text if isinstance(text, str) and text else None for text in texts),
    )


def this_machine(db: apsw.Connection, now: int) -> ThisMachine:
    """Return what the files of this machine say."""
    state = db.execute(DAEMON).fetchone()
    *process, config = state or (None, None, None, None)
    settings = _parsed(config)
    figures = map(settings.get, ("poll_interval", "max_parallel")) if isinstance(settings, dict) else (None, None)
    interval_s, parallel = (value if value.__class__ in {int, float} else None for value in figures)
    jobs = [RunningJob(*row) for row in db.execute(JOBS, (now,))]
    queue = [QueuedItem(*row) for row in db.execute(QUEUE)]
    heartbeats = [Heartbeat(*row) for row in db.execute(HEARTBEATS, (now,))]
    fields = (state is not None, *process, interval_s, parallel, jobs, queue, heartbeats)
    return ThisMachine(*fields)


def rows(answer: Team) -> Iterable[dict[str, Any]]:
    """Return one row a session, with the numbers and issues of jobs and queue."""
    for session in answer.sessions:
        jobs, queue = session.active_jobs, session.queued
        fields = {name: value for name, value in asdict(session).items() if name not in {"active_jobs", "queued"}}
        yield {
            **fields,
            "active_jobs": len(jobs),
            "active_issues": " ".join(str(job.issue) for job in jobs if job.issue is not None),
            "queued": len(queue),
            "queued_issues": " ".join(map(str, queue)),
        }
