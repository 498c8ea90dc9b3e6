"""Journals of which the history of line hashes says too little: the database is asked row by row."""

from __future__ import annotations

import orjson
import pytest
from world import Follower, World, doubles, line

from shipwrightd.maintenance.prune import prune
from shipwrightd.maintenance.verify import verify


def lines_of(world: World) -> list[bytes]:
    return world.events.read_bytes().splitlines(keepends=True)


def assert_whole(world: World) -> None:
    """Each line of the files is stored once, and nothing else is said."""
    assert doubles(world.stored()) == []
    assert set(world.in_files()) <= set(world.stored())
    assert verify(world.home, world.db_path) == []
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def assert_followed(world: World, follower: Follower) -> None:
    """Do so now, and after what comes next: lines, a trim and a rotation."""
    assert_whole(world)
    world.append(5)
    follower.settle()
    world.trim(20)
    world.append(5)
    follower.restart()
    follower.settle()
    world.rotate()
    world.append(5)
    follower.settle()
    assert_whole(world)


@pytest.mark.parametrize("each", [2, 5])
def test_lines_that_are_removed_all_over_the_file(world: World, follower: Follower, each: int) -> None:
    """`grep -v`: no eight lines in a row are left."""
    world.append(200)
    follower.settle()
    world.replace(b"".join(text for at, text in enumerate(lines_of(world)) if at % each))
    follower.settle()
    assert_followed(world, follower)


def test_lines_that_are_removed_where_each_was_written_twice(world: World, follower: Follower) -> None:
    world.events.write_bytes(b"".join(line(seq) * 2 for seq in range(1, 41)))
    world.written = 40
    follower.settle()
    world.replace(b"".join(text for at, text in enumerate(lines_of(world)) if at % 5))
    world.append(3)
    follower.settle()
    assert sorted(world.stored()) == [*sorted([*range(1, 41)] * 2), 41, 42, 43]
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_lines_of_which_one_near_the_end_is_removed(world: World, follower: Follower) -> None:
    """As cleaning by age does when a wrong clock dated it."""
    world.append(30)
    follower.settle()
    lines = lines_of(world)
    world.replace(b"".join(lines[10:25] + lines[26:]))
    follower.settle()
    assert_followed(world, follower)


@pytest.mark.parametrize("trims", [1, 2])
def test_a_backup_put_back_after_trims(world: World, follower: Follower, trims: int) -> None:
    world.append(40)
    follower.settle()
    backup = world.events.read_bytes()
    world.append(10)
    follower.settle()
    for _ in range(trims):
        world.trim(20)
        world.append(20)
        follower.settle()
    world.replace(backup)
    follower.settle()
    assert_followed(world, follower)


def test_a_backup_put_back_after_a_rotation(world: World, follower: Follower) -> None:
    world.append(30)
    follower.settle()
    backup = world.events.read_bytes()
    world.append(10)
    follower.settle()
    world.rotate()
    world.append(5)
    follower.settle()
    (world.home / "events.jsonl.1").unlink()
    world.replace(backup)
    follower.restart()
    follower.settle()
    assert_followed(world, follower)


def test_removed_lines_that_are_put_back(world: World, follower: Follower) -> None:
    world.append(40)
    follower.settle()
    lines = lines_of(world)
    world.replace(b"".join(lines[:5] + lines[8:]))
    follower.settle()
    size = world.events.stat().st_size
    world.append(12)
    follower.settle()
    world.replace(b"".join(lines) + world.events.read_bytes()[size:])
    follower.settle()
    assert_followed(world, follower)


def test_lines_put_before_those_that_were_read(world: World, follower: Follower) -> None:
    """An archive and the journal joined in one file: what it holds and the database does not is read."""
    archive = b"".join(line(seq) for seq in range(-30, 0))
    world.append(40)
    follower.settle()
    world.trim(20)
    world.append(5)
    follower.settle()
    world.replace(archive + world.events.read_bytes())
    follower.settle()
    assert set(world.stored()) == {*range(-30, 0), *range(1, 46)}
    assert_followed(world, follower)


