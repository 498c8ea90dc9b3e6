"""Names of rotated files that are no rotated files, cannot be read, or are the journal itself under another name."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from process import call, source
from world import Follower, World

from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Obstacle = Callable[[Path], None]


def a_folder(path: Path) -> None:
    path.mkdir()


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    here = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        here.bind(f"/proc/self/fd/{folder}/{path.name}")  # a path of its own may be too long
    finally:
        os.close(folder)
        here.close()


def a_device(path: Path) -> None:
    path.symlink_to(os.devnull)


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def a_link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def a_link_to_a_folder(path: Path) -> None:
    path.with_name("folder").mkdir()
    path.symlink_to(path.with_name("folder"))


OBSTACLES: list[Obstacle] = [
    a_folder,
    a_pipe,
    a_socket,
    a_device,
    a_link_to_itself,
    a_link_to_nothing,
    a_link_to_a_folder,
]


@pytest.fixture(params=OBSTACLES, ids=lambda obstacle: obstacle.__name__)
def obstacle(request: pytest.FixtureRequest) -> Obstacle:
    return request.param  # type: ignore[no-any-return]


def assert_errors_name(world: World, name: str) -> None:
    """Assert that an error of the event log, if there is one, names the file that causes it."""
    errors = [str(error) for (error,) in world.query("SELECT error FROM source_errors WHERE source = 'events.jsonl'")]
    assert [error for error in errors if name not in error] == []


@pytest.mark.parametrize("number", [1, 3])
def test_what_is_no_file_does_not_keep_the_journal_from_being_followed_after_a_start(
    world: World, obstacle: Obstacle, number: int
) -> None:
    world.append(20)
    first = Follower(world)
    first.settle()
    first.close()
    obstacle(world.home / f"events.jsonl.{number}")
    world.append(1)
    second = Follower(world)
    second.settle()
    assert world.stored() == list(range(1, 22))
    world.append(1)
    second.settle()
    second.close()
    assert world.stored() == list(range(1, 23))
    assert_errors_name(world, f"events.jsonl.{number}")


def test_what_is_no_file_does_not_keep_an_unknown_journal_from_being_read(world: World, obstacle: Obstacle) -> None:
    world.append(20)
    obstacle(world.home / "events.jsonl.1")
    follower = Follower(world)
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 21))
    assert_errors_name(world, "events.jsonl.1")


@pytest.mark.parametrize("number", [1, 3])
def test_what_is_no_file_does_not_keep_a_trimmed_journal_from_being_followed(
    world: World, follower: Follower, obstacle: Obstacle, number: int
) -> None:
    world.append(500)
    follower.settle()
    obstacle(world.home / f"events.jsonl.{number}")
    world.trim(200)
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 506))
    world.trim(50)
    world.append(5)
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 511))
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]
    assert_errors_name(world, f"events.jsonl.{number}")


def test_files_beside_one_that_is_no_file_are_read(world: World, obstacle: Obstacle) -> None:
    world.append(10)
    world.rotate()
    world.append(10)
    obstacle(world.home / "events.jsonl.2")
    follower = Follower(world)
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 21))


def test_verify_passes_over_what_is_no_file(world: World, follower: Follower, obstacle: Obstacle) -> None:
    world.append(20)
    follower.settle()
    obstacle(world.home / "events.jsonl.3")
    world.append(5)
    follower.settle()
    assert [found.text for found in verify(world.home, world.db_path) if "cannot read" not in found.text] == []
    assert len(world.stored()) == 25


@pytest.mark.parametrize("before", [0, 20])
def test_a_sibling_that_may_not_be_read_does_not_keep_the_journal_from_being_followed(
    world: World, modes_count: Sequence[str], before: int
) -> None:
    if before:
        world.append(before)
        call(world, "backfill", prefix=modes_count)
    sibling = world.home / "events.jsonl.3"
    sibling.write_bytes(b"")
    sibling.chmod(0)
    world.append(200)
    if before:
        world.trim(100)
    world.append(5)
    call(world, "backfill", prefix=modes_count)
    assert world.stored()[-105:] == list(range(world.written - 104, world.written + 1))
    assert "events.jsonl.3" in (source(world)["error"] or "events.jsonl.3")


@pytest.mark.parametrize("lines", [1, 3, 7, 8, 40])
@pytest.mark.parametrize("link", [os.link, os.symlink], ids=["hard", "symbolic"])
def test_a_sibling_that_is_the_journal_itself_is_read_once(
    world: World, link: Callable[[Path, Path], None], lines: int
) -> None:
    world.append(lines)
    link(world.events, world.home / "events.jsonl.1")
    follower = Follower(world)
    follower.settle()
    for _ in range(2):
        world.append(1)
        follower.settle()
    follower.restart()
    world.append(1)
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, lines + 4))
    assert verify(world.home, world.db_path) == []


def test_two_siblings_that_are_one_file_are_read_once(world: World) -> None:
    world.append(3)
    world.rotate()
    os.link(world.home / "events.jsonl.1", world.home / "events.jsonl.2")
    world.append(3)
    follower = Follower(world)
    follower.settle()
    world.append(2)
    follower.settle()
    follower.close()
    assert world.stored() == list(range(1, 9))
    assert verify(world.home, world.db_path) == []


def test_a_journal_that_gets_a_second_name_while_it_is_followed_is_read_once(world: World, follower: Follower) -> None:
    world.append(3)
    follower.settle()
    os.link(world.events, world.home / "events.jsonl.1")
    for _ in range(3):
        world.append(1)
        follower.settle()
        follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 7))
