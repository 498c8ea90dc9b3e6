"""Fold events, in the order of the journal, into runs and attempts at stages. Pure.

One event changes at most its run, that run's attempt at a stage, and the run
before it. All state is in Run and Attempt, whose fields are columns, so a fold
can stop after any event and continue from the tables.

An event belongs to the newest run of its issue. Runs without an issue may
overlap, and their events do not name their run: the choice among them is a
guess, right whenever only one run is open, and the same each time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shipwrightd.projections.payload import Issue, Payload, fields_of, integer, number, payload_of, stage_of, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shipwrightd.projections.runs import StoredRuns

# Values of columns of pipeline_runs and pipeline_stages.
STARTED, OPEN, COMPLETED, REAPED = "started", "open", "completed", "reaped"  # phases of a run
OVER = frozenset((COMPLETED, REAPED))
BEGUN, PAYLOAD, OWN, SKIPPED = 1, 2, 3, 4  # slots of an attempt
STAGE, FAILURE, KILL = "stage", "failure", "kill"  # last sign of a run
RUNNING, SUCCESS, FAILED, LEFT_OUT = "running", "success", "failed", "skipped"  # status of an attempt

OWN_SPAWN_S = 60  # a daemon.spawn so soon after a start is written late and means that start
MAX_UNASSIGNED = 32  # of the runs without an issue only the newest are considered
SILENT_S = 86_400  # a run without an issue counts as ended after so long without an event

# type, id, issue, stage, ts_epoch, duration_s, extra, ts, result, model
Event = tuple[str, int, Issue, Any, int | None, Any, str | None, Any, Any, Any]
# id, issue, stage, ts_epoch, duration_s
StageEvent = tuple[int, Issue, Any, int | None, Any]


@dataclass(slots=True)
class Attempt:
    """A row of pipeline_stages. Changed in place, as Run is: a first load makes hundreds of thousands of changes."""

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


class Fold:
    """Folds events one by one; `runs`, `opened` and `attempts` hold what they changed."""

    def __init__(self, past: StoredRuns) -> None:
        self._past = past
        self._latest: dict[Issue, Run | None] = {}
        self._unassigned: list[Run] | None = None
        self.runs: dict[int, Run] = {}  # opened or read, to be written
        self.opened: list[Run] = []
        self.attempts: dict[int, Attempt] = {}  # opened or changed
        self._handlers: dict[str, Callable[[Event], None]] = {
            "pipeline.started": self._pipeline_started,
            "pipeline.completed": self._pipeline_completed,
            "pipeline.budget_paused": self._budget_paused,
            "stage.started": self._stage_started,
            "stage.completed": self._stage_completed,
            "stage.complete": self._stage_complete,
            "stage.failed": self._stage_failed,
            "stage.skipped": self._stage_skipped,
            "daemon.spawn": self._spawn,
            "daemon.reap": self._reap,
            "daemon.stale_kill": self._kill,
            "daemon.stuck_kill": self._kill,
            "daemon.hard_limit": self._kill,
            "daemon.stale_dead": self._kill,
        }

    def take(self, events: Iterable[Event]) -> None:
        """Fold events in order."""
        handlers = self._handlers
        for event in events:
            handlers[event[0]](event)

    # -- starts

    def _pipeline_started(self, event: Event) -> None:
        _, id_, issue, _, epoch, _, extra, ts, _, model = event
        payload = payload_of(extra)
        if payload is not None:
            self._duplicate_start(event, payload)
            return
        before = self._newest(issue)
        run = self._open(id_, issue, epoch)
        fields = fields_of(extra)
        run.template = text(fields.get("template")) or text(fields.get("pipeline"))
        run.model = text(model)
        run.goal = text(fields.get("goal"))
        run.machine = text(fields.get("machine"))
        run.complexity = number(fields.get("complexity"))
        run.start_seen = 1
        run.started_ts = text(ts)
        run.phase = STARTED
        # Two starts side by side are followed by two doubled ones; any other run in between has had its own.
        run.doubles_due = 1 + (before.doubles_due if before is not None and before.phase == STARTED else 0)

    def _duplicate_start(self, event: Event, payload: Payload) -> None:
        """Fold the second event of a start; it opens the run if the first was never seen."""
        id_, epoch, ts = event[1], event[4], event[7]
        if payload.issue is None:
            run = self._load(for_duplicate_start(self._open_unassigned(epoch), payload.template))
        else:
            run = self._newest(payload.issue)
            if run is not None and (run.doubles_due == 0 or run.phase in OVER):
                run = None
        if run is not None:
            run.doubles_due -= 1
            self._touch(run, id_, epoch)
            return
        run = self._open(id_, payload.issue, epoch)
        run.template = payload.template
        run.goal = payload.goal
        run.start_seen = 1
        run.started_ts = text(ts)

    def _open(self, id_: int, issue: Issue, epoch: int | None) -> Run:
        before = self._newest(issue)
        run = Run(id_, issue, started_epoch=epoch, last_event_id=id_, last_epoch=epoch, stages={})
        self.runs[id_] = run
        self.opened.append(run)
        if issue is None:
            self._unassigned_runs().append(run)
            return run
        self._latest[issue] = run
        if before is not None:
            before.next_run_id = id_
        return run

    def _open_unseen(self, id_: int, issue: Issue, epoch: int | None, before_s: float | None) -> Run:
        """Open a run whose start was not seen; it began `before_s` seconds earlier, if known."""
        began = epoch
        if epoch is not None and before_s is not None and 0 < before_s <= epoch:
            began = epoch - round(before_s)
        run = self._open(id_, issue, began)
        run.last_epoch = epoch
        return run

    def _newest(self, issue: Issue) -> Run | None:
        if issue is None:
            return None
        try:
            return self._latest[issue]
        except KeyError:
            run = next(iter(self._past.newest(issue)), None)
            self._latest[issue] = self._load(run)
            return run

    def _load(self, run: Run | None) -> Run | None:
        """Mark a stored run as changed: it is written again."""
        if run is not None:
            run.aged = 0  # decided again for every run that is written
            self.runs[run.id] = run
        return run

    def _touch(self, run: Run, id_: int, epoch: int | None) -> None:
        run.last_event_id = id_
        if epoch is not None and (run.last_epoch is None or epoch > run.last_epoch):
            run.last_epoch = epoch

    # -- ends

    def _pipeline_completed(self, event: Event) -> None:
        _, id_, issue, _, epoch, duration, extra, _, result, _ = event
        fields = fields_of(extra)
        seconds = number(duration)
        template = text(fields.get("template"))
        if issue is not None:
            run = self._newest(issue)
        else:
            run = self._load(for_completion(self._open_unassigned(epoch), template, epoch, seconds))
        if run is None or run.phase in OVER:
            run = self._open_unseen(id_, issue, epoch, seconds)
        else:
            self._touch(run, id_, epoch)
        run.phase = COMPLETED
        run.completed_id = id_
        run.completed_epoch = epoch
        run.result = text(result)
        run.reported_duration_s = seconds
        run.template = run.template or template
        run.complexity = number(fields.get("complexity")) if run.complexity is None else run.complexity
        run.iterations = number(fields.get("iterations"))
        run.stages_passed = number(fields.get("stages_passed"))
        run.slowest_stage = text(fields.get("slowest_stage")) or None
        run.reported_failed_stage = text(fields.get("failed_stage")) or None
        run.reported_error_class = text(fields.get("error_class")) or None
        run.pr_url = text(fields.get("pr_url")) or None
        run.agent_id = text(fields.get("agent_id")) or None
        run.self_heal_count = number(fields.get("self_heal_count"))
        run.input_tokens = integer(fields.get("input_tokens"))
        run.output_tokens = integer(fields.get("output_tokens"))
        run.reported_cost_usd = number(fields.get("total_cost"))

    def _budget_paused(self, event: Event) -> None:
        _, id_, issue, stage, epoch = event[:5]
        open_run = None if issue is not None else next(iter(self._open_unassigned(epoch)), None)
        run = self._newest(issue) or self._load(open_run)
        if run is not None and run.phase not in OVER:
            run.paused_stage = text(stage)
            self._touch(run, id_, epoch)

    # -- the daemon. All its jobs have an issue.

    def _spawn(self, event: Event) -> None:
        """Record that a newer job was spawned, in case it ends before it starts a run."""
        _, id_, issue, _, epoch = event[:5]
        run = self._newest(issue)
        if run is None:
            return
        if (
            run.phase in {STARTED, OPEN}
            and run.started_epoch is not None
            and epoch is not None
            and epoch - run.started_epoch < OWN_SPAWN_S
        ):
            return
        run.spawn_id = id_
        run.spawn_epoch = epoch

    def _reap(self, event: Event) -> None:
        _, id_, issue, _, epoch, duration, _, _, result, _ = event
        if issue is None:
            return
        run = self._newest(issue)
        if run is None or run.phase == REAPED or run.spawn_id is not None:
            seconds = number(duration)
            if not seconds and run is not None and run.spawn_epoch is not None and epoch is not None:
                seconds = epoch - run.spawn_epoch
            run = self._open_unseen(id_, issue, epoch, seconds)
        else:
            self._touch(run, id_, epoch)
        run.phase = REAPED
        run.reap_id = id_
        run.reap_epoch = epoch
        run.reap_result = text(result)

    def _kill(self, event: Event) -> None:
        _, id_, issue, _, epoch, _, extra, *_ = event
        if issue is None:
            return
        run = self._newest(issue)
        if run is None:
            run = self._open_unseen(id_, issue, epoch, number(fields_of(extra).get("elapsed_s")))
        elif run.phase in OVER:
            return  # the run is over, and the killed job has no other event
        else:
            self._touch(run, id_, epoch)
        run.kill_id = id_
        run.kill_epoch = epoch
        run.last_sign = KILL

    # -- stages

    def _stage_started(self, event: Event) -> None:
        self._stage(event[1:6], BEGUN, RUNNING)

    def _stage_completed(self, event: Event) -> None:
        self._stage(event[1:6], OWN, SUCCESS)

    def _stage_complete(self, event: Event) -> None:
        fields = stage_of(event[6])
        if fields is not None:
            self._stage((event[1], fields[0], fields[1], event[4], fields[2]), PAYLOAD, SUCCESS)

    def _stage_failed(self, event: Event) -> None:
        payload = stage_of(event[6])
        if payload is not None:
            self._stage((event[1], payload[0], payload[1], event[4], payload[2]), PAYLOAD, FAILED)
            return
        run, attempt = self._stage(event[1:6], OWN, FAILED)
        fields = fields_of(event[6])
        run.last_error_class = text(fields.get("error_class")) or run.last_error_class
        if attempt is not None:
            attempt.error = text(fields.get("error"))
            attempt.error_class = text(fields.get("error_class"))

    def _stage_skipped(self, event: Event) -> None:
        _, attempt = self._stage(event[1:6], SKIPPED, LEFT_OUT)
        if attempt is not None:
            attempt.reason = text(fields_of(event[6]).get("reason"))

    def _stage(self, of: StageEvent, slot: int, status: str) -> tuple[Run, Attempt | None]:
        """Fold a stage event into its run, opening one if there is none."""
        id_, issue, stage, epoch, duration = of
        run = self._newest(issue) if issue is not None else self._unassigned_stage(stage, slot, status, epoch)
        if run is None or (slot == BEGUN and run.phase in OVER):
            run = self._open_unseen(id_, issue, epoch, duration)
        else:
            self._touch(run, id_, epoch)
        if run.phase == STARTED:
            run.phase = OPEN
        if status != FAILED:
            run.last_sign = STAGE
        else:
            run.last_sign = FAILURE
            run.failed_epoch = epoch
            run.last_failed_stage = stage
        if not stage:
            return run, None
        stages = self._stages(run)
        attempt = stages.get(stage)
        if attempt is None or attempt.slot >= slot or (attempt.slot > BEGUN and attempt.status != status):
            ordinal = 1 if attempt is None else attempt.attempt + 1
            attempt = Attempt(id_, run.id, stage, ordinal, status, slot, epoch if slot == BEGUN else None)
            stages[stage] = attempt
        else:
            attempt.status = status
            attempt.slot = slot
        self.attempts[attempt.id] = attempt
        if slot != BEGUN:
            _end(attempt, epoch, duration)
        return run, attempt

    # -- runs without an issue

    def _unassigned_runs(self) -> list[Run]:
        if self._unassigned is None:
            self._unassigned = self._past.newest(None, MAX_UNASSIGNED)
        return self._unassigned

    def _open_unassigned(self, epoch: int | None) -> list[Run]:
        """Return the runs without an issue that have not ended, newest first."""
        return [
            run
            for run in reversed(self._unassigned_runs()[-MAX_UNASSIGNED:])
            if run.phase != COMPLETED
            and (epoch is None or run.last_epoch is None or epoch - run.last_epoch <= SILENT_S)
        ]

    def _unassigned_stage(self, stage: str | None, slot: int, status: str, epoch: int | None) -> Run | None:
        candidates = self._open_unassigned(epoch)
        for run in candidates:
            self._stages(run)
        return self._load(for_stage(candidates, stage, slot, status))

    def _stages(self, run: Run) -> dict[str, Attempt]:
        if run.stages is None:
            run.stages = self._past.stages(run.id)
        return run.stages


def _end(attempt: Attempt, epoch: int | None, duration: float | None) -> None:
    attempt.ended_epoch = epoch
    if duration is not None:
        attempt.duration_s = duration
        if attempt.started_epoch is None and epoch is not None and 0 <= duration <= epoch:
            attempt.started_epoch = epoch - round(duration)


# -- the run without an issue that an event belongs to


def for_duplicate_start(candidates: Sequence[Run], template: str | None) -> Run | None:
    """Return the newest run whose second start event is still to come."""
    return next((run for run in candidates if run.doubles_due and run.template == template), None)


def for_completion(
    candidates: Sequence[Run], template: str | None, epoch: int | None, seconds: float | None
) -> Run | None:
    """Return the run of that template that began nearest to the start that the completion implies."""
    fitting = [run for run in candidates if template is None or run.template is None or run.template == template]
    if epoch is None or seconds is None:
        return fitting[0] if fitting else None
    began = epoch - seconds
    return min(
        fitting,
        key=lambda run: float("inf") if run.started_epoch is None else abs(run.started_epoch - began),
        default=None,
    )


def for_stage(candidates: Sequence[Run], stage: str | None, slot: int, status: str) -> Run | None:
    """Return the newest run whose stage awaits this event, else one between two stages, else the newest."""
    for run in candidates:
        attempt = (run.stages or {}).get(stage or "")
        if attempt is None or slot not in {PAYLOAD, OWN}:
            continue
        reported = attempt.slot == PAYLOAD and slot == OWN and attempt.status == status
        if attempt.slot == BEGUN or reported:
            return run
    between = (run for run in candidates if all(a.status != RUNNING for a in (run.stages or {}).values()))
    return next(between, candidates[0] if candidates else None)
