"""A process that writes a journal as Shipwright does and rotates it: python writer.py HOME SEED SECONDS.

Prints one JSON object at its end: how many lines it wrote and which of them a
race between tail and mv took out of the file again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

KEEP = 5_000


def write(path: Path, first: int, count: int, rng: random.Random) -> None:
    """Append lines, opened anew, now and then in two writes that split a line."""
    text = "".join(
        f'{{"ts":"2026-01-05T09:00:00Z","ts_epoch":{1_767_600_000 + seq},"type":"test.tick","seq":{seq},'
        f'"note":"{"x" * rng.randrange(200)}"}}\n'
        for seq in range(first, first + count)
    ).encode()
    cut = rng.randrange(len(text)) if rng.random() < 0.2 else len(text)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, text[:cut])
        if text[cut:]:
            os.write(fd, text[cut:])
    finally:
        os.close(fd)


def main(home: Path, seed: int, seconds: float) -> None:
    """Write and rotate until the time is over."""
    rng = random.Random(seed)
    path = home / "events.jsonl"
    written = in_file = 0
    raced: list[int] = []
    stop: list[bool] = []
    end = time.monotonic() + seconds
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    while time.monotonic() < end and not stop:
        count = rng.randrange(1, 20)
        write(path, written + 1, count, rng)
        written += count
        in_file += count
        time.sleep(rng.random() * 0.01)
        if in_file > 2 * KEEP:
            kept = b"".join(path.read_bytes().splitlines(keepends=True)[-KEEP:])
            if rng.random() < 0.5:
                late = rng.randrange(1, 8)
                write(path, written + 1, late, rng)
                raced += range(written + 1, written + late + 1)
                written += late
            rotating = path.with_name("events.jsonl.rotating")
            rotating.write_bytes(kept)
            rotating.rename(path)
            in_file = KEEP
        elif rng.random() < 0.0005:
            for old, new in ((2, 3), (1, 2)):
                if (home / f"events.jsonl.{old}").exists():
                    (home / f"events.jsonl.{old}").rename(home / f"events.jsonl.{new}")
            path.rename(home / "events.jsonl.1")
            path.touch()
            in_file = 0
    sys.stdout.write(json.dumps({"written": written, "raced": raced}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
