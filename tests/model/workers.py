"""The processes that write and rotate a journal as Shipwright's scripts do: real files, no lock, no word between them.

python workers.py write HOME SEED KEEP NUMBER   appends until SIGTERM, then prints which of its lines were raced
python workers.py rotate HOME SEED KEEP 0       rotates both ways until SIGTERM, then prints the same

A line is *raced* when the rotation itself took it out of the file: it went to the old file after `tail` had read it
to its end. Who holds the old file gets it, nobody else ever can. Of each raced line is told between which two moments
(seconds of the monotonic clock, which all processes share) it was lost from the files.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

WRITERS = 4
MORE = 100  # lines beyond those kept: the scripts wait for twice as many, which gives fewer rotations
CHAINS = 0.1  # share of rotations that rename
SPAN = 10_000_000  # ids of one writer
Raced = tuple[int, float, float]  # id, and the moments before and after
RECORD = re.compile(
    rb'\{"ts":"2026-01-05T09:00:00Z","ts_epoch":\d+,"type":"test\.tick","seq":(\d+),"note":"x*","end":\1\}'
)
TRIM = 'tail -n "$1" "$2" > "$2.rotating" && mv "$2.rotating" "$2"'
CHAIN = """
[ -f "$1.2" ] && mv "$1.2" "$1.3"
[ -f "$1.1" ] && mv "$1.1" "$1.2"
mv "$1" "$1.1"
touch "$1"
"""


def record(seq: int, note_bytes: int) -> bytes:
    """Return a line that says at its end, too, which one it is."""
    head = f'{{"ts":"2026-01-05T09:00:00Z","ts_epoch":{1_767_600_000 + seq % SPAN},"type":"test.tick"'
    return f'{head},"seq":{seq},"note":"{"x" * note_bytes}","end":{seq}}}\n'.encode()


def records_in(content: bytes) -> list[int]:
    """Return the ids of all whole records, also of one that was glued to half a line."""
    return [int(found[1]) for found in RECORD.finditer(content)]


class Until:
    """True once SIGTERM came."""

    def __init__(self) -> None:
        self._over = False
        signal.signal(signal.SIGTERM, self._end)

    def _end(self, *_: object) -> None:
        self._over = True

    def __bool__(self) -> bool:
        return self._over


def write(home: Path, seed: int, keep: int, number: int) -> dict[str, object]:
    """Append one line after the other, each opened anew and in one write, one in forty longer than 4 KiB.

    The first lines come without a pause, so that there is something to rotate soon.
    """
    rng = random.Random(seed * WRITERS + number)
    path = home / "events.jsonl"
    over = Until()
    count = 0
    raced: list[Raced] = []
    while not over:
        for _ in range(rng.choice((1, 1, 2, 9))):
            count += 1
            seq = number * SPAN + count
            text = record(seq, rng.randrange(4_200, 12_000) if rng.random() < 0.025 else rng.randrange(200))
            began = time.monotonic()
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                wrote = os.write(fd, text)
                assert wrote == len(text), "a short write would be a torn line"
                if os.fstat(fd).st_nlink == 0:  # the file lost its name while it was open here
                    raced.append((seq, began, time.monotonic()))
            finally:
                os.close(fd)
        if count > keep // WRITERS:
            time.sleep(rng.random() * 0.06)
    return {"written": count, "raced": raced}


def rotate(home: Path, seed: int, keep: int, _: int) -> dict[str, object]:
    """Trim or rename again and again, in the words of the scripts, and find out what each trim lost.

    What is kept must be more than is written while no daemon runs: else lines leave the file unread.
    """
    rng = random.Random(seed)
    path = home / "events.jsonl"
    over = Until()
    counts = {"trims": 0, "chains": 0}
    raced: list[Raced] = []
    while not over:
        time.sleep(0.02 + rng.random() * 0.3)
        if not path.exists() or path.read_bytes().count(b"\n") <= keep + MORE:
            continue
        if rng.random() < CHAINS:
            subprocess.run(["sh", "-c", CHAIN, "sh", str(path)], check=True)
            counts["chains"] += 1
        else:
            began = time.monotonic()
            lines = trim(path, keep)
            raced += [(seq, began, time.monotonic()) for seq in lines]
            counts["trims"] += 1
    return {**counts, "raced": raced}


def trim(path: Path, keep: int) -> list[int]:
    """Trim as the pipeline does; return what stands in the old file behind what `tail` kept."""
    with path.open("rb") as old:
        subprocess.run(["sh", "-c", TRIM, "sh", str(keep), str(path)], check=True)
        there = records_in(path.read_bytes())
        before = records_in(old.read())
    behind = before[before.index(there[0]) :]
    return sorted(set(behind) - set(there))


def main() -> None:
    """Do one of the two, then tell."""
    what, home, *numbers = sys.argv[1:]
    work = {"write": write, "rotate": rotate}[what]
    sys.stdout.write(json.dumps(work(Path(home), *map(int, numbers))))


if __name__ == "__main__":
    main()
