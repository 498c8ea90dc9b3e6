"""What verify expects of files that repeat each other or begin in the middle of a record."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from world import Follower, World

SPLIT = b'{"ts":"2026-01-05T09:00:00Z","ts_epoch":1767603600,"type":"test.split","msg":"one\ntwo\nthree"}\n'


def told(world: World) -> list[str]:
    return [difference.text for difference in verify(world.home, world.db_path)]


def forget(world: World, sql: str) -> None:
    with closing(apsw.Connection(str(world.db_path))) as db:
        db.execute(sql)


@pytest.mark.parametrize("keep", [11, 12, 13])
def test_what_a_trim_leaves_of_a_record_of_several_lines_is_no_difference(
    world: World, follower: Follower, keep: int
) -> None:
    world.append(5)
    with world.events.open("ab") as file:
        file.write(SPLIT)
    world.append(10)
    follower.settle()
    world.trim(keep)
    follower.settle()
    assert told(world) == []


def test_bytes_behind_the_first_record_that_are_not_in_quarantine_are_told(world: World, follower: Follower) -> None:
    world.append(5)
    with world.events.open("ab") as file:
        file.write(b"no record\n")
    world.append(5)
    follower.settle()
    assert told(world) == []
    forget(world, "DELETE FROM quarantine")
    assert told(world) == ["not in quarantine: b'no record'"]


@pytest.mark.parametrize("keep", [20, 15, 8])
def test_a_copy_beside_the_journal_is_expected_once(world: World, follower: Follower, keep: int) -> None:
    """Whole, or of what was trimmed since."""
    world.append(20)
    follower.settle()
    world.copy()
    world.trim(keep)
    world.append(5)
    follower.settle()
    assert told(world) == []
    forget(world, "DELETE FROM events WHERE json_extract(extra, '$.seq') IN (3, 18)")
    assert len(told(world)) == 2, "each line of the two files is expected all the same"
