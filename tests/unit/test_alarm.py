"""When somebody is told of an error that stands, and when that it is over."""

from __future__ import annotations

import pytest

from shipwrightd.daemon import PassReport
from shipwrightd.monitoring.hook import (
    QUIET_S,
    RAISED,
    RESOLVED,
    TEXTS,
    Alarms,
    Notice,
    Trouble,
    open_troubles,
    payload,
)

WAITING = Trouble("database_waiting")
JOURNAL = Trouble("source_error", "events.jsonl")
AFTER_S = 60.0


class Story:
    """Steps of an alarm, a second apart."""

    def __init__(self, after_s: float = AFTER_S) -> None:
        self.alarms = Alarms()
        self.now = 1_000.0
        self.after_s = after_s

    def goes_on(self, seconds: float, *found: Trouble) -> list[tuple[str, Trouble]]:
        """Let these troubles stand for so long; return what was told."""
        told: list[Notice] = []
        for _ in range(round(seconds)):
            told += self.alarms.step(set(found), now=self.now, after_s=self.after_s)
            self.now += 1
        return [(notice.event, notice.trouble) for notice in told]


def test_what_stands_is_raised_once_and_resolved_once_when_it_is_gone_for_as_long() -> None:
    story = Story()

    assert story.goes_on(60, WAITING) == []
    assert story.goes_on(1, WAITING) == [(RAISED, WAITING)]
    assert story.goes_on(10_000, WAITING) == []
    assert story.goes_on(60) == []
    assert story.goes_on(1) == [(RESOLVED, WAITING)]
    assert story.goes_on(10_000) == []


def test_what_passes_is_not_told() -> None:
    story = Story()

    told = [story.goes_on(59, WAITING) + story.goes_on(1) for _ in range(100)]

    assert told == [[]] * 100


def test_what_comes_back_before_it_is_resolved_is_the_same() -> None:
    story = Story()

    assert story.goes_on(61, JOURNAL) == [(RAISED, JOURNAL)]
    assert [story.goes_on(59) + story.goes_on(1, JOURNAL) for _ in range(100)] == [[]] * 100


@pytest.mark.parametrize("after_s", [0.0, 1.0])
def test_what_flaps_is_raised_at_most_every_few_minutes(after_s: float) -> None:
    story = Story(after_s)
    told = [notice for _ in range(600) for notice in story.goes_on(2, WAITING) + story.goes_on(2)]

    assert told.count((RAISED, WAITING)) == pytest.approx(2_400 / QUIET_S, abs=1)
    assert told.count((RESOLVED, WAITING)) <= told.count((RAISED, WAITING))


def test_without_a_wait_it_is_told_at_once() -> None:
    story = Story(0.0)

    assert story.goes_on(1, JOURNAL, WAITING) == [(RAISED, WAITING), (RAISED, JOURNAL)]
    assert story.goes_on(1, WAITING) == [(RESOLVED, JOURNAL)]


def test_it_says_for_how_long_it_stood() -> None:
    alarms = Alarms()
    alarms.step({WAITING}, now=10.0, after_s=5)
    (raised,) = alarms.step({WAITING}, now=16.0, after_s=5)
    alarms.step(set(), now=20.0, after_s=5)
    (resolved,) = alarms.step(set(), now=26.0, after_s=5)

    assert (raised.stood_s, resolved.stood_s) == (6.0, 10.0)


def test_the_troubles_of_a_turn_name_kinds_of_sources_and_nothing_else() -> None:
    errors = {f"memory/{number}/failures.json": "secret" for number in range(3)} | {"heartbeats/secret.json": "x"}
    found = open_troubles(PassReport(0, errors=errors, trouble=["secret"], waiting="secret"))

    assert found == {
        Trouble("source_error", "memory/*/failures.json"),
        Trouble("source_error", "heartbeats/*.json"),
        Trouble("database_waiting"),
        Trouble("watching_degraded"),
    }
    assert open_troubles(PassReport(0)) == frozenset()


def test_each_state_has_its_words() -> None:
    assert {state for state, _ in TEXTS} == {"source_error", "database_waiting", "watching_degraded"}
    assert payload(Notice(RAISED, JOURNAL, 0.0), 0.0)["text"] == "a source cannot be read: events.jsonl"
    assert payload(Notice(RESOLVED, WAITING, 0.0), 0.0)["text"] == "the database can be written again"
