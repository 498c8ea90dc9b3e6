"""What the options of a report mean: periods, times, issues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipwrightd.clock import day_of, utc
from shipwrightd.reports.question import DAY_S, UNITS, Period, Question, QuestionError, issue_of, moment, period

NOW = 1_768_410_120  # 2026-01-14T17:02:00Z
MIDNIGHT = 1_768_348_800  # the beginning of that day


def asked(*, days: float | None = None, since: str | None = None, until: str | None = None) -> Period:
    return period(NOW, days=days, since=since, until=until, default_days=30)


def test_without_options_it_is_the_default_days_up_to_and_with_now() -> None:
    assert asked() == Period(NOW - 30 * DAY_S, NOW + 1)


def test_a_report_without_default_days_asks_for_all() -> None:
    assert period(NOW, days=None, since=None, until=None, default_days=None) == Period(None, NOW + 1)


def test_days_count_back_from_now() -> None:
    assert asked(days=7).since == NOW - 7 * DAY_S


def test_days_may_be_a_fraction() -> None:
    assert asked(days=0.5).since == NOW - DAY_S // 2


def test_days_count_back_from_a_given_end() -> None:
    assert asked(days=2, until="2026-01-10T00:00:00Z") == Period(MIDNIGHT - 6 * DAY_S, MIDNIGHT - 4 * DAY_S)


def test_a_date_as_the_end_is_meant_with_all_its_day() -> None:
    assert asked(since="2026-01-14", until="2026-01-14") == Period(MIDNIGHT, MIDNIGHT + DAY_S)


def test_the_end_that_is_shown_is_never_after_now() -> None:
    assert Question(now=NOW, period=asked()).end == NOW
    assert Question(now=NOW, period=asked(until="2026-01-10")).end == MIDNIGHT - 3 * DAY_S


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2026-01-14", MIDNIGHT),
        ("2026-01-14T17:02:00Z", NOW),
        ("2026-01-14T17:02:00", NOW),
        ("2026-01-14T18:02:00+01:00", NOW),
        ("2026-01-14 17:02", NOW),
        (str(NOW), NOW),
        (f"{NOW}.9", NOW),
        ("90s", NOW - 90),
        ("2m", NOW - 120),
        ("3h", NOW - 3 * 3600),
        ("1d", NOW - DAY_S),
        ("2w", NOW - 14 * DAY_S),
        (" 1d ", NOW - DAY_S),
        ("0", 0),
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, means: int) -> None:
    assert moment(text, NOW, option="--since") == means


@pytest.mark.parametrize("text", ["yesterday", "", "2026-02-30", "2026-13-01", "12:00", "-1", "1e9", "7 d", "1y", "٣d"])
def test_what_is_no_time_is_refused_with_the_option_and_how_to_write_it(text: str) -> None:
    with pytest.raises(QuestionError, match=r"--until .*2026-01-31T12:00:00Z"):
        moment(text, NOW, option="--until")


@pytest.mark.parametrize("text", ["0001-01-01", "999999999999", "1969-12-31T23:59:59Z"])
def test_a_time_outside_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(QuestionError, match="1970 to 9999"):
        moment(text, NOW, option="--since")


@pytest.mark.parametrize("days", [0, -1, float("nan"), float("inf"), 1e9])
def test_days_that_make_no_sense_are_refused(days: float) -> None:
    with pytest.raises(QuestionError, match="--days"):
        asked(days=days)


def test_two_beginnings_are_refused() -> None:
    with pytest.raises(QuestionError, match="exclude each other"):
        asked(days=1, since="2d")


def test_a_period_without_room_is_refused_with_both_its_ends() -> None:
    with pytest.raises(QuestionError, match=r"begin 2026-01-12T00:00:00Z and end 2026-01-11T00:00:00Z"):
        asked(since="2026-01-12", until="2026-01-10")


@given(st.text(max_size=30))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        found = moment(text, NOW, option="--since")
    except QuestionError:
        return
    assert 0 <= found <= 253_402_300_800


@given(st.integers(0, 10**9), st.sampled_from(sorted(UNITS)))
def test_a_relative_time_never_lies_before_1970(count: int, unit: str) -> None:
    if count < 10**9:
        assert moment(f"{count}{unit}", NOW, option="--since") == max(0, NOW - count * UNITS[unit])


@pytest.mark.parametrize(
    ("text", "issue"), [("42", 42), ("#42", 42), ("acme/rocket:58", "acme/rocket:58"), ("#x", "#x")]
)
def test_an_issue_is_a_number_or_the_text_it_is(text: str, issue: int | str) -> None:
    assert issue_of(text) == issue


def test_times_are_written_as_utc() -> None:
    assert utc(NOW) == "2026-01-14T17:02:00Z"
    assert day_of(NOW) == "2026-01-14"
    assert (utc(None), utc(-1), utc(10**15)) == (None, None, None)
