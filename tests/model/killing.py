"""A real daemon killed at random microseconds beside four real writers and a rotator, and the account of it."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from model.workers import SPAN, WRITERS, records_in
from world import Daemon, World, doubles, eventually

from shipwrightd.errors import ShipwrightdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKERS = Path(__file__).parent / "workers.py"
KEEP = 5_000  # lines, as the pipeline does
ALONE = 0.3  # share of kills that do not wait for progress: during start and migration too
MOMENT_S = 0.3  # within this time after progress the kill comes
CALM_S = 1.5  # one kill in ten comes so much later
NEWEST = "SELECT max(id) FROM events"
STORED = "SELECT json_extract(extra, '$.seq') FROM events WHERE type = 'test.tick' ORDER BY id"


@dataclass(frozen=True, slots=True)
class Account:
    """What came of it. `unreachable`: raced lines that nobody read; `kept`: raced lines that the daemon got."""

    seed: int
    kills: int
    written: int
    trims: int
    chains: int
    kept: int
    unreachable: int
    lost: Sequence[int]
    doubled: Sequence[int]
    reordered: int
    gaps: int
    invented: int

    def clean(self) -> bool:
        """Tell whether the promise held."""
        return not (self.lost or self.doubled or self.reordered or self.gaps or self.invented)

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"seed {self.seed}: {self.kills} kills, {self.written} lines of {WRITERS} writers, {self.trims} trims, "
            f"{self.chains} rename chains; lost {len(self.lost)}, doubled {len(self.doubled)}, "
            f"reordered {self.reordered}, gaps {self.gaps}, invented {self.invented}; "
            f"raced by the rotation: {self.kept} stored, {self.unreachable} unreachable"
        )


class Worker:
    """One of the writing or rotating processes."""

    def __init__(self, what: str, home: Path, *numbers: int) -> None:
        command = [sys.executable, str(WORKERS), what, str(home), *map(str, numbers)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def end(self) -> dict[str, list[int]]:
        """Let it finish its line and return what it tells."""
        self._process.terminate()
        told: dict[str, list[int]] = json.loads(self._process.communicate(timeout=60)[0])
        return told

    def kill(self) -> None:
        """End it if it still runs."""
        self._process.kill()
        self._process.wait()


@contextlib.contextmanager
def at_work(*made: Worker) -> Iterator[None]:
    """End the workers whatever happens."""
    try:
        yield
    finally:
        for worker in made:
            worker.kill()


def run(folder: Path, *, kills: int, seed: int, keep: int = KEEP, tell_every: int = 0) -> Account:
    """Kill the daemon so often, let it catch up, and compare."""
    rng = random.Random(seed)
    world = World(folder)
    writers = [Worker("write", world.home, seed, keep, number) for number in range(1, WRITERS + 1)]
    with at_work(*writers), Daemon(world, SHIPWRIGHTD_LOG_LEVEL="info") as daemon:
        eventually(lambda: newest(world), within_s=120)  # what is rotated away before the first look is no loss of ours
        rotator = Worker("rotate", world.home, seed, keep, 0)
        with at_work(rotator):
            for number in range(1, kills + 1):
                kill_once(world, daemon, rng)
                if tell_every and number % tell_every == 0:
                    print(f"{number} kills, {newest(world)} events", flush=True)
            rotated = rotator.end()
        told = [writer.end() for writer in writers]
        raced = {seq for worker in (*told, rotated) for seq in worker["raced"]}
        written = {n * SPAN + i for n, worker in enumerate(told, 1) for i in range(1, int(str(worker["written"])) + 1)}
        with contextlib.suppress(AssertionError):  # the account says what is missing
            eventually(lambda: len(written) - newest(world) <= len(raced) and read_up(world, written - raced))
        daemon.stop()
    return account(world, written, raced, Account(seed, kills, len(written), *_counts(rotated), 0, 0, (), (), 0, 0, 0))


def _counts(rotator: dict[str, list[int]]) -> tuple[int, int]:
    return int(str(rotator["trims"])), int(str(rotator["chains"]))


def kill_once(world: World, daemon: Daemon, rng: random.Random) -> None:
    """Kill and start, at a moment that has to do with nothing."""
    if rng.random() > ALONE:
        before = newest(world)
        eventually(lambda: newest(world) > before, within_s=120, what="no progress")
    time.sleep(rng.random() * (CALM_S if rng.random() < 0.1 else MOMENT_S))
    daemon.kill()
    daemon.start()


def newest(world: World) -> int:
    """Return the newest event's id, 0 while there is none."""
    try:
        found = world.query(NEWEST)[0][0]
    except (ShipwrightdError, apsw.Error):
        return 0
    return found if isinstance(found, int) else 0


def read_up(world: World, due: set[int]) -> bool:
    """Tell whether all that must be stored is."""
    return due <= set(stored(world))


def stored(world: World) -> list[int]:
    """Return the ids in the database in order of reading."""
    return [seq for (seq,) in world.query(STORED) if isinstance(seq, int)]


def account(world: World, written: set[int], raced: set[int], facts: Account) -> Account:
    """Compare what was written with what is stored."""
    found = stored(world)
    there = set(found)
    standing = files_order(world)
    return Account(
        seed=facts.seed,
        kills=facts.kills,
        written=facts.written,
        trims=facts.trims,
        chains=facts.chains,
        kept=len(raced & there),
        unreachable=len(raced - there),
        lost=sorted(written - raced - there),
        doubled=doubles(found),
        reordered=reordered([seq for seq in found if seq not in raced], standing),
        gaps=int(str(world.query("SELECT count(*) FROM gaps")[0][0])),
        invented=len(there - written),
    )


def files_order(world: World) -> list[int]:
    """Return the ids in the journal and its siblings, oldest first."""
    names = ("events.jsonl.3", "events.jsonl.2", "events.jsonl.1", "events.jsonl")
    paths = [world.home / name for name in names]
    return [seq for path in paths if path.exists() for seq in records_in(path.read_bytes())]


def reordered(found: list[int], standing: list[int]) -> int:
    """Count neighbours in the wrong order: of each writer's lines, and of what the files still show."""
    wrong = sum(
        earlier > later
        for number in range(1, WRITERS + 1)
        for earlier, later in pairwise(seq for seq in found if seq // SPAN == number)
    )
    rank = {seq: at for at, seq in enumerate(found)}
    return wrong + sum(rank[a] > rank[b] for a, b in pairwise(seq for seq in standing if seq in rank))
