"""Events as `report activity` gives them: what each says, what is left out, how a page goes on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from document_samples import take
from projection import NOON, event
from rich.console import Console

from shipwrightd.clock import YEAR_10000
from shipwrightd.database import open_writer
from shipwrightd.reports import activity
from shipwrightd.reports.activity import newest, search
from shipwrightd.reports.question import Period, Question, QuestionError
from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.lists import activity as show
from shipwrightd.reports.terminal.lists import follow

if TYPE_CHECKING:
    from pathlib import Path

    from projection import Books

    from shipwrightd.reports.activity import Activity

STATE = {
    "active_jobs": [
        {"issue": 8, "title": "Queued", "started_at": "2026-01-05T12:00:00Z"},
        {"issue": 80, "title": "Another", "started_at": "2026-01-05T12:00:00Z"},
    ],
    "titles": {"7": "Fix"},
}


def ask(books: Books, since: int | None = None, until: int = YEAR_10000, **given: Any) -> Activity:
    """Answer a question; `since` and `until` are seconds after noon."""
    first = None if since is None else NOON + since
    last = until if until == YEAR_10000 else NOON + until
    return activity.collect(books.db, Question(now=NOON + 100, period=Period(first, last), **given))


def types(answer: Activity) -> list[str | None]:
    return [found.type for found in answer.events]


def ticks(books: Books, *kinds: str) -> None:
    books.events(*(event(kind, second) for second, kind in enumerate(kinds)))


def printed(answer: Activity, width: int = 120, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=terminal, color_system=None)
    show(answer, Page(console))
    return out.getvalue().splitlines()


def team(books: Books, *events: dict[str, Any]) -> None:
    books.lines([orjson.dumps(found) for found in events], team=True)


# -- which events


def test_newest_is_what_stands_last_in_the_file_whatever_its_clock_says(books: Books) -> None:
    books.events(event("a", 50), event("b", 10), event("c", 30))

    assert types(ask(books)) == ["c", "b", "a"]


def test_a_type_means_all_types_below_it_and_no_other_that_begins_alike(books: Books) -> None:
    ticks(books, "stage", "stage.started", "stages", "stage.test.late", "stag", "daemon.stage")

    assert types(ask(books, type="stage")) == ["stage.test.late", "stage.started", "stage"]
    assert types(ask(books, type="stage.test")) == ["stage.test.late"]


def test_events_without_a_time_are_shown_where_no_period_is_asked_for(books: Books) -> None:
    books.lines([b'{"type":"timeless"}', orjson.dumps(event("timed", 0))])

    assert types(ask(books)) == ["timed", "timeless"]
    assert types(ask(books, since=-5)) == ["timed"]
    assert types(ask(books, until=5)) == ["timed"]


def test_a_period_ends_before_its_end(books: Books) -> None:
    ticks(books, "a", "b", "c", "d")

    assert types(ask(books, since=1, until=3)) == ["c", "b"]


def test_issues_are_found_by_number_and_by_text(books: Books) -> None:
    books.events(event("a", 0, 7), event("b", 1, "acme/x:9"), event("c", 2, None))

    assert types(ask(books, issue=7)) == ["a"]
    assert types(ask(books, issue="acme/x:9")) == ["b"]


def test_stage_and_model_are_those_of_the_event(books: Books) -> None:
    books.events(event("a", 0, stage="build"), event("b", 1, model="opus"), event("c", 2, stage="build", model="opus"))

    assert types(ask(books, stage="build")) == ["c", "a"]
    assert types(ask(books, stage="build", model="opus")) == ["c"]


def test_team_events_are_shown_of_the_developer_that_is_asked_for_and_else_of_nobody(books: Books) -> None:
    ticks(books, "own")
    senders = [("Ada", "m1"), ("Ada", "m2"), ("Adam", "m1"), ("Ada@b.org", "m1")]
    team(books, *(event(f"{who}.{at}", 1, from_developer=who, from_machine=at) for who, at in senders))

    assert types(ask(books)) == ["own"]
    assert types(ask(books, developer="Ada@m2")) == ["Ada.m2"]
    assert types(ask(books, developer="Adam")) == ["Adam.m1"]
    assert types(ask(books, developer="Ada@b.org")) == ["Ada@b.org.m1"]
    assert types(ask(books, developer="nobody")) == []


# -- what each says


def test_an_event_has_its_fields_all_others_as_an_object_and_the_title_of_its_issue(books: Books) -> None:
    take(books.db, "daemon-state.json", STATE)
    books.events(event("stage.failed", 5, stage="test", result="failure", duration_s=3, error="no", deep={"a": [1]}))

    (found,) = ask(books).events
    assert (found.id, found.type, found.issue, found.title) == (1, "stage.failed", 7, "Fix")
    assert (found.stage, found.result, found.duration_s, found.cost_usd) == ("test", "failure", 3.0, None)
    assert found.extra == {"error": "no", "deep": {"a": [1]}}


def test_the_title_of_an_issue_may_come_from_its_job(books: Books) -> None:
    take(books.db, "daemon-state.json", STATE)
    books.events(event("daemon.spawn", 5, 8), event("daemon.spawn", 6, 88))

    assert [found.title for found in ask(books).events] == [None, "Queued"]


def test_an_event_that_has_only_ts_epoch_gets_its_time_from_there(books: Books) -> None:
    books.lines([b'{"type":"a","ts_epoch":%d}' % NOON])

    assert ask(books).events[0].ts == "2026-01-05T12:00:00Z"


@pytest.mark.parametrize("text", ["no json", "[1]", '{"a":1'])
def test_other_fields_that_are_no_object_are_given_as_their_text(database: Path, text: str) -> None:
    db = open_writer(database)
    db.execute("INSERT INTO events (type, origin, salvaged, extra) VALUES ('a', 'events.jsonl', 0, ?)", (text,))
    (found,) = activity.collect(db, Question(now=NOON, period=Period(None, YEAR_10000))).events
    db.close()

    assert found.extra == text
    assert activity.row(found)["extra"] == text


def test_rows_have_the_other_fields_as_json(books: Books) -> None:
    books.events(event("a", 0, note="x"))

    (row,) = activity.rows(ask(books))
    assert list(row)[:3] == ["id", "ts", "type"]
    assert row["extra"] == '{"note":"x"}'


# -- pages


def test_a_page_says_where_the_next_one_goes_on(books: Books) -> None:
    ticks(books, "a", "b", "c")

    first = ask(books, limit=2)
    second = ask(books, limit=2, cursor=first.next_cursor)
    assert (types(first), first.has_more) == (["c", "b"], True)
    assert (types(second), second.has_more, second.next_cursor) == (["a"], False, None)


def test_fifty_are_a_page(books: Books) -> None:
    ticks(books, *["a"] * 51)

    assert len(ask(books).events) == 50
    assert ask(books).has_more


@pytest.mark.parametrize("cursor", ["", "0", "-1", "x", "1.5", "٣", "9223372036854775808", "1 OR 1"])
def test_what_no_page_gave_is_refused_as_a_cursor(books: Books, cursor: str) -> None:
    with pytest.raises(QuestionError, match="not a cursor"):
        ask(books, cursor=cursor)


def test_cursor_and_offset_exclude_each_other(books: Books) -> None:
    with pytest.raises(QuestionError, match="exclude each other"):
        ask(books, cursor="5", offset=1)


def test_no_events_are_an_empty_answer(books: Books) -> None:
    assert ask(books).empty
    assert ask(books, type="x", issue=3, since=0).empty


# -- on a terminal


def test_each_event_is_one_line_however_much_it_says(books: Books) -> None:
    books.events(event("a", 0, error="\n\x1b[2J" + "long " * 200), event("b" * 90, 1, "i" * 90, stage="s" * 90))

    lines = printed(ask(books), width=80)
    assert len(lines) == 4
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in "".join(lines)


def test_nothing_is_cut_where_nobody_looks_on(books: Books) -> None:
    books.events(event("a", 0, error="long " * 50))

    assert "long " * 49 + "long" in printed(ask(books), width=80, terminal=False)[-1]


def test_a_line_says_the_error_first_and_the_payload_like_other_fields(books: Books) -> None:
    inside = '{"stage":"plan","timing":"5s"}'
    books.events(event("a", 0, retry=2, error="why", event_id="e-1"), event("b", 1, payload=inside))

    _, _, second, first = printed(ask(books))
    assert first.endswith("why · retry=2")
    assert second.endswith("stage=plan timing=5s")


@pytest.mark.parametrize("payload", ['"{"', "[1]", '"[[1]]"', "null", '"null"', "5"])
def test_a_payload_of_any_shape_is_shown(books: Books, payload: str) -> None:
    books.lines([b'{"type":"odd","payload":%s}' % payload.encode()])

    assert "odd" in printed(ask(books))[-1]


def test_a_page_that_goes_on_names_the_cursor(books: Books) -> None:
    ticks(books, "a", "b")

    assert printed(ask(books, limit=1))[-1] == "There are more: --cursor 2"


def test_lines_that_follow_have_no_head(books: Books) -> None:
    ticks(books, "a", "b")
    out = io.StringIO()
    follow(ask(books).events, Page(Console(file=out, width=80, force_terminal=True, color_system=None)))

    assert [text.split()[2] for text in out.getvalue().splitlines()] == ["b", "a"]


def test_what_was_stored_behind_an_event_comes_oldest_first(books: Books) -> None:
    ticks(books, "a", "b", "c")
    question = Question(now=NOON, period=Period(None, YEAR_10000))

    assert [(end, [e.type for e in found]) for end, found in activity.since(books.db, question, 1)] == [(3, ["b", "c"])]
    assert list(activity.since(books.db, question, 3)) == []


@pytest.mark.parametrize(
    "given", [{"stage": "build"}, {"model": "opus"}, {"developer": "Ada"}, {"developer": "Ada@m1"}]
)
def test_what_is_rare_is_found_without_looking_through_all_there_is(books: Books, given: dict[str, Any]) -> None:
    ticks(books, *["tick"] * 2_000)
    asked = Question(now=NOON, period=Period(None, YEAR_10000), **given)
    assert [ids for _, ids in search(books.db, asked, 10_000)] == [[]]

    books.events(event("one", 3_000, stage="build", model="opus"))
    team(books, {**event("two", 3_001), "from_developer": "Ada", "from_machine": "m1"})
    ticks(books, *["tick"] * 2_000)
    team(books, *({**event("tick", 3_002), "from_developer": "Eve", "from_machine": "m1"} for _ in range(2)))

    found = [ids for _, ids in search(books.db, asked, newest(books.db) + 1)]
    assert [len(ids) for ids in found] == [1]


def test_a_page_stops_searching_for_filters_that_never_meet_and_says_where_to_go_on(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "FIRST_IDS", 2)
    monkeypatch.setattr(activity, "MOST_IDS", 2)
    monkeypatch.setattr(activity, "MOST_STEPS", 3)
    books.events(event("both", 0, stage="build", model="opus"))
    books.events(*(event("one", 1, **field) for _ in range(10) for field in ({"stage": "build"}, {"model": "opus"})))

    first = ask(books, stage="build", model="opus")
    assert (first.events, first.has_more, first.empty) == ([], True, False)

    pages = [first]
    while (cursor := pages[-1].next_cursor) is not None:
        pages.append(ask(books, stage="build", model="opus", cursor=cursor))
    assert [types(page) for page in pages[1:-1]] == [[]] * (len(pages) - 2)
    assert types(pages[-1]) == ["both"]
