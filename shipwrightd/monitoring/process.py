"""What this process takes from its machine, under the names that every Prometheus client library gives it.

Memory comes from /proc; where there is none, as on macOS, it is left out.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

from shipwrightd.monitoring.exposition import Metric, counter, gauge

STATM = Path("/proc/self/statm")
DESCRIPTORS = Path("/dev/fd")  # there on Linux and on macOS


def metrics(started: float) -> list[Metric]:
    """Return the metrics of this process; `started` in seconds since 1970."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    virtual, resident = _memory()
    return [
        counter("process_cpu_seconds_total", "CPU time, user and system", round(used.ru_utime + used.ru_stime, 6)),
        gauge("process_resident_memory_bytes", "Memory in RAM", resident),
        gauge("process_virtual_memory_bytes", "Address space", virtual),
        gauge("process_open_fds", "Open files", _open_files()),
        gauge("process_max_fds", "Limit of open files", _limit()),
        gauge("process_start_time_seconds", "When the process started, in seconds since 1970", started),
    ]


def _memory() -> tuple[int, int] | tuple[None, None]:
    try:
        pages = STATM.read_text().split()
    except OSError:
        return None, None
    return int(pages[0]) * resource.getpagesize(), int(pages[1]) * resource.getpagesize()


def _open_files() -> int | None:
    try:
        return len(os.listdir(DESCRIPTORS)) - 1  # noqa: PTH208 - without the one that lists
    except OSError:
        return None


def _limit() -> float:
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return float("inf") if soft == resource.RLIM_INFINITY else soft
