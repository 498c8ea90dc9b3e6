"""Rotated siblings of a journal that is away, or that is exchanged before they are read to their end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import apsw
import pytest
from world import Follower, World

from shipwrightd import clock
from shipwrightd.journals import JOURNALS
from shipwrightd.journals.follow import Journal

if TYPE_CHECKING:
    from pathlib import Path

TEAM = "SELECT offset FROM generations WHERE state = 'current' AND source = 'team-events.jsonl'"


def test_siblings_that_were_read_are_left_alone_while_the_journal_is_away(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(20)
    follower = Follower(world)
    follower.settle()
    world.rotate()
    world.append(20)
    follower.settle()
    world.events.unlink()
    for _ in range(2):
        follower.restart()
        follower.settle()
    assert world.stored() == list(range(1, 41))
    world.append(5)
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 46))


def test_siblings_that_wait_to_be_read_are_found_again_when_the_one_before_them_is_cut(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(9_000)
    world.rotate()
    world.append(10)
    world.rotate()
    world.append(10)
    follower = Follower(world)
    journal = Journal(JOURNALS[0], world.home, settle_s=0.05)
    journal.stop = lambda: True  # after each chunk, as if the daemon were asked to end
    while not world.stored():
        journal.poll(follower.db, clock.now())
    read = len(world.stored())
    assert read < 9_000
    oldest = world.home / "events.jsonl.2"
    oldest.write_bytes(b"".join(oldest.read_bytes().splitlines(keepends=True)[read // 2 : read + 10]))
    while journal.poll(follower.db, clock.now()).more:
        pass
    journal.close()
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 9_021)), "what was read before the cut is kept as well"


def test_journal_that_leaves_its_path_right_after_a_batch_is_still_read(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(10)
    follower = Follower(world)
    journal = Journal(JOURNALS[0], world.home, settle_s=0.05)
    while not world.stored():
        journal.poll(follower.db, clock.now())
    away = world.events.rename(tmp_path / "away.jsonl")  # before the file was looked at again
    world.append(5, path=away)
    while journal.poll(follower.db, clock.now()).more:
        pass
    journal.close()
    follower.close()
    assert world.stored() == list(range(1, 16))


def poll_with_a_full_disk(follower: Follower, statement: str) -> None:
    """Poll until a statement with these words in it fails."""

    def refuse(_cursor: object, sql: str, _values: object) -> bool:
        if statement in sql:
            raise apsw.FullError
        return True

    follower.db.exec_trace = refuse
    with pytest.raises(apsw.FullError):
        follower.settle()
    follower.db.exec_trace = None


def test_going_back_to_a_sibling_that_fails_leaves_no_file_open_and_is_done_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.events.touch()
    follower = Follower(world)
    follower.look()
    world.append(30)
    world.copy_and_truncate()
    world.append(5)
    poll_with_a_full_disk(follower, "INTO generations")
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 - the folder is of this very moment
    poll_with_a_full_disk(follower, "INTO generations")
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 36))


def test_late_lines_after_a_change_of_file_that_failed_move_no_other_place(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(20)
    follower = Follower(world)
    follower.settle()
    with world.events.open("ab") as late:
        world.replace(world.events.read_bytes() + b"".join(world.lines(3)))
        poll_with_a_full_disk(follower, "COMMIT")
        team = world.home / "team-events.jsonl"
        team.write_bytes(b'{"ts":"2026-01-05T08:00:00Z","type":"x","from_developer":"ada"}\n')
        events, others = follower.catch_up.journals
        while others.poll(follower.db, clock.now()).more:
            pass
        late.write(b"".join(world.lines(2)))
        late.flush()
        events.poll(follower.db, clock.now())
    assert world.query(TEAM) == [(team.stat().st_size,)]
    follower.settle()
    follower.close()
    assert sorted(world.stored()) == list(range(1, 26))


def test_late_lines_of_a_removed_file_are_read_while_the_new_one_is_empty(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(10)
    follower = Follower(world)
    follower.settle()
    with world.events.open("ab") as late:
        world.events.unlink()
        world.events.touch()
        follower.settle()
        late.write(b"".join(world.lines(3)))
        late.flush()
        follower.look()
        assert world.stored() == list(range(1, 14))
    follower.close()


@pytest.mark.parametrize("seen_first", [False, True])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_copy_of_the_journal_over_an_older_copy_of_it_stores_nothing_twice(
    tmp_path: Path, *, restarts: bool, seen_first: bool
) -> None:
    world = World(tmp_path)
    follower = Follower(world)
    copy = world.home / "events.jsonl.1"
    for at in range(3):
        world.append(20)
        os.utime(world.events, (at, at))
        if seen_first:
            follower.settle()
        copy.write_bytes(world.events.read_bytes())
        os.utime(copy, (at, at))  # long ago, so that neither is still being written
        if restarts:
            follower.restart()
        follower.settle()
    with copy.open("ab") as late:
        late.write(b"".join(world.lines(2)))
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 63))
