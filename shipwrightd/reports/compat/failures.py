"""Failures as the dashboard has them: each stage.failed, of which there are two for one failure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.dashboard.as_dashboard import STAGE_FAILED, is_success, percent
from shipwrightd.reports.compat.events import day_of, meant, named, runs
from shipwrightd.reports.failures import Cell, Failures, StageFailures
from shipwrightd.reports.question import days_of

if TYPE_CHECKING:
    import apsw

    from shipwrightd.reports.question import Question


def collect(db: apsw.Connection, question: Question) -> Failures:
    """Answer for the question's period, its stage and its issue; the dashboard knows only stage and day."""
    failed = [event for event in meant(db, question, STAGE_FAILED) if len(day_of(event)) == len("2026-01-31")]
    done = runs(db, question)
    bad = sum(not is_success(event) for event in done)
    stages = Counter(named(event, "stage") for event in failed)
    cells = Counter((named(event, "stage"), day_of(event)) for event in failed)
    return Failures(
        finished_runs=len(done),
        failed_runs=bad,
        failed_runs_percent=percent(bad, len(done)),
        recovered_runs=0,
        attempts=len(failed),
        failed_attempts=len(failed),
        failed_attempts_percent=None,
        retried_attempts=0,
        recovered_attempts=0,
        by_stage=[StageFailures(stage, count, count, None, 0) for stage, count in stages.most_common()],
        by_error_class=[],
        by_issue=[],
        other_issues=0,
        days=days_of(question, {day for _, day in cells}),
        heatmap=[Cell(stage, day, count) for (stage, day), count in cells.items()],
        last=[],
    )
