"""When a rewrite counts as finished, whatever the clocks do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from shipwrightd.clock import Now
from shipwrightd.journals.settle import JUMP_S, PATIENCE, Clocks, Settling

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


class Watch:
    """A file that is polled, and the clocks it is judged by."""

    def __init__(self) -> None:
        self.clocks = Clocks()
        self.settling = Settling(self.clocks)

    def is_settled(self, info: os.stat_result, now: Now) -> bool:
        """Poll once."""
        self.clocks.compare(now)
        return self.settling.is_settled(info, SETTLE_S, now)


def test_an_old_file_is_settled_at_once_and_a_fresh_one_after_a_while(info: os.stat_result) -> None:
    assert Watch().is_settled(info, at(0, 60))
    watch = Watch()
    assert [watch.is_settled(info, at(second, second)) for second in (0, 1, 2.5)] == [False, False, True]


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0])
def test_after_a_jump_of_the_clock_only_quiet_counts(info: os.stat_result, jump: float) -> None:
    """A machine that slept looks just like a clock that was set forward: who wrote the file slept, too."""
    watch = Watch()
    assert not watch.is_settled(info, at(0, 0.5))
    assert not watch.is_settled(info, at(1, 1.5 + jump)), "it is a second old"
    assert watch.is_settled(info, at(2.5, 3 + jump))


def test_ages_count_again_some_time_after_a_jump(info: os.stat_result) -> None:
    watch = Watch()
    watch.clocks.compare(at(0, 0))
    watch.clocks.compare(at(1, 3_600))
    assert watch.is_settled(info, at(1 + SETTLE_S, 3_602))


@pytest.mark.parametrize(("drift", "jumped"), [(0.0, False), (JUMP_S, False), (JUMP_S + 0.25, True)])
def test_only_a_larger_change_between_two_polls_is_a_jump(drift: float, *, jumped: bool) -> None:
    clocks = Clocks()
    clocks.compare(at(0, 0))
    clocks.compare(at(1, 1 + drift))
    assert (clocks.jumped == 1) is jumped


def test_slow_drift_is_no_jump(info: os.stat_result) -> None:
    watch = Watch()
    for second in range(10):
        watch.clocks.compare(at(second, 60 + second * 1.01))
    assert watch.settling.is_settled(info, SETTLE_S, at(9.1, 70))


def test_a_file_from_the_future_is_settled_when_it_is_left_alone(info: os.stat_result) -> None:
    watch = Watch()
    assert [watch.is_settled(info, at(second, second - 7_200)) for second in (0, 1, 2)] == [False, False, True]


def written(info: os.stat_result, second: float) -> os.stat_result:
    """Return the state of the file when it is written to at some second."""
    path = ["st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime"]
    values = [getattr(info, name) for name in path]
    values[-1] = int(WRITTEN + second)
    return os.stat_result(
        [*values, int(info.st_ctime)], {"st_mtime": WRITTEN + second, "st_mtime_ns": int(second * 1e9)}
    )


def test_a_file_that_is_written_to_all_the_time_is_waited_for_so_long_and_no_longer(info: os.stat_result) -> None:
    watch = Watch()
    last = int(PATIENCE * SETTLE_S)
    answers = [watch.is_settled(written(info, second), at(second, second)) for second in range(last + 1)]
    assert answers == [False] * last + [True]


def test_waiting_begins_again_after_a_restart(info: os.stat_result) -> None:
    watch = Watch()
    assert not watch.is_settled(info, at(0, 0))
    watch.settling.restart()
    assert [watch.is_settled(info, at(second, 0)) for second in (1.5, 3, 3.5)] == [False, False, True]
