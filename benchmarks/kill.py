"""Real writers that rotate, a real daemon killed again and again: what is lost, doubled, out of order.

python -m benchmarks.kill [--kills N] [--seed N] [--folder DIR]   prints the account, exits 1 when it is not clean
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.killing import Account

TESTS = Path(__file__).parent.parent / "tests"


def account(folder: Path, *, kills: int, seed: int | None) -> Account:
    """Kill so often and return what came of it."""
    sys.path.insert(0, str(TESTS))
    from model import killing  # noqa: PLC0415 - shared with the tests, found only now

    seed = random.randrange(2**32) if seed is None else seed
    place = folder / "kill"
    place.mkdir()
    return killing.run(place, kills=kills, seed=seed, tell_every=50)


def figures(folder: Path, *, kills: int, seed: int | None = None) -> Iterator[Figure]:
    """Kill so often; each figure must be 0 (shown against 1, which it must stay below)."""
    found = account(folder, kills=kills, seed=seed)
    print(found)
    yield Figure("kill -9: lines lost", len(found.lost), 1, "", "must be 0")
    yield Figure("kill -9: lines doubled", len(found.doubled), 1, "", "must be 0")
    yield Figure("kill -9: lines out of order", found.reordered, 1, "", "must be 0")


def main() -> None:
    """Kill, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000)
    parser.add_argument("--seed", type=int, help="of an earlier run; the interleaving is the machine's own")
    parser.add_argument("--folder", type=Path, help="where to work; kept for looking at")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = account(chosen.folder or Path(scratch), kills=chosen.kills, seed=chosen.seed)
    print(found)
    sys.exit(0 if found.clean() else 1)


if __name__ == "__main__":
    main()
