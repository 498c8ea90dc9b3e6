"""A journal that lost its end, as after a power loss, and with it the newline of a line that was read."""

from __future__ import annotations

import os

import pytest
from world import Follower, World, doubles, line

from shipwrightd.maintenance.import_events import import_events
from shipwrightd.maintenance.prune import prune
from shipwrightd.maintenance.verify import verify

YOUNGEST = 1_800_000_000  # seconds since 1970, later than all lines


def tear(world: World, lines: int) -> None:
    """Cut the journal behind so many lines, and the last of their newlines with the rest."""
    os.truncate(world.events, len(b"".join(world.events.read_bytes().splitlines(keepends=True)[:lines])) - 1)


@pytest.mark.parametrize("note", ["", "x" * 5_000, "{" * 3_000, "y" * 2_000_000])
@pytest.mark.parametrize("looks", [0, 1, 2])
@pytest.mark.parametrize("left", [3, 17, 20])
def test_what_is_glued_to_a_line_without_its_newline_is_stored_and_the_line_not_again(
    world: World, follower: Follower, left: int, looks: int, note: str
) -> None:
    """Whoever reads it again finds each line, torn or glued, in its place."""
    world.append(left - 1)
    world.written += 1
    with world.events.open("ab") as file:
        file.write(line(left, note=note))
    world.append(20 - left)
    follower.settle()
    tear(world, left)
    for _ in range(looks):
        follower.restart()
        follower.settle()
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 26))
    assert world.query("SELECT count(*) FROM events WHERE salvaged") == [(0,)]

    world.trim(left + 2)
    world.append(5)
    follower.settle()
    world.rotate()
    world.append(5)
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 36))
    assert world.query("SELECT (SELECT count(*) FROM gaps), (SELECT count(*) FROM quarantine)") == [(0, 0)]
    assert verify(world.home, world.db_path) == []


def test_a_torn_line_that_is_finished_by_its_newline_alone_is_known(world: World, follower: Follower) -> None:
    world.append(20)
    follower.settle()
    tear(world, 17)
    follower.settle()
    with world.events.open("ab") as file:
        file.write(b"\n")
    world.append(3)
    follower.settle()
    world.trim(10, late=0)
    world.append(3)
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 27))


def test_a_torn_line_that_is_no_record_is_kept_once(world: World, follower: Follower) -> None:
    world.append(16)
    with world.events.open("ab") as file:
        file.write(b"no record at all\n")
    world.append(3)
    follower.settle()
    tear(world, 17)
    follower.settle()
    world.append(3)
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 23))
    assert world.query("SELECT CAST(raw AS TEXT) FROM quarantine") == [("no record at all",)]


def test_a_torn_line_that_is_rotated_is_not_kept_as_one_that_was_never_finished(
    world: World, follower: Follower
) -> None:
    world.append(20)
    follower.settle()
    tear(world, 17)
    follower.restart()
    follower.settle()
    world.rotate()
    world.append(3)
    follower.settle()
    world.events.with_name("events.jsonl.1").unlink()
    follower.settle()
    for file in follower.catch_up.journals[0]._files:  # noqa: SLF001
        file.retire_at = 0.0  # its time has come
    follower.settle()
    assert world.stored() == list(range(1, 24))
    assert world.query("SELECT count(*) FROM quarantine") == [(0,)]


@pytest.mark.parametrize("size", [100, 5_000])
def test_another_line_that_is_not_finished_yet_is_read_when_it_is(world: World, follower: Follower, size: int) -> None:
    world.append(20)
    follower.settle()
    tear(world, 17)
    content = world.events.read_bytes()
    world.events.write_bytes(content[: content.rfind(b"\n") + 1] + line(99, note="x" * size)[:-1])
    follower.settle()
    with world.events.open("ab") as file:
        file.write(b"\n")
    follower.settle()
    assert world.stored() == [*range(1, 21), 99]


