"""What the end of a replaced file tells, and `verify --repair`, which stores what the database lacks."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest
from world import Follower, World

from shipwrightd.errors import LockedError
from shipwrightd.maintenance.repair import repair
from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

ERRORS = "SELECT source, error FROM source_errors"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def spoil(world: World, sql: str) -> None:
    with closing(apsw.Connection(str(world.db_path))) as db:
        db.execute(sql)


def test_what_is_missing_is_stored_once_and_what_is_there_is_left(world: World) -> None:
    world.append(30)
    with world.events.open("ab") as file:
        file.write(b"no record\n")
    world.append(10)
    follower = Follower(world)
    follower.settle()
    follower.close()
    spoil(world, "DELETE FROM events WHERE id IN (3, 17, 40); DELETE FROM quarantine")
    assert len(verify(world.home, world.db_path)) == 4

    assert repair(world.home, world.db_path) == (3, 1)
    assert sorted(world.stored()) == list(range(1, 41))
    assert verify(world.home, world.db_path) == []
    assert repair(world.home, world.db_path) == (0, 0)


def test_new_lines_are_read_first_and_never_twice(world: World) -> None:
    world.append(10)
    follower = Follower(world)
    follower.settle()
    follower.close()
    world.append(5)
    assert repair(world.home, world.db_path) == (0, 0)
    assert world.stored() == list(range(1, 16))


def test_it_refuses_beside_a_daemon(world: World) -> None:
    world.append(1)
    follower = Follower(world)
    with pytest.raises(LockedError, match="another shipwrightd"):
        repair(world.home, world.db_path)
    follower.close()


def test_a_replaced_file_whose_end_the_database_lacks_is_an_error_until_it_is_repaired(world: World) -> None:
    world.append(100)
    follower = Follower(world)
    follower.settle()
    spoil(world, "DELETE FROM events WHERE id BETWEEN 95 AND 97")
    world.trim(50)
    follower.settle()
    ((source, error),) = world.query(ERRORS)
    assert source == "events.jsonl"
    assert str(error).startswith("the database lacks 3 of the last 50 records")
    follower.close()

    assert repair(world.home, world.db_path) == (3, 0)
    follower = Follower(world)
    world.trim(40)
    follower.settle()
    follower.close()
    assert world.query(ERRORS) == []
    assert sorted(world.stored()) == list(range(1, 101))


def test_a_replaced_file_that_is_stored_is_no_error(world: World) -> None:
    world.append(1_000)
    follower = Follower(world)
    follower.settle()
    for _ in range(3):
        world.trim(400)
        world.append(7)
        follower.settle()
    follower.close()
    assert world.query(ERRORS) == []


def test_the_rest_of_a_record_that_a_trim_cut_is_not_missing(world: World, tmp_path: Path) -> None:
    world.append(20)
    with world.events.open("ab") as file:
        file.write(b'{"ts":"2026-01-05T08:00:00Z","type":"x","goal":"one\ntwo"}\n')
    world.append(20)
    follower = Follower(world)
    follower.settle()
    raw = world.events.read_bytes()
    (tmp_path / "new").write_bytes(raw[raw.index(b'two"') :])
    (tmp_path / "new").rename(world.events)
    follower.settle()
    follower.close()
    assert repair(world.home, world.db_path) == (0, 0)
    assert verify(world.home, world.db_path) == []
