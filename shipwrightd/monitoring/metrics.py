"""Counts what the loop does. The loop's thread counts, the server's thread asks; a lock stands between."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.daemon.callbacks import Listener
from shipwrightd.monitoring.exposition import Histogram, Metric, Sample, counter, gauge
from shipwrightd.text import family

if TYPE_CHECKING:
    from shipwrightd.config.settings import Settings
    from shipwrightd.daemon.callbacks import Batch, Turn

RECORDS = (1, 10, 100, 1_000, 10_000, 100_000)
BYTES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STUCK_S = 30.0  # beyond rescan_s; the longest transaction takes a small part of it


class Figures(Listener):
    """What happened since the start, and whether the loop is well."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._lock = threading.Lock()
        self._passes = Counter({"hint": 0, "scan": 0})
        self._failed: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._records = Histogram(RECORDS)
        self._bytes = Histogram(BYTES)
        self._seconds = Histogram(SECONDS)
        self._commits = Histogram(SECONDS)
        self._pass_seconds = Histogram(SECONDS)
        self._errors: frozenset[str] = frozenset()
        self._waits = 0
        self._waiting = False
        self._watch_starts = 0
        self._reloads = 0
        self._rescan_s = 0.0
        self._began = self._moved = time.monotonic()
        self._caught_up_s: float | None = None

    def started(self, settings: Settings) -> None:
        """Begin to measure the first catch-up."""
        with self._lock:
            self._rescan_s = settings.rescan_s
            self._began = self._moved = time.monotonic()

    def following(self) -> None:
        """Note how long the first catch-up took."""
        with self._lock:
            self._caught_up_s = time.monotonic() - self._began

    def batch_stored(self, batch: Batch) -> None:
        """Count a transaction."""
        with self._lock:
            self._moved = time.monotonic()
            self._read[family(batch.source)] += batch.size_bytes
            self._records.observe(batch.records)
            self._bytes.observe(batch.size_bytes)
            self._seconds.observe(batch.seconds)
            self._commits.observe(batch.commit_s)

    def turned(self, turn: Turn) -> None:
        """Count a pass, and the errors and waits that it began."""
        with self._lock:
            self._moved = time.monotonic()
            self._passes["hint" if turn.hinted else "scan"] += 1
            self._pass_seconds.observe(turn.seconds)
            errors = frozenset(turn.errors)
            self._failed.update(family(source) for source in errors - self._errors)
            self._errors = errors
            self._waits += turn.waiting is not None and not self._waiting
            self._waiting = turn.waiting is not None
            self._watch_starts = turn.watch_starts

    def reloaded(self, settings: Settings) -> None:
        """Count it, and take over how often the loop goes round."""
        with self._lock:
            self._reloads += 1
            self._rescan_s = settings.rescan_s

    def ailments(self) -> list[str]:
        """Say why the daemon is not well, in words that hold nothing of the data; empty when it is."""
        with self._lock:
            still_s = time.monotonic() - self._moved
            stuck = still_s > STUCK_S + self._rescan_s
            said = [f"the loop has not moved for {still_s:.0f} s"] if stuck else []
            said += ["the database is waited for"] if self._waiting else []
            return said + [f"{source} cannot be read" for source in sorted({family(name) for name in self._errors})]

    def metrics(self, lag_bytes: float | None) -> list[Metric]:
        """Return the metrics; `lag_bytes` is what is left to read, None where that is not known."""
        with self._lock:
            return [*self._of_batches(), *self._of_passes(), *self._of_the_first_catch_up(lag_bytes)]

    def _of_batches(self) -> list[Metric]:
        return [
            counter("shipwrightd_source_read_bytes_total", "Bytes of journals stored since the start", self._read),
            self._records.metric("shipwrightd_batch_records", "Records stored by one transaction"),
            self._bytes.metric("shipwrightd_batch_size_bytes", "Bytes of a journal stored by one transaction"),
            self._seconds.metric(
                "shipwrightd_batch_duration_seconds", "Reading, decoding, storing and committing one transaction"
            ),
            self._commits.metric("shipwrightd_commit_duration_seconds", "Committing alone"),
        ]

    def _of_passes(self) -> list[Metric]:
        passes = [Sample(count, {"reason": reason}) for reason, count in sorted(self._passes.items())]
        return [
            Metric(
                "shipwrightd_passes_total",
                "counter",
                "Looks at sources that an event named (hint), and at all of them (scan)",
                passes,
            ),
            self._pass_seconds.metric("shipwrightd_pass_duration_seconds", "One look"),
            counter("shipwrightd_watch_starts_total", "How often watching was started", self._watch_starts),
            counter("shipwrightd_source_failures_total", "Errors that began to stand", self._failed),
            counter("shipwrightd_database_waits_total", "How often the database had to be waited for", self._waits),
            gauge("shipwrightd_database_waiting", "1 while it is waited for", int(self._waiting)),
            counter("shipwrightd_reloads_total", "How often settings were read again", self._reloads),
        ]

    def _of_the_first_catch_up(self, lag_bytes: float | None) -> list[Metric]:
        done = self._caught_up_s
        read = sum(self._read.values())
        progress = 1.0 if done is not None else _share(read, lag_bytes)
        return [
            gauge(
                "shipwrightd_first_catchup_done",
                "1 when all that was there at the start is stored",
                int(done is not None),
            ),
            gauge(
                "shipwrightd_first_catchup_duration_seconds",
                "How long that took, or has taken so far",
                time.monotonic() - self._began if done is None else done,
            ),
            gauge("shipwrightd_first_catchup_progress_ratio", "Read so far, of all there is to read", progress),
        ]


def _share(read: float, lag_bytes: float | None) -> float | None:
    return None if lag_bytes is None else read / max(1.0, read + lag_bytes)
