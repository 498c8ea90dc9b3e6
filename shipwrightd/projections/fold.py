"""Events in the order of the journal to runs and attempts at stages; pure.

One event changes at most its run, that run's attempt at a stage, and the run
before it. All state lives in Run and Attempt, whose fields are columns, so a
fold can stop after any event and go on from the tables: batches make no
difference.

To which run an event belongs: to the newest of its issue. Runs without an
issue may overlap, and their events do not say which is meant: project_loose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from shipwrightd.projections import unassigned as loose
from shipwrightd.projections.payload import Issue, Payload, fields_of, integer, number, payload_of, stage_of, text
from shipwrightd.projections.rows import (
    BEGUN,
    COMPLETED,
    FAILED,
    FAILURE,
    KILL,
    LEFT_OUT,
    OPEN,
    OVER,
    OWN,
    PAYLOAD,
    REAPED,
    RUNNING,
    SKIPPED,
    STAGE,
    STARTED,
    SUCCESS,
    Attempt,
    Completion,
    Run,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

OWN_SPAWN_S = 60  # a daemon.spawn so soon after a start is written late and means that start

# type, id, issue, stage, ts_epoch, duration_s, extra, ts, result, model
Event = tuple[str, int, Issue, Any, int | None, Any, str | None, Any, Any, Any]
# id, issue, stage, ts_epoch, duration_s
StageEvent = tuple[int, Issue, Any, int | None, Any]


class Past(Protocol):
    """What earlier batches left behind."""

    def latest(self, issue: Issue) -> Run | None:
        """Return the newest run of an issue."""

    def loose(self, limit: int) -> list[Run]:
        """Return the newest runs without an issue, oldest first."""

    def stages(self, run_id: int) -> dict[str, Attempt]:
        """Return the last attempt at each stage of a run."""


class Fold:
    """Takes events one after the other; keeps what they changed in `runs`, `opened` and `attempts`."""

    def __init__(self, past: Past) -> None:
        """Go on from what is past."""
        self._past = past
        self._latest: dict[Issue, Run | None] = {}
        self._loose: list[Run] | None = None
        self.runs: dict[int, Run] = {}  # opened or looked at
        self.opened: list[Run] = []
        self.attempts: dict[int, Attempt] = {}  # opened or changed
        self.completions: list[Completion] = []
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
        """Take events, in order."""
        handlers = self._handlers
        for event in events:
            handlers[event[0]](event)

    # -- beginnings

    def _pipeline_started(self, event: Event) -> None:
        _, id_, issue, _, epoch, _, extra, ts, _, model = event
        payload = payload_of(extra)
        if payload is not None:
            self._start_doubled(event, payload)
            return
        before = self._newest(issue)
        run = self._open(id_, issue, epoch, before)
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

    def _start_doubled(self, event: Event, payload: Payload) -> None:
        """Take the same start once more, or, if the first was never seen, the only word of it."""
        id_, epoch, ts = event[1], event[4], event[7]
        if payload.issue is None:
            run = self._take_up(loose.of_doubled_start(self._loose_open(epoch), payload.template))
        else:
            run = self._newest(payload.issue)
            if run is not None and (run.doubles_due == 0 or run.phase in OVER):
                run = None
        if run is not None:
            run.doubles_due -= 1
            self._touch(run, id_, epoch)
            return
        run = self._open(id_, payload.issue, epoch, self._newest(payload.issue))
        run.template = payload.template
        run.goal = payload.goal
        run.start_seen = 1
        run.started_ts = text(ts)

    def _open(self, id_: int, issue: Issue, epoch: int | None, before: Run | None) -> Run:
        run = Run(id_, issue, started_epoch=epoch, last_event_id=id_, last_epoch=epoch, stages={})
        self.runs[id_] = run
        self.opened.append(run)
        if issue is None:
            self._loose_runs().append(run)
            return run
        self._latest[issue] = run
        if before is not None:
            before.next_run_id = id_
        return run

    def _open_unseen(self, id_: int, issue: Issue, epoch: int | None, before_s: float | None) -> Run:
        """Open a run whose start was not seen; it began `before_s` earlier, if known."""
        began = epoch
        if epoch is not None and before_s is not None and 0 < before_s <= epoch:
            began = epoch - round(before_s)
        run = self._open(id_, issue, began, self._newest(issue))
        run.last_epoch = epoch
        return run

    def _newest(self, issue: Issue) -> Run | None:
        if issue is None:
            return None
        try:
            return self._latest[issue]
        except KeyError:
            run = self._latest[issue] = self._take_up(self._past.latest(issue))
            return run

    def _take_up(self, run: Run | None) -> Run | None:
        """Have a run written in the end."""
        if run is not None:
            run.aged = 0  # decided anew for every run that is written
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
            run = self._take_up(loose.of_completion(self._loose_open(epoch), template, epoch, seconds))
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
        self.completions.append(Completion(id_, issue, run.input_tokens, run.output_tokens))
        run.reported_cost_usd = number(fields.get("total_cost"))

    def _budget_paused(self, event: Event) -> None:
        _, id_, issue, stage, epoch = event[:5]
        loose_run = None if issue is not None else next(iter(self._loose_open(epoch)), None)
        run = self._newest(issue) or self._take_up(loose_run)
        if run is not None and run.phase not in OVER:
            run.paused_stage = text(stage)
            self._touch(run, id_, epoch)

    # -- the daemon. All its jobs have an issue.

    def _spawn(self, event: Event) -> None:
        """Remember that a newer job begins, in case it ends before it starts a run."""
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
            return  # that run is over; the job that was killed left no other trace
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
        told = stage_of(event[6])
        if told is not None:
            self._stage((event[1], told[0], told[1], event[4], told[2]), PAYLOAD, SUCCESS)

    def _stage_failed(self, event: Event) -> None:
        told = stage_of(event[6])
        if told is not None:
            self._stage((event[1], told[0], told[1], event[4], told[2]), PAYLOAD, FAILED)
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
        """Note a stage event with its run, opening one where there is none."""
        id_, issue, stage, epoch, duration = of
        run = self._newest(issue) if issue is not None else self._loose_stage(stage, slot, status, epoch)
        if run is None or (slot == BEGUN and run.phase in OVER):
            run = self._open_unseen(id_, issue, epoch, duration)
        else:
            run.last_event_id = id_
            if epoch is not None and (run.last_epoch is None or epoch > run.last_epoch):
                run.last_epoch = epoch
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
        stages = run.stages
        if stages is None:
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

    def _loose_runs(self) -> list[Run]:
        if self._loose is None:
            self._loose = self._past.loose(loose.RUNS)
        return self._loose

    def _loose_open(self, epoch: int | None) -> list[Run]:
        """Return the runs without an issue that go on, newest first."""
        return loose.going_on(self._loose_runs(), epoch)

    def _loose_stage(self, stage: str | None, slot: int, status: str, epoch: int | None) -> Run | None:
        candidates = self._loose_open(epoch)
        for run in candidates:
            self._stages(run)
        return self._take_up(loose.of_stage(candidates, stage, slot, status))

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
