"""The real journal through its real rotations: what a reader could have seen is stored once.

The snapshots are played in order on real files: content goes on in place where
the inode stayed, and by tmp and mv where it changed.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
import pytest
from world import Follower, World, doubles, line, seq_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SALVAGED = "SELECT json_extract(extra, '$.seq') FROM events WHERE salvaged ORDER BY id"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The journal at one moment, and whether it is the same file as the moment before."""

    number: str
    same_file: bool
    content: bytes


@pytest.fixture(scope="module")
def folder(fixtures_dir: Path) -> Path:
    found = fixtures_dir / "rotation"
    if not (found / "snapshots.tsv").is_file():
        pytest.skip(f"no rotation corpus at {found}")
    return found


@pytest.fixture(scope="module")
def snapshots(folder: Path) -> list[Snapshot]:
    rows = list(csv.reader((folder / "snapshots.tsv").read_text().splitlines(), delimiter="\t"))
    inodes = [row[1] for row in rows]
    return [
        Snapshot(row[0], inode == before, gzip.decompress((folder / f"{row[0]}.events.jsonl.gz").read_bytes()))
        for row, inode, before in zip(rows, inodes, ["", *inodes], strict=False)
    ]


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict[str, list[int]]:
    found: dict[str, list[int]] = orjson.loads((folder / "truth.json").read_bytes())
    return found


def play(world: World, snapshot: Snapshot) -> None:
    """Bring the journal from one moment to the next as its writers did."""
    if not snapshot.same_file:
        world.replace(snapshot.content)
        return
    before = world.events.read_bytes()
    assert snapshot.content.startswith(before), f"{snapshot.number} does not go on where the one before it ended"
    with world.events.open("ab") as file:
        file.write(snapshot.content[len(before) :])


def readable(contents: Iterable[bytes]) -> set[int]:
    """Return the numbers of the lines that a parser reads by itself: neither cut nor glued."""
    found = {seq_of(text) for content in contents for text in content.split(b"\n")[:-1]}
    return {seq for seq in found if seq is not None}


def check(world: World, seen: set[int], truth: dict[str, list[int]], *, glued: bool = True) -> None:
    """Each seen line once and in order; the cut line is kept in quarantine, the one glued to it is salvaged."""
    stored = world.stored()
    assert doubles(stored) == []
    assert set(stored) == seen | (set(truth["glued"]) if glued else set())
    kept = world.query("SELECT raw FROM quarantine ORDER BY id")
    assert [b'"seq":%d' % seq in raw for seq, (raw,) in zip(truth["partial"], kept, strict=glued)] == [True] * len(kept)  # type: ignore[operator]
    assert [seq for (seq,) in world.query(SALVAGED)] == (truth["glued"] if glued else [])


def test_live_all_lines_are_stored_once_and_in_order_even_those_the_race_lost(
    world: World, follower: Follower, snapshots: list[Snapshot], truth: dict[str, list[int]]
) -> None:
    for snapshot in snapshots:
        play(world, snapshot)
        follower.look()
    follower.settle()
    seen = readable(snapshot.content for snapshot in snapshots)
    assert set(truth["lost_in_race"]) <= seen
    check(world, seen, truth)
    assert world.stored() == sorted(world.stored())
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_lines_a_race_takes_out_of_the_file_are_read_from_the_descriptor_that_is_held(
    world: World, follower: Follower, snapshots: list[Snapshot], truth: dict[str, list[int]]
) -> None:
    """Nobody looks between the last lines of a file and the mv that takes them away."""
    for snapshot, following in zip(snapshots, [*snapshots[1:], None], strict=True):
        play(world, snapshot)
        if following is None or following.same_file:
            follower.look()
    follower.settle()
    check(world, readable(snapshot.content for snapshot in snapshots), truth)


def test_with_a_restart_after_every_look_nothing_is_doubled_or_lost(
    world: World, follower: Follower, snapshots: list[Snapshot], truth: dict[str, list[int]]
) -> None:
    for snapshot in snapshots:
        play(world, snapshot)
        follower.look()
        follower.restart()
    follower.settle()
    check(world, readable(snapshot.content for snapshot in snapshots), truth)
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def down_times(count: int) -> list[list[int]]:
    """Choose at which snapshots somebody looks; the last one always."""
    every = [list(range(start, count, step)) for step in (2, 3, 5, 8) for start in range(min(step, 3))]
    return [sorted({*chosen, count - 1}) for chosen in [*every, []]]


@pytest.mark.parametrize("which", range(len(down_times(21))))
def test_after_being_down_each_line_a_look_could_see_is_stored_once(
    world: World, snapshots: list[Snapshot], truth: dict[str, list[int]], which: int
) -> None:
    looks = down_times(len(snapshots))[which]
    for index, snapshot in enumerate(snapshots):
        play(world, snapshot)
        if index in looks:
            follower = Follower(world)
            follower.settle()
            follower.close()
    check(world, readable(snapshots[index].content for index in looks), truth)


def test_half_a_line_copied_by_a_trim_is_not_an_event_before_it_is_finished(
    world: World, follower: Follower, snapshots: list[Snapshot], truth: dict[str, list[int]]
) -> None:
    for snapshot in snapshots:
        play(world, snapshot)
        follower.settle()
        if snapshot.content.endswith(b"\n"):
            continue
        assert not set(truth["partial"]) & set(world.stored())
        assert world.query("SELECT count(*) FROM quarantine") == [(0,)]


# -- rotation by size: the file is renamed along a chain and a new one begun


@pytest.fixture(scope="module")
def generations(folder: Path) -> list[bytes]:
    """Return what began each new file after a rotation by size."""
    return [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("size*.after.events.jsonl.gz"))]


def fill(world: World, generation: int) -> int:
    """Write lines with numbers beyond the corpus's own before a rotation and return the last."""
    first = 1_000_000 * (generation + 1)
    with world.events.open("ab") as file:
        file.write(b"".join(line(seq) for seq in range(first, first + 900)))
    return first + 899


@pytest.mark.parametrize("looks", [(), (0,), (1, 2), (0, 1, 2, 3)], ids=str)
def test_rotation_by_size_keeps_every_line_that_is_in_the_chain_or_was_seen(
    world: World, generations: list[bytes], looks: Sequence[int]
) -> None:
    """Looks fall between the filling of a file and its rotation; what leaves the chain unseen is gone."""
    seen: set[int] = set()
    for number, content in enumerate(generations):
        fill(world, number)
        if number in looks:
            follower = Follower(world)
            follower.settle()
            follower.close()
            seen |= set(world.in_files())
        world.rotate()
        with world.events.open("ab") as file:
            file.write(content)
    follower = Follower(world)
    follower.settle()
    follower.close()
    assert doubles(world.stored()) == []
    assert set(world.stored()) == seen | set(world.in_files())


def test_rotation_by_size_live_follows_the_file_through_all_its_names(
    world: World, follower: Follower, generations: list[bytes]
) -> None:
    last = 0
    for number, content in enumerate(generations):
        last = fill(world, number)
        follower.look()
        world.rotate()
        follower.look()
        with world.events.open("ab") as file:
            file.write(content)
    follower.settle()
    stored = world.stored()
    assert doubles(stored) == []
    assert last in stored
    assert len(stored) == len(generations) * 901
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]
