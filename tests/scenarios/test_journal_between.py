"""What happens to a journal between two calls to the system: a copy, an exchange, a file that cannot be read."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from obstacles import make_unreadable
from world import Follower, World, doubles, line

from shipwrightd import clock
from shipwrightd.journals import JOURNALS, reconcile
from shipwrightd.journals import lines as tail
from shipwrightd.journals.follow import Journal
from shipwrightd.journals.records import Records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import CodeType, FrameType


@contextmanager
def once_at(code: CodeType, action: Callable[[], None]) -> Iterator[None]:
    """Do something when a function is entered for the first time."""
    done: list[FrameType] = []

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is code and not done:
            done.append(frame)
            action()

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert done


def assert_each_once(world: World) -> None:
    stored = world.stored()
    assert doubles(stored) == []
    assert set(world.in_files()) <= set(stored)


def test_an_unread_file_that_is_copied_and_emptied_right_before_it_is_read_is_read_from_its_copy(world: World) -> None:
    world.events.touch()
    follower = Follower(world)
    follower.look()
    world.append(30)

    def copy_and_empty() -> None:
        world.copy_and_truncate()
        world.append(5)

    with once_at(Records.pull.__code__, copy_and_empty):
        follower.poll()
    follower.settle()
    follower.close()
    assert sorted(world.stored()) == list(range(1, 36))


@pytest.mark.parametrize("rotations", [1, 2])
def test_files_that_fall_off_the_chain_while_they_wait_are_read_in_order(world: World, rotations: int) -> None:
    for _ in range(3):
        world.append(5)
        world.rotate()
    with closing(Follower(world)) as follower:
        follower.poll()  # opens them
        for _ in range(rotations):
            world.rotate()
            follower.poll()
        world.append(5)
        follower.settle()
    assert world.stored() == list(range(1, 21))
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_an_inode_number_that_comes_back_with_the_same_first_lines_is_compared(
    world: World, follower: Follower
) -> None:
    world.append(3)
    again = world.home.parent / "again.jsonl"
    again.hardlink_to(world.events)  # keeps the number
    follower.poll()  # opens it; it has no name any more when it is read
    world.replace(world.events.read_bytes() + b"".join(world.lines(20)))
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    world.written += 1
    again.write_bytes(b"".join([*lines[:5], line(world.written, edited=True), *lines[6:]]))
    again.rename(world.events)
    follower.restart()
    follower.settle()
    world.append(3)
    follower.settle()
    assert world.stored() == list(range(1, 28))


def test_a_blank_line_is_no_sign_that_a_sibling_was_read(world: World) -> None:
    world.events.touch()
    follower = Follower(world)
    follower.look()
    with world.events.open("ab") as file:
        file.write(b"\n")
    world.append(30)
    world.copy_and_truncate()
    world.append(5)
    with world.events.open("ab") as file:
        file.write(b"\n")
    follower.settle()
    follower.close()
    assert_each_once(world)


def test_a_file_exchanged_between_two_calls_and_back_is_read(world: World) -> None:
    world.append(10)
    follower = Follower(world)
    follower.settle()
    world.events.unlink()
    world.append(5)
    away = world.events.with_name("away")

    def exchange() -> None:
        world.events.rename(away)
        world.events.touch()

    with once_at(tail.open_files.__code__, exchange):
        follower.poll()
    away.rename(world.events)
    follower.settle()
    follower.close()
    assert_each_once(world)


def test_a_file_written_over_between_comparison_and_anchor_is_compared_again(world: World) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    world.events.write_bytes(world.tail(300))

    def again() -> None:
        world.events.write_bytes(b"".join(world.lines(600)))

    with once_at(reconcile.position_behind.__code__, again):
        follower.settle()
    follower.close()
    assert_each_once(world)


def test_a_file_written_over_after_the_database_was_asked_of_it_is_asked_of_again(world: World) -> None:
    world.append(300)
    follower = Follower(world)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    world.events.write_bytes(b"".join(lines[1::2]))

    def again() -> None:
        world.events.write_bytes(b"".join(world.lines(200)))

    with once_at(reconcile.position_behind.__code__, again):
        follower.settle()
    follower.close()
    assert_each_once(world)


def test_a_file_written_over_behind_an_overlong_line_is_read_whole(world: World) -> None:
    world.append(3)
    with world.events.open("ab") as file:
        file.write(b'{"ts":"2026-01-05T08:00:00Z","type":"open","note":"first\n' + b"x" * (17 << 20) + b"\n")
    follower = Follower(world)
    journal = Journal(JOURNALS[0], world.home, settle_s=0.05)
    journal.stop = lambda: True  # a chunk at a time
    while not world.query("SELECT 1 FROM quarantine"):
        journal.poll(follower.db, clock.now())
    world.events.write_bytes(b"".join(line(seq, pad="y" * 10_000) for seq in range(100, 2_100)))
    for _ in range(4):
        journal.poll(follower.db, clock.now())
    journal.close()
    follower.settle()
    follower.close()
    assert_each_once(world)


def test_late_lines_are_read_though_another_file_that_left_the_path_cannot_be(world: World, tmp_path: Path) -> None:
    world.append(30)
    follower = Follower(world)
    follower.settle()
    slow = []
    for _ in range(2):
        slow.append(world.events.open("ab", buffering=0))
        world.trim(20)
        world.append(10)
        follower.settle()
    make_unreadable(slow[0].fileno(), tmp_path)
    slow[1].write(b"".join(world.lines(3)))
    follower.settle()
    for file in slow:
        file.close()
    assert "cannot read events.jsonl" in follower.catch_up.errors["events.jsonl"]
    follower.close()
    assert sorted(world.stored()) == list(range(1, world.written + 1))


def test_the_new_file_is_read_though_the_open_one_cannot_be_any_more(world: World, tmp_path: Path) -> None:
    world.append(30)
    follower = Follower(world)
    follower.settle()
    with world.events.open("ab") as old:
        world.trim(20)
        world.append(10)
        make_unreadable(old.fileno(), tmp_path)
        follower.settle()
    follower.close()
    assert_each_once(world)


def test_a_file_that_cannot_be_looked_at_is_closed_again(world: World) -> None:
    world.append(3)
    follower = Follower(world)
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the folder is of this very moment

    def fail(frame: FrameType, event: str, what: object) -> None:
        if event == "c_call" and what is os.fstat and frame.f_code is tail.open_journal.__code__:
            raise OSError(errno.EIO, "made to fail")

    sys.setprofile(fail)
    try:
        with pytest.raises(OSError, match="made to fail"):
            follower.poll()
    finally:
        sys.setprofile(None)
    after = len(os.listdir("/dev/fd"))  # noqa: PTH208
    follower.close()
    assert after == before
