"""The team as `report team` gives it: presence, jobs and queues, this machine; garbage is left out and never raises."""

from __future__ import annotations

import io
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from document_samples import take
from hypothesis import given, settings
from hypothesis import strategies as st
from projection import NOON, event, stage, started
from rich.console import Console

from shipwrightd.reports import team
from shipwrightd.reports.question import Period, Question
from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.lists import team as show

if TYPE_CHECKING:
    from projection import Books

    from shipwrightd.reports.team import Session, Team

DAY_S = 86_400
QUICK = settings(max_examples=60)
SET = "UPDATE sessions SET last_heartbeat_ms = ?, active_jobs = ?, queued = ?, daemon_running = ?, daemon_pid = ?"


def json_or_none(value: object) -> str | None:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # beyond 64 bits
        return None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["issue", "title", "stage"]), inner),
)
texts = st.none() | st.text(max_size=8) | json_values.map(json_or_none)


def developer(name: str = "Ada", machine: str = "m1", silent_s: float = 0, **more: object) -> dict[str, object]:
    """Return an entry of the registry whose heartbeat was so long before noon."""
    entry = {"developer_id": name, "machine_name": machine, "last_heartbeat": int((NOON - silent_s) * 1000)}
    return {**entry, "active_jobs": [], "queued": [], **more}


def ask(books: Books, name: str | None = None) -> Team:
    return team.collect(books.db, Question(now=NOON, period=Period(None, NOON + 1), developer=name))


def registered(books: Books, *entries: dict[str, object]) -> Team:
    take(books.db, "developer-registry.json", list(entries))
    return ask(books)


def only(answer: Team) -> Session:
    (session,) = answer.sessions
    return session


@pytest.mark.parametrize(
    ("silent_s", "presence", "stale"),
    [
        (-60, "online", False),
        (0, "online", False),
        (29.999, "online", False),
        (30, "idle", False),
        (119.999, "idle", False),
        (120, "offline", False),
        (DAY_S, "offline", False),
        (DAY_S + 1, "offline", True),
    ],
)
def test_presence_follows_from_the_last_heartbeat(books: Books, silent_s: float, presence: str, *, stale: bool) -> None:
    session = only(registered(books, developer(silent_s=silent_s)))

    assert (session.presence, session.stale) == (presence, stale)
    assert session.silent_s == max(0, silent_s)


@pytest.mark.parametrize("heartbeat", [0, None, -5, "soon", 10**18])
def test_who_is_disconnected_or_has_no_sensible_heartbeat_is_offline(books: Books, heartbeat: object) -> None:
    session = only(registered(books, developer(last_heartbeat=heartbeat)))

    assert (session.presence, session.last_seen, session.silent_s, session.stale) == ("offline", None, None, True)


def test_totals_are_those_of_the_sessions(books: Books) -> None:
    job = {"issue": 7, "title": "Fix", "stage": "build"}
    found = registered(
        books,
        developer("Ada", active_jobs=[job, job], queued=[1]),
        developer("Bob", silent_s=60, active_jobs=[job]),
        developer("Eve", silent_s=600, queued=["2", "acme/x:3"]),
    )

    assert (found.online, found.idle, found.offline) == (1, 1, 1)
    assert (found.active_jobs, found.queued) == (3, 3)
    assert [session.developer for session in found.sessions] == ["Ada", "Bob", "Eve"]


def test_who_is_gone_from_the_registry_is_not_listed(books: Books) -> None:
    registered(books, developer("Ada"), developer("Bob"))

    assert [session.developer for session in registered(books, developer("Bob")).sessions] == ["Bob"]


def test_developer_is_a_name_or_a_name_at_a_machine(books: Books) -> None:
    registered(books, developer("Ada", "m1"), developer("Ada", "m2"), developer("Adam", "m1"))

    assert [session.id for session in ask(books, "Ada").sessions] == ["Ada@m1", "Ada@m2"]
    assert [session.id for session in ask(books, "Ada@m2").sessions] == ["Ada@m2"]
    assert ask(books, "Ad").empty
    assert ask(books, "Ada").this_machine is None


def test_a_job_without_issue_title_or_stage_is_a_job(books: Books) -> None:
    found = registered(books, developer(active_jobs=[{"issue": 0, "title": "", "stage": None}, {"issue": "acme/x:1"}]))

    assert [(job.issue, job.title, job.stage) for job in only(found).active_jobs] == [
        (None, None, None),
        ("acme/x:1", None, None),
    ]


