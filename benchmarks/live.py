"""A running daemon: how soon an appended line is visible to another connection, and what idling costs."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import apsw

from benchmarks.generate import lines
from benchmarks.measure import Figure, percentile, shipwrightd

if TYPE_CHECKING:
    from collections.abc import Iterator

MEDIAN_MS, P99_MS = 3.0, 25.0
IDLE_S, IDLE_PERCENT, IDLE_MIB = 60.0, 0.1, 60.0
START_EVENTS, START_S = 5_000_000, 0.5
DATA_VERSION = "PRAGMA data_version"
COUNT = "SELECT max(id) FROM events"


class Running:
    """A daemon on a home of its own, and a reader beside it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.db = home / "db" / "live.db"
        self.events = home / "events.jsonl"

    def __enter__(self) -> Self:
        self.log = self.home / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(shipwrightd("run", self.home, self.db), stdout=log, stderr=log)
        wait_for(lambda: b"daemon_following" in self.log.read_bytes())
        self.reader = apsw.Connection(str(self.db), flags=apsw.SQLITE_OPEN_READONLY)
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        self.process.terminate()
        self.process.wait(10)

    def newest(self) -> int:
        """Return the id of the newest visible event."""
        return self.reader.execute(COUNT).get or 0


def wait_for(condition: object, within_s: float = 60.0) -> None:
    """Spin until the condition holds."""
    end = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.005)


def latencies(running: Running, rate: float, number: int) -> list[float]:
    """Append one line at a time at a rate; return the milliseconds until each was visible."""
    source = lines(number, seed=7)
    seen = running.newest()
    appended: list[float] = []
    visible: list[float] = []
    fd = os.open(running.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    due = time.perf_counter()
    while len(visible) < number:
        now = time.perf_counter()
        if len(appended) < number and now >= due:
            os.write(fd, next(source))
            appended.append(time.perf_counter())
            due += 1 / rate
        found = running.newest() - seen
        now = time.perf_counter()
        visible += [now] * (found - len(visible))
        if len(visible) == len(appended):
            time.sleep(max(0.0, due - time.perf_counter()))
        else:
            time.sleep(0.0002)  # leaves the processor to the daemon; bounds what the figure adds
    os.close(fd)
    return [1000 * (end - begin) for begin, end in zip(appended, visible, strict=True)]


def figures(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """Measure latency at 1 and 500 events/s, then a minute of nothing."""
    home = folder / "live"
    home.mkdir()
    (home / "events.jsonl").touch()
    with Running(home) as running:
        for rate, number in ((1, 10 if quick else 30), (500, 1_000 if quick else 10_000)):
            found = latencies(running, rate, number)
            name = f"append to visible, {rate} event{'s' if rate > 1 else ''}/s"
            yield Figure(f"{name}, median", percentile(found, 0.5), MEDIAN_MS, "ms", "limit")
            yield Figure(f"{name}, 99th percentile", percentile(found, 0.99), P99_MS, "ms", "limit")
        time.sleep(3)
        span = 10.0 if quick else IDLE_S
        before = cpu_s(running.process.pid)
        time.sleep(span)
        used = 100 * (cpu_s(running.process.pid) - before) / span
        yield Figure("idle, share of one core", used, IDLE_PERCENT, "%", "limit")
        yield Figure("idle, resident memory", resident_mib(running.process.pid), IDLE_MIB, "MiB", "limit")


def start_figures(folder: Path, events: int) -> Iterator[Figure]:
    """Start on a large database with nothing new."""
    home = folder / "large"
    home.mkdir()
    from benchmarks.generate import write  # noqa: PLC0415 - only here

    write(home / "events.jsonl", events)
    subprocess.run(shipwrightd("backfill", home, home / "db" / "live.db"), check=True, stdout=subprocess.DEVNULL)
    found = []
    for _ in range(3):
        started = time.perf_counter()
        with Running(home):
            found.append(time.perf_counter() - started)
    yield Figure(f"start on {events:,} events", min(found), START_S, "s", "limit")


def cpu_s(pid: int) -> float:
    """Return the processor seconds a process has used, to the nanosecond where the kernel tells."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
