"""A journal of ten gigabytes, then a database of a hundred million events, beside small ones.

python -m benchmarks.huge --folder DIR [--lines 20000000] [--events 100000000]; needs some 60 GB of disk.

The journal is loaded as any other. Its lines are longer than most, for the bytes are what counts there. The rest of
the hundred million is copied inside the database, with times that go on: only the number of rows counts then.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from benchmarks.generate import lines
from benchmarks.live import Running, latencies, resident_mib
from benchmarks.measure import Figure, percentile, shipwrightd

if TYPE_CHECKING:
    from collections.abc import Iterator

LINES = 20_000_000
EVENTS = 100_000_000
BLOCK = 1_000_000
PAD = b',"note":"' + b"what the stage had to say for itself, as long as such texts are; " * 6 + b'"}\n'
COPY = """
INSERT INTO events (ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
SELECT ts, ts_epoch + ?1, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged,
    json_remove(extra, '$.note')
FROM events WHERE id <= ?2 ORDER BY id"""
SMALL = 100_000
PEAK_MIB = 200.0
FLAT = 1.5  # how many times as long the last tenth may take as the second
APPENDS = 600
NEWEST = "SELECT max(id) FROM events"


def write(path: Path, number: int) -> None:
    """Write so many lines, in blocks that are alike but for their time, which goes on."""
    block = [(line[7:27], int(line[40:50]), line[50:-2] + PAD) for line in lines(min(BLOCK, number))]
    first, last = block[0][1], block[-1][1]
    texts: dict[int, bytes] = {}
    with path.open("wb") as file:
        for start in range(0, number, BLOCK):
            shift = (last - first + 60) * (start // BLOCK)
            texts.clear()
            out = []
            for _, at, rest in block[: number - start]:
                now = at + shift
                ts = texts.get(now)
                if ts is None:
                    ts = texts[now] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)).encode()
                out.append(b'{"ts":"%b","ts_epoch":%d%b' % (ts, now, rest))
            file.write(b"".join(out))


def load(home: Path, number: int) -> Iterator[Figure]:
    """Backfill, and watch pace and memory on the way."""
    db = home / "db" / "live.db"
    marks = [(0.0, 0)]
    memory = []
    began = time.monotonic()
    with subprocess.Popen(shipwrightd("backfill", home, db), stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(1.0)
            with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
                memory.append(resident_mib(process.pid))
            with contextlib.suppress(apsw.Error):  # not made yet
                marks.append((time.monotonic() - began, newest(db)))
    assert process.returncode == 0
    marks.append((time.monotonic() - began, newest(db)))
    assert marks[-1][1] == number, "each line is a record"
    tenth = number / 10
    spans = [reached(marks, n * tenth) - reached(marks, (n - 1) * tenth) for n in (2, 10)]
    name = f"{number:,} events"
    yield Figure(f"{name}: backfill", number / marks[-1][0], 20_000, "/s", "events a second", more_is_better=True)
    yield Figure(f"{name}: last tenth", spans[1], FLAT * spans[0], "s", f"{FLAT} times the second tenth")
    early = max(memory[: max(5, len(memory) // 10)])
    yield Figure(f"{name}: peak memory", max(memory), PEAK_MIB, "MiB", "limit")
    yield Figure(f"{name}: memory beyond that of the first tenth", max(memory) - early, 64.0, "MiB", "limit")


def grow(path: Path, number: int) -> None:
    """Copy the first million events until there are so many."""
    with contextlib.closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA cache_size = -1000000")
        first: int = db.execute("SELECT min(ts_epoch) FROM events WHERE id <= ?", (BLOCK,)).get
        last: int = db.execute("SELECT max(ts_epoch) FROM events WHERE id <= ?", (BLOCK,)).get
        shift: int = db.execute("SELECT max(ts_epoch) FROM events").get - first
        while (there := newest(path)) < number:
            shift += last - first
            db.execute(COPY, (shift, min(BLOCK, number - there)))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def newest(path: Path) -> int:
    """Return the number of the newest event."""
    with contextlib.closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        return db.execute(NEWEST).get or 0


def reached(marks: list[tuple[float, int]], number: float) -> float:
    """Return after how many seconds so many events were there."""
    return next(at for at, found in marks if found >= number)


def live(home: Path) -> dict[str, float]:
    """Return seconds to start, seconds of `status`, milliseconds from append to visible, and MiB."""
    found: dict[str, float] = {}
    starts = []
    for _ in range(3):
        began = time.perf_counter()
        with Running(home):
            starts.append(time.perf_counter() - began)
    found["start, s"] = min(starts)
    with Running(home) as running:
        waits = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run(shipwrightd("status", home, running.db), check=True, stdout=subprocess.DEVNULL)
            waits.append(time.perf_counter() - began)
        found["status, s"] = min(waits)
        lags = latencies(running, 100, APPENDS)
        found["append to visible, median, ms"] = percentile(lags, 0.5)
        found["append to visible, 99th percentile, ms"] = percentile(lags, 0.99)
        found["resident memory, MiB"] = resident_mib(running.process.pid)
    return found


def figures(folder: Path, number: int, events: int) -> Iterator[Figure]:
    """Load, then compare what follows with the same on a small database; both journals stay in `folder`."""
    small, large = folder / "small", folder / "large"
    for home, count in ((small, SMALL), (large, number)):
        if not (home / "events.jsonl").exists():
            home.mkdir(parents=True)
            write(home / "events.jsonl", count)
    if not (large / "db").exists():
        size = (large / "events.jsonl").stat().st_size / 1e9
        print(f"the journal has {size:.1f} GB", flush=True)
        yield from load(large, number)
    grow(large / "db" / "live.db", events)
    subprocess.run(shipwrightd("backfill", small, small / "db" / "live.db"), check=True, stdout=subprocess.DEVNULL)
    ours, theirs = live(large), live(small)
    for name, value in ours.items():
        what, _, unit = name.rpartition(", ")
        yield Figure(f"{events:,} events: {what}", value, 1.5 * theirs[name], unit, f"1.5 times that of {SMALL:,}")


def main() -> None:
    """Print a line per figure as it is found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.huge", description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES, help="of the journal")
    parser.add_argument("--events", type=int, default=EVENTS, help="in the database in the end")
    parser.add_argument("--folder", type=Path, help="where the journals are kept; one already there is not made again")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        for f in figures(chosen.folder or Path(made), chosen.lines, chosen.events):
            verdict = "" if f.holds else "   MISSED"
            row = f"{f.name:<62} {f.ours:>10.3f} {f.unit:<3} {f.other:>10.3f} {f.unit:<3}"
            print(f"{row} {f.ratio:>7.3f}  {f.against}{verdict}", flush=True)
    os.sync()


if __name__ == "__main__":
    main()
