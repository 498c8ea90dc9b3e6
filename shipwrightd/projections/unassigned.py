"""To which of the runs without an issue an event belongs; pure.

Such runs may overlap, and nothing in their events tells them apart. These are
guesses, right whenever only one of them goes on, and always the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.projections.rows import BEGUN, COMPLETED, OWN, PAYLOAD, RUNNING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.projections.rows import Run

RUNS = 32  # at most so many of the newest are looked at
SILENT_S = 86_400  # one is taken to be over after as long without an event


def going_on(runs: Sequence[Run], epoch: int | None) -> list[Run]:
    """Return those that have not ended at an event's time, newest first."""
    return [
        run
        for run in reversed(runs[-RUNS:])
        if run.phase != COMPLETED and (epoch is None or run.last_epoch is None or epoch - run.last_epoch <= SILENT_S)
    ]


def of_doubled_start(candidates: Sequence[Run], template: str | None) -> Run | None:
    """Return the newest one whose second start is still to come."""
    for run in candidates:
        if run.doubles_due and run.template == template:
            return run
    return None


def of_completion(
    candidates: Sequence[Run], template: str | None, epoch: int | None, seconds: float | None
) -> Run | None:
    """Return the one of that template that began nearest to when its end says."""
    fitting = [run for run in candidates if template is None or run.template is None or run.template == template]
    if epoch is None or seconds is None:
        return fitting[0] if fitting else None
    began = epoch - seconds
    return min(
        fitting,
        key=lambda run: float("inf") if run.started_epoch is None else abs(run.started_epoch - began),
        default=None,
    )


def of_stage(candidates: Sequence[Run], stage: str | None, slot: int, status: str) -> Run | None:
    """Return the newest one whose stage waits for this, else one between two stages, else the newest."""
    for run in candidates:
        attempt = (run.stages or {}).get(stage or "")
        if attempt is None or slot not in {PAYLOAD, OWN}:
            continue
        told = attempt.slot == PAYLOAD and slot == OWN and attempt.status == status
        if attempt.slot == BEGUN or told:
            return run
    for run in candidates:
        if all(attempt.status != RUNNING for attempt in (run.stages or {}).values()):
            return run
    return candidates[0] if candidates else None
