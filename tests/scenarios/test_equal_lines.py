"""Lines that are all equal, in files that are copied, emptied and replaced: each that was written is stored once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from world import Follower, World, line

if TYPE_CHECKING:
    from pathlib import Path

EQUAL = line(0, note="equal")


def append(world: World, equal: int) -> None:
    """Append equal lines, and a numbered one, or a place among them would be any place."""
    with world.events.open("ab") as file:
        file.write(EQUAL * equal)
    world.append(1)


def count(world: World) -> int:
    return world.stored().count(0)


def test_equal_lines_of_a_file_that_was_never_read_are_new(tmp_path: Path) -> None:
    world = World(tmp_path)
    append(world, 4)
    world.copy_and_truncate()
    follower = Follower(world)
    follower.settle()
    append(world, 4)
    world.copy_and_truncate()
    world.copy_and_truncate()
    world.rotate()
    follower.settle()
    follower.close()
    assert count(world) == 8


def test_equal_lines_that_were_appended_before_a_file_was_copied_are_new(tmp_path: Path) -> None:
    world = World(tmp_path)
    append(world, 4)
    world.copy_and_truncate()
    Follower(world).close()
    append(world, 4)
    follower = Follower(world)
    follower.settle()
    append(world, 2)
    world.copy_and_truncate()
    follower.settle()
    follower.close()
    assert count(world) == 10


def test_a_journal_that_is_copied_emptied_and_replaced_while_nobody_follows_is_stored_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    append(world, 4)
    world.replace(world.events.read_bytes() + b"".join(world.lines(3)))
    follower = Follower(world)
    follower.settle()
    world.copy_and_truncate()
    follower.settle()
    append(world, 1)
    follower.kill()
    follower = Follower(world)
    follower.settle()
    follower.kill()
    world.replace(world.events.read_bytes() + b"".join(world.lines(3)))
    follower = Follower(world)
    follower.settle()
    follower.close()
    stored = world.stored()
    assert count(world) == 5
    assert sorted(filter(None, stored)) == list(range(1, world.written + 1))
