"""A real writer that rotates, a real daemon killed again and again: what is lost, doubled, out of order."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parent.parent / "tests"


def figures(folder: Path, *, kills: int, seed: int | None = None) -> Iterator[Figure]:
    """Kill so often; each figure must be 0 (shown against 1, which it must stay below)."""
    sys.path.insert(0, str(TESTS))
    from world import Daemon, World, doubles, eventually  # noqa: PLC0415 - shared with the tests, found only now

    seed = random.randrange(2**32) if seed is None else seed
    rng = random.Random(seed)
    place = folder / "kill"
    place.mkdir()
    world = World(place)
    command = [sys.executable, str(TESTS / "writer.py"), str(world.home), str(seed), "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer, Daemon(world) as daemon:
        for _ in range(kills):
            before = world.count()
            eventually(partial(world.has_more_than, before))
            time.sleep(rng.random() * 0.2)
            daemon.kill()
            daemon.start()
        writer.terminate()
        told = json.loads(writer.communicate()[0])
        must = set(range(1, told["written"] + 1)) - set(told["raced"])
        try:
            eventually(lambda: must <= set(world.stored()))
        except AssertionError:
            print("lines are missing")
    stored = world.stored()
    raced = set(told["raced"])
    steady = [seq for seq in stored if seq not in raced]
    print(f"kills {kills}, lines {told['written']}, seed {seed}")
    yield Figure("kill -9: lines lost", len(must - set(stored)), 1, "", "must be 0")
    yield Figure("kill -9: lines doubled", len(doubles(stored)), 1, "", "must be 0")
    yield Figure(
        "kill -9: lines out of order",
        sum(a > b for a, b in pairwise(steady)),
        1,
        "",
        "must be 0",
    )
