"""One stage closely: how its durations lie, and its days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.clock import day_of
from shipwrightd.reports.question import DAY_S

if TYPE_CHECKING:
    import apsw

    from shipwrightd.reports.question import Period

# Attempts at ?3 that ended from ?1 until ?2, by how long they took.
DURATIONS = """
WITH steps (least, below) AS (
    VALUES (0, 1), (1, 2), (2, 5), (5, 10), (10, 20), (20, 30), (30, 60), (60, 120), (120, 300), (300, 600),
        (600, 1200), (1200, 1800), (1800, 3600), (3600, 7200), (7200, 14400), (14400, 28800), (28800, 86400),
        (86400, NULL)
), took AS MATERIALIZED (
    SELECT duration_s, count(*) AS attempts, sum(status = 'failed') AS failed
    FROM pipeline_stages
    WHERE stage = ?3 AND ended_epoch >= ?1 AND ended_epoch < ?2
        AND duration_s BETWEEN 0 AND 1e9 AND status IN ('success', 'failed')
    GROUP BY duration_s
)
SELECT least, below, coalesce(sum(attempts), 0), coalesce(sum(failed), 0)
FROM steps LEFT JOIN took ON duration_s >= least AND (below IS NULL OR duration_s < below)
GROUP BY least ORDER BY least"""
DAYS = """
SELECT ended_epoch / 86400, sum(status = 'success'), sum(status = 'failed'), sum(status = 'skipped'),
    avg(took) FILTER (WHERE status = 'success'), coalesce(sum(took), 0)
FROM (SELECT ended_epoch, status,
        iif(duration_s BETWEEN 0 AND 1e9 AND status <> 'skipped', duration_s, NULL) AS took
      FROM pipeline_stages WHERE stage = ?3 AND ended_epoch >= ?1 AND ended_epoch < ?2)
GROUP BY 1 ORDER BY 1"""


@dataclass(frozen=True, slots=True)
class Step:
    """The attempts whose duration lies in one step."""

    from_s: int
    below_s: int | None  # None: however long
    attempts: int
    failed: int


@dataclass(frozen=True, slots=True)
class Day:
    """The attempts that ended on one day."""

    day: str  # YYYY-MM-DD, UTC
    attempts: int  # succeeded and failed
    failed: int
    skipped: int
    mean_s: float | None  # of those that succeeded
    total_s: float


@dataclass(frozen=True, slots=True)
class Detail:
    """One stage: the steps from its shortest to its longest attempt, and the days on which an attempt ended."""

    stage: str
    durations: list[Step]
    days: list[Day]


def one_stage(db: apsw.Connection, period: Period, name: str) -> Detail:
    """Return how the attempts at a stage lie in a period."""
    asked = (period.since or 0, period.until, name)
    steps = [Step(*row) for row in db.execute(DURATIONS, asked)]
    used = [at for at, step in enumerate(steps) if step.attempts]
    days = [
        Day(day_of(day * DAY_S), good + bad, bad, skipped, None if mean is None else round(mean, 3), round(total, 3))
        for day, good, bad, skipped, mean, total in db.execute(DAYS, asked)
    ]
    return Detail(name, steps[used[0] : used[-1] + 1] if used else [], days)
