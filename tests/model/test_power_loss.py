"""The machine stops at any write: what was not synced is gone, or there in part, or in another order.

A virtual file system under SQLite keeps a log of all writes and syncs. From each moment of it, disks are made as a
power loss may leave them; on each, the daemon starts again and goes on.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import apsw
import pytest
from model.scenario import QUESTIONS, STEPS, Script, difference, run_daemon, says
from world import World, doubles

from shipwrightd import database, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FULL = os.environ.get("SHIPWRIGHTD_FAULTS") == "full"
SAMPLE = 15  # moments in the short form
SECTOR = 512  # what a disk writes whole
ROTATIONS = {"trim", "rename_chain", "empty_and_begin_again", "rename_chain_again"}
POLICIES = ("keep", "drop", "first", "some", "torn", "undelete")


@dataclass(slots=True)
class Happened:
    """One entry of the log: a write, truncate, sync or delete of a file of the database, or a step of the scenario."""

    what: str
    path: str = ""
    offset: int = 0
    data: bytes = b""


@dataclass(slots=True)
class Moment:
    """What is in the home after a step, and which lines the database may not lose any more."""

    step: int
    written: int
    files: dict[str, bytes]
    safe: set[int] = field(default_factory=set)


class Disk(apsw.VFS):
    """Everything as it is, and a log of it."""

    def __init__(self) -> None:
        self.log: list[Happened] = []
        super().__init__("shipwrightd-test-disk", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return LoggedFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802, FBT001
        self.log.append(Happened("delete", filename))
        super().xDelete(filename, syncdir)


class LoggedFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("unix", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._disk.log.append(Happened("write", self._path, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.log.append(Happened("truncate", self._path, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.log.append(Happened("sync", self._path))
        super().xSync(flags)


class Recorder:
    """Runs the scenario on the logging disk."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.moments: list[Moment] = []
        self._before: set[int] = set()
        self.disk = Disk()
        try:
            steps = [self._recorded(number, step) for number, step in enumerate(STEPS)]
            run_daemon(self.world, Script(self.world, [0, 0], steps=steps))
        finally:
            self.disk.unregister()

    def _recorded(self, number: int, step: Callable[[World], None]) -> Callable[[World], None]:
        def take(world: World) -> None:
            now = set(world.stored())
            last = STEPS[number - 1].__name__ if number else ""
            safe = self._before if last in ROTATIONS else set(self.moments[-1].safe) if self.moments else set()
            self._before = now
            step(world)
            files = {str(p.relative_to(world.home)): p.read_bytes() for p in world.home.rglob("*") if p.is_file()}
            self.moments.append(Moment(number + 1, world.written, files, safe))
            self.disk.log.append(Happened("step", offset=number))

        return take


def left_on_disk(history: list[Happened], policy: str, rng: random.Random) -> dict[str, bytes]:
    """Return the files of the database as a power loss after this history may leave them."""
    synced: dict[str, bytearray] = {}
    waiting: dict[str, list[Happened]] = {}
    deleted: dict[str, bytearray] = {}
    for entry in history:
        if entry.what == "sync":
            content = synced.setdefault(entry.path, bytearray())
            for done in waiting.pop(entry.path, []):
                apply(content, done)
            deleted.clear()  # a sync writes the folder too, on every file system that keeps a log of names
        elif entry.what == "delete":
            deleted[entry.path] = synced.pop(entry.path, bytearray())
            waiting.pop(entry.path, None)
        elif entry.what != "step":
            waiting.setdefault(entry.path, []).append(entry)
    for path, entries in waiting.items():
        content = synced.setdefault(path, bytearray())
        for done in survivors(entries, policy, rng):
            apply(content, done)
    if policy == "undelete":
        synced = {path: content for path, content in deleted.items() if path not in synced} | synced
    return {path: bytes(content) for path, content in synced.items()}


