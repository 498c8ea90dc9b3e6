"""Stages: the figures are those of a pocket calculator, whatever the period; money goes where it belongs."""

from __future__ import annotations

import io
import statistics

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from projection import NOON, Books, entry, stage, started
from reports import DAY, question
from rich.console import Console

from shipwrightd.clock import utc
from shipwrightd.reports.stages import Stage, bottleneck, collect, rows, second_half
from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.figures import stages as show

ALL_DURATIONS = st.one_of(st.integers(0, 100_000), st.floats(0, 1e5, allow_nan=False).map(lambda took: round(took, 2)))


def ended(books: Books, *durations: object, name: str = "build", second: int = 0, outcome: str = "completed") -> None:
    """Let attempts at a stage end, a second apart."""
    books.events(*(stage(second + at, name, outcome, duration_s=took) for at, took in enumerate(durations)))


def of(books: Books, name: str = "build", *, days: float | None = 1, now: int = NOON + 3_600) -> Stage:
    (found,) = (found for found in collect(books.db, question(now, days=days)).stages if found.stage == name)
    return found


def test_an_attempt_counts_where_it_ended_and_one_that_goes_on_not_yet(books: Books) -> None:
    books.events(started(0), stage(1, "build", "started"), stage(5, "build", duration_s=4), stage(9, "test", "started"))

    (found,) = collect(books.db, question(NOON + 60)).stages

    assert (found.stage, found.attempts, found.mean_s) == ("build", 1, 4)


def test_failed_and_skipped_attempts_are_told_apart(books: Books) -> None:
    ended(books, 10, 20, 30)
    ended(books, 40, second=100, outcome="failed")
    books.events(started(190, 8), stage(200, "build", "skipped", 8, reason="off"))

    found = of(books)

    assert (found.attempts, found.succeeded, found.failed, found.skipped, found.timed) == (4, 3, 1, 1, 3)
    assert (found.failure_percent, found.total_s, found.failed_s) == (25.0, 100, 40)
    assert (found.mean_s, found.max_s) == (20, 30)


@settings(max_examples=60)
@given(st.lists(ALL_DURATIONS, min_size=2, max_size=40))
def test_the_figures_are_those_of_the_statistics_module(books: Books, durations: list[float]) -> None:
    books.clear()
    ended(books, *durations)

    found = of(books)

    assert found.mean_s == pytest.approx(statistics.fmean(durations), abs=0.001)
    assert found.median_s == pytest.approx(statistics.median(durations), abs=0.001)
    assert found.p95_s == pytest.approx(statistics.quantiles(durations, n=100, method="inclusive")[94], abs=0.001)
    assert (found.min_s, found.max_s) == (min(durations), max(durations))


@pytest.mark.parametrize("odd", [None, -1, 1e12, "soon"])
def test_an_attempt_without_a_sensible_duration_counts_in_all_but_the_durations(books: Books, odd: object) -> None:
    ended(books, 10, odd)

    found = of(books)

    assert (found.attempts, found.timed, found.mean_s, found.total_s) == (2, 1, 10, 10)


def test_a_stage_that_only_failed_without_a_duration_has_no_figures(books: Books) -> None:
    books.events(stage(0, "build", "failed"))

    found = of(books)

    assert (found.failure_percent, found.mean_s, found.p95_s, found.share_percent) == (100.0, None, None, None)


def test_the_second_that_begins_a_period_counts_and_the_one_that_ends_it_does_not(books: Books) -> None:
    ended(books, 1)
    ended(books, 2, second=DAY)

    (found,) = collect(books.db, question(NOON + 2 * DAY, days=1, until=NOON + DAY)).stages

    assert (found.attempts, found.max_s) == (1, 1)


def test_the_trend_compares_the_halves_of_the_period(books: Books) -> None:
    ended(books, 10, 30, second=-4 * DAY)
    ended(books, 25, second=-DAY)

    found = of(books, days=6, now=NOON)

    assert (found.first_half_mean_s, found.second_half_mean_s, found.trend_percent) == (20, 25, 25.0)


def test_without_one_of_the_halves_there_is_no_trend(books: Books) -> None:
    ended(books, 25)

    assert of(books, days=6).trend_percent is None


