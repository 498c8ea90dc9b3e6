"""Runs commands and reads what the operating system says of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import resource
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: what, ours, the peer or limit, and whether ours is good enough."""

    name: str
    ours: float
    other: float
    unit: str
    against: str
    more_is_better: bool = False

    @property
    def ratio(self) -> float:
        """Return ours / other, or its inverse where more is better."""
        return self.other / self.ours if self.more_is_better else self.ours / self.other

    @property
    def holds(self) -> bool:
        """Tell whether ours is no worse than the other."""
        return self.ratio <= 1.0


@dataclass(frozen=True, slots=True)
class Ran:
    """What one process took: wall and processor seconds, peak resident MiB."""

    wall_s: float
    cpu_s: float
    peak_mib: float


def run(command: Sequence[str], stdin: bytes | None = None) -> Ran:
    """Run a process to its end; its output goes nowhere. Raises CalledProcessError if it fails."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin is not None
        process.stdin.write(stdin or b"")
        process.stdin.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Ran(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, peak_mib(usage))


def peak_mib(usage: resource.struct_rusage) -> float:
    """Return the peak resident memory; Linux counts KiB, macOS bytes."""
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def shipwrightd(command: str, home: Path, db: Path) -> list[str]:
    """Return the command line of one of ours."""
    return [sys.executable, "-m", "shipwrightd", command, "--home", str(home), "--db", str(db)]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
