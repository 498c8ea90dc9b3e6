"""Runs the scenario again and again, each time with one call to the system spoilt.

python faulty.py SHIM FOLDER MODE; MODE is full, or quick for a sample. Prints a JSON report. Loaded with the shim of
faults.c, which counts the calls below the folder and spoils one. Each case is a process of its own, forked, and may be
killed; then another goes on, as a service manager would have it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import shutil
import signal
import sys
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from model.scenario import STEPS, Script, difference, run_daemon, says
from world import World

from shipwrightd import database, log
from shipwrightd.errors import ShipwrightdError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipwrightd.daemon import PassReport

ERROR, SHORT, KILL = 1, 2, 3
LASTS = 3  # so many spoilt calls, then whatever was wrong is mended
ATTEMPTS = 6  # starts after a documented end
SAMPLED = (1, 7)  # in the short form, of equal calls on one file
DOCUMENTED = (65, 66, 73, 75)

# What the manual pages say each call can answer, as far as a file system, its medium or a limit makes it.
ANSWERS: dict[str, tuple[int, ...]] = {
    "open": (errno.EIO, errno.EMFILE, errno.EACCES, errno.EINTR, errno.ENOENT, errno.ENOSPC),
    "opendir": (errno.EIO, errno.EMFILE, errno.EACCES, errno.ENOENT),
    "read": (errno.EIO, errno.EINTR),
    "pread": (errno.EIO, errno.EINTR),
    "write": (errno.EIO, errno.ENOSPC, errno.EINTR),
    "pwrite": (errno.EIO, errno.ENOSPC, errno.EINTR),
    "fsync": (errno.EIO, errno.ENOSPC),
    "fdatasync": (errno.EIO, errno.ENOSPC),
    "ftruncate": (errno.EIO, errno.ENOSPC),
    "fstat": (errno.EIO,),
    "stat": (errno.EIO, errno.EACCES, errno.ENOENT),
    "lstat": (errno.EIO, errno.EACCES, errno.ENOENT),
    "access": (errno.EIO, errno.EACCES),
    "chmod": (errno.EIO, errno.EPERM),
    "mkdir": (errno.EIO, errno.ENOSPC),
    "unlink": (errno.EIO, errno.EACCES),
    "lock": (errno.EIO, errno.ENOLCK, errno.EINTR),
    "flock": (errno.EIO, errno.ENOLCK),
    "mmap": (errno.ENOMEM,),
    "lseek": (errno.EIO,),
    "fchmod": (errno.EPERM,),
    "fchown": (errno.EPERM,),
}
SHORTER = {"read", "pread", "write", "pwrite"}
ONCE = {errno.EINTR, errno.ENOENT}  # a call is not interrupted for ever, and a file gone for good is gone


@dataclass(frozen=True, slots=True)
class Case:
    """One spoilt call: its number, how, with which error, and whether the following ones fail with it."""

    number: int
    how: int
    error: int = 0
    lasting: bool = False

    def __str__(self) -> str:
        """Name it."""
        how = {ERROR: errno.errorcode.get(self.error, "?"), SHORT: "short", KILL: "kill -9"}[self.how]
        return f"{how}{' and on' if self.lasting else ''} at call {self.number}"


class Shim:
    """The counting and spoiling library, which is loaded already."""

    def __init__(self, path: str) -> None:
        self._calls = ctypes.CDLL(path)
        self._calls.fault_call.restype = self._calls.fault_path.restype = ctypes.c_char_p

    def arm(self, root: Path, case: Case | None) -> None:
        """Begin to count below a folder, and to spoil what the case says."""
        number, how, error, lasting = (case.number, case.how, case.error, case.lasting) if case else (-1, 0, 0, False)
        self._calls.fault_arm(str(root).encode(), ctypes.c_long(number), how, error, int(lasting))
        self.pause(on=False)

    def pause(self, *, on: bool) -> None:
        """Let this process do something that is not the daemon's."""
        self._calls.fault_pause(int(on))

    def heal(self) -> None:
        """Spoil nothing any more."""
        self._calls.fault_heal()

    @property
    def hits(self) -> int:
        """Return how many calls were spoilt."""
        return int(self._calls.fault_hits())

    def seen(self) -> list[tuple[str, str]]:
        """Return name and file of each call so far."""
        return [
            (self._calls.fault_call(number).decode(), self._calls.fault_path(number).decode())
            for number in range(self._calls.fault_count())
        ]


class FaultyScript(Script):
    """Takes its steps unharmed, and mends what lasts too long."""

    def __init__(self, shim: Shim, world: World, at: mmap.mmap) -> None:
        super().__init__(world, at)  # type: ignore[arg-type]
        self._shim = shim
        self.calls: list[int] = []

    def passed(self, turn: PassReport) -> None:
        """Count a pass while no call is spoilt."""
        if self._shim.hits >= LASTS:
            self._shim.heal()
        self._shim.pause(on=True)
        super().passed(turn)
        self._shim.pause(on=False)


