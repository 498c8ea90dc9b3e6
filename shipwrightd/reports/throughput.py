"""Throughput: finished runs by UTC day, per day and per hour, their trend, and the queue now.

A run counts on the day it ended, successful or failed, not abandoned. Everything comes from run_outcomes: time grows
with the finished runs of the period.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import apsw

from shipwrightd.clock import utc
from shipwrightd.reports.question import DAY_S, HOUR_S, Question, days_of, percent_of

# :since <= end < :until; :issue an issue or NULL.
DAYS = """
SELECT date(ended_epoch / 86400 * 86400, 'unixepoch'), count(*), sum(good)
FROM run_outcomes
WHERE ended_epoch >= :since AND ended_epoch < :until AND (:issue IS NULL OR issue = :issue)
GROUP BY ended_epoch / 86400 ORDER BY 1"""
TOTALS = """
SELECT count(*), coalesce(sum(good), 0), min(ended_epoch), avg(duration_s) FILTER (WHERE good AND duration_s >= 0)
FROM run_outcomes
WHERE ended_epoch >= :since AND ended_epoch < :until AND (:issue IS NULL OR issue = :issue)"""
QUEUED = "SELECT count(*) FROM daemon_queue WHERE present AND (?1 IS NULL OR issue = ?1)"
RUNNING = "SELECT count(*) FROM pipeline_runs WHERE status = 'running' AND (?1 IS NULL OR +issue = ?1)"


@dataclass(frozen=True, slots=True)
class Day:
    """The runs that ended on one UTC day."""

    day: str
    finished: int  # successful and failed
    successful: int
    failed: int


@dataclass(frozen=True, slots=True)
class Half:
    """One half of the period."""

    start: str | None  # UTC
    end: str | None  # UTC, excluded
    finished: int
    successful: int
    per_day: float | None  # finished runs


@dataclass(frozen=True, slots=True)
class Trend:
    """The second half of the period compared with the first."""

    first: Half
    second: Half
    change_percent: float | None  # of finished runs a day; None if the first half has none


@dataclass(frozen=True, slots=True)
class Throughput:
    """The answer."""

    finished: int  # successful and failed
    successful: int
    failed: int
    success_percent: float | None
    days: float  # length of the period up to now; without a beginning, from the end of the first run
    per_day: float | None  # finished runs
    per_hour: float | None
    mean_success_duration_s: float | None
    best_day: Day | None  # with the most successful runs; the earliest on a tie
    queued: int  # in the daemon's queue now
    running: int  # runs in progress now
    trend: Trend | None  # None if there is no period to halve
    by_day: list[Day]  # each day of the period, oldest first

    @property
    def empty(self) -> bool:
        """Tell whether no run ended in the period, none is running and none is queued."""
        return not (self.finished or self.running or self.queued)


def collect(db: apsw.Connection, question: Question) -> Throughput:
    """Answer for the question's period and issue."""
    values = question.values
    days = {day: Day(day, runs, good, runs - good) for day, runs, good in db.execute(DAYS, values)}
    ((finished, successful, first, mean_s),) = db.execute(TOTALS, values)
    first = first if question.period.since is None else question.period.since
    length = 0 if first is None else max(question.end - first, 0)
    best = max(days.values(), key=lambda day: day.successful, default=None)
    return Throughput(
        finished=finished,
        successful=successful,
        failed=finished - successful,
        success_percent=percent_of(successful, finished),
        days=round(length / DAY_S, 6),
        per_day=_rate(finished, length, DAY_S),
        per_hour=_rate(finished, length, HOUR_S),
        mean_success_duration_s=None if mean_s is None else round(mean_s, 6),
        best_day=best if best is not None and best.successful else None,
        queued=db.execute(QUEUED, (question.issue,)).get,
        running=db.execute(RUNNING, (question.issue,)).get,
        trend=trend(db, question, first),
        by_day=[days.get(day, Day(day, 0, 0, 0)) for day in days_of(question, days)],
    )


def trend(db: apsw.Connection, question: Question, first: int | None) -> Trend | None:
    """Return the halves of the time from `first` to the period's end, compared."""
    if first is None or question.end <= first:
        return None
    middle = (first + question.end) // 2
    halves = []
    for start, end, until in ((first, middle, middle), (middle, question.end, question.period.until)):
        ((finished, successful, *_),) = db.execute(TOTALS, question.values | {"since": start, "until": until})
        halves.append(Half(utc(start), utc(end), finished, successful, _rate(finished, end - start, DAY_S)))
    older, newer = halves
    change = None
    if older.per_day and newer.per_day is not None:
        change = round(100 * (newer.per_day / older.per_day - 1), 4)
    return Trend(older, newer, change)


def _rate(number: int, seconds: int, unit_s: int) -> float | None:
    return round(number * unit_s / seconds, 6) if seconds > 0 else None


def rows(answer: Throughput) -> Iterable[dict[str, Any]]:
    """Return one row for each day of the period."""
    return map(asdict, answer.by_day)
