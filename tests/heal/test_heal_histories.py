"""Random histories of files, damage at random pages, and more history: recovery stores what an undamaged one would."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from damage import PAGE, garbage
from world import Follower, World, doubles

from shipwrightd.maintenance.verify import verify
from shipwrightd.recovery import open_database
from shipwrightd.recovery.rebuild import RecoveryOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = "SELECT ts, ts_epoch, type, origin, extra FROM events"
LEAVES = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'"
DAMAGED = [
    ("events",),
    ("events", "quarantine"),
    ("line_hashes",),
    ("generations",),
    ("checkpoints",),
    ("generations", "checkpoints"),
    ("events", "checkpoints"),
    ("events", "line_hashes"),
]
CHECKPOINTS = {"checkpoints", "generations", "line_hashes"}


def add_junk(world: World, rng: random.Random) -> None:
    with world.events.open("ab") as file:
        file.write(b"junk %d\n" % rng.randrange(5))


def add_equal_lines(world: World, rng: random.Random) -> None:
    with world.events.open("ab") as file:
        file.write(b'{"ts":"2026-01-05T08:00:00Z","ts_epoch":1767600000,"type":"same"}\n' * rng.randint(1, 12))


STEPS: list[Callable[[World, random.Random], object]] = [
    lambda world, rng: world.append(rng.randint(1, 60)),
    lambda world, rng: world.append(rng.randint(1, 9)),
    lambda world, rng: world.trim(rng.randint(1, 120)),
    lambda world, _: world.rotate(),
    lambda world, _: world.copy_and_truncate(),
    lambda world, _: world.replace(world.events.read_bytes()),
    add_junk,
    add_equal_lines,
]


def follow(world: World) -> Counter[Any]:
    follower = Follower(world)
    follower.settle()
    follower.close()
    return Counter(world.query(ROWS))


def damage(world: World, rng: random.Random, tables: tuple[str, ...]) -> None:
    with closing(apsw.Connection(str(world.db_path))) as db:
        pages = [number for table in tables for (number,) in db.execute(LEAVES, (table,))]
    with world.db_path.open("r+b") as file:
        for number in rng.sample(pages, min(len(pages), rng.randint(1, 2))):
            file.seek((number - 1) * PAGE)
            file.write(garbage(PAGE, number))


def recover(world: World) -> dict[str, Any]:
    db, lock = open_database(world.db_path, world.home, options=RecoveryOptions(damage="a test"))
    db.close()
    lock.release()
    ((refilled, lost, detail),) = world.query("SELECT refilled, lost, detail FROM recoveries")
    return {"refilled": refilled, "lost": lost, "unreadable": set(json.loads(str(detail))["unreadable"])}


@pytest.mark.parametrize("tables", DAMAGED, ids="+".join)
@pytest.mark.parametrize("seed", range(3))
def test_recovery_stores_what_an_undamaged_database_would(tmp_path: Path, seed: int, tables: tuple[str, ...]) -> None:
    rng = random.Random(f"{seed} {tables}")
    world = World(tmp_path)
    world.append(rng.choice([5, 300, 900]))
    for _ in range(rng.randint(1, 4)):
        follow(world)
        rng.choice(STEPS)(world, rng)
    before = follow(world)
    for _ in range(rng.randint(0, 2)):
        rng.choice(STEPS)(world, rng)
    undamaged = tmp_path / "undamaged.db"
    shutil.copy(world.db_path, undamaged)
    damage(world, rng, tables)

    recovery = recover(world)
    at_once = Counter(world.query(ROWS))
    if rng.random() < 0.5:
        rng.choice(STEPS)(world, rng)
    after = follow(world)
    assert doubles(world.stored()) == []
    assert [difference.text for difference in verify(world.home, world.db_path)] == []

    world.db_path.unlink()
    undamaged.rename(world.db_path)
    expected = follow(world)
    assert not after - expected
    if not recovery["unreadable"] & CHECKPOINTS:
        assert not at_once - before
        assert (before - at_once).total() == recovery["lost"]
        assert (expected - after).total() <= recovery["lost"]
