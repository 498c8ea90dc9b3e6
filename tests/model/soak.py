"""A long run of the state machine: python soak.py MINUTES [SEED]; prints each seed, ends with what it came to.

Every round is a process of its own with the next seed, so a round that fails is repeated with
`SHIPWRIGHTD_EXAMPLES=50 pytest tests/model/test_machine.py --hypothesis-seed=SEED`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

MACHINE = Path(__file__).parent / "test_machine.py"
HISTORIES = 50  # a round, of up to 40 steps each


def main() -> int:
    """Run rounds until the time is over or one fails."""
    minutes = float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**31)
    end = time.monotonic() + 60 * minutes
    rounds = 0
    environment = {**os.environ, "SHIPWRIGHTD_EXAMPLES": str(HISTORIES)}
    while time.monotonic() < end:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(MACHINE)]
        done = subprocess.run([*command, f"--hypothesis-seed={seed + rounds}"], env=environment, check=False)
        rounds += 1
        if done.returncode:
            print(f"seed {seed + rounds - 1} fails after {rounds * HISTORIES} histories")
            return 1
        print(f"seed {seed + rounds - 1}: {rounds * HISTORIES} histories so far", flush=True)
    print(f"{rounds * HISTORIES} histories in {rounds} rounds from seed {seed}: nothing lost, nothing doubled")
    return 0


if __name__ == "__main__":
    sys.exit(main())
