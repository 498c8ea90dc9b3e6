"""Whatever is asked of the events, and whatever arrives meanwhile: all that is meant, once, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipwrightd.database import open_writer, transaction
from shipwrightd.journals.store import add_events
from shipwrightd.reports import activity
from shipwrightd.reports.question import Period, Question

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

NOW = 1_768_410_120
LATER = 1 << 40  # an end that is none
QUICK = settings(max_examples=200)
ALL = "SELECT id, type, issue, stage, model, origin, ts_epoch FROM events ORDER BY id DESC"
TEAM = "team-events.jsonl/"

types = st.sampled_from(["stage", "stage.started", "stage.a", "stage.", "stage/x", "stages", "daemon.poll", "", None])
issues = st.sampled_from([7, 7, None, 8, "acme/x:9"])
stages = st.sampled_from([None, "build"])
models = st.sampled_from([None, "opus"])
times = st.none() | st.integers(NOW - 5, NOW + 5)
origins = st.sampled_from(
    ["events.jsonl"] * 4 + [f"{TEAM}{who}" for who in ("Ada@a", "Ada@b", "Ada@b.org@a", "Adam@a", "AdaM@a")]
)
rows = st.tuples(types, issues, stages, models, origins, times)
batches = st.lists(rows, max_size=12)


@pytest.fixture
def db(database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[apsw.Connection]:
    """Return a database whose few rows are many, measured by what is looked at or asked for at a time."""
    for name, few in {
        "FIRST_IDS": 1,
        "MOST_IDS": 2,
        "NEWEST_STEPS": 1,
        "BLOCK_BITS": 1,
        "MOST_STEPS": 100,
        "MOST_TYPES": 3,
    }.items():
        monkeypatch.setattr(activity, name, few)
    opened = open_writer(database)
    yield opened
    opened.close()


def store(db: apsw.Connection, batch: list[Any]) -> None:
    made = [
        (None, ts, kind, issue, stage, None, None, None, model, origin, 0, None)
        for kind, issue, stage, model, origin, ts in batch
    ]
    with transaction(db):
        add_events(db, made)


def begin(db: apsw.Connection, batch: list[Any]) -> None:
    db.execute("DELETE FROM events")
    store(db, batch)


FILTERS = {
    "type": st.sampled_from(["stage", "stage", "stage.started", "daemon.poll", ""]),
    "issue": st.sampled_from([7, 8, "acme/x:9"]),
    "stage": st.just("build"),
    "model": st.just("opus"),
    "developer": st.sampled_from(["Ada", "Ada@a", "Ada@b.org", "nobody"]),
}
PERIODS = st.builds(Period, st.none() | st.integers(NOW - 5, NOW), st.sampled_from([LATER, NOW + 1, NOW + 5]))


@st.composite
def questions(draw: st.DrawFn) -> Question:
    """Draw a question of at most two filters, so that much is meant by it, or little."""
    names = draw(st.sets(st.sampled_from(sorted(FILTERS)), max_size=2))
    given: dict[str, Any] = {name: draw(FILTERS[name]) for name in sorted(names)}
    period = draw(st.just(Period(None, LATER)) | PERIODS)
    return Question(now=NOW, period=period, limit=draw(st.integers(1, 5)), **given)


def meant(db: apsw.Connection, asked: Question) -> list[int]:
    """Return the ids of what is meant, found by looking at each row."""
    return [row[0] for row in db.execute(ALL) if is_meant(row, asked)]


def is_meant(row: Any, asked: Question) -> bool:
    _, kind, issue, stage, model, origin, ts = row
    since, until = asked.period.since, asked.period.until
    anytime = since is None and until == LATER
    return all(
        (
            asked.type is None or kind == asked.type or (kind or "").startswith(f"{asked.type}."),
            asked.issue in {None, issue},
            asked.stage in {None, stage},
            asked.model in {None, model},
            is_from(origin, asked.developer),
            anytime or (ts is not None and (since is None or ts >= since) and ts < until),
        )
    )


def is_from(origin: str, developer: str | None) -> bool:
    if developer is None:
        return not origin.startswith("team-events.jsonl")
    return origin == TEAM + developer or origin.startswith(f"{TEAM}{developer}@")


@QUICK
@given(batch=st.lists(rows, max_size=60), asked=questions())
def test_every_way_to_look_finds_what_looking_at_each_row_finds(
    db: apsw.Connection, batch: list[Any], asked: Question
) -> None:
    begin(db, batch)
    assert searched(db, asked, activity.newest(db) + 1) == meant(db, asked)


def searched(db: apsw.Connection, asked: Question, below: int) -> list[int]:
    return [id_ for _, ids in activity.search(db, asked, below) for id_ in ids]


@QUICK
@given(first=st.lists(rows, max_size=40), later=st.lists(batches, max_size=6), asked=questions())
def test_pages_by_cursor_hold_each_event_once_while_more_arrive(
    db: apsw.Connection, first: list[Any], later: list[list[Any]], asked: Question
) -> None:
    begin(db, first)
    there = meant(db, asked)
    arriving = iter(later)
    found: list[int] = []
    cursor: str | None = None
    while True:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(activity, "MOST_STEPS", 3)
            page = activity.collect(db, replaced(asked, cursor))
        found += [event.id for event in page.events]
        assert page.has_more == (page.next_cursor is not None)
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
        store(db, next(arriving, []))
    assert found == there


def replaced(asked: Question, cursor: str | None, offset: int = 0) -> Question:
    given = {name: getattr(asked, name) for name in ("type", "issue", "stage", "model", "developer", "limit")}
    return Question(now=asked.now, period=asked.period, cursor=cursor, offset=offset, **given)


@QUICK
@given(batch=st.lists(rows, max_size=40), asked=questions(), offset=st.integers(0, 20))
def test_offset_leaves_out_as_many(db: apsw.Connection, batch: list[Any], asked: Question, offset: int) -> None:
    begin(db, batch)
    page = activity.collect(db, replaced(asked, None, offset))
    everything = meant(db, asked)
    assert asked.limit is not None
    assert [event.id for event in page.events] == everything[offset : offset + asked.limit]
    assert page.has_more == (len(everything) > offset + asked.limit)


@QUICK
@given(batches=st.lists(batches, min_size=1, max_size=6), asked=questions())
def test_looks_for_what_is_new_find_each_event_once_and_in_order(
    db: apsw.Connection, batches: list[list[Any]], asked: Question
) -> None:
    begin(db, [])
    after = 0
    found: list[int] = []
    for batch in batches:
        store(db, batch)
        for end, events in activity.since(db, asked, after):
            found += [event.id for event in events]
            after = end
    assert found[::-1] == meant(db, asked)


@pytest.mark.parametrize("count", range(1, 18))
def test_where_one_look_ends_and_the_next_begins_nothing_is_lost_or_doubled(db: apsw.Connection, count: int) -> None:
    """All rows alike, so that each border between probe, blocks and stretches lies between two that are meant."""
    begin(db, [("stage", 7, "build", None, "events.jsonl", NOW)] * count)
    always, lately = Period(None, LATER), Period(NOW - 1, NOW + 1)
    for period in (always, lately):
        for fields in ({}, {"type": "stage"}, {"issue": 7}, {"stage": "build"}, {"type": "stage", "issue": 7}):
            asked = Question(now=NOW, period=period, **fields)
            assert searched(db, asked, count + 1) == list(range(count, 0, -1)), (period, fields)
