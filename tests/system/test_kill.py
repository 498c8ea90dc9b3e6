"""A real daemon, killed at random moments while a real writer appends and rotates."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from world import Daemon, World, doubles, eventually

pytestmark = pytest.mark.system

WRITER = Path(__file__).parent.parent / "writer.py"
KILLS = 20


def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    world = World(tmp_path)
    command = [sys.executable, str(WRITER), str(world.home), str(seed), "300"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as writer,
        Daemon(world) as daemon,
    ):
        for _ in range(KILLS):
            before = world.count()
            eventually(partial(world.has_more_than, before), what=f"no progress, seed {seed}")
            time.sleep(rng.random() * 0.2)  # the moment of the kill, not a wait for something
            daemon.kill()
            daemon.start()
        writer.terminate()
        told = json.loads(writer.communicate()[0])
        must = set(range(1, told["written"] + 1)) - set(told["raced"])
        eventually(lambda: must <= set(world.stored()), what=f"lines are missing, seed {seed}")
    stored = world.stored()
    raced = set(told["raced"])
    assert doubles(stored) == [], f"seed {seed}"
    steady = [seq for seq in stored if seq not in raced]
    assert steady == sorted(steady), f"out of order, seed {seed}"
    assert world.query("SELECT count(*) FROM gaps") == [(0,)], f"seed {seed}"
    assert world.query("SELECT count(*) FROM quarantine") == [(0,)], f"seed {seed}"
