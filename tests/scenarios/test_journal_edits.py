"""Journals that somebody edits or copies: what is left as it was is known, however it comes about."""

from __future__ import annotations

import shutil

import pytest
from world import Follower, World, doubles


def follow(world: World) -> None:
    """Let a new follower bring the database up to the files."""
    follower = Follower(world)
    follower.settle()
    follower.close()


def edited(world: World, at: int) -> list[bytes]:
    """Return the lines of the journal, one of them edited."""
    lines = world.events.read_bytes().splitlines(keepends=True)
    lines[at] = lines[at].replace(b"test.tick", b"edited.by.hand")
    return lines


def assert_each_once(world: World, *again: int) -> None:
    """Each line that is in a file is in the database once; those that were edited as they were, too."""
    stored = world.stored()
    assert doubles(stored) == list(again)
    assert set(world.in_files()) <= set(stored)


# -- more lines than the history holds


def test_lines_deleted_from_a_long_file_leave_the_others_known(world: World) -> None:
    world.append(70_000)
    follower = Follower(world)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    world.replace(b"".join(lines[:69_000] + lines[69_101:]))
    world.append(5)
    follower.settle()
    follower.close()
    assert_each_once(world)


def test_lines_that_an_edit_of_a_long_file_loses_to_a_race_are_kept_and_the_others_known(world: World) -> None:
    world.append(70_000)
    follower = Follower(world)
    follower.settle()
    lines = edited(world, 69_000)
    world.append(3)
    world.replace(b"".join(lines))
    world.append(5)
    follower.settle()
    follower.close()
    assert_each_once(world, 69_001)


def test_an_older_copy_put_back_after_a_trim_is_known(world: World) -> None:
    world.append(900)
    follower = Follower(world)
    follower.settle()
    older = world.events.read_bytes()
    world.append(100)
    follower.settle()
    world.trim(300)
    follower.settle()
    world.replace(older)
    world.append(5)
    follower.settle()
    follower.close()
    assert_each_once(world)


# -- editors that write a new file piece by piece


def written_in_pieces(world: World, follower: Follower, lines: list[bytes]) -> None:
    """Rename the old file and write another, as an editor does that keeps a copy; look in between."""
    world.events.rename(world.events.with_name("events.jsonl~"))
    with world.events.open("wb", buffering=0) as file:
        file.write(b"".join(lines[:500]))
        follower.look()
        file.write(b"".join(lines[500:]))
    follower.settle()
    follower.close()


@pytest.mark.parametrize("at", [0, 3, 60, 400])
def test_an_edit_that_is_written_piece_by_piece_is_waited_for(world: World, at: int) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    written_in_pieces(world, follower, edited(world, at))
    assert_each_once(world, at + 1)


def test_a_deletion_that_is_written_piece_by_piece_is_waited_for(world: World) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    written_in_pieces(world, follower, lines[:100] + lines[105:])
    assert_each_once(world)


# -- a copy under the name of a sibling


@pytest.mark.parametrize("live", [True, False])
def test_a_copy_before_a_trim_brings_nothing_again(world: World, *, live: bool) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    if not live:
        follower.close()
    world.copy()
    world.trim(300)
    world.append(5)
    if live:
        follower.settle()
        follower.close()
    else:
        follow(world)
    assert_each_once(world)


def test_a_copy_that_is_older_than_a_trim_brings_nothing_again(world: World) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    world.copy()
    follower.settle()
    world.append(50)
    follower.settle()
    world.trim(300)
    world.append(5)
    follower.settle()
    follower.close()
    assert_each_once(world)


@pytest.mark.parametrize("looks", [True, False])
def test_a_copy_before_an_edit_brings_nothing_again(world: World, *, looks: bool) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    world.copy()
    if looks:
        follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    world.replace(b"".join(lines[:400] + lines[410:]))
    world.append(5)
    follower.settle()
    follower.close()
    assert_each_once(world)


def test_a_copy_from_before_the_first_start_brings_nothing_again(world: World) -> None:
    world.append(50)
    shutil.copyfile(world.events, world.events.with_name("events.jsonl.1"))
    world.append(5)
    follow(world)
    assert_each_once(world)


@pytest.mark.parametrize("restart", [False, True])
def test_a_journal_that_is_back_when_the_other_was_rotated_brings_nothing_again(world: World, *, restart: bool) -> None:
    world.append(100)
    follower = Follower(world)
    follower.settle()
    away = world.events.rename(world.events.with_name("away"))
    world.append(30)
    follower.settle()
    if restart:
        follower.close()
    world.events.rename(world.events.with_name("events.jsonl.1"))
    away.rename(world.events)
    world.append(5)
    if restart:
        follow(world)
    else:
        follower.settle()
        follower.close()
    assert_each_once(world)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("change", [(b"\n", b"\r\n"), (b'":', b'": ')])
def test_another_formatting_beside_a_copy_stores_nothing_twice(
    world: World, follower: Follower, change: tuple[bytes, bytes], *, in_place: bool
) -> None:
    world.append(30)
    follower.settle()
    before = world.events.read_bytes()
    (world.home / "events.jsonl.1").write_bytes(before)
    follower.settle()

    if in_place:
        world.events.write_bytes(before.replace(*change))
    else:
        world.replace(before.replace(*change))
    world.append(2)
    follower.settle()

    assert world.stored() == list(range(1, 33))
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]