def test_events_of_the_last_day_are_counted_where_they_came_from(books: Books) -> None:
    seconds = [0, -10, -DAY_S, -DAY_S - 1, 5]
    sent = [event("a", second, from_developer="Ada", from_machine="m1") for second in seconds]
    books.lines([orjson.dumps(found) for found in sent], team=True)
    books.events(event("own", 0))

    assert only(registered(books, developer())).events_24h == 3


@QUICK
@given(
    heartbeat=st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats(allow_nan=False) | st.text(max_size=3),
    jobs=texts,
    queue=texts,
    running=st.none() | st.integers(-1, 2) | st.just("yes"),
)
def test_garbage_never_raises(books: Books, heartbeat: Any, jobs: Any, queue: Any, running: Any) -> None:
    registered(books, developer())
    books.db.execute(SET, (heartbeat, jobs, queue, running, running))
    answer = ask(books)

    show(answer, Page(Console(file=io.StringIO(), width=80)))
    assert len(list(team.rows(answer))) == 1
    assert orjson.dumps(asdict(answer))


def test_this_machine_is_told_from_its_own_files(books: Books) -> None:
    take(
        books.db,
        "daemon-state.json",
        {
            "pid": 42,
            "started_at": "2026-01-05T11:00:00Z",
            "config": {"poll_interval": 60, "max_parallel": 2},
            "active_jobs": [{"issue": 7, "pid": 43, "title": "Fix", "started_at": "2026-01-05T11:50:00Z", "repo": ""}],
            "queued": ["9", "acme/x:10"],
            "titles": {"9": "Next"},
        },
    )
    books.events(started(-500), stage(-400, "plan", "started"), stage(-300, "plan"), stage(-200, "build", "started"))
    take(books.db, "heartbeats/fast.json", {"pid": 43, "stage": "build", "updated_at": "2026-01-05T11:59:00Z"})

    here = ask(books).this_machine
    assert here is not None
    assert (here.daemon_known, here.pid, here.poll_interval_s, here.max_parallel) == (True, 42, 60, 2)
    assert [(job.issue, job.title, job.repo, job.running_s, job.stage) for job in here.jobs] == [
        (7, "Fix", None, 600, "build")
    ]
    assert [(item.id, item.repo, item.title) for item in here.queue] == [
        ("9", None, "Next"),
        ("acme/x:10", "acme/x", None),
    ]
    assert [(beat.job, beat.stage, beat.silent_s) for beat in here.heartbeats] == [("fast", "build", 60)]


@pytest.mark.parametrize("config", [None, [], "x", {"poll_interval": "often", "max_parallel": True}])
def test_settings_of_the_daemon_that_are_no_numbers_are_left_out(books: Books, config: object) -> None:
    take(books.db, "daemon-state.json", {"pid": 42, "config": config})

    here = ask(books).this_machine
    assert here is not None
    assert (here.poll_interval_s, here.max_parallel) == (None, None)


def test_nobody_and_nothing_is_an_empty_answer(books: Books) -> None:
    assert ask(books).empty
    assert not registered(books, developer()).empty


def test_rows_count_jobs_and_queue_and_name_their_issues(books: Books) -> None:
    found = registered(books, developer(active_jobs=[{"issue": 7}, {"issue": None}], queued=[1, "acme/x:3"]))

    (row,) = team.rows(found)
    assert (row["active_jobs"], row["active_issues"]) == (2, "7")
    assert (row["queued"], row["queued_issues"]) == (2, "1 acme/x:3")


def test_shown_are_names_jobs_and_queue(books: Books) -> None:
    take(books.db, "daemon-state.json", {"pid": 42, "queued": ["9"]})
    job = {"issue": 7, "title": "Fix\x1b[2J", "stage": "build"}
    answer = registered(books, developer(silent_s=15, active_jobs=[job], queued=list(range(1, 12))))
    out = io.StringIO()
    show(answer, Page(Console(file=out, width=160)))

    text = out.getvalue()
    assert re.search(r"Ada@m1 +online +15 s +- +0 +1 2 3 4 5 6 7 8 \+3", text)
    assert re.search(r"Ada@m1 +#7 +build +Fix\\x1b\[2J", text)
    assert "daemon pid 42" in text
