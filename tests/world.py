"""A Shipwright home on real files, its writers, and a follower of it: in this process, or a real daemon."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

import apsw
import orjson

from shipwrightd import clock, database
from shipwrightd.daemon.catch_up import CatchUp
from shipwrightd.errors import ShipwrightdError
from shipwrightd.recovery import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

SETTLE_S = 0.05
DEADLINE_S = 20.0
SEQS = "SELECT json_extract(extra, '$.seq') FROM events WHERE origin = 'events.jsonl' ORDER BY id"


def line(seq: int, **fields: object) -> bytes:
    """Return an event as Shipwright writes it, with a sequence number of its own."""
    ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_767_600_000 + seq))
    return orjson.dumps({"ts": ts, "ts_epoch": 1_767_600_000 + seq, "type": "test.tick", "seq": seq, **fields}) + b"\n"


class World:
    """The home, the journal, and how many lines were written to it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.events = self.home / "events.jsonl"
        self.db_path = folder / "db" / "shipwright.db"
        self.written = 0
        self._reader: apsw.Connection | None = None

    # -- writers

    def lines(self, count: int) -> list[bytes]:
        """Make the next lines without writing them."""
        first = self.written + 1
        self.written += count
        return [line(seq) for seq in range(first, first + count)]

    def append(self, count: int, *, path: Path | None = None) -> None:
        """Append lines as a bash writer does: opened anew, one write."""
        with (path or self.events).open("ab") as file:
            file.write(b"".join(self.lines(count)))

    def tail(self, keep: int) -> bytes:
        """Return the file's last lines, as `tail -n` does."""
        return b"".join(self.events.read_bytes().splitlines(keepends=True)[-keep:])

    def replace(self, content: bytes) -> None:
        """Put new content at the path by tmp and mv."""
        temporary = self.events.with_name("events.jsonl.rotating")
        temporary.write_bytes(content)
        temporary.rename(self.events)

    def trim(self, keep: int, *, late: int = 0) -> None:
        """Trim as the pipeline does; `late` lines are appended between tail and mv and lost from the file."""
        kept = self.tail(keep)
        if late:
            self.append(late)
        self.replace(kept)

    def rotate(self) -> None:
        """Rotate by size as the daemon does: .2 to .3, .1 to .2, the file to .1, a new file."""
        self._make_way()
        self.events.rename(self.events.with_name("events.jsonl.1"))
        self.events.touch()

    def copy(self) -> None:
        """Copy the file to .1, as other rotators do before they empty it; older siblings move on."""
        self._make_way()
        shutil.copyfile(self.events, self.events.with_name("events.jsonl.1"))

    def copy_and_truncate(self) -> None:
        """Do both."""
        self.copy()
        os.truncate(self.events, 0)

    def _make_way(self) -> None:
        for old, new in ((2, 3), (1, 2)):
            with contextlib.suppress(FileNotFoundError):
                self.events.with_name(f"events.jsonl.{old}").rename(self.events.with_name(f"events.jsonl.{new}"))

    # -- what is where

    def in_files(self) -> list[int]:
        """Return the sequence numbers of all complete lines in the journal and its siblings, oldest first."""
        found = []
        for name in ("events.jsonl.3", "events.jsonl.2", "events.jsonl.1", "events.jsonl"):
            with contextlib.suppress(FileNotFoundError):
                content = (self.home / name).read_bytes()
                found += [seq_of(text) for text in content.split(b"\n")[:-1]]
        return [seq for seq in found if seq is not None]

    def in_file(self) -> list[bytes]:
        """Return the complete lines of the journal itself."""
        return self.events.read_bytes().split(b"\n")[:-1]

    def stored(self) -> list[int]:
        """Return the sequence numbers in the database, in order of reading."""
        if not self.db_path.exists():
            return []
        db = database.open_reader(self.db_path)
        try:
            return [seq for (seq,) in db.execute(SEQS) if seq is not None]
        finally:
            db.close()

    def count(self) -> int:
        """Return how many events are in the database, 0 before there is one."""
        try:
            found = self.query("SELECT count(*) FROM events")[0][0]
            return found if isinstance(found, int) else 0
        except (ShipwrightdError, apsw.SQLError):
            return 0

    def has_more_than(self, events: int) -> bool:
        """Tell whether the database holds more events than that."""
        return self.count() > events

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Ask the database."""
        db = database.open_reader(self.db_path)
        try:
            return list(db.execute(sql))
        finally:
            db.close()


def seq_of(text: bytes) -> int | None:
    """Return a line's sequence number, None when it has none."""
    try:
        value = orjson.loads(text)
    except ValueError:
        return None
    return value.get("seq") if isinstance(value, dict) else None


class Follower:
    """The ingesting side in this process; `restart` is what a crash between two commits leaves."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open()

    def _open(self) -> None:
        self.db, self._lock = open_database(self._world.db_path, self._world.home)
        self.catch_up = CatchUp(self.db, self._world.home, settle_s=SETTLE_S)

    def look(self) -> None:
        """Catch up once; a file that is waited for stays waited for."""
        self.catch_up.poll()

    def poll(self) -> None:
        """Take one step of a look at the event log: a batch at most, or a change of file."""
        self.catch_up.journals[0].poll(self.db, clock.now())

    def settle(self) -> None:
        """Catch up until nothing is waited for any more."""
        deadline = time.monotonic() + DEADLINE_S
        while (passed := self.catch_up.poll()).wait_s is not None:
            assert time.monotonic() < deadline, "the files never settle"
            time.sleep(min(passed.wait_s, 0.01))

    def close(self) -> None:
        """End."""
        self.catch_up.close()
        self.db.close()
        self._lock.release()

    def kill(self) -> None:
        """End as `kill -9` between two transactions: what is in the log stays there."""
        self.db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        self.close()

    def restart(self) -> None:
        """End and begin anew from what is committed."""
        self.close()
        self._open()


class Daemon:
    """A real `shipwrightd run`."""

    def __init__(self, world: World, **environment: str) -> None:
        self._world = world
        self._environment = {"SHIPWRIGHTD_LOG_LEVEL": "debug", "SHIPWRIGHTD_SETTLE_S": "0.2", **environment}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = world.db_path.parent.with_name("daemon.log")

    def start(self) -> Daemon:
        """Start it; it may still be catching up when this returns."""
        command = [sys.executable, "-m", "shipwrightd", "run", "--home", str(self._world.home)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--db", str(self._world.db_path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        return self

    def kill(self) -> None:
        """Kill it as `kill -9` does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End it as a service manager does and return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()


def eventually(condition: Callable[[], object], *, within_s: float = DEADLINE_S, what: str = "") -> None:
    """Wait until the condition holds; fail at the deadline."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, what or "the condition never held"
        time.sleep(0.01)


def doubles(seqs: Iterable[int]) -> list[int]:
    """Return what stands more than once."""
    seen: set[int] = set()
    twice = []
    for seq in seqs:
        if seq in seen:
            twice.append(seq)
        seen.add(seq)
    return twice
