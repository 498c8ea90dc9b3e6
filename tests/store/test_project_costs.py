"""The same money is never counted twice, and never lost, whichever file tells of it first."""

from __future__ import annotations

import json

import pytest
from projection import NOON, Books, completed, entry, event, spent, started

ALL = "SELECT origin, event_id, cost_usd FROM cost_entries ORDER BY id"
RUNS = "SELECT id, cost_usd, cost_source FROM pipeline_runs ORDER BY id"


def test_an_event_that_costs_json_has_told_of_is_no_second_entry(books: Books) -> None:
    books.entries(entry(0))
    books.events(spent(3))

    assert books.rows(ALL) == [("costs.json", 1, 0.25)]
    assert books.metric("cost_usd") == 0.25


def test_an_event_alone_is_an_entry(books: Books) -> None:
    books.events(spent(3))

    row = books.rows("SELECT input_tokens, output_tokens, model, stage, issue, ts_epoch, event_id FROM cost_entries")
    assert row == [(100, 10, "opus", "build", None, NOON + 3, 1)]
    assert books.metric("cost_usd") == 0.25


def test_an_entry_takes_the_place_of_the_event_that_came_first(books: Books) -> None:
    books.events(spent(3))
    books.entries(entry(0))

    assert books.rows(ALL) == [("costs.json", 1, 0.25)]
    assert books.metric("cost_usd") == 0.25
    assert books.metric("cost_usd", dimension="stage:build") == 0.25


@pytest.mark.parametrize("first", ["events", "entries"])
def test_identical_pairs_are_two_each(books: Books, first: str) -> None:
    if first == "events":
        books.events(spent(0), spent(0))
        books.entries(entry(0), entry(0))
    else:
        books.entries(entry(0))
        books.events(spent(0))
        books.events(spent(0))
        books.entries(entry(0))

    assert books.rows(ALL) == [("costs.json", 1, 0.25), ("costs.json", 2, 0.25)]
    assert books.metric("cost_usd") == 0.5


def test_one_entry_does_not_stand_for_two_events(books: Books) -> None:
    books.entries(entry(0))
    books.events(spent(0), spent(1))

    assert books.rows(ALL) == [("costs.json", 1, 0.25), ("events.jsonl", 2, 0.25)]


@pytest.mark.parametrize(
    ("changed", "entries"),
    [
        ({"ts_epoch": NOON + 120}, 1),
        ({"ts_epoch": NOON - 120}, 1),
        ({"ts_epoch": NOON + 121}, 2),
        ({"cost_usd": 0.25004}, 1),
        ({"cost_usd": 0.2502}, 2),
        ({"input_tokens": 101}, 2),
        ({"output_tokens": 11}, 2),
        ({"model": "haiku"}, 2),
        ({"stage": "test"}, 2),
    ],
)
def test_twins_agree_in_all_but_a_little_time(books: Books, changed: dict[str, object], entries: int) -> None:
    books.entries(entry(0))
    books.events({**spent(0), **changed})

    assert len(books.rows(ALL)) == entries


def test_numbers_written_as_text_are_numbers(books: Books) -> None:
    books.entries(entry(0))
    books.events({**spent(0, "0.2500"), "input_tokens": "100", "output_tokens": "10"})
    books.events({**spent(9999, "0.0500"), "input_tokens": "007", "output_tokens": "10"})

    assert books.rows(ALL) == [("costs.json", 1, 0.25), ("events.jsonl", 2, 0.05)]
    assert books.metric("input_tokens") == 107


def test_pipeline_cost_is_never_counted(books: Books) -> None:
    books.events(started(0), completed(60, total_cost=0.9), event("pipeline.cost", 61, None, cost_usd=0.9))

    assert books.rows(ALL) == []
    assert books.rows(RUNS) == [(1, 0.9, "reported")]


def test_what_a_whole_pipeline_cost_belongs_to_the_run_that_used_as_much(books: Books) -> None:
    books.events(started(0, 7), started(1, 8))
    books.events(completed(60, 7, input_tokens=100), completed(61, 8, input_tokens=200))
    books.events(spent(70, 0.2, "pipeline", input_tokens=200))
    books.events(spent(71, 0.1, "pipeline"), spent(72, 0.3, "pipeline", input_tokens=300))

    assert books.rows("SELECT issue, cost_usd FROM cost_entries ORDER BY id") == [
        (8, 0.2),
        (7, 0.1),
        (None, 0.3),
    ]
    assert books.rows(RUNS) == [(1, 0.1, "entries"), (2, 0.2, "entries")]


def test_no_tokens_link_to_no_run(books: Books) -> None:
    books.events(started(0), completed(60, input_tokens=0, output_tokens=0, total_cost=0))
    books.events(spent(70, 0, "pipeline", input_tokens=0, output_tokens=0))

    assert books.rows("SELECT issue FROM cost_entries") == [None]


def test_a_run_costs_the_entries_of_its_issue_from_its_start_to_the_next(books: Books) -> None:
    books.events(started(100), completed(160))
    books.entries(entry(50, 1.0), entry(100, 2.0), entry(170, 4.0), entry(170, 8.0, issue=8), entry(500, 16.0))
    assert books.rows(RUNS) == [(1, 22.0, "entries")]

    books.events(started(400))
    assert books.rows(RUNS) == [(1, 6.0, "entries"), (3, 16.0, "entries")]


def test_costs_that_were_known_first_are_found_by_the_run(books: Books) -> None:
    books.entries(entry(170, 4.0), entry(500, 16.0))
    books.events(started(100), completed(160), started(400))

    assert books.rows(RUNS) == [(1, 4.0, "entries"), (3, 16.0, "entries")]


def test_a_run_keeps_its_cost_when_an_entry_replaces_the_event(books: Books) -> None:
    books.events(started(0), completed(60), spent(70, 0.1, "pipeline"))
    assert books.rows(RUNS) == [(1, 0.1, "entries")]

    books.entries(entry(70, 0.1, "pipeline"))
    assert books.rows(RUNS) == [(1, 0.1, "entries")]

    books.events(started(900), completed(960))
    assert books.rows(RUNS) == [(1, 0.1, "entries"), (4, 0.5, "reported")]


def test_an_entry_that_names_no_issue_takes_the_cost_from_the_run(books: Books) -> None:
    books.events(started(0), completed(60), spent(70, 0.1, "pipeline"))
    books.entries(entry(70, 0.1, "pipeline", issue=None))

    assert books.rows(RUNS) == [(1, 0.5, "reported")]


def test_money_of_other_machines_is_not_ours(books: Books) -> None:
    books.lines([json.dumps({**spent(0), "from_developer": "bob", "from_machine": "m2"}).encode()], team=True)

    assert books.rows(ALL) == []
