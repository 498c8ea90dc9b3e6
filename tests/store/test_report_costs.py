"""Money: the figures are what one adds up by hand, wherever the period is cut and whatever is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projection import NOON, Books, Event, completed, entry, reaped, spent, started
from reports import DAY, question, report

from shipwrightd.reports.costs import Costs, Line, Others, collect, forecast_of, rows, whole_days

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

HOUR = 3_600
MIDNIGHT = NOON - 12 * HOUR  # the beginning of the day that is noon's
SET_BUDGET = "INSERT INTO budgets (id, daily_budget_usd, enabled, present) VALUES ('daily', ?, ?, ?)"


def shares(lines: list[Line]) -> dict[Any, tuple[float, int]]:
    return {line.name: (line.cost_usd, line.entries) for line in lines}


def test_a_period_is_added_up_by_model_stage_issue_and_day(books: Books) -> None:
    books.entries(entry(0, 1.5), entry(60, 0.5, "test", model="haiku", issue=8), entry(DAY, 2.0))

    found = collect(books.db, question(NOON + 2 * DAY, days=3))

    assert (found.total.cost_usd, found.total.entries) == (4.0, 3)
    assert (found.total.input_tokens, found.total.output_tokens) == (300, 30)
    assert shares(found.by_model) == {"opus": (3.5, 2), "haiku": (0.5, 1)}
    assert shares(found.by_stage) == {"build": (3.5, 2), "test": (0.5, 1)}
    assert shares(found.by_issue) == {7: (3.5, 2), 8: (0.5, 1)}
    assert [line.cost_usd for line in found.by_day] == [0.0, 2.0, 2.0, 0.0]
    assert found.by_model[0].share_percent == 87.5


def test_entries_that_name_nothing_have_a_line_of_their_own(books: Books) -> None:
    books.entries(entry(0, 1.0), entry(1, 0.25, "", model=None, issue=None), entry(2, 0.5, model=""))

    found = collect(books.db, question(NOON + 2 * DAY))

    assert shares(found.by_model) == {"opus": (1.0, 1), None: (0.75, 2)}
    assert shares(found.by_stage) == {"build": (1.5, 2), None: (0.25, 1)}
    assert shares(found.by_issue) == {7: (1.5, 2), None: (0.25, 1)}
    assert found.by_issue[-1].name is None


def test_issues_beyond_the_limit_are_one_line(books: Books) -> None:
    books.entries(*(entry(issue, issue / 4, issue=issue) for issue in (1, 2, 3, 4)))

    found = collect(books.db, question(NOON + 2 * DAY, limit=2))

    assert [line.name for line in found.by_issue] == [4, 3]
    assert found.other_issues == Others(2, 0.75, 2, 30.0)


def test_all_issues_within_the_limit_leave_no_others(books: Books) -> None:
    books.entries(entry(0, issue=1), entry(1, issue="acme/rocket"))

    found = collect(books.db, question(NOON + 2 * DAY))

    assert [line.name for line in found.by_issue] == ["acme/rocket", 1]
    assert found.other_issues is None


def test_the_money_of_a_whole_pipeline_is_counted_once(books: Books) -> None:
    told_again = {**spent(61, 0.51), "type": "pipeline.cost"}
    books.events(started(0), completed(60), told_again, spent(62, 0.5, "pipeline"))
    books.entries(entry(62, 0.5, "pipeline"))

    assert collect(books.db, question(NOON + DAY)).total.cost_usd == 0.5


def test_without_a_beginning_days_begin_with_the_first_money(books: Books) -> None:
    books.entries(entry(0, 1.0), entry(2 * DAY, 1.0))

    found = collect(books.db, question(NOON + 3 * DAY, days=None))

    assert [line.name for line in found.by_day] == ["2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08"]
    assert found.total.cost_usd == 2.0


def test_nothing_spent_is_empty(books: Books) -> None:
    assert collect(books.db, question()).empty
    assert collect(books.db, question(days=None, model="opus")).empty


# -- the budget


def test_today_stands_beside_the_budget_whatever_is_asked_for(books: Books) -> None:
    books.db.execute(SET_BUDGET, (4.0, 1, 1))
    books.entries(entry(-13 * HOUR, 9.0), entry(-11 * HOUR, 1.0), entry(HOUR, 9.0))

    budget = collect(books.db, question(NOON, days=1, until=NOON - DAY, model="haiku")).budget

    assert (budget.day, budget.spent_usd, budget.daily_budget_usd, budget.enabled) == ("2026-01-05", 1.0, 4.0, True)
    assert (budget.used_percent, budget.remaining_usd, budget.exceeded) == (25.0, 3.0, False)
    assert (budget.forecast_usd, budget.forecast_exceeded) == (2.0, False)


def test_a_budget_is_exceeded_by_more_than_all_of_it(books: Books) -> None:
    books.db.execute(SET_BUDGET, (1.0, 0, 1))
    books.entries(entry(-HOUR, 1.0))
    assert not collect(books.db, question()).budget.exceeded

    books.entries(entry(0, 0.01))
    budget = collect(books.db, question()).budget
    assert (budget.exceeded, budget.enabled, budget.remaining_usd) == (True, False, -0.01)
    assert budget.forecast_exceeded


@pytest.mark.parametrize(("daily", "present"), [(0.0, 1), (None, 1), (5.0, 0)])
def test_no_budget_no_limit(books: Books, daily: float | None, present: int) -> None:
    books.db.execute(SET_BUDGET, (daily, 1, present))
    books.entries(entry(-HOUR, 1.0))

    budget = collect(books.db, question()).budget

    assert budget.spent_usd == 1.0
    assert (budget.daily_budget_usd, budget.used_percent, budget.exceeded) == (None, None, None)


def test_the_first_hour_of_a_day_foretells_nothing() -> None:
    assert forecast_of(2.0, HOUR - 1) is None
    assert forecast_of(2.0, HOUR) == 48.0
    assert forecast_of(2.0, DAY) == 2.0


# -- what a success costs


def test_failed_runs_are_paid_for_by_the_successful_ones(books: Books) -> None:
    books.events(started(0, 1), completed(60, 1), started(0, 2), reaped(60, 2, "failure"))
    books.entries(entry(60, 1.0, issue=1), entry(60, 3.0, issue=2))

    pipelines = collect(books.db, question(NOON + DAY)).pipelines

    assert (pipelines.runs, pipelines.successful_runs, pipelines.cost_per_success_usd) == (2, 1, 4.0)


def test_without_a_success_nothing_is_said_of_its_cost(books: Books) -> None:
    books.events(started(0, 1), completed(60, 1), started(0, 2), reaped(60, 2, "failure"))
    books.entries(entry(60, 3.0, issue=2))

    assert collect(books.db, question(NOON + DAY, issue=2)).pipelines.cost_per_success_usd is None


# -- any period, any filter

FIELDS = st.fixed_dictionaries(
    {
        "ts_epoch": st.one_of(st.integers(0, 3 * DAY).map(lambda second: MIDNIGHT + second), st.none()),
        "cost_usd": st.one_of(st.none(), st.integers(0, 99_999).map(lambda ten: ten / 10_000), st.just(2e6)),
        "model": st.sampled_from(("opus", "haiku", "", None)),
        "stage": st.sampled_from(("build", "test", "", None)),
        "issue": st.sampled_from((7, 8, 12345678901, "acme/rocket", None)),
        "input_tokens": st.sampled_from((None, 0, 5, -5, 10**12, 10**12 + 1)),
        "output_tokens": st.sampled_from((None, 3, 10**13)),
    }
)
FILTERS = st.fixed_dictionaries(
    {
        "model": st.sampled_from((None, "opus")),
        "stage": st.sampled_from((None, "test")),
        "issue": st.sampled_from((None, 7, "acme/rocket")),
    }
)


def micros(found: Event) -> int:
    cost = found["cost_usd"]
    return round(cost * 1_000_000) if cost is not None and cost <= 1e6 else 0


def tokens(entries: Iterable[Event], name: str) -> int:
    return sum(found[name] for found in entries if found[name] is not None and 0 <= found[name] <= 10**12)


def plainly(entries: list[Event], name: str) -> dict[Any, tuple[float, int]]:
    """Return what each value of a field adds up to."""
    sums: dict[Any, tuple[int, int]] = {}
    for found in entries:
        total, number = sums.get(found[name] or None, (0, 0))
        sums[found[name] or None] = (total + micros(found), number + 1)
    return {key: (total / 1_000_000, number) for key, (total, number) in sums.items()}


@settings(max_examples=150)
@given(
    entries=st.lists(FIELDS, min_size=3, max_size=25),
    since=st.one_of(st.integers(0, 3 * DAY), st.integers(0, 3).map(lambda day: day * DAY), st.none()),
    length=st.one_of(st.integers(1, 3 * DAY), st.integers(1, 3).map(lambda day: day * DAY)),
    filters=st.one_of(st.just({}), FILTERS),
)
def test_any_period_is_the_plain_sum_of_its_entries(
    books: Books, entries: list[Event], since: int | None, length: int, filters: Event
) -> None:
    books.clear()
    books.entries(*entries)

    until = MIDNIGHT + (since or 0) + length
    days = None if since is None else length / DAY
    given_ones = {key: value for key, value in filters.items() if value is not None}
    found = collect(books.db, question(until + DAY, days=days, until=until, **given_ones))

    inside = [
        one
        for one in entries
        if one["ts_epoch"] is not None
        and (0 if since is None else until - length) <= one["ts_epoch"] < until
        and all(one[key] == value for key, value in given_ones.items())
    ]
    assert found.total.cost_usd == sum(map(micros, inside)) / 1_000_000
    assert found.total.entries == len(inside)
    assert found.total.input_tokens == tokens(inside, "input_tokens")
    assert found.total.output_tokens == tokens(inside, "output_tokens")
    assert shares(found.by_model) == plainly(inside, "model")
    assert shares(found.by_stage) == plainly(inside, "stage")
    assert shares(found.by_issue) == plainly(inside, "issue")
    assert_days_add_up(found, inside)


def assert_days_add_up(found: Costs, inside: list[Event]) -> None:
    dated = [{**one, "day": found_day(one["ts_epoch"])} for one in inside]
    spent_on = {line.name: (line.cost_usd, line.entries) for line in found.by_day if line.entries}
    assert spent_on == plainly(dated, "day")
    assert [line.name for line in found.by_day] == sorted({str(line.name) for line in found.by_day})


def found_day(epoch: int) -> str:
    return f"2026-01-{5 + (epoch - MIDNIGHT) // DAY:02}"


@pytest.mark.parametrize(
    ("since", "until", "head", "tail"),
    [
        (0, 3 * DAY, 0, 3 * DAY),
        (1, 3 * DAY - 1, DAY, 2 * DAY),
        (1, 2 * DAY - 1, 2 * DAY - 1, 2 * DAY - 1),
        (DAY + 5, DAY + 9, DAY + 9, DAY + 9),
    ],
)
def test_only_days_that_lie_wholly_inside_are_whole(since: int, until: int, head: int, tail: int) -> None:
    assert whole_days(since, until) == (head, tail)


# -- as text


def test_rows_are_of_one_shape_and_hold_every_list(books: Books) -> None:
    books.entries(entry(0, 1.0, issue=1), entry(0, 2.0, issue=2))

    made = list(rows(collect(books.db, question(NOON + HOUR, days=0.5, limit=1))))

    assert [row["kind"] for row in made] == ["total", "model", "stage", "issue", "other_issues", "day"]
    assert len({tuple(row) for row in made}) == 1
    assert (made[0]["cost_usd"], made[0]["input_tokens"]) == (3.0, 200)


def test_the_page_warns_of_an_exceeded_budget(books: Books, home: Path) -> None:
    books.db.execute("INSERT INTO checkpoints (source, kind) VALUES ('costs.json', 'document')")
    books.db.execute(SET_BUDGET, (0.5, 1, 1))
    books.entries(entry(60, 1.25, "build\x1b[31m"))

    done = report(home, "costs", "--now", str(NOON + 60))

    assert done.returncode == 0, done.stderr
    assert "Spent $1.25" in done.stdout
    assert "of $0.5000 (250.0 %), EXCEEDED" in done.stdout
    assert "build\\x1b[31m" in done.stdout
    assert "\x1b" not in done.stdout
