"""What a fold of events makes: runs, attempts at stages, completions; pure.

Run and Attempt are rows, their fields columns. They are changed in place,
because a backfill makes hundreds of thousands of changes to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.projections.payload import fields_of, integer

if TYPE_CHECKING:
    from shipwrightd.projections.payload import Issue

STARTED, OPEN, COMPLETED, REAPED = "started", "open", "completed", "reaped"  # phases of a run
OVER = frozenset((COMPLETED, REAPED))
BEGUN, PAYLOAD, OWN, SKIPPED = 1, 2, 3, 4  # slots of an attempt
STAGE, FAILURE, KILL = "stage", "failure", "kill"  # last sign of a run
RUNNING, SUCCESS, FAILED, LEFT_OUT = "running", "success", "failed", "skipped"  # status of an attempt


@dataclass(slots=True)
class Attempt:
    """A row of pipeline_stages."""

    id: int
    run_id: int
    stage: str
    attempt: int
    status: str
    slot: int
    started_epoch: int | None
    ended_epoch: int | None = None
    duration_s: float | None = None
    reason: str | None = None
    error: str | None = None
    error_class: str | None = None


@dataclass(slots=True)
class Run:
    """The facts of a row of pipeline_runs, in the order of its columns."""

    id: int
    issue: Issue
    template: str | None = None
    model: str | None = None
    goal: str | None = None
    machine: str | None = None
    complexity: object = None
    start_seen: int = 0
    started_ts: str | None = None
    started_epoch: int | None = None
    phase: str = OPEN
    doubles_due: int = 0
    spawn_id: int | None = None
    spawn_epoch: int | None = None
    completed_id: int | None = None
    completed_epoch: int | None = None
    result: str | None = None
    reported_duration_s: float | None = None
    iterations: object = None
    stages_passed: object = None
    slowest_stage: str | None = None
    reported_failed_stage: str | None = None
    reported_error_class: str | None = None
    pr_url: str | None = None
    agent_id: str | None = None
    self_heal_count: object = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    reported_cost_usd: float | None = None
    reap_id: int | None = None
    reap_epoch: int | None = None
    reap_result: str | None = None
    kill_id: int | None = None
    kill_epoch: int | None = None
    paused_stage: str | None = None
    last_sign: str | None = None
    failed_epoch: int | None = None
    last_failed_stage: str | None = None
    last_error_class: str | None = None
    next_run_id: int | None = None
    last_event_id: int = 0
    last_epoch: int | None = None
    aged: int = 0
    entries_cost_usd: float | None = None
    # not a column: the last attempt at each stage, None until it is needed
    stages: dict[str, Attempt] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """A pipeline.completed, by which the cost.record that follows it finds its issue."""

    id: int
    issue: Issue
    input_tokens: int | None
    output_tokens: int | None


def completion_of(id_: int, issue: Issue, extra: str | None) -> Completion:
    """Return what a pipeline.completed says of tokens."""
    fields = fields_of(extra)
    return Completion(id_, issue, integer(fields.get("input_tokens")), integer(fields.get("output_tokens")))
