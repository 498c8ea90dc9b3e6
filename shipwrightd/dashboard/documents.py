"""The answers about team, queue and memory, which the dashboard reads from JSON documents. Both readings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipwrightd.dashboard import events
from shipwrightd.dashboard.request import FailsError
from shipwrightd.reports.team import presence

if TYPE_CHECKING:
    import apsw

    from shipwrightd.dashboard.request import Answer, Request

GONE_MS = 86_400_000
DEVELOPER = (
    *("developer_id", "machine_name", "hostname", "platform", "last_heartbeat"),
    *("daemon_running", "daemon_pid", "active_jobs", "queued"),
)
LISTS = ("active_jobs", "queued")
PATTERN = ("pattern", "stage", "root_cause", "fix", "seen_count", "last_seen")

DEVELOPERS = """
SELECT developer, machine, hostname, platform, last_heartbeat_ms, daemon_running, daemon_pid, active_jobs, queued, extra
FROM sessions WHERE present AND last_heartbeat_ms > ? ORDER BY last_heartbeat_ms DESC, id"""
QUEUED = "SELECT count(*) FROM daemon_queue WHERE present"
QUEUE = """
SELECT q.issue, coalesce((SELECT t.title FROM daemon_titles AS t WHERE t.id = q.id), '')
FROM daemon_queue AS q WHERE q.present ORDER BY q.position, q.id"""
TRIAGE = """
SELECT * FROM events INDEXED BY events_issue
WHERE issue = ? AND type = 'daemon.triage' AND origin = 'events.jsonl' ORDER BY id DESC LIMIT 1"""
TRIAGED = ("complexity", "impact", "priority", "age", "dependency", "memory", "score")

FILES = """
SELECT substr(source, 8, instr(substr(source, 8), '/') - 1) FROM checkpoints
WHERE kind = 'document' AND digest IS NOT NULL AND source LIKE 'memory/%/' || ? ORDER BY source"""
FAILURES = """
SELECT pattern, sum(coalesce(frequency, 1)),
    coalesce(max(nullif(root_cause, '')), ''), coalesce(max(nullif(fix, '')), '')
FROM memory_entries WHERE entry_type = 'failure' GROUP BY pattern ORDER BY 2 DESC, 1"""
DECISIONS = """
SELECT repo_hash, pattern, first_seen, extra FROM memory_entries WHERE entry_type = 'decision' ORDER BY repo_hash, id"""
LEARNINGS = """
SELECT pattern, first_seen, extra FROM memory_entries WHERE repo_hash = 'global' AND entry_type = 'learning'
ORDER BY id"""
# A failure belongs to an issue if it was seen during a run of the issue, at a stage that failed in that run.
OF_ISSUE = """
WITH failed AS (
    SELECT DISTINCT r.started_epoch AS since, coalesce(r.ended_epoch, r.last_epoch) + 60 AS until, s.stage
    FROM pipeline_runs AS r JOIN pipeline_stages AS s ON s.run_id = r.id
    WHERE r.issue = ?1 AND s.status = 'failed'
)
SELECT m.pattern, m.stage, m.root_cause, m.fix, m.frequency, m.last_seen, m.extra
FROM memory_entries AS m
WHERE m.entry_type = 'failure' AND EXISTS (
    SELECT 1 FROM failed AS f WHERE f.stage = m.stage AND (
        unixepoch(m.first_seen) BETWEEN f.since AND f.until OR unixepoch(m.last_seen) BETWEEN f.since AND f.until))
ORDER BY m.id"""


def team(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/team: developers with a heartbeat of the last day, latest first."""
    developers = _developers(db, request.now * 1000)
    return {
        "developers": developers,
        "total_online": sum(developer["_presence"] == "online" for developer in developers),
        "total_active_pipelines": sum(len(developer["active_jobs"] or ()) for developer in developers),
        "total_queued": sum(len(developer["queued"] or ()) for developer in developers),
    }


