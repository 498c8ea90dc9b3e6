"""Figures for days and weeks are what one would count by hand."""

from __future__ import annotations

from projection import Books, completed, entry, reaped, spent, stage, started, told

DAY = 86_400


def test_finished_runs_count_on_the_day_they_end(books: Books) -> None:
    books.events(started(0, 1), completed(60, 1), started(0, 2), reaped(99, 2, "failure"))
    books.events(started(0, 3), completed(DAY, 3), started(0, 4))

    assert books.metric("deploys") == 1
    assert books.metric("failures") == 1
    assert books.metric("throughput") == 2
    assert books.metric("change_failure_rate") == 0.5
    assert books.metric("deploys", "2026-01-06") == 1
    assert books.metric("change_failure_rate", "2026-01-06") == 0
    assert books.metric("failures", "2026-01-06") is None


def test_a_week_begins_on_monday(books: Books) -> None:
    books.events(started(0, 1), completed(60, 1), started(6 * DAY, 2), completed(6 * DAY + 60, 2))
    books.events(started(7 * DAY, 3), completed(7 * DAY + 60, 3))

    assert books.metric("deploys", "2026-01-05", period="week") == 2
    assert books.metric("deploys", "2026-01-12", period="week") == 1


def test_lead_time_begins_with_the_first_try_since_the_last_success(books: Books) -> None:
    books.one_by_one(started(0), completed(60))
    books.one_by_one(started(1000), reaped(1100, result="failure"), started(2000), completed(2500))

    assert books.metric("lead_time_s") == (60 + 1500) / 2


def test_recovery_is_from_each_failure_to_the_next_success_of_its_issue(books: Books) -> None:
    books.one_by_one(started(0), reaped(100, result="failure"), started(200), reaped(300, result="failure"))
    assert books.metric("time_to_recovery_s") is None

    books.one_by_one(started(0, 8), completed(350, 8), started(400), completed(900))
    assert books.metric("time_to_recovery_s") == (800 + 600) / 2

    books.one_by_one(started(2000), completed(2100))
    assert books.metric("time_to_recovery_s") == (800 + 600) / 2


def test_a_failure_that_was_none_is_taken_back(books: Books) -> None:
    books.events(started(0), told(30, "test", "failed"))
    assert books.metric("failures") == 1

    books.events(told(60, "build"))
    assert books.metric("failures") is None
    assert books.metric("change_failure_rate") is None

    books.events(completed(DAY))
    assert books.metric("deploys") is None
    assert books.metric("deploys", "2026-01-06") == 1


def test_abandoned_runs_are_not_finished(books: Books) -> None:
    books.events(started(0), stage(5, "plan", "started"), started(60), completed(90))

    assert books.metric("throughput") == 1


def test_money_and_tokens_are_summed_in_all_and_by_model_and_stage(books: Books) -> None:
    books.entries(entry(0, 1.5), entry(9, 0.1, "test", model="haiku"))
    books.events(spent(500, 0.2))

    assert books.metric("cost_usd") == 1.8
    assert books.metric("cost_usd", dimension="model:opus") == 1.7
    assert books.metric("cost_usd", dimension="stage:test") == 0.1
    assert books.metric("cost_usd", period="week") == 1.8
    assert books.metric("input_tokens") == 300
    assert books.metric("output_tokens", period="week") == 30


def test_money_counts_on_the_day_of_its_entry(books: Books) -> None:
    books.events(spent(DAY, 0.2))
    books.entries({**entry(0, 0.3), "ts_epoch": None, "ts": None})

    assert books.metric("cost_usd", "2026-01-06") == 0.2
    assert books.metric("cost_usd") is None


def test_a_day_whose_only_money_moves_away_has_none(books: Books) -> None:
    midnight = 12 * 3600
    books.events(spent(midnight, 0.2))
    assert books.metric("cost_usd", "2026-01-06") == 0.2

    books.entries(entry(midnight - 5, 0.2))
    assert books.metric("cost_usd", "2026-01-06") is None
    assert books.metric("cost_usd", "2026-01-05") == 0.2