@pytest.mark.parametrize(
    ("length", "last"), [(7 * DAY, 3 * DAY), (30 * DAY, 15 * DAY), (DAY, DAY // 2), (3, 1), (0, 0)]
)
def test_the_second_half_is_half_of_the_days_as_in_the_dashboard(length: int, last: int) -> None:
    assert second_half(NOON - length, NOON) == NOON - last


def test_without_a_beginning_the_halves_count_from_the_first_attempt(books: Books) -> None:
    ended(books, 10)
    ended(books, 20, second=4 * DAY)

    found = collect(books.db, question(NOON + 4 * DAY, days=None))

    assert (found.start, found.second_half_start) == (None, utc(NOON + 2 * DAY))
    assert found.stages[0].trend_percent == 100.0


def test_money_is_told_by_stage_and_that_of_whole_runs_apart(books: Books) -> None:
    ended(books, 10)
    books.entries(entry(0, 1.5), entry(1, 0.5, "pipeline"), entry(2, 0.25, ""), entry(3, 4, "audit"))

    found = collect(books.db, question(NOON + 60))

    assert {one.stage: (one.cost_usd, one.attempts) for one in found.stages} == {"build": (1.5, 1), "audit": (4, 0)}
    assert (found.cost_usd, found.whole_runs_cost_usd, found.other_cost_usd) == (6.25, 0.5, 0.25)


@settings(max_examples=60)
@given(
    spent=st.lists(st.tuples(st.integers(0, 6 * DAY), st.sampled_from(["build", "pipeline", "", None])), max_size=12),
    since=st.integers(0, 6 * DAY),
    length=st.integers(1, 6 * DAY),
)
@example(spent=[(0, "build"), (DAY, "build"), (2 * DAY, "pipeline"), (4 * DAY, "")], since=3_600, length=4 * DAY)
def test_any_period_holds_the_money_that_was_spent_in_it(
    books: Books, spent: list[tuple[int, str | None]], since: int, length: int
) -> None:
    books.clear()
    books.entries(*(entry(at, 0.25, stage=name) for at, name in spent))

    until = since + length
    found = collect(books.db, question(NOON + 20 * DAY, days=length / DAY, until=NOON + until))

    inside = [name for at, name in spent if since <= at < until]
    assert found.cost_usd == 0.25 * len(inside)
    assert sum(one.cost_usd for one in found.stages) == 0.25 * inside.count("build")
    assert found.whole_runs_cost_usd == 0.25 * inside.count("pipeline")


def test_the_bottleneck_is_the_stage_that_took_most_time_in_all(books: Books) -> None:
    ended(books, 700, 100, name="merge")
    ended(books, *[100] * 3, second=20)
    ended(books, 900, name="test", second=40)

    found = collect(books.db, question(NOON + 60))

    assert [(one.stage, one.share_percent, one.impact) for one in found.bottlenecks] == [
        ("test", 45.0, "high"),
        ("merge", 40.0, "medium"),
        ("build", 15.0, "low"),
    ]
    assert found.bottlenecks[1].reason == "40.0 % of the time of all stages: 2 attempts, 400 s on average"


def test_a_bottleneck_that_fails_often_is_to_be_mended_first(books: Books) -> None:
    ended(books, 50, 60)
    ended(books, 70, second=30, outcome="failed")

    said = bottleneck(of(books))

    assert (said.impact, said.suggestion) == (
        "low",
        "no attempt takes long; 33 % of its attempts fail: fix those first",
    )


def test_one_stage_is_told_closely_and_beside_all_others(books: Books) -> None:
    ended(books, 2, 4.5, 60)
    ended(books, 100, second=DAY, outcome="failed")
    ended(books, 166.5, name="test", second=60)

    found = collect(books.db, question(NOON + DAY + 60, stage="build"))

    assert [(one.stage, one.share_percent) for one in found.stages] == [("build", 50.0)]
    assert found.detail is not None
    assert [(step.from_s, step.below_s, step.attempts, step.failed) for step in found.detail.durations] == [
        (2, 5, 2, 0),
        (5, 10, 0, 0),
        (10, 20, 0, 0),
        (20, 30, 0, 0),
        (30, 60, 0, 0),
        (60, 120, 2, 1),
    ]
    assert [(day.day, day.attempts, day.failed, day.total_s) for day in found.detail.days] == [
        ("2026-01-05", 3, 0, 66.5),
        ("2026-01-06", 1, 1, 100),
    ]


def test_a_duration_beyond_all_steps_has_its_place(books: Books) -> None:
    ended(books, 1e8)

    detail = collect(books.db, question(NOON + 60, stage="build")).detail

    assert detail is not None
    assert [(step.from_s, step.below_s, step.attempts) for step in detail.durations] == [(86_400, None, 1)]


def test_nothing_at_all_is_empty(books: Books) -> None:
    ended(books, 1)

    assert collect(books.db, question(NOON - DAY, days=1)).empty
    assert collect(books.db, question(NOON + 60, stage="deploy")).empty
    books.clear()
    assert collect(books.db, question(days=None)).empty


def test_rows_are_the_stages(books: Books) -> None:
    ended(books, 1, 2)

    (row,) = rows(collect(books.db, question(NOON + 60)))

    assert (row["stage"], row["attempts"], row["mean_s"]) == ("build", 2, 1.5)


@pytest.mark.parametrize("asked", [None, "build"])
def test_eighty_columns_are_enough_for_every_figure(books: Books, asked: str | None) -> None:
    ended(books, 3_725, 100_000, 17.25)
    books.entries(entry(0, 1_234.5))
    ended(books, 6_000, name="compound\x1b[31m_quality", second=DAY)
    written = io.StringIO()

    show(collect(books.db, question(NOON + DAY + 60, stage=asked)), Page(Console(file=written, width=80)))

    assert "…" not in written.getvalue()
    assert "\x1b" not in written.getvalue()


def test_a_bottleneck_that_mostly_fails_is_not_judged_by_the_attempts_that_succeed(books: Books) -> None:
    ended(books, 1)
    ended(books, 1_000, 2_000, second=100, outcome="failed")
    (first,) = collect(books.db, question(NOON + 3_600)).bottlenecks

    assert (first.impact, first.mean_s) == ("high", 1)
    assert first.suggestion == "most of its time is spent on attempts that fail: fix those first"


def test_a_bottleneck_that_never_succeeds_says_so(books: Books) -> None:
    ended(books, 100, 300, outcome="failed")
    (first,) = collect(books.db, question(NOON + 3_600)).bottlenecks

    assert first.reason.endswith("2 attempts, none succeeded, 200 s on average")
