"""Four writers at full pace and readers that never rest: lag, memory, the log's size, what readers wait.

Two of the readers hold a snapshot for seconds, one beginning before the other ends: a log that only starts over
when nobody reads would grow without end.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import orjson

from benchmarks.generate import merged
from benchmarks.live import Running, resident_mib
from benchmarks.measure import Figure, percentile

if TYPE_CHECKING:
    from collections.abc import Iterator

WRITERS = 4
RATE = 2_000  # events a second, of all writers together
SECONDS, QUICK_SECONDS = 600.0, 30.0
HELD_S = 0.5  # how long a slow reader keeps its snapshot; the next one begins at once
PAUSE_S = 0.05  # between the queries of a quick reader
LAG_P99_MS = 250.0
SLOW_SECONDS = 120.0
# The log starts over when those who read are done, and those who began before they were: twice a snapshot.
SLOW_LAG_P99_MS = 3_000.0 * HELD_S
RESIDENT_MIB = 100.0
GROWTH_MIB = 8.0
WAL_MIB, SLOW_WAL_MIB = 64.0, 256.0
READ_P99_MS = 100.0
NEW = "SELECT id, json_extract(extra, '$.sent_ns') FROM events WHERE id > ? ORDER BY id"
QUERIES = (
    "SELECT status, count(*) FROM pipeline_runs GROUP BY status",
    "SELECT type, ts, issue, stage FROM events ORDER BY id DESC LIMIT 50",
    "SELECT * FROM v_dora_daily ORDER BY day DESC LIMIT 7",
    "SELECT day, sum(cost_usd) FROM v_cost_daily GROUP BY day ORDER BY day DESC LIMIT 7",
)


def write(path: Path, seconds: float, seed: int) -> int:
    """Append at a steady pace for so long, as the scripts do: opened anew for each line. Return how many lines."""
    source = merged(random.Random(seed))
    began = time.monotonic()
    for number in count():
        due = began + number * WRITERS / RATE
        if due - began >= seconds:
            return number
        time.sleep(max(0.0, due - time.monotonic()))
        _, kind, fields = next(source)
        now = time.time_ns()
        at = now // 1_000_000_000
        ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        line = orjson.dumps({"ts": ts, "ts_epoch": at, "type": kind, **fields, "sent_ns": now}) + b"\n"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, line)
        os.close(fd)
    raise AssertionError


def read(path: Path, seconds: float, *, held: bool) -> list[float]:
    """Query for so long and return the milliseconds of each query; with `held`, in snapshots that last."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    db.set_busy_timeout(5_000)
    took = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with db if held else open(os.devnull):  # noqa: PTH123 - a context that does nothing
            until = time.monotonic() + (HELD_S if held else 0.0)
            while True:
                for query in QUERIES:
                    began = time.perf_counter()
                    list(db.execute(query))
                    took.append(1_000 * (time.perf_counter() - began))
                    time.sleep(PAUSE_S)
                if time.monotonic() >= until:
                    break
    return took


def figures(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Run writers, readers and daemon side by side, and judge what was seen; then again with slow readers."""
    seconds = QUICK_SECONDS if quick else SECONDS
    yield from judged(run(folder / "load", seconds, slow=False), f"load, {RATE:,} events/s for {seconds:.0f} s")
    seconds = min(seconds, SLOW_SECONDS)
    yield from judged(run(folder / "slow", seconds, slow=True), "slow readers")


def run(home: Path, seconds: float, *, slow: bool) -> Seen:
    """Return what was seen in so many seconds with four readers, two of them slow if asked for."""
    home.mkdir()
    (home / "events.jsonl").touch()
    with Running(home) as running:
        writers = [start("write", running.events, seconds, seed) for seed in range(WRITERS)]
        readers = [start("read", running.db, seconds, held) for held in (0, 0, int(slow))]
        time.sleep(HELD_S / 2)  # the second slow reader begins in the middle of the first one's snapshot
        readers.append(start("read", running.db, seconds, int(slow)))
        seen = Seen()
        watch(running, seen, writers)
        seen.written = sum(json.loads(writer.communicate()[0]) for writer in writers)
        deadline = time.monotonic() + 30
        while len(seen.lags) < seen.written and time.monotonic() < deadline:
            seen.look(running)
        seen.answers = list(chain(*(json.loads(reader.communicate()[0]) for reader in readers)))
    return seen


def judged(seen: Seen, name: str) -> Iterator[Figure]:
    """Return the figures of a run."""
    tenth = max(1, len(seen.memory) // 10)
    grown = max(seen.memory[-tenth:]) - max(seen.memory[4 * tenth : 5 * tenth])  # caches are full after some 40 s
    slow = name.startswith("slow")
    p99_ms, wal_mib = (SLOW_LAG_P99_MS, SLOW_WAL_MIB) if slow else (LAG_P99_MS, WAL_MIB)
    yield Figure(f"{name}: missing or doubled", abs(seen.written - len(seen.lags)), 1, "", "must be 0")
    yield Figure(f"{name}: lag, median", percentile(seen.lags, 0.5), LAG_P99_MS, "ms", "limit")
    yield Figure(f"{name}: lag, 99th percentile", percentile(seen.lags, 0.99), p99_ms, "ms", "limit")
    yield Figure(f"{name}: lag, longest", max(seen.lags), 2 * SLOW_LAG_P99_MS, "ms", "limit")
    yield Figure(f"{name}: resident memory, most", max(seen.memory), RESIDENT_MIB, "MiB", "limit")
    yield Figure(f"{name}: memory, last tenth - fifth", max(0.0, grown), GROWTH_MIB, "MiB", "limit")
    yield Figure(f"{name}: write-ahead log, most", max(seen.wal), wal_mib, "MiB", "limit")
    yield Figure(f"{name}: a query, 99th percentile", percentile(seen.answers, 0.99), READ_P99_MS, "ms", "limit")


def start(what: str, path: Path, seconds: float, number: int) -> subprocess.Popen[bytes]:
    """Start a writer or a reader as a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", what, str(path), str(seconds), str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


class Seen:
    """What a look every few milliseconds finds."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.lags: list[float] = []
        self.memory: list[float] = []
        self.wal: list[float] = []
        self.answers: list[float] = []
        self.written = 0
        self._last = 0

    def look(self, running: Running) -> None:
        """Take the lag of each event that has become visible."""
        rows = list(running.reader.execute(NEW, (self._last,)))
        now = time.time_ns()
        self.lags += [(now - sent) / 1e6 for _, sent in rows]
        self._last = rows[-1][0] if rows else self._last
        time.sleep(0.002)

    def measure(self, running: Running) -> None:
        """Take memory and the size of the log."""
        self.memory.append(resident_mib(running.process.pid))
        self.wal.append(Path(f"{running.db}-wal").stat().st_size / (1 << 20))


def watch(running: Running, seen: Seen, writers: list[subprocess.Popen[bytes]]) -> None:
    """Look until the writers are done, and measure once a second."""
    due = time.monotonic()
    while any(writer.poll() is None for writer in writers):
        seen.look(running)
        if time.monotonic() >= due:
            seen.measure(running)
            due += 1.0


if __name__ == "__main__":
    path, seconds, number = Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    told = write(path, seconds, number) if sys.argv[1] == "write" else read(path, seconds, held=bool(number))
    print(json.dumps(told))
