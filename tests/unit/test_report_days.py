"""Which days a period has, and what they are shown by."""

from __future__ import annotations

import pytest
from projection import NOON
from reports import DAY, question

from shipwrightd.reports.question import days_of, idle_together, stretch_of, unit_for


def test_a_period_has_each_of_its_days() -> None:
    assert days_of(question(NOON, days=2), ()) == ["2026-01-03", "2026-01-04", "2026-01-05"]


def test_a_period_that_ends_at_midnight_has_no_next_day() -> None:
    midnight = NOON + DAY // 2
    assert days_of(question(NOON + DAY, days=1, until=midnight), ()) == ["2026-01-05"]


def test_days_to_come_are_left_out_unless_something_is_in_them() -> None:
    asked = question(NOON, days=3, until=NOON + 5 * DAY)

    assert days_of(asked, ()) == ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"]
    assert days_of(asked, {"2026-01-07"})[-2:] == ["2026-01-06", "2026-01-07"]


def test_without_a_beginning_days_begin_with_the_first_found() -> None:
    assert days_of(question(NOON, days=None), {"2026-01-04"}) == ["2026-01-04", "2026-01-05"]
    assert days_of(question(NOON, days=None), ()) == ["2026-01-05"]


def test_of_a_century_only_the_days_found_are_told() -> None:
    assert days_of(question(NOON, days=20_000), {"2026-01-04", "1971-02-03"}) == ["1971-02-03", "2026-01-04"]


@pytest.mark.parametrize(("last", "unit"), [("2026-04-02", "day"), ("2026-04-03", "week"), ("2027-10-07", "month")])
def test_the_more_days_the_larger_the_unit(last: str, unit: str) -> None:
    assert unit_for(["2026-01-01", last]) == unit


@pytest.mark.parametrize(("unit", "stretch"), [("day", "2026-01-04"), ("week", "2025-12-29"), ("month", "2026-01")])
def test_a_day_lies_in_the_week_of_its_monday(unit: str, stretch: str) -> None:
    assert stretch_of("2026-01-04", unit) == stretch


def test_days_in_a_row_with_nothing_in_them_are_told_as_one() -> None:
    days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"]

    assert idle_together(days, {"2026-01-03", "2026-01-05"}) == [
        ("2026-01-01", 2),
        ("2026-01-03", 1),
        ("2026-01-04", 1),
        ("2026-01-05", 1),
    ]
