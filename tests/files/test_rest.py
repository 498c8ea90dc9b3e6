"""When a file counts as at rest, whatever the clocks do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shipwrightd.clock import Now
from shipwrightd.journals.settle import Rest

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_S = 2.0
WRITTEN = 1_767_600_000.0


@pytest.fixture
def info(tmp_path: Path) -> os.stat_result:
    """Return the state of a file that was written at a known time."""
    path = tmp_path / "file"
    path.touch()
    os.utime(path, (WRITTEN, WRITTEN))
    return path.stat()


def at(monotonic: float, wall: float) -> Now:
    return Now(monotonic, WRITTEN + wall, "")


def look(rest: Rest, info: os.stat_result, now: Now) -> bool:
    rest.compare_clocks(now)
    return rest.is_settled(info, SETTLE_S, now)


def test_old_file_is_at_rest_at_once_and_a_fresh_one_after_a_while(info: os.stat_result) -> None:
    assert look(Rest(), info, at(0, 60))
    rest = Rest()
    assert [look(rest, info, at(second, second)) for second in (0, 1, 2.5)] == [False, False, True]


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0])
def test_after_a_jump_of_the_clock_only_rest_counts(info: os.stat_result, jump: float) -> None:
    """A machine that slept looks just like a clock that was set forward: who wrote the file slept, too."""
    rest = Rest()
    assert not look(rest, info, at(0, 0.5))
    assert not look(rest, info, at(1, 1.5 + jump)), "it is a second old"
    assert look(rest, info, at(2.5, 3 + jump))


def test_trust_comes_back(info: os.stat_result) -> None:
    rest = Rest()
    rest.compare_clocks(at(0, 0))
    rest.compare_clocks(at(1, 3_600))
    assert look(rest, info, at(4, 3_603)), "two seconds later ages count again"


def test_slow_drift_is_no_jump(info: os.stat_result) -> None:
    rest = Rest()
    for second in range(10):
        rest.compare_clocks(at(second, 60 + second * 1.01))
    assert rest.is_settled(info, SETTLE_S, at(9.1, 70))


def test_file_from_the_future_is_at_rest_when_it_is_left_alone(info: os.stat_result) -> None:
    rest = Rest()
    assert [look(rest, info, at(second, second - 7_200)) for second in (0, 1, 2)] == [False, False, True]
