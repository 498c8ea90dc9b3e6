"""Lines that were read and not decided when their file was taken away are kept, finished or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from world import Follower, World, line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HALF = b'{"ts":"2026-01-05T08:00:00Z","type":"half",'
KEPT = "SELECT reason, raw FROM quarantine ORDER BY id"


def edited(world: World) -> bytes:
    """Return the journal without its last line, as an editor leaves it: what stands before that is in its place."""
    return world.events.read_bytes().partition(HALF)[0]


def trimmed(world: World) -> bytes:
    """Return the last lines of it, of which the last one was not yet there when they were taken."""
    return world.tail(15).partition(HALF)[0]


ENDS = pytest.mark.parametrize("end", [b"\n", b'\n{"type":"cut'], ids=["whole line", "whole line and half of one"])


def undecided(world: World, end: bytes) -> Follower:
    """Return a follower that has read lines which may go on."""
    world.append(20)
    follower = Follower(world)
    follower.settle()
    with world.events.open("ab") as file:
        file.write(HALF + end)
    follower.look()
    return follower


@pytest.mark.parametrize("copy", [edited, trimmed])
@ENDS
def test_undecided_lines_of_a_file_that_a_copy_replaces_are_kept_once(
    tmp_path: Path, end: bytes, copy: Callable[[World], bytes]
) -> None:
    world = World(tmp_path)
    follower = undecided(world, end)
    assert world.query(KEPT) == []
    world.replace(copy(world) + line(21))
    world.written += 1
    follower.settle()
    follower.restart()
    follower.settle()
    follower.close()
    kept = world.query(KEPT)
    assert [raw for _, raw in kept] == [HALF, *([end[1:]] if end != b"\n" else [])]
    assert world.stored() == list(range(1, 22))


@ENDS
def test_undecided_lines_that_the_copy_holds_as_well_are_not_kept_twice(tmp_path: Path, end: bytes) -> None:
    world = World(tmp_path)
    follower = undecided(world, end)
    world.replace(world.events.read_bytes() + b"\n" + line(21))
    follower.settle()
    follower.restart()
    follower.settle()
    follower.close()
    kept = b"".join(raw for _, raw in world.query(KEPT) if isinstance(raw, bytes))
    assert kept.count(HALF) == 1
    assert kept.count(b'{"type":"cut') == (end != b"\n")
    assert world.stored() == list(range(1, 22))