def survivors(entries: list[Happened], policy: str, rng: random.Random) -> list[Happened]:
    """Return which of the writes that were not synced reached the disk, in which order, and how much of them."""
    if policy == "keep":
        return entries
    if policy in {"drop", "undelete"}:
        return []
    if policy == "some":
        kept = [entry for entry in entries if rng.random() < 0.5]
        rng.shuffle(kept)
        return kept
    kept = entries[: rng.randrange(len(entries) + 1)]
    if policy == "torn" and kept:
        last = kept[-1]
        size = rng.randrange(len(last.data) // SECTOR + 1) * SECTOR
        kept = [*kept[:-1], Happened(last.what, last.path, last.offset, last.data[:size])]
    return kept


def apply(content: bytearray, done: Happened) -> None:
    """Do to a file's content what an entry says."""
    if done.what == "truncate":
        del content[done.offset :]
    elif done.data:
        content.extend(bytes(max(0, done.offset - len(content))))
        content[done.offset : done.offset + len(done.data)] = done.data


def moments(recorder: Recorder) -> Iterator[tuple[int, Moment]]:
    """Yield after how many entries the power goes, and what is in the home then."""
    log = recorder.disk.log
    moment = Moment(0, 0, {})
    every = 1 if FULL else max(1, len(log) // SAMPLE)
    for number, entry in enumerate(log, 1):
        if entry.what == "step":
            moment = recorder.moments[entry.offset]
        if number % every == 0:
            yield number, moment


def how_short(journal: bytes, rng: random.Random) -> int:
    """Choose how many bytes at its end the journal has lost: none, some, or all behind a line's text."""
    newline = journal.rfind(b"\n", max(0, len(journal) - rng.randrange(1, 400)))
    return rng.choice((0, 0, rng.randrange(1, 400), len(journal) - newline if newline >= 0 else 0))


def start_again(folder: Path, moment: Moment, disk: dict[str, bytes], cut: int) -> World:
    """Make a machine from what is left, the journal short of its last bytes, and let the daemon go on."""
    folder.mkdir()
    world = World(folder)
    world.db_path.parent.mkdir(mode=0o700)
    for path, content in disk.items():
        world.db_path.with_name(path.rpartition("/")[2]).write_bytes(content)
    for name, content in moment.files.items():
        place = world.home / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content[: len(content) - cut] if name == "events.jsonl" and cut else content)
    run_daemon(world, Script(world, [moment.step, moment.written]))
    return world


def test_after_a_power_loss_the_database_is_whole_and_catches_up(tmp_path: Path) -> None:
    log.set_up("error")
    seed = int(os.environ.get("SHIPWRIGHTD_SEED", "0")) or random.randrange(2**32)
    rng = random.Random(seed)
    (tmp_path / "first").mkdir()
    recorder = Recorder(tmp_path / "first")
    wanted = answers(recorder.world)
    wrong = []
    cases = 0
    for number, moment in moments(recorder):
        for policy in POLICIES:
            cut = how_short(moment.files.get("events.jsonl", b""), rng) if policy != "keep" else 0
            disk = left_on_disk(recorder.disk.log[:number], policy, rng)
            cases += 1
            try:
                world = start_again(tmp_path / str(cases), moment, disk, cut)
            except Exception as error:  # noqa: BLE001 - each kind is one finding
                wrong.append(f"{policy}, {cut} bytes short, after {number}: {error!r}")
                continue
            wrong += [f"{policy}, {cut} bytes short, after {number}: {said}" for said in faults_of(world, moment)]
            if policy == "keep" and (differs := difference(answers(world), wanted)):
                wrong.append(f"keep, after {number}: {differs}")
    print(f"{cases} power losses at {len(recorder.disk.log)} writes and syncs, seed {seed}")
    assert wrong == [], f"seed {seed}"


def faults_of(world: World, moment: Moment) -> list[str]:
    """Return what is wrong with a database after a power loss and the rest of the scenario."""
    stored = world.stored()
    found = []
    if world.query(QUESTIONS["integrity"]) != [("ok",)]:
        found.append("not whole")
    if doubles(stored):
        found.append(f"doubled {doubles(stored)}")
    if missing := set(world.in_files()) - set(stored):
        found.append(f"in the files and not stored: {missing}")
    if missing := moment.safe - set(stored):
        found.append(f"stored before a switch of files and lost: {missing}")
    return found


def answers(world: World) -> dict[str, list[tuple[object, ...]]]:
    db = database.open_reader(world.db_path)
    try:
        return says(db)
    finally:
        db.close()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_disk_keeps_what_was_synced(policy: str) -> None:
    """The judge is judged: with every policy, synced bytes are there and others need not be."""
    history = [Happened("write", "a", 0, b"x" * 1024), Happened("sync", "a"), Happened("write", "a", 1024, b"y" * 1024)]
    left = left_on_disk(history, policy, random.Random(1))["a"]
    assert left.startswith(b"x" * 1024)
    assert (left == b"x" * 1024 + b"y" * 1024) or policy != "keep"
