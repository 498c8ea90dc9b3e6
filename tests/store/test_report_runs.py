"""Runs: the list in order and in pages, and one run with all that belongs to it and nothing else."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import TYPE_CHECKING

import orjson
import pytest
from projection import NOON, Books, completed, entry, event, reaped, stage, started, told
from reports import DAY, question, report
from rich.console import Console

from shipwrightd.clock import utc
from shipwrightd.errors import MissingError
from shipwrightd.reports.question import QuestionError
from shipwrightd.reports.runs import BY_STATUS, BY_TIME, Detail, Runs, Trouble, collect, rows
from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.lists import runs as show

if TYPE_CHECKING:
    from pathlib import Path

NOW = NOON + 10 * DAY


def issues(answer: Runs) -> list[int | str | None]:
    return [run.issue for run in answer.runs]


def detail(books: Books, run: int) -> Detail:
    found = collect(books.db, question(NOW, run=run)).detail
    assert found is not None
    return found


def written(answer: Runs, width: int = 80) -> str:
    out = io.StringIO()
    show(answer, Page(Console(file=out, width=width)))
    return out.getvalue()


def test_the_run_started_last_comes_first(books: Books) -> None:
    books.events(started(100, 1), started(50, 2), started(200, 3))

    assert issues(collect(books.db, question(NOW, days=None))) == [3, 1, 2]


def test_a_run_tells_how_it_went(books: Books) -> None:
    books.events(started(0, goal="mend it"), stage(5, "plan", duration_s=5), stage(9, "build", "failed", duration_s=3))
    books.events(stage(12, "build", "failed", duration_s=2), reaped(20, result="failure"))
    books.entries(entry(10, 0.75))

    (run,) = collect(books.db, question(NOW, days=None)).runs

    assert (run.issue, run.status, run.template, run.goal, run.failed_stage) == (
        7,
        "failed",
        "fast",
        "mend it",
        "build",
    )
    assert (run.stages, run.stages_passed, run.attempts) == (2, 1, 3)
    assert (run.cost_usd, run.cost_source, run.running_s) == (0.75, "entries", None)


def test_a_run_that_goes_on_tells_for_how_long(books: Books) -> None:
    books.events(started(0))

    (run,) = collect(books.db, question(NOON + 90, days=None)).runs

    assert (run.status, run.duration_s, run.ended_at, run.running_s) == ("running", None, None, 90)


def test_a_period_is_that_of_the_starts(books: Books) -> None:
    books.events(started(0, 1), started(DAY, 2), started(2 * DAY, 3))

    assert issues(collect(books.db, question(NOW, days=1, until=NOON + 2 * DAY))) == [2]


@pytest.mark.parametrize("days", [None, 30])
def test_status_and_issue_are_asked_for_alone(books: Books, days: int | None) -> None:
    books.events(started(0, 1), completed(9, 1), started(10, 2), reaped(19, 2, "failure"), started(20, 1))

    assert issues(collect(books.db, question(NOW, days=days, status="failed"))) == [2]
    assert issues(collect(books.db, question(NOW, days=days, issue=1))) == [1, 1]
    assert issues(collect(books.db, question(NOW, days=days, issue=1, status="success"))) == [1]


@pytest.mark.parametrize("status", ["success", "running", "failed"])
def test_a_common_status_and_a_rare_one_are_answered_alike(books: Books, status: str) -> None:
    for at in range(6):
        books.events(started(at % 4, at + 1), *([completed(at + 60, at + 1)] if at % 3 else []))
    asked = (None, NOW, status, 3, 1)

    assert books.rows(BY_STATUS, *asked) == books.rows(BY_TIME, *asked)


def test_an_issue_may_be_a_text(books: Books) -> None:
    books.events(started(0, "acme/x:9"), started(1, 9))

    assert issues(collect(books.db, question(NOW, days=None, issue="acme/x:9"))) == ["acme/x:9"]


def test_pages_follow_each_other_without_a_gap(books: Books) -> None:
    books.events(*(started(at, at + 1) for at in range(7)))
    pages = [collect(books.db, question(NOW, days=None, limit=3, offset=at)) for at in (0, 3, 6, 9)]

    assert [issues(page) for page in pages] == [[7, 6, 5], [4, 3, 2], [1], []]
    assert [page.has_more for page in pages] == [True, True, False, False]


def test_runs_that_began_in_the_same_second_keep_their_order(books: Books) -> None:
    books.events(*(started(0, at + 1) for at in range(5)))

    assert issues(collect(books.db, question(NOW, days=None))) == [5, 4, 3, 2, 1]


def test_a_run_without_a_time_is_the_last_of_all_and_of_no_period(books: Books) -> None:
    lost = {key: value for key, value in started(0, 1).items() if key != "ts_epoch"} | {"ts": ""}
    books.events(lost, started(0, 2))

    assert issues(collect(books.db, question(NOW, days=None))) == [2, 1]
    assert issues(collect(books.db, question(NOW, days=30))) == [2]
    assert issues(collect(books.db, question(NOW, days=None, issue=1))) == [1]
    assert "Run 1" in written(collect(books.db, question(NOW, run=1)))


def test_the_attempts_stand_in_order_of_time_with_their_distance_from_the_start(books: Books) -> None:
    books.events(started(0), stage(10, "plan", "started"), stage(30, "plan", duration_s=20))
    books.events(told(90, "build", timing="40s"), stage(95, "audit", "skipped", reason="off"))

    found = [(one.stage, one.status, one.offset_s, one.duration_s, one.reason) for one in detail(books, 1).attempts]

    assert found == [
        ("plan", "success", 10, 20, None),
        ("build", "success", 50, 40, None),
        ("audit", "skipped", 95, None, "off"),
    ]


def test_an_entry_belongs_to_the_newest_run_of_its_issue_that_started_no_later(books: Books) -> None:
    books.events(started(0), completed(50), started(100), completed(150), started(10, 8))
    books.entries(
        entry(0, 1), entry(99, 2), entry(100, 4), entry(5, 8, issue=8), entry(-1, 16), entry(20, 32, issue=None)
    )

    assert [one.cost_usd for one in detail(books, 1).entries] == [1, 2]
    assert [one.cost_usd for one in detail(books, 3).entries] == [4]
    assert [one.cost_usd for one in detail(books, 5).entries] == []


def test_the_entries_of_every_run_add_up_to_what_it_cost(books: Books) -> None:
    books.events(started(0), started(50), started(40), completed(90))
    books.entries(*(entry(at, at / 8) for at in range(0, 100, 7)))

    for run in collect(books.db, question(NOW, days=None)).runs:
        entries = detail(books, run.id).entries
        assert sum(one.cost_usd or 0 for one in entries) == ((run.cost_usd or 0) if run.cost_source == "entries" else 0)


def test_errors_are_those_of_the_attempts_and_what_the_run_said_at_its_end(books: Books) -> None:
    books.events(started(0), stage(9, "build", "failed", error="no such file", error_class="logic"))
    books.events(completed(20, result="failure", failed_stage="deploy", error_class="network"))

    assert detail(books, 1).errors == [
        Trouble(utc(NOON + 9), "build", 1, "logic", "no such file"),
        Trouble(utc(NOON + 20), "deploy", None, "network", None),
    ]


def test_what_an_attempt_tells_is_not_told_again_for_the_run(books: Books) -> None:
    books.events(started(0), stage(9, "build", "failed", error="x", error_class="logic"))
    books.events(completed(20, result="failure", failed_stage="build", error_class="logic"))

    assert len(detail(books, 1).errors) == 1


def test_its_events_are_counted_and_those_of_others_are_not(books: Books) -> None:
    books.events(started(0), event("x.y", 1), event("x.y", 2, 8), event("x.y", 3, None), stage(4, "plan"))
    books.lines([b'{"ts_epoch":1767614405,"type":"x.y","issue":7}'], team=True)
    books.events(completed(60), event("x.y", 70))

    found = detail(books, 1).events

    assert (found.first_id, found.last_id, found.count) == (1, 7, 4)
    assert (found.first_at, found.last_at) == (utc(NOON), utc(NOON + 60))


def test_a_run_without_an_issue_has_neither_entries_nor_a_count_of_events(books: Books) -> None:
    books.events(started(0, None), stage(5, "plan", issue=None, duration_s=5))
    books.entries(entry(2, 1, issue=None))

    found = detail(books, 1)

    assert (found.entries, found.events.count, len(found.attempts)) == ([], None, 1)


@pytest.mark.parametrize("number", [0, -1, 2, 1 << 62, 1 << 63, 10**30])
def test_a_run_there_is_not_is_said_to_be_missing(books: Books, number: int) -> None:
    books.events(started(0))

    with pytest.raises(MissingError, match=f"there is no run {number}"):
        collect(books.db, question(NOW, run=number))


def test_options_that_make_no_sense_are_refused(books: Books) -> None:
    with pytest.raises(QuestionError, match="--status odd: one of success, failed, running, abandoned"):
        collect(books.db, question(NOW, status="odd"))


def test_no_runs_are_an_empty_answer(books: Books) -> None:
    assert collect(books.db, question(NOW, days=None)).empty


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_kind_of_run_can_be_shown(books: Books, width: int) -> None:
    books.events(started(0, 1, goal="\x1b[2J" + "long " * 80), completed(0, 1, duration_s=0))
    books.events(started(5, 2), event("daemon.stale_kill", 9, 2, elapsed_s=4))
    books.events(
        started(6, None), stage(7, "plan", "failed", issue=None, error="\x1b]0;x\x07"), stage(8, "", issue=None)
    )
    books.events(started(10, 3), stage(11, "plan", "started", 3), stage(20, "build", issue=3, duration_s=1e6))
    books.entries(entry(1, 0.00004, issue=1))

    for run in collect(books.db, question(NOW, days=None)).runs:
        text = written(collect(books.db, question(NOW, run=run.id)), width)
        assert f"Run {run.id}" in text
        assert "\x1b" not in text
    assert "\x1b" not in written(collect(books.db, question(NOW, days=None)), width)


def test_thousands_of_attempts_are_shown_by_their_ends(books: Books) -> None:
    books.events(started(0), *(stage(at, "build", "failed", duration_s=1) for at in range(1, 3_001)))

    found = collect(books.db, question(NOW, run=1))

    assert found.detail is not None
    assert len(found.detail.attempts) == len(found.detail.errors) == 3_000
    assert "2,900 in the middle left out" in written(found)
    assert written(found).count("build") < 250


def test_rows_are_the_runs_or_the_attempts_of_one(books: Books) -> None:
    books.events(started(0), stage(5, "plan"), stage(9, "build"), started(0, 8))

    assert [row["id"] for row in rows(collect(books.db, question(NOW, days=None)))] == [4, 1]
    assert [(row["run"], row["stage"]) for row in rows(collect(books.db, question(NOW, run=1)))] == [
        (1, "plan"),
        (1, "build"),
    ]


def test_the_command_gives_one_run_in_full_as_json(books: Books, home: Path) -> None:
    books.events(started(0), stage(5, "plan", duration_s=5))
    books.db.execute("INSERT INTO checkpoints (source, kind) VALUES ('events.jsonl', 'journal')")

    done = report(home, "runs", "1", "--format", "json", "--now", str(NOW))

    answer = orjson.loads(done.stdout)
    assert answer["runs"] == [asdict(run) for run in collect(books.db, question(NOW, run=1)).runs]
    assert answer["detail"]["attempts"][0]["stage"] == "plan"


def test_the_command_says_that_a_run_is_missing_in_its_exit_code(books: Books, home: Path) -> None:
    books.db.execute("INSERT INTO checkpoints (source, kind) VALUES ('events.jsonl', 'journal')")

    done = report(home, "runs", "99")

    assert (done.returncode, done.stdout) == (66, "")
    assert "there is no run 99 - `shipwrightd report runs` lists them" in done.stderr


@pytest.mark.parametrize("fields", [{"issue": 7}, {"status": "failed"}, {"limit": 3}, {"offset": 1}])
def test_one_run_is_asked_for_without_anything_else(books: Books, fields: dict[str, object]) -> None:
    books.events(started(0))

    with pytest.raises(QuestionError, match="ID names one run"):
        collect(books.db, question(run=1, **fields))  # type: ignore[arg-type]
