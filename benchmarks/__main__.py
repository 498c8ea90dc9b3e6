"""All figures in one table: python -m benchmarks [--quick] [--only backfill,live,start,kill]."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import backfill, generate, kill, live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Figure

PARTS = ("backfill", "live", "start", "kill")


def figures(folder: Path, parts: list[str], *, quick: bool) -> Iterator[Figure]:
    """Measure the named parts one after the other."""
    if "backfill" in parts:
        journal = folder / "events.jsonl"
        generate.write(journal, backfill.EVENTS)
        yield from backfill.figures(folder, journal)
    if "live" in parts:
        yield from live.figures(folder, quick=quick)
    if "start" in parts:
        yield from live.start_figures(folder, 500_000 if quick else live.START_EVENTS)
    if "kill" in parts:
        yield from kill.figures(folder, kills=20 if quick else 200)


def main() -> None:
    """Print a line per figure as it is found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and less exact")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, with commas")
    chosen = parser.parse_args()
    print(f"{'figure':<46} {'ours':>12} {'peer or limit':>14} {'ratio':>7}  against")
    with tempfile.TemporaryDirectory() as folder:
        for f in figures(Path(folder), chosen.only.split(","), quick=chosen.quick):
            verdict = "" if f.holds else "   MISSED"
            row = f"{f.name:<46} {f.ours:>8.3f} {f.unit:<3} {f.other:>10.3f} {f.unit:<3} {f.ratio:>7.3f}"
            print(f"{row}  {f.against}{verdict}", flush=True)


if __name__ == "__main__":
    main()