def team_as_dashboard(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/team as the dashboard does. Raises FailsError for a developer without lists of jobs."""
    answer = team(db, request)
    for developer in answer["developers"]:
        for key in LISTS:
            if developer[key] is None:
                raise FailsError(f"a developer has no list {key}")
    return answer


def _developers(db: apsw.Connection, now_ms: int) -> list[Answer]:
    developers = []
    for *values, extra in db.execute(DEVELOPERS, (now_ms - GONE_MS,)):
        developer: Answer = dict(zip(DEVELOPER, values, strict=True))
        running = developer["daemon_running"]
        lists = {key: _json(developer[key], None) for key in LISTS}
        fixed = {"daemon_running": None if running is None else bool(running), **_json(extra, {})}
        online = presence((now_ms - developer["last_heartbeat"]) / 1000)
        developers.append({**developer, **lists, **fixed, "_presence": online})
    return developers


def _json(text: str | None, absent: Any) -> Any:  # noqa: ANN401 - any JSON
    return absent if text is None else json.loads(text)


def queue(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/queue/detailed with each item's issue, title and last triage."""
    items = []
    for issue, title in db.execute(QUEUE).fetchall():
        row = None if issue is None else db.execute(TRIAGE, (issue,)).fetchone()
        event = {} if row is None else events.read(row)
        triage = {key: event[key] for key in TRIAGED if event.get(key) is not None}
        items.append({"issue": issue or 0, "title": title, "score": 0, **triage})
    return {"queue": items}


def queue_as_dashboard(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/queue/detailed as the dashboard does, which knows no issue that is text."""
    return {"queue": [{"issue": 0, "title": "", "score": 0} for _ in range(db.execute(QUEUED).get)]}


def patterns(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/memory/patterns: each failure with its sightings, including pruned ones."""
    return {
        "patterns": [
            {"pattern": pattern, "frequency": times, "rootCause": cause, "fix": fix}
            for pattern, times, cause, fix in db.execute(FAILURES)
        ]
    }


def patterns_as_dashboard(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/memory/patterns as the dashboard does, which takes each file for one failure."""
    times = len(files(db, "failures.json"))
    return {"patterns": [{"pattern": "unknown", "frequency": times, "rootCause": "", "fix": ""}] if times else []}


def files(db: apsw.Connection, name: str) -> list[str]:
    """Return the folders in memory/ that have a file of this name now."""
    return [folder for (folder,) in db.execute(FILES, (name,))]


def decisions(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/memory/decisions: all decisions, in one list."""
    return {"decisions": [decision for _, decision in _decisions(db)]}


def _decisions(db: apsw.Connection) -> list[tuple[str, Answer]]:
    return [
        (repo, {**_json(extra, {}), **_given(summary=summary, recorded_at=at)})
        for repo, summary, at, extra in db.execute(DECISIONS)
    ]


def _given(**values: str | None) -> Answer:
    return {key: value for key, value in values.items() if value is not None}


def decisions_as_dashboard(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/memory/decisions as the dashboard does: one object a file, which holds the list."""
    every = _decisions(db)
    return {
        "decisions": [
            {"decisions": [decision for repo, decision in every if repo == folder]}
            for folder in files(db, "decisions.json")
        ]
    }


def learnings(db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/memory/global: learnings of one repository that apply to all."""
    return {
        "learnings": [
            {**_given(type=kind, captured_at=at), **_json(extra, {})} for kind, at, extra in db.execute(LEARNINGS)
        ]
    }


def learnings_as_dashboard(_db: apsw.Connection, _request: Request) -> Answer:
    """Answer /api/memory/global as the dashboard does, which looks for a name that nobody writes."""
    return {"learnings": []}


def failures(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/memory/failures/N: failures seen during a run of the issue that failed at their stage."""
    found = db.execute(OF_ISSUE, (request.issue(4),))
    return {"patterns": [{**dict(zip(PATTERN, row, strict=True)), **_json(extra, {})} for *row, extra in found]}


def failures_as_dashboard(_db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/memory/failures/N as the dashboard does, which looks for an issue in failures that have none."""
    request.issue(4)
    return {"patterns": []}
