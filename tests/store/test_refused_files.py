"""A rotated file that cannot be read is an error under its own name, in the database and in `status`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from shipwrightd.status import collect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from world import Follower, World

    from shipwrightd.status import Source

JOURNAL, ROTATED = "events.jsonl", "events.jsonl.1"


def make_link(path: Path) -> None:
    path.hardlink_to(path.with_name(JOURNAL))


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def remove(path: Path) -> None:
    path.rmdir() if path.is_dir() else path.unlink()


def sources(world: World) -> tuple[dict[str, Source], list[str]]:
    status = collect(world.home, world.db_path, [JOURNAL], time.time())
    return {source.source: source for source in status.sources}, status.problems


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkdir, "Is a directory|is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (make_link, "is the same file as events.jsonl"),
        (make_loop, "Too many levels of symbolic links"),
    ],
)
def test_a_rotated_file_that_cannot_be_read_is_an_error_until_it_is_gone(
    world: World, follower: Follower, make: Callable[[Path], object], reason: str
) -> None:
    world.append(20)
    follower.settle()
    path = world.home / ROTATED
    make(path)
    world.append(20)
    follower.settle()

    found, problems = sources(world)
    assert found[JOURNAL].error is None
    assert found[ROTATED].error in [f"cannot read {ROTATED}: {each}" for each in reason.split("|")]
    assert f"{ROTATED}: {found[ROTATED].error}" in problems
    assert follower.catch_up.errors == {ROTATED: found[ROTATED].error}
    assert world.stored() == list(range(1, 41))

    remove(path)
    follower.settle()

    found, problems = sources(world)
    assert ROTATED not in found
    assert not [problem for problem in problems if "cannot read" in problem]
    assert follower.catch_up.errors == {}


def test_a_new_process_notes_the_error_again(world: World, follower: Follower) -> None:
    world.append(20)
    (world.home / ROTATED).mkdir()
    follower.settle()
    since = world.query("SELECT since FROM source_errors")
    follower.restart()
    assert world.query("SELECT since FROM source_errors") == []

    follower.settle()

    assert since
    assert [source for (source,) in world.query("SELECT source FROM source_errors")] == [ROTATED]