def test_a_torn_line_is_known_before_a_line_that_comes_again(world: World, follower: Follower) -> None:
    alike = line(99, type="test.alike")
    world.append(15)
    with world.events.open("ab") as file:
        file.write(alike)
    world.append(3)
    follower.settle()
    tear(world, 15)
    world.append(30)
    with world.events.open("ab") as file:
        file.write(alike)
    world.append(1)
    follower.restart()
    follower.settle()
    assert doubles(seq for seq in world.stored() if seq != 99) == []
    assert set(world.stored()) == {*range(1, 50), 99}


def test_a_torn_journal_that_was_edited_on_the_way_goes_on_behind_the_line(world: World, follower: Follower) -> None:
    world.append(40)
    follower.settle()
    tear(world, 30)
    lines = world.events.read_bytes().split(b"\n")
    world.events.write_bytes(b"\n".join([line(99, type="test.edit")[:-1], *lines[1:]]))
    world.append(3)
    follower.restart()
    follower.settle()
    assert doubles(world.stored()) == []
    assert set(world.stored()) == {*range(1, 44), 99}


def test_a_torn_journal_that_is_moved_away_and_back_is_known(world: World, follower: Follower) -> None:
    world.append(20)
    follower.settle()
    tear(world, 17)
    follower.settle()
    away = world.events.with_name("away")
    world.events.rename(away)
    world.append(9)
    follower.settle()
    away.rename(world.events)
    world.append(3)
    follower.settle()
    assert world.stored() == list(range(1, 33))


def test_a_record_that_another_was_glued_to_is_known_wherever_it_is_read_again(
    world: World, follower: Follower
) -> None:
    """It was read from a line of its own, and is salvaged now."""
    world.append(20)
    follower.settle()
    tear(world, 17)
    world.append(3)
    follower.settle()
    follower.close()
    stored = world.query("SELECT * FROM events")
    copy = world.home / "copy.jsonl"
    copy.write_bytes(world.events.read_bytes())

    assert import_events(world.home, world.db_path, copy, None).new == 0
    prune(world.home, world.db_path, YOUNGEST)
    assert world.query("SELECT * FROM events") == stored[:17] + stored[20:]
    assert verify(world.home, world.db_path) == []


def fragments(lines: list[bytes], cut: int) -> dict[str, list[bytes]]:
    """Return a journal with pieces of its sixth line in places where a writer that died may leave them."""
    piece = lines[5][:cut]
    return {
        "alone": [*lines[:5], piece + b"\n", *lines[5:]],
        "glued": [*lines[:5], piece, *lines[5:]],
        "first": [piece + b"\n", *lines],
        "first, glued": [piece, *lines],
        "twice": [*lines[:5], piece + b"\n", *lines[5:9], piece, *lines[9:]],
    }


@pytest.mark.parametrize("cut", [1, 8, 26, 50])
@pytest.mark.parametrize(
    ("place", "spaced"),
    [
        ("alone", True),
        ("first", True),
        *((each, False) for each in ("alone", "glued", "first", "first, glued", "twice")),
    ],
)
def test_a_piece_of_a_line_before_a_known_one_is_kept_and_the_known_one_not_again(
    world: World, follower: Follower, place: str, cut: int, *, spaced: bool
) -> None:
    lines = [text.replace(b'":', b'": ') if spaced else text for text in world.lines(20)]
    world.replace(b"".join(lines))
    follower.settle()

    world.replace(b"".join(fragments(lines, cut)[place]))
    follower.settle()

    assert sorted(world.stored()) == list(range(1, 21))
    pieces = [bytes(raw).strip() for (raw,) in world.query("SELECT raw FROM quarantine")]  # type: ignore[call-overload]
    assert pieces == [lines[5][:cut].strip()] * (2 if place == "twice" else 1)
    assert verify(world.home, world.db_path) == []


def test_a_record_behind_a_piece_that_is_kept_already_is_not_stored_again(world: World, follower: Follower) -> None:
    lines = world.lines(20)
    world.replace(b"".join(fragments(lines, 26)["alone"]))
    follower.settle()

    world.replace(b"".join(fragments(lines, 26)["alone"]).replace(b"\n", b"\r\n"))
    follower.settle()

    assert world.stored() == list(range(1, 21))
