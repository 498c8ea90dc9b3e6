"""All documents of a home: bad ones are said and never stand in the way."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from world import Follower, World

from shipwrightd import clock
from shipwrightd.documents import Documents

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.append(10)
    return world


def errors(world: World) -> list[object]:
    return [source for (source,) in world.query("SELECT source FROM source_errors")]


def age(path: Path) -> None:
    """Make a file look written a minute ago: no torn write lasts so long."""
    info = path.stat()
    os.utime(path, (info.st_atime - 60, info.st_mtime - 60))


def test_an_error_stands_until_the_document_is_mended(world: World, follower: Follower) -> None:
    costs = world.home / "costs.json"
    costs.write_text('{"entries": [')
    age(costs)
    for _ in range(3):
        follower.look()
        assert "costs.json" in errors(world)
    costs.write_text('{"entries": []}')
    follower.settle()
    assert errors(world) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "developer-registry.json",
            '[{"developer_id":"a","machine_name":"b","last_heartbeat":"9999999999999999999999"}]',
        ),
        (
            "memory/4165a89ff787/failures.json",
            '{"failures":[{"pattern":"x","seen_count":9223372036854775807},{"pattern":"x","seen_count":9223372036854775807}]}',
        ),
    ],
)
def test_numbers_beyond_all_bounds_do_not_keep_the_journal_waiting(
    world: World, follower: Follower, name: str, text: str
) -> None:
    path = world.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    age(path)
    follower.settle()
    assert len(world.stored()) == 10


def test_an_error_that_has_stood_is_told_without_reading_the_document_again(world: World, follower: Follower) -> None:
    costs = world.home / "costs.json"
    costs.write_text('{"entries": [')
    documents = Documents(world.home)
    now = clock.now()
    first = documents.poll(follower.db, "costs.json", now)
    assert (first.error, first.wait_s) == (None, 0.1), "it may be a torn write"
    later = replace(now, wall=now.wall + 60, monotonic=now.monotonic + 60)
    told = documents.poll(follower.db, "costs.json", later)
    assert told.error is not None
    assert told.error.startswith("costs.json cannot be used")
    assert documents.poll(follower.db, "costs.json", later).error == told.error


def test_a_file_name_that_is_no_text_is_passed_over(world: World, follower: Follower) -> None:
    (world.home / "heartbeats").mkdir()
    odd = os.path.join(os.fsencode(world.home / "heartbeats"), b"a\xff.json")  # noqa: PTH118 - bytes
    try:
        with open(odd, "wb") as file:  # noqa: PTH123 - bytes
            file.write(b"{}")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    follower.settle()
    assert len(world.stored()) == 10


def test_memory_stays_present_while_the_home_is_away(world: World, follower: Follower) -> None:
    folder = world.home / "memory" / "4165a89ff787"
    folder.mkdir(parents=True)
    (folder / "failures.json").write_text('{"failures":[{"pattern":"boom","seen_count":1}]}')
    follower.settle()
    world.home.rename(world.home.with_name("away"))
    follower.settle()
    assert world.query("SELECT present FROM memory_entries") == [(1,)]
