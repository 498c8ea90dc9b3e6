"""Runs of pipelines: a page of their list, newest start first; or one run in full.

A page is read from an index: its time grows with the runs skipped, not with the runs stored. Of the rare statuses all
runs are sorted.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apsw
import orjson

from shipwrightd.clock import utc
from shipwrightd.errors import MissingError
from shipwrightd.reports.question import Question, QuestionError

STATUSES = ("success", "failed", "running", "abandoned")
USUAL_LIMIT = 20
RARE = ("running", "abandoned")  # all runs of these are sorted, faster than walking back in time to find them
INT64 = 1 << 63

# Runs of status ?3, or all, started from ?1 until ?2; without ?1 also those without a time. ?4 of them after ?5.
BY_TIME = """
SELECT started_epoch, id FROM pipeline_runs INDEXED BY pipeline_runs_started_epoch
WHERE started_epoch >= coalesce(?1, -9223372036854775808) AND started_epoch < ?2 AND (?3 IS NULL OR status = ?3)
UNION ALL
SELECT started_epoch, id FROM pipeline_runs INDEXED BY pipeline_runs_started_epoch
WHERE started_epoch IS NULL AND ?1 IS NULL AND (?3 IS NULL OR status = ?3)
ORDER BY 1 DESC, 2 DESC LIMIT ?4 OFFSET ?5"""
BY_STATUS = """
SELECT started_epoch, id FROM pipeline_runs INDEXED BY pipeline_runs_status
WHERE status = ?3 AND (started_epoch < ?2 OR started_epoch IS NULL)
    AND (?1 IS NULL OR started_epoch >= ?1)
ORDER BY 1 DESC, 2 DESC LIMIT ?4 OFFSET ?5"""
BY_ISSUE = """
SELECT started_epoch, id FROM pipeline_runs INDEXED BY pipeline_runs_issue
WHERE issue = ?6 AND (started_epoch < ?2 OR started_epoch IS NULL)
    AND (?1 IS NULL OR started_epoch >= ?1) AND (?3 IS NULL OR status = ?3)
ORDER BY 1 DESC, 2 DESC LIMIT ?4 OFFSET ?5"""

# The runs ?1 (a JSON array of ids), in that order, with their attempts counted.
ROWS = """
SELECT r.id, r.issue, r.status, r.template, r.model, r.machine, r.goal, r.started_at, r.ended_at, r.duration_s,
    iif(r.status = 'running', ?2 - r.started_epoch, NULL), count(DISTINCT s.stage),
    count(DISTINCT iif(s.status = 'success', s.stage, NULL)), count(s.id),
    r.failed_stage, r.error_class, r.cost_usd, r.cost_source, r.pr_url
FROM json_each(?1) AS j CROSS JOIN pipeline_runs AS r ON r.id = j.value
    LEFT JOIN pipeline_stages AS s ON s.run_id = r.id
GROUP BY j.key ORDER BY j.key"""

# One run in full.
FACTS = """
SELECT start_seen, complexity, iterations, stages_passed, slowest_stage, self_heal_count, agent_id,
    input_tokens, output_tokens, reported_duration_s, reported_cost_usd, entries_cost_usd,
    completed_epoch, result, reap_epoch, reap_result, kill_epoch, paused_stage, next_run_id,
    reported_failed_stage, reported_error_class
FROM pipeline_runs WHERE id = ?"""
FACTS_TIMES = (11, 13, 15)  # columns behind start_seen that are seconds
ATTEMPTS = """
SELECT s.id, s.stage, s.attempt, s.status, s.started_at, s.ended_at,
    coalesce(s.started_epoch, s.ended_epoch) - r.started_epoch,
    coalesce(s.duration_s, s.ended_epoch - s.started_epoch), s.reason, s.error_class, s.error
FROM pipeline_stages AS s JOIN pipeline_runs AS r ON r.id = s.run_id
WHERE s.run_id = ?
ORDER BY coalesce(s.started_epoch, s.ended_epoch), s.id"""
# An entry belongs to the newest run of its issue that started no later than the entry.
ENTRIES = """
SELECT c.id, c.ts_epoch, c.stage, c.model, c.input_tokens, c.output_tokens, c.cost_usd, c.origin
FROM pipeline_runs AS r CROSS JOIN cost_entries AS c INDEXED BY cost_entries_issue ON c.issue = r.issue
WHERE r.id = ?1 AND c.ts_epoch >= r.started_epoch AND c.ts_epoch < (
    SELECT coalesce(min(+n.started_epoch), 9223372036854775807)
    FROM pipeline_runs AS n WHERE n.issue = r.issue AND n.id > r.id)
ORDER BY c.ts_epoch, c.id"""
# From the event that opened the run to its last; counted are those of its issue. Events that name an issue only in
# a payload, and the events of a run without an issue, cannot be attributed.
EVENTS = """
SELECT r.id, r.last_event_id, iif(r.issue IS NULL, NULL, count(e.id)), coalesce(opened.ts_epoch, r.started_epoch),
    r.last_epoch
