"""A real daemon killed at random microseconds beside four real writers and a rotator, and the account of it."""

from __future__ import annotations

import contextlib
import json
import math
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

    from model.workers import Raced

Span = tuple[float, float]  # seconds of the monotonic clock

WORKERS = Path(__file__).parent / "workers.py"
KEEP = 5_000  # lines, as the pipeline does
ALONE = 0.3  # share of kills that do not wait for progress: during start and migration too
MOMENT_S = 0.3  # within this time after progress the kill comes
CALM_EVERY, CALM_S = 25, 5.0  # one kill in so many comes so much later, the first one too
FOLLOWING_S = 2.0  # after progress the daemon has caught up and holds the file at the path
READ_S = 1.0  # within this time it has read what was written
NEWEST = "SELECT max(id) FROM events"
STORED = "SELECT json_extract(extra, '$.seq') FROM events WHERE type = 'test.tick' ORDER BY id"


@dataclass(frozen=True, slots=True)
class Account:
    """What came of it.

    `kept`: raced lines that the daemon got; `due`: raced lines it had to get, for it followed the file all the while;
    `unreachable`: the others that nobody read.
    """

    seed: int
    kills: int
    written: int
    trims: int
    chains: int
    kept: int
    due: int
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
            f"raced by the rotation: {self.kept} stored, {self.due} of them had to be, {self.unreachable} unreachable"
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What writers and rotator did: ids written, raced and due, and how often was rotated."""

    written: set[int]
    raced: set[int]
    due: set[int]
    trims: int
    chains: int


class Worker:
    """One of the writing or rotating processes."""

    def __init__(self, what: str, home: Path, *numbers: int) -> None:
        command = [sys.executable, str(WORKERS), what, str(home), *map(str, numbers)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.raced: list[Raced] = []

    def end(self) -> dict[str, int]:
        """Let it finish its line; return what it counted, and keep what it tells of raced lines."""
        self._process.terminate()
        told = json.loads(self._process.communicate(timeout=60)[0])
        self.raced = [(seq, began, ended) for seq, began, ended in told.pop("raced")]
        counts: dict[str, int] = told
        return counts

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
    calm: list[Span] = []
    with at_work(*writers), Daemon(world, SHIPWRIGHTD_LOG_LEVEL="info") as daemon:
        eventually(lambda: newest(world), within_s=120)  # what is rotated away before the first look is no loss of ours
        rotator = Worker("rotate", world.home, seed, keep, 0)
        with at_work(rotator):
            for number in range(kills):
                calm.append(kill_once(world, daemon, rng, calm=number % CALM_EVERY == 0))
                if tell_every and (number + 1) % tell_every == 0:
                    print(f"{number + 1} kills, {newest(world)} events", flush=True)
            rotated = rotator.end()
        counts = [writer.end() for writer in writers]
        written = {n * SPAN + i for n, count in enumerate(counts, 1) for i in range(1, count["written"] + 1)}
        lines = [line for worker in (*writers, rotator) for line in worker.raced]
        raced = {seq for seq, _, _ in lines}
        told = Told(written, raced, (written - raced) | due_of(lines, calm), rotated["trims"], rotated["chains"])
        with contextlib.suppress(AssertionError):  # the account says what is missing
            eventually(lambda: told.due <= set(stored(world)), within_s=60)
        daemon.stop()
    return account(world, seed, kills, told)


def kill_once(world: World, daemon: Daemon, rng: random.Random, *, calm: bool) -> Span:
    """Kill and start, at a moment that has to do with nothing; return the time in which it followed the file."""
    following = math.inf
    if calm or rng.random() > ALONE:
        before = newest(world)
        eventually(lambda: newest(world) > before, within_s=120, what="no progress")
        following = time.monotonic() + FOLLOWING_S
    time.sleep(rng.random() * MOMENT_S + CALM_S * calm)
    span = (following, time.monotonic() - READ_S)
    daemon.kill()
    daemon.start()
    return span


def due_of(raced: Sequence[Raced], calm: Sequence[Span]) -> set[int]:
    """Return the ids of raced lines that were lost from the files while the daemon followed them.

    The writer and the rotator may both tell of a line: then it is due only by what both say.
    """
    began: dict[int, float] = {}
    ended: dict[int, float] = {}
    for seq, first, last in raced:
        began[seq] = min(first, began.get(seq, math.inf))
        ended[seq] = max(last, ended.get(seq, 0.0))
    return {seq for seq in began if any(start <= began[seq] and ended[seq] <= end for start, end in calm)}


def newest(world: World) -> int:
    """Return the newest event's id, 0 while there is none."""
    try:
        found = world.query(NEWEST)[0][0]
    except (ShipwrightdError, apsw.Error):
        return 0
    return found if isinstance(found, int) else 0


def stored(world: World) -> list[int]:
    """Return the ids in the database in order of reading."""
    return [seq for (seq,) in world.query(STORED) if isinstance(seq, int)]


def account(world: World, seed: int, kills: int, told: Told) -> Account:
    """Compare what was written with what is stored."""
    found = stored(world)
    there = set(found)
    away, due = told.raced, told.due
    return Account(
        seed=seed,
        kills=kills,
        written=len(told.written),
        trims=told.trims,
        chains=told.chains,
        kept=len(away & there),
        due=len(away & due),
        unreachable=len(away - there - due),
        lost=sorted(due - there),
        doubled=doubles(found),
        reordered=reordered([seq for seq in found if seq not in away], files_order(world)),
        gaps=int(str(world.query("SELECT count(*) FROM gaps")[0][0])),
        invented=len(there - told.written),
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
