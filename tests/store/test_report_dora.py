"""Delivery: the figures are what one counts by hand, whatever the period."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projection import NOON, Books, completed, reaped, started
from reports import DAY, question

from shipwrightd.clock import utc
from shipwrightd.reports.dora import collect, grade_below, grade_of_frequency, rounded, rows

HOUR = 3_600


def test_the_four_measures_of_a_period(books: Books) -> None:
    books.events(started(0, 1), completed(2 * HOUR, 1))
    books.events(started(0, 2), reaped(HOUR, 2, "failure"), started(2 * HOUR, 2), completed(4 * HOUR, 2))

    found = collect(books.db, question(NOON + DAY, days=2)).period

    assert (found.deploys, found.failures) == (2, 1)
    assert asdict(found.deployment_frequency) == {"value": 1.0, "unit": "per day", "grade": "Elite", "samples": 2}
    assert asdict(found.lead_time) == {"value": 3.0, "unit": "hours", "grade": "High", "samples": 2}
    assert asdict(found.change_failure_rate) == {"value": 33.33, "unit": "%", "grade": "Low", "samples": 3}
    assert asdict(found.time_to_restore) == {"value": 3.0, "unit": "hours", "grade": "High", "samples": 1}


def test_a_measure_without_a_run_behind_it_has_neither_value_nor_grade(books: Books) -> None:
    books.events(started(0, 1), completed(HOUR, 1))

    found = collect(books.db, question(NOON + DAY)).period

    assert (found.time_to_restore.value, found.time_to_restore.grade, found.time_to_restore.samples) == (None, None, 0)


def test_the_second_that_begins_a_period_counts_and_the_one_that_ends_it_does_not(books: Books) -> None:
    books.events(started(0, 1), completed(DAY, 1), started(0, 2), completed(2 * DAY, 2))

    found = collect(books.db, question(NOON + 3 * DAY, days=1, until=NOON + 2 * DAY)).period

    assert found.deploys == 1


def test_what_ends_this_very_second_counts(books: Books) -> None:
    books.events(started(0, 1), completed(HOUR, 1))

    found = collect(books.db, question(NOON + HOUR, days=7))

    assert (found.period.deploys, found.weeks[-1].deploys) == (1, 1)


def test_the_weeks_count_back_from_the_end_and_cover_the_period(books: Books) -> None:
    books.events(started(0, 1), completed(HOUR, 1), started(8 * DAY, 2), completed(8 * DAY + HOUR, 2))

    weeks = collect(books.db, question(NOON + 9 * DAY, days=9)).weeks

    assert [(week.start, week.deploys) for week in weeks] == [
        (utc(NOON - 5 * DAY), 1),
        (utc(NOON + 2 * DAY), 1),
    ]


def test_seven_days_are_one_week(books: Books) -> None:
    assert len(collect(books.db, question(NOON, days=7)).weeks) == 1


def test_an_issue_is_asked_for_alone(books: Books) -> None:
    books.events(started(0, 1), completed(HOUR, 1), started(0, 2), reaped(HOUR, 2, "failure"))

    found = collect(books.db, question(NOON + DAY, issue=2)).period

    assert (found.deploys, found.failures) == (0, 1)


def test_without_a_beginning_days_count_from_the_first_run(books: Books) -> None:
    books.events(started(0, 1), completed(HOUR, 1), started(0, 2), completed(DAY + HOUR, 2))

    found = collect(books.db, question(NOON + 2 * DAY + HOUR, days=None))

    assert found.period.start is None
    assert found.period.deployment_frequency.value == 1.0
    assert len(found.weeks) == 1


def test_nothing_at_all_is_empty(books: Books) -> None:
    assert collect(books.db, question()).empty
    assert collect(books.db, question(days=None)).empty


@settings(max_examples=40)
@given(
    runs=st.lists(st.tuples(st.integers(0, 40 * DAY), st.booleans()), max_size=12),
    since=st.integers(0, 40 * DAY),
    length=st.integers(1, 40 * DAY),
)
def test_any_period_holds_the_runs_that_ended_in_it(
    books: Books, runs: list[tuple[int, bool]], since: int, length: int
) -> None:
    books.clear()
    for issue, (end, good) in enumerate(runs, 1):
        books.events(started(end, issue), completed(end + 60, issue, "success" if good else "failure"))

    until = since + length
    found = collect(books.db, question(NOON + until, days=length / DAY, until=NOON + until)).period

    inside = [good for end, good in runs if since <= end + 60 < until]
    assert (found.deploys, found.failures) == (sum(inside), len(inside) - sum(inside))


@pytest.mark.parametrize(
    ("per_day", "grade"), [(1.0, "Elite"), (0.99, "High"), (1 / 7, "High"), (0.14, "Medium"), (0.03, "Low"), (0, "Low")]
)
def test_frequencies_are_graded_as_the_dashboard_does(per_day: float, grade: str) -> None:
    assert grade_of_frequency(per_day) == grade


@pytest.mark.parametrize(("value", "grade"), [(0.99, "Elite"), (1, "High"), (24, "Medium"), (168, "Low")])
def test_a_limit_itself_is_the_next_grade(value: float, grade: str) -> None:
    assert grade_below(value, (1.0, 24.0, 168.0)) == grade


def test_halves_are_rounded_up() -> None:
    assert (rounded(0.125), rounded(1.005), rounded(33.3333)) == (0.13, 1.0, 33.33)


def test_rows_are_the_period_and_its_weeks(books: Books) -> None:
    books.events(started(0, 1), completed(HOUR, 1))

    made = list(rows(collect(books.db, question(NOON + DAY, days=14))))

    assert [row["kind"] for row in made] == ["period", "week", "week"]
    assert made[0]["lead_time_hours"] == 1.0
    assert len({tuple(row) for row in made}) == 1