FROM pipeline_runs AS r LEFT JOIN events AS opened ON opened.id = r.id LEFT JOIN events AS e INDEXED BY events_issue
    ON e.issue = r.issue AND e.id BETWEEN r.id AND r.last_event_id
        AND (e.origin = 'events.jsonl' OR e.origin GLOB 'import/*')
WHERE r.id = ?"""


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as in the list."""

    id: int
    issue: int | str | None
    status: str  # success | failed | running | abandoned
    template: str | None
    model: str | None
    machine: str | None
    goal: str | None
    started_at: str | None  # UTC, as written if the events have it
    ended_at: str | None  # UTC
    duration_s: float | None
    running_s: float | None  # of a running one: since its start
    stages: int  # stages it reached
    stages_passed: int  # of those, the ones with an attempt that succeeded
    attempts: int
    failed_stage: str | None
    error_class: str | None
    cost_usd: float | None
    cost_source: str | None  # entries (of cost_entries) | reported (by the run)
    pr_url: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run and the daemon reported beyond the list's columns; None for what they did not report."""

    start_seen: bool  # its pipeline.started is stored; else its start is inferred
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
    offset_s: float | None  # from the start of the run to that of the attempt, or to its end if no start is known
    duration_s: float | None
    reason: str | None  # why it was skipped
    error_class: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of cost_entries that belongs to the run."""

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
    """One error of the run: of an attempt, or the one it reported at its end."""

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
    count: int | None  # events in between that name its issue; None for a run without one
    first_at: str | None  # UTC
    last_at: str | None  # UTC, the latest of all


@dataclass(frozen=True, slots=True)
class Detail:
    """One run in full."""

    facts: Facts
    attempts: list[Attempt]  # by time
    entries: list[Entry]
    errors: list[Trouble]
    events: Events


@dataclass(frozen=True, slots=True)
class Runs:
    """A page of the list; or one run and its detail."""

    runs: list[Run]
    limit: int
    offset: int
    has_more: bool
    detail: Detail | None  # if the question names a run

    @property
    def empty(self) -> bool:
        """Tell whether no run matches."""
        return not self.runs


def collect(db: apsw.Connection, question: Question) -> Runs:
    """Return a page of runs started in the question's period, or the one run it names.

    Raises QuestionError for an unknown status, MissingError for an unknown run.
    """
    if question.run is not None:
        if question.offset or any(value is not None for value in (question.issue, question.status, question.limit)):
            raise QuestionError("ID names one run: leave out --issue, --status, --limit and --offset")
        runs = list_of(db, [question.run], question.now) if -INT64 <= question.run < INT64 else []
        if not runs:
            raise MissingError(f"there is no run {question.run}", hint="`shipwrightd report runs` lists them")
        return Runs(runs, 1, 0, has_more=False, detail=detail_of(db, question.run))
    if question.status is not None and question.status not in STATUSES:
        raise QuestionError(f"--status {question.status}: one of {', '.join(STATUSES)}")
    limit = USUAL_LIMIT if question.limit is None else question.limit
    page = (question.period.since, question.period.until, question.status, limit + 1, question.offset)
    if question.issue is not None:
        keys = db.execute(BY_ISSUE, (*page, question.issue))
    else:
        keys = db.execute(BY_STATUS if question.status in RARE and question.period.since is None else BY_TIME, page)
    ids = [id_ for _, id_ in keys]
    return Runs(list_of(db, ids[:limit], question.now), limit, question.offset, len(ids) > limit, None)


def list_of(db: apsw.Connection, ids: list[int], now: int) -> list[Run]:
    """Return runs by id, in that order; unknown ids are left out."""
    return [Run(*row) for row in db.execute(ROWS, (orjson.dumps(ids).decode(), now))]


def detail_of(db: apsw.Connection, run: int) -> Detail:
    """Return the detail of an existing run; the error it reported at its end is left out if an attempt has it."""
    ((start_seen, *values, failed_stage, error_class),) = db.execute(FACTS, (run,))
    for at in FACTS_TIMES:
        values[at] = utc(values[at])
    facts = Facts(bool(start_seen), *values)
    attempts = [Attempt(*row) for row in db.execute(ATTEMPTS, (run,))]
    errors = [
        Trouble(one.ended_at, one.stage, one.attempt, one.error_class, one.error)
        for one in attempts
        if one.status == "failed"
    ]
    known = {(one.stage, one.error_class) for one in errors}
    if (failed_stage or error_class) and (failed_stage, error_class) not in known:
        errors.append(Trouble(facts.completed_at, failed_stage, None, error_class, None))
    entries = [Entry(id_, utc(epoch), *rest) for id_, epoch, *rest in db.execute(ENTRIES, (run,))]
    ((first_id, last_id, count, first, last),) = db.execute(EVENTS, (run,))
    return Detail(facts, attempts, entries, errors, Events(first_id, last_id, count, utc(first), utc(last)))


def rows(answer: Runs) -> Iterable[dict[str, Any]]:
    """Return one row a run; of one run in full, one row for each attempt at a stage."""
    if answer.detail is None:
        return map(asdict, answer.runs)
    return ({"run": answer.runs[0].id, **asdict(attempt)} for attempt in answer.detail.attempts)
