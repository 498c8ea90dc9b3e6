"""Late writers to files that left the journal's path, and files that cannot be read for a while."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from obstacles import make_unreadable
from world import Follower, World, line

from shipwrightd import clock
from shipwrightd.journals import lines as journal_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType

MINUTES_S = 660.0  # more than the ten for which late lines are waited for
POLLS = 40


def poll_later(follower: Follower, by_s: float) -> None:
    """Poll until there is nothing more, as if so much time had passed."""
    now = clock.now()
    later = clock.Now(now.monotonic + by_s, now.wall + by_s, now.text)
    for _ in range(POLLS):
        if not follower.catch_up.journals[0].poll(follower.db, later).more:
            break


@contextmanager
def failing_once(path: Path) -> Iterator[None]:
    """Have the first read of this file fail, as on a bad block."""
    inode = path.stat().st_ino

    def fail(frame: FrameType, event: str, what: object) -> None:
        reads = event == "c_call" and what is os.pread and frame.f_code is journal_lines.read_at.__code__
        if reads and os.fstat(frame.f_locals["fd"]).st_ino == inode:
            raise OSError(errno.EIO, "made to fail", str(path))

    sys.setprofile(fail)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_the_grace_of_a_late_writer_begins_when_the_file_loses_its_last_name(world: World, follower: Follower) -> None:
    world.append(20)
    follower.settle()
    with world.events.open("ab", buffering=0) as late:
        for _ in range(3):
            world.rotate()
            world.append(5)
            follower.settle()
        poll_later(follower, MINUTES_S)
        world.rotate()
        world.append(5)
        poll_later(follower, MINUTES_S + 1)
        late.write(line(9_999))
        poll_later(follower, MINUTES_S + 2)
    assert 9_999 in world.stored()


def test_a_late_line_of_a_rotated_file_is_stored_though_it_comes_in_two_writes(
    world: World, follower: Follower
) -> None:
    world.append(20)
    follower.settle()
    whole = line(9_999)
    with world.events.open("ab", buffering=0) as late:
        world.rotate()
        world.append(5)
        follower.settle()
        poll_later(follower, MINUTES_S)
        late.write(whole[:40])
        poll_later(follower, MINUTES_S + 1)
        late.write(whole[40:])
        poll_later(follower, MINUTES_S + 2)
    assert 9_999 in world.stored()
    assert world.query("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_rotated_file_that_cannot_be_read_stops_no_other_and_is_named(world: World, tmp_path: Path) -> None:
    for _ in range(2):
        world.append(20)
        world.rotate()
    world.append(20)
    with closing(Follower(world)) as follower, (world.home / "events.jsonl.2").open("rb") as bad:
        follower.poll()  # opens all
        make_unreadable(bad.fileno(), tmp_path)
        follower.look()
        assert world.stored() == list(range(21, 61))
        assert list(follower.catch_up.errors) == ["events.jsonl.2"]
        follower.restart()
        follower.settle()
        assert sorted(world.stored()) == list(range(1, 61))
        assert follower.catch_up.errors == {}


def test_a_file_that_cannot_be_read_when_it_is_opened_keeps_no_descriptors(world: World, follower: Follower) -> None:
    world.append(20)
    world.rotate()
    world.append(20)
    follower.settle()
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the folder is of this very moment
    for _ in range(5):
        follower.restart()
        with failing_once(world.home / "events.jsonl.1"):
            follower.look()
    follower.settle()
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
    assert world.stored() == list(range(1, 41))


def test_a_record_and_the_bytes_glued_to_it_are_stored_together_or_not_at_all(world: World, follower: Follower) -> None:
    world.append(30)
    follower.settle()
    lines = world.in_file()
    world.replace(b"\r\n".join([*lines[:2], lines[9] + b" ###junk", *lines[2:]]) + b"\r\n")
    follower.settle()
    assert sorted(world.stored()) == sorted([*range(1, 31), 10])


def test_bytes_that_are_rejected_where_a_file_is_compared_name_that_file(world: World, follower: Follower) -> None:
    world.append(30)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    world.replace(b"".join([*lines[:10], b"garbage\n", *lines[10:]]))
    follower.settle()
    number = world.query("SELECT id FROM generations WHERE state = 'current'")
    assert world.query("SELECT generation FROM quarantine") == number
