"""Runs of pipelines: a page of their list, the one started last first; or one of them in full.

A page is read from an index, so its time grows with what is passed over, not
with how many runs there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from shipwrightd.errors import MissingError
from shipwrightd.reports.question import QuestionError
from shipwrightd.reports.runs_one import Detail, one_run

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from shipwrightd.reports.question import Question

STATUSES = ("success", "failed", "running", "abandoned")
USUAL_LIMIT = 20
FEW = 5_000  # runs of a status: so many are sorted sooner than a rare one is met by walking back in time
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
HOW_MANY = """
SELECT count(*) FROM (SELECT 1 FROM pipeline_runs INDEXED BY pipeline_runs_status WHERE status = ? LIMIT ?)"""

# Some runs (?1, as JSON) in that order, with their attempts counted.
ROWS = """
SELECT r.id, r.issue, r.status, r.template, r.model, r.machine, r.goal, r.started_at, r.ended_at, r.duration_s,
    iif(r.status = 'running', ?2 - r.started_epoch, NULL), count(DISTINCT s.stage),
    count(DISTINCT iif(s.status = 'success', s.stage, NULL)), count(s.id),
    r.failed_stage, r.error_class, r.cost_usd, r.cost_source, r.pr_url
FROM json_each(?1) AS j CROSS JOIN pipeline_runs AS r ON r.id = j.value
    LEFT JOIN pipeline_stages AS s ON s.run_id = r.id
GROUP BY j.key ORDER BY j.key"""


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
    started_at: str | None  # UTC, as written where it was
    ended_at: str | None  # UTC
    duration_s: float | None
    running_s: float | None  # of one that runs: since its start
    stages: int  # stages it came to
    stages_passed: int  # of those, the ones with an attempt that succeeded
    attempts: int
    failed_stage: str | None
    error_class: str | None
    cost_usd: float | None
    cost_source: str | None  # entries (of cost_entries) | reported (by the run)
    pr_url: str | None


@dataclass(frozen=True, slots=True)
class Runs:
    """A page of the list; or one run and its detail."""

    runs: list[Run]
    limit: int
    offset: int
    has_more: bool
    detail: Detail | None  # of one run, when it was asked for

    @property
    def empty(self) -> bool:
        """Tell whether there is no such run."""
        return not self.runs


def collect(db: apsw.Connection, question: Question) -> Runs:
    """Return a page of runs started in the question's period, or the one run it names.

    Raises QuestionError for a status there is not, MissingError for a run there is not.
    """
    if question.run is not None:
        return _one(db, question, question.run)
    if question.status is not None and question.status not in STATUSES:
        raise QuestionError(f"--status {question.status}: one of {', '.join(STATUSES)}")
    limit = USUAL_LIMIT if question.limit is None else question.limit
    page = (question.period.since, question.period.until, question.status, limit + 1, question.offset)
    if question.issue is not None:
        found = db.execute(BY_ISSUE, (*page, question.issue))
    else:
        found = db.execute(BY_STATUS if _is_rare(db, question) else BY_TIME, page)
    ids = [id_ for _, id_ in found]
    return Runs(list_of(db, ids[:limit], question.now), limit, question.offset, len(ids) > limit, None)


def _one(db: apsw.Connection, question: Question, run: int) -> Runs:
    if question.offset or any(value is not None for value in (question.issue, question.status, question.limit)):
        raise QuestionError("ID names one run: leave out --issue, --status, --limit and --offset")
    runs = list_of(db, [run], question.now) if -INT64 <= run < INT64 else []
    if not runs:
        raise MissingError(f"there is no run {run}", hint="`shipwrightd report runs` lists them")
    return Runs(runs, 1, 0, has_more=False, detail=one_run(db, run))


def _is_rare(db: apsw.Connection, question: Question) -> bool:
    """Tell whether runs of a status, whenever they started, are few."""
    if question.status is None or question.period.since is not None:
        return False
    found: int = db.execute(HOW_MANY, (question.status, FEW)).get
    return found < FEW


def list_of(db: apsw.Connection, ids: list[int], now: int) -> list[Run]:
    """Return some runs in that order; one there is not is left out."""
    return [Run(*row) for row in db.execute(ROWS, (orjson.dumps(ids).decode(), now))]


def rows(answer: Runs) -> Iterable[dict[str, Any]]:
    """Return one row a run; of one run in full, one row for each attempt at a stage."""
    if answer.detail is None:
        for run in answer.runs:
            yield {name: getattr(run, name) for name in Run.__dataclass_fields__}
        return
    for attempt in answer.detail.attempts:
        yield {"run": answer.runs[0].id, **{name: getattr(attempt, name) for name in attempt.__dataclass_fields__}}
