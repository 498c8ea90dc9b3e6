"""All figures in one table: python -m benchmarks [--quick] [--only backfill,live,start,kill,load,reports]."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import backfill, generate, kill, live, load, reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Figure

PARTS = ("backfill", "live", "start", "kill", "load", "reports")


def figures(folder: Path, parts: list[str], *, quick: bool, events: int, kept: Path | None) -> Iterator[Figure]:
    """Measure the named parts one after the other; `events` and `kept` are for the reports."""
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
    if "load" in parts:
        yield from load.figures(folder, quick=quick)
    if "reports" in parts:
        yield from reports.figures(kept or folder, events)


def main() -> None:
    """Print a line per figure as it is found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller and less exact")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, with commas")
    parser.add_argument("--events", type=int, help="of the year that reports are asked about [default: 10,000,000]")
    parser.add_argument("--folder", type=Path, help="where that year is kept for the next time (5 GB)")
    chosen = parser.parse_args()
    events = chosen.events or (reports.QUICK_EVENTS if chosen.quick else reports.EVENTS)
    print(f"{'figure':<58} {'ours':>12} {'peer or limit':>14} {'ratio':>7}  against")
    with tempfile.TemporaryDirectory() as folder:
        measured = figures(Path(folder), chosen.only.split(","), quick=chosen.quick, events=events, kept=chosen.folder)
        for f in measured:
            verdict = "" if f.holds else "   MISSED"
            row = f"{f.name:<58} {f.ours:>8.3f} {f.unit:<3} {f.other:>10.3f} {f.unit:<3} {f.ratio:>7.3f}"
            print(f"{row}  {f.against}{verdict}", flush=True)


if __name__ == "__main__":
    main()
