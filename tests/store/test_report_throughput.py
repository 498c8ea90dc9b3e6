"""Throughput: runs on the days they ended, rates over the period that was asked for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from projection import NOON, Books, completed, reaped, started
from reports import DAY, question, report

from shipwrightd.reports.throughput import collect, rows

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3_600


def run(books: Books, end: int, issue: int, *, good: bool = True, duration_s: int = 60) -> None:
    books.events(
        started(end - duration_s, issue),
        completed(end, issue, "success" if good else "failure", duration_s=duration_s),
    )


def test_runs_count_on_the_day_they_ended(books: Books) -> None:
    run(books, 13 * HOUR, 1)
    run(books, 14 * HOUR, 2, good=False)
    run(books, 2 * DAY, 3)

    found = collect(books.db, question(NOON + 2 * DAY, days=2.5))

    assert [(day.day, day.finished, day.successful, day.failed) for day in found.by_day] == [
        ("2026-01-05", 0, 0, 0),
        ("2026-01-06", 2, 1, 1),
        ("2026-01-07", 1, 1, 0),
    ]
    assert (found.finished, found.successful, found.failed, found.success_percent) == (3, 2, 1, 66.6667)


def test_rates_are_of_the_whole_period(books: Books) -> None:
    for issue in range(6):
        run(books, HOUR * issue, issue + 1)

    found = collect(books.db, question(NOON + DAY, days=4))

    assert (found.days, found.per_day, found.per_hour) == (4.0, 1.5, 0.0625)


def test_without_a_beginning_rates_begin_with_the_first_end(books: Books) -> None:
    run(books, 0, 1)
    run(books, HOUR, 2)

    found = collect(books.db, question(NOON + 2 * DAY, days=None))

    assert (found.days, found.per_day, len(found.by_day)) == (2.0, 1.0, 3)


def test_only_successes_tell_how_long_one_takes(books: Books) -> None:
    run(books, 1000, 1, duration_s=100)
    run(books, 1000, 2, duration_s=300)
    run(books, 1000, 3, good=False, duration_s=900)

    assert collect(books.db, question(NOON + DAY)).mean_success_duration_s == 200.0


def test_the_best_day_has_the_most_successes(books: Books) -> None:
    run(books, 0, 1)
    run(books, DAY, 2)
    for issue in (3, 4, 5):
        run(books, 2 * DAY, issue, good=False)

    best = collect(books.db, question(NOON + 3 * DAY)).best_day

    assert best is not None
    assert (best.day, best.successful) == ("2026-01-05", 1)


def test_a_trend_compares_both_halves(books: Books) -> None:
    run(books, HOUR, 1)
    run(books, 2 * HOUR, 2)
    run(books, 2 * DAY, 3)
    run(books, 2 * DAY + 60, 4)
    run(books, 4 * DAY, 5)

    trend = collect(books.db, question(NOON + 4 * DAY, days=4)).trend

    assert trend is not None
    assert (trend.first.finished, trend.second.finished) == (2, 3)
    assert (trend.first.end, trend.second.start) == ("2026-01-07T12:00:00Z", "2026-01-07T12:00:00Z")
    assert trend.change_percent == 50.0


def test_an_empty_first_half_has_no_trend_in_percent(books: Books) -> None:
    run(books, DAY, 1)

    trend = collect(books.db, question(NOON + DAY, days=4)).trend

    assert trend is not None
    assert trend.change_percent is None


def test_what_runs_and_waits_now_is_told_beside_it(books: Books) -> None:
    books.events(started(0, 1), started(0, 2))
    books.db.execute("INSERT INTO daemon_queue (id, issue, present) VALUES ('56', 56, 1), ('57', 57, 1), ('1', 1, 0)")

    found = collect(books.db, question(NOON + HOUR))

    assert (found.running, found.queued, found.empty) == (2, 2, False)
    alone = collect(books.db, question(NOON + HOUR, issue=2))
    assert (alone.running, alone.queued) == (1, 0)


def test_an_issue_is_asked_for_alone(books: Books) -> None:
    run(books, 60, 1)
    books.events(started(0, 2), reaped(60, 2, "failure"))

    found = collect(books.db, question(NOON + DAY, issue=2))

    assert (found.successful, found.failed, found.best_day) == (0, 1, None)


def test_nothing_at_all_is_empty(books: Books) -> None:
    found = collect(books.db, question())
    assert found.empty
    assert (found.per_day, found.success_percent, found.mean_success_duration_s) == (0.0, None, None)
    assert collect(books.db, question(days=None)).trend is None


@settings(max_examples=40)
@given(
    ends=st.lists(st.tuples(st.integers(0, 9 * DAY), st.booleans()), max_size=12),
    since=st.integers(0, 9 * DAY),
    length=st.integers(1, 9 * DAY),
)
def test_any_period_and_its_halves_hold_the_runs_that_ended_in_it(
    books: Books, ends: list[tuple[int, bool]], since: int, length: int
) -> None:
    books.clear()
    for issue, (end, good) in enumerate(ends, 1):
        run(books, end, issue, good=good)

    until = NOON + since + length
    found = collect(books.db, question(until + DAY, days=length / DAY, until=until))

    inside = [(end, good) for end, good in ends if since <= end < since + length]
    assert (found.finished, found.successful) == (len(inside), sum(good for _, good in inside))
    assert found.trend is not None
    assert found.trend.first.finished + found.trend.second.finished == len(inside)
    days = Counter(5 + (end + DAY // 2) // DAY for end, _ in inside)
    assert {int(day.day[-2:]): day.finished for day in found.by_day if day.finished} == days


def test_rows_are_the_days(books: Books) -> None:
    run(books, 60, 1)

    made = list(rows(collect(books.db, question(NOON + HOUR, days=1))))

    assert made[-1] == {"day": "2026-01-05", "finished": 1, "successful": 1, "failed": 0}
    assert len(made) == 2


def test_long_periods_are_shown_by_week(books: Books, home: Path) -> None:
    books.db.execute("INSERT INTO checkpoints (source, kind) VALUES ('events.jsonl', 'journal')")
    run(books, 60, 1)

    done = report(home, "throughput", "--now", str(NOON + HOUR), "--days", "100")

    assert done.returncode == 0, done.stderr
    assert "Finished runs: 1" in done.stdout
    assert "WEEK FROM" in done.stdout