class Bench:
    """Where the cases are run, one after the other."""

    def __init__(self, shim: Shim, folder: Path, *, fresh: bool) -> None:
        self._shim = shim
        self._folder = folder
        self._fresh = fresh  # the database is made in each case, with all migrations
        self._at = mmap.mmap(-1, 2)  # two numbers below 256
        self.calls, self.wanted = self._count()

    def _world(self, name: str) -> World:
        place = self._folder / name
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        world = World(place)
        template = self._folder / "template.db"
        if not self._fresh and template.exists():
            world.db_path.parent.mkdir(mode=0o700)
            shutil.copy(template, world.db_path)
        return world

    def _count(self) -> tuple[list[tuple[str, str]], dict[str, list[tuple[Any, ...]]]]:
        """Run once without a fault: which calls there are, and what the database then says."""
        world = self._world("first")
        if not self._fresh:
            run_daemon(world, Script(world, [0, 0], steps=()))
            world.db_path.rename(self._folder / "template.db")
            world = self._world("first")
        self._at[:] = bytes(2)
        self._shim.arm(world.home.parent, None)
        run_daemon(world, FaultyScript(self._shim, world, self._at))
        self._shim.pause(on=True)
        return self._shim.seen(), self._ask(world)

    def _ask(self, world: World) -> dict[str, list[tuple[Any, ...]]]:
        db = database.open_reader(world.db_path)
        try:
            return says(db)
        finally:
            db.close()

    def run(self, case: Case) -> str:
        """Run one case; return what was wrong, nothing when nothing was."""
        world = self._world("case")
        self._at[:] = bytes(2)
        trouble = self._in_a_process(world, case)
        if trouble == "killed":
            trouble = self._in_a_process(world, None)
        if trouble:
            return trouble
        if self._at[0] != len(STEPS):
            return f"ended at step {self._at[0]}"
        found = self._ask(world)
        if found["recoveries"]:  # built anew just when a file was replaced: what was missed cannot be told
            found = found | {name: self.wanted[name] for name in ("gaps", "checkpoints")}
        return difference(found | {"recoveries": []}, self.wanted)

    def _in_a_process(self, world: World, case: Case | None) -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            os.write(writer, self._attempts(world, case).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as told:
            said = told.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return "killed" if os.WTERMSIG(status) == signal.SIGKILL else f"signal {os.WTERMSIG(status)}"
        return said

    def _attempts(self, world: World, case: Case | None) -> str:
        """Run the daemon to the end of the script, and again after an end that is documented."""
        told = []
        signal.alarm(60)
        self._shim.arm(world.home.parent, case)
        for _ in range(ATTEMPTS):
            try:
                run_daemon(world, FaultyScript(self._shim, world, self._at))
            except ShipwrightdError as error:
                told.append(str(error))
                if error.exit_code not in DOCUMENTED or "\n" in str(error):
                    return f"ended with {error.exit_code}: {error}"
                if self._shim.hits >= LASTS:
                    self._shim.heal()
            except BaseException:  # noqa: BLE001 - whatever it is, it would be a traceback
                return traceback.format_exc(limit=-6)
            else:
                return ""
        return f"ended again and again: {told}"


def cases(calls: list[tuple[str, str]], *, full: bool) -> Iterator[Case]:
    """Yield what to spoil: every call in every way, or each kind of call on each file where it first differs."""
    seen: Counter[tuple[str, str]] = Counter()
    for number, what in enumerate(calls):
        seen[what] += 1
        if not full and seen[what] not in SAMPLED:
            continue
        ways = list(ways_of(number, what[0]))
        yield from ways if full else [ways[number % len(ways)]]


def ways_of(number: int, call: str) -> Iterator[Case]:
    """Yield all ways to spoil one call."""
    yield Case(number, KILL)
    if call in SHORTER:
        yield Case(number, SHORT)
    for error in ANSWERS[call]:
        yield Case(number, ERROR, error)
        if error not in ONCE and call != "lock":
            yield Case(number, ERROR, error, lasting=True)


def main() -> None:
    """Run all cases and report."""
    shim_path, folder, mode = sys.argv[1:]
    log.set_up("error")
    report: dict[str, Any] = {"cases": 0, "calls": {}, "wrong": []}
    for fresh in (False, True) if mode == "full" else (False,):
        bench = Bench(Shim(shim_path), Path(folder) / ("fresh" if fresh else "made"), fresh=fresh)
        report["calls"]["first start" if fresh else "following"] = Counter(call for call, _ in bench.calls)
        for case in cases(bench.calls, full=mode == "full"):
            report["cases"] += 1
            wrong = bench.run(case)
            if wrong:
                what = bench.calls[case.number]
                report["wrong"].append(f"{case} ({what[0]} {what[1]}, {'fresh' if fresh else 'made'}): {wrong}")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
