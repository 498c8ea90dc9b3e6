"""Prints which branches of the ingesting side the tests take, and fails below the promised share: `make coverage`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST_PERCENT = 95.0


def main() -> int:
    """Print a line a module, those with the most branches left out first, and the total."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "-q", "-o", report], check=True)
        found = json.loads(report.read_text())
    files = sorted(found["files"].items(), key=lambda item: -item[1]["summary"]["missing_branches"])
    for path, file in files:
        row(path.partition("shipwrightd/")[2], file["summary"], lines_left(file))
    row("total", found["totals"], "")
    share = 100 * found["totals"]["covered_branches"] / found["totals"]["num_branches"]
    return int(share < LEAST_PERCENT)


def row(name: str, of: dict[str, int], left: str) -> None:
    taken, there = of["covered_branches"], of["num_branches"]
    print(f"{name:<34} {taken:>5} of {there:>5} {100 * taken / max(1, there):>6.1f} %  {left}".rstrip())


def lines_left(file: dict[str, list[list[int]]]) -> str:
    return " ".join(f"{start}->{stop}" for start, stop in file["missing_branches"])


if __name__ == "__main__":
    sys.exit(main())
