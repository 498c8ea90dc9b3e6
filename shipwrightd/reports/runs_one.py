"""One run in full: what it said of itself, its attempts at stages in order, its money, its errors, its events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import apsw

FACTS = """
SELECT start_seen, complexity, iterations, stages_passed, slowest_stage, self_heal_count, agent_id,
    input_tokens, output_tokens, reported_duration_s, reported_cost_usd, entries_cost_usd,
    strftime('%Y-%m-%dT%H:%M:%SZ', completed_epoch, 'unixepoch'), result,
    strftime('%Y-%m-%dT%H:%M:%SZ', reap_epoch, 'unixepoch'), reap_result,
    strftime('%Y-%m-%dT%H:%M:%SZ', kill_epoch, 'unixepoch'), paused_stage, next_run_id
FROM pipeline_runs WHERE id = ?"""

ATTEMPTS = """
SELECT s.id, s.stage, s.attempt, s.status, s.started_at, s.ended_at,
    coalesce(s.started_epoch, s.ended_epoch) - r.started_epoch,
    coalesce(s.duration_s, s.ended_epoch - s.started_epoch), s.reason, s.error_class, s.error
FROM pipeline_stages AS s JOIN pipeline_runs AS r ON r.id = s.run_id
WHERE s.run_id = ?
ORDER BY coalesce(s.started_epoch, s.ended_epoch), s.id"""

# An entry belongs to the newest run of its issue that started no later than the entry.
ENTRIES = """
SELECT c.id, strftime('%Y-%m-%dT%H:%M:%SZ', c.ts_epoch, 'unixepoch'), c.stage, c.model, c.input_tokens,
    c.output_tokens, c.cost_usd, c.origin
FROM pipeline_runs AS r CROSS JOIN cost_entries AS c INDEXED BY cost_entries_issue ON c.issue = r.issue
WHERE r.id = ?1 AND c.ts_epoch >= r.started_epoch AND c.ts_epoch < (
    SELECT coalesce(min(+n.started_epoch), 9223372036854775807)
    FROM pipeline_runs AS n WHERE n.issue = r.issue AND n.id > r.id)
ORDER BY c.ts_epoch, c.id"""

SAID = "SELECT reported_failed_stage, reported_error_class FROM pipeline_runs WHERE id = ?"

# From the event that opened it to its last; counted are those of its issue. Those that name an issue only in a
# payload, and the events of a run without an issue, cannot be told from others.
EVENTS = """
SELECT r.id, r.last_event_id, iif(r.issue IS NULL, NULL, count(e.id)),
    strftime('%Y-%m-%dT%H:%M:%SZ', coalesce(opened.ts_epoch, r.started_epoch), 'unixepoch'),
    strftime('%Y-%m-%dT%H:%M:%SZ', r.last_epoch, 'unixepoch')
FROM pipeline_runs AS r LEFT JOIN events AS opened ON opened.id = r.id LEFT JOIN events AS e INDEXED BY events_issue
    ON e.issue = r.issue AND e.id BETWEEN r.id AND r.last_event_id
        AND (e.origin = 'events.jsonl' OR e.origin GLOB 'import/*')
WHERE r.id = ?"""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run and the daemon said, beside what the list tells; None for what they did not say."""

    start_seen: bool  # its pipeline.started was seen; else its start is worked out
    complexity: object
    iterations: object
    reported_stages_passed: object
    slowest_stage: str | None
    self_heal_count: object
    agent_id: str | None
    input_tokens: int | None
    output_tokens: int | None
    reported_duration_s: float | None
    reported_cost_usd: float | None
    entries_cost_usd: float | None  # sum of its cost entries
    completed_at: str | None  # UTC, its pipeline.completed
    result: str | None  # success | failure
    reaped_at: str | None  # UTC, its daemon.reap
    reap_result: str | None
    killed_at: str | None  # UTC, by the daemon
    paused_stage: str | None  # stage before which the budget stopped it
    next_run_id: int | None  # the next run of its issue


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a stage."""

    id: int
    stage: str
    attempt: int  # 1, 2, ... at this stage
    status: str  # running | success | failed | skipped
    started_at: str | None  # UTC
    ended_at: str | None  # UTC
    offset_s: float | None  # from the start of the run to that of the attempt, or to its end where that is all
    duration_s: float | None
    reason: str | None  # why it was skipped
    error_class: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of cost_entries that belongs to the run."""

    id: int
    at: str | None  # UTC
    stage: str | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    origin: str  # costs.json | events.jsonl


@dataclass(frozen=True, slots=True)
class Trouble:
    """One error of the run: of an attempt, or what it said of itself at its end."""

    at: str | None  # UTC
    stage: str | None
    attempt: int | None  # None: of the run as a whole
    error_class: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Events:
    """The run's part of the journal."""

    first_id: int
    last_id: int
    count: int | None  # events in there that name its issue; None for a run without one
    first_at: str | None  # UTC
    last_at: str | None  # UTC, the latest of them all


@dataclass(frozen=True, slots=True)
class Detail:
    """All there is about one run."""

    facts: Facts
    attempts: list[Attempt]  # in order of time
    entries: list[Entry]
    errors: list[Trouble]
    events: Events


def one_run(db: apsw.Connection, run: int) -> Detail:
    """Return all about a run that is there."""
    (facts,) = (Facts(bool(start_seen), *said) for start_seen, *said in db.execute(FACTS, (run,)))
    (events,) = (Events(*row) for row in db.execute(EVENTS, (run,)))
    attempts = [Attempt(*row) for row in db.execute(ATTEMPTS, (run,))]
    return Detail(
        facts,
        attempts,
        [Entry(*row) for row in db.execute(ENTRIES, (run,))],
        errors(db, run, facts, attempts),
        events,
    )


def errors(db: apsw.Connection, run: int, facts: Facts, attempts: list[Attempt]) -> list[Trouble]:
    """Return the errors of a run's attempts, and what it said at its end where no attempt tells of it."""
    found = [
        Trouble(failed.ended_at, failed.stage, failed.attempt, failed.error_class, failed.error)
        for failed in attempts
        if failed.status == "failed"
    ]
    known = {(trouble.stage, trouble.error_class) for trouble in found}
    for stage, error_class in db.execute(SAID, (run,)):
        if (stage or error_class) and (stage, error_class) not in known:
            found.append(Trouble(facts.completed_at, stage, None, error_class, None))
    return found