def test_an_edit_of_one_of_a_few_lines(world: World, follower: Follower) -> None:
    world.append(5)
    follower.settle()
    lines = lines_of(world)
    world.replace(b"".join([*lines[:3], line(99, note="longer"), lines[4]]))
    follower.settle()
    assert set(world.stored()) == {1, 2, 3, 4, 5, 99}
    assert_followed(world, follower)


def test_a_few_lines_that_are_trimmed_in_a_race(world: World, follower: Follower) -> None:
    world.append(6)
    follower.settle()
    world.trim(3, late=2)
    follower.settle()
    assert world.stored() == list(range(1, 9))
    assert_followed(world, follower)


def test_an_edit_before_what_the_history_reaches_back_to(world: World, follower: Follower) -> None:
    world.append(70_000)
    follower.settle()
    lines = lines_of(world)
    lines[4] = line(999_999, note="longer")
    world.replace(b"".join(lines))
    follower.settle()
    assert_whole(world)


@pytest.mark.parametrize("write", ["crlf", "pretty"])
def test_the_same_records_in_another_writing(world: World, follower: Follower, write: str) -> None:
    world.append(20)
    world.written += 10
    with world.events.open("ab") as file:
        file.write(b"".join(line(seq, **{f"field_{n}": n for n in range(seq)}) for seq in range(21, 31)))
    follower.settle()
    lines = lines_of(world)
    if write == "crlf":
        world.replace(b"".join(lines).replace(b"\n", b"\r\n"))
    else:
        world.replace(b"".join(orjson.dumps(orjson.loads(t), option=orjson.OPT_INDENT_2) + b"\n" for t in lines))
    follower.settle()
    assert world.stored() == list(range(1, 31))
    world.append(5)
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 36))
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_zeros_that_become_the_line_they_stood_for(world: World, follower: Follower) -> None:
    """As network file systems show what another machine writes."""
    world.append(20)
    follower.settle()
    size = world.events.stat().st_size
    first, second = world.lines(2)
    with world.events.open("ab") as file:
        file.write(b"\0" * len(first) + second)
    follower.settle()
    with world.events.open("r+b") as file:
        file.seek(size)
        file.write(first)
    follower.settle()
    assert doubles(world.stored()) == []
    assert set(world.stored()) == set(range(1, 23))


def test_another_file_is_read_whole_though_some_of_its_lines_are_known(world: World, follower: Follower) -> None:
    """What it says that the database does not is new, be it equal lines of which more were written."""
    world.append(30)
    follower.settle()
    alike = lines_of(world)[20]
    world.replace(b"".join([*lines_of(world)[3::3], *world.lines(40), alike, alike, *world.lines(2)]))
    follower.settle()
    assert sorted(set(world.stored())) == list(range(1, 73))
    assert doubles(world.stored()) == [21]


def test_a_file_with_nothing_that_is_known_is_a_gap(world: World, follower: Follower) -> None:
    world.append(30)
    follower.settle()
    world.replace(b"".join([*lines_of(world)[5:6], *world.lines(40)]))
    follower.settle()
    assert world.query("SELECT count(*) FROM gaps") == [(1,)]
    assert set(world.stored()) == set(range(1, 71))


@pytest.mark.parametrize("edited", [False, True])
def test_what_was_pruned_stays_away_when_a_backup_is_put_back(
    world: World, follower: Follower, *, edited: bool
) -> None:
    """As `import` has it."""
    world.append(60)
    follower.settle()
    backup = lines_of(world)
    world.trim(20)
    follower.settle()
    follower.close()
    prune(world.home, world.db_path, 1_767_600_030)
    left = world.stored()
    follower.restart()
    world.replace(b"".join(backup[::2] if edited else backup))
    world.append(5)
    follower.settle()
    assert world.stored() == [*left, *range(61, 66)]
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]
