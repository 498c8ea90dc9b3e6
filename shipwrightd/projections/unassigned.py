"""Assigns events to runs that have no issue number. Pure.

Such runs may overlap, and their events do not name their run. The choice is a
guess: right whenever only one run is open, and the same each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.projections.payload import BEGUN, COMPLETED, OWN, PAYLOAD, RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.projections.fold import Run

MAX_RUNS = 32  # only the newest are considered
SILENT_S = 86_400  # a run counts as ended after so long without an event


def open_at(runs: Sequence[Run], epoch: int | None) -> list[Run]:
    """Return the runs that have not ended at an event's time, newest first."""
    return [
        run
        for run in reversed(runs[-MAX_RUNS:])
        if run.phase != COMPLETED and (epoch is None or run.last_epoch is None or epoch - run.last_epoch <= SILENT_S)
    ]


def for_duplicate_start(candidates: Sequence[Run], template: str | None) -> Run | None:
    """Return the newest run whose second start event is still to come."""
    for run in candidates:
        if run.doubles_due and run.template == template:
            return run
    return None


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
    for run in candidates:
        if all(attempt.status != RUNNING for attempt in (run.stages or {}).values()):
            return run
    return candidates[0] if candidates else None
