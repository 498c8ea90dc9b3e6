"""`run --metrics HOST:PORT`: counts what the loop does and serves it, with what `status` reports, over HTTP.

The loop's thread counts, the server's threads read. prometheus-client and the
server take 0.1 s to load, so they are loaded only when metrics are served.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

import bisect
import threading
import time
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING

import apsw
import structlog

from shipwrightd.daemon import Batch, Event, Listener, PassReport, Phase, SettingsApplied
from shipwrightd.errors import ShipwrightdError
from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.core import Metric

    from shipwrightd.monitoring.http import Response, Server
    from shipwrightd.status import Status

RECORDS = (1, 10, 100, 1_000, 10_000, 100_000)
BYTES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STUCK_S = 30.0  # beyond rescan_s; the longest transaction takes a small part of it
FRESH_S = 1.0  # the database is read at most this often
LAG = "shipwrightd_source_lag_bytes"
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"

log = structlog.get_logger()


class Histogram:
    """Counts observations up to each of its bounds, which are ascending. Not thread-safe."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def metric(self, name: str, text: str) -> Metric:
        """Return the observations so far."""
        from prometheus_client.core import HistogramMetricFamily

        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        buckets = list(zip(bounds, accumulate(self._counts), strict=True))
        return HistogramMetricFamily(f"shipwrightd_{name}", text, buckets, self._sum)


class LoopMetrics(Listener):
    """Counts events since the start, and decides whether the loop is healthy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes = Counter({"hint": 0, "scan": 0})
        self._failed: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._records, self._bytes = Histogram(RECORDS), Histogram(BYTES)
        self._seconds, self._commits, self._pass_seconds = Histogram(SECONDS), Histogram(SECONDS), Histogram(SECONDS)
        self._errors: frozenset[str] = frozenset()
        self._waits = self._watch_starts = self._reloads = 0
        self._waiting = False
        self._rescan_s = 0.0
        self._began = self._active = time.monotonic()
        self._caught_up_s: float | None = None

    def notify(self, event: Event) -> None:
        """Count the event."""
        now = time.monotonic()
        with self._lock:
            match event:
                case SettingsApplied():
                    self._rescan_s = event.settings.rescan_s
                    self._reloads += event.reloaded
                    if not event.reloaded:
                        self._began = self._active = now
                case Phase.FOLLOWING:
                    self._caught_up_s = now - self._began
                case Batch():
                    self._active = now
                    self._count_batch(event)
                case PassReport():
                    self._active = now
                    self._count_pass(event)

    def _count_batch(self, batch: Batch) -> None:
        self._read[family(batch.source)] += batch.size_bytes
        self._records.observe(batch.records)
        self._bytes.observe(batch.size_bytes)
        self._seconds.observe(batch.seconds)
        self._commits.observe(batch.commit_s)

    def _count_pass(self, report: PassReport) -> None:
        """Count a pass, and the errors and waits that began in it."""
        self._passes["hint" if report.hinted else "scan"] += 1
        self._pass_seconds.observe(report.seconds)
        errors = frozenset(report.errors)
        self._failed.update(family(source) for source in errors - self._errors)
        self._errors = errors
        self._waits += report.waiting is not None and not self._waiting
        self._waiting = report.waiting is not None
        self._watch_starts = report.watch_starts

    def problems(self) -> list[str]:
        """Return why the daemon is unhealthy, in texts without data; empty when it is healthy."""
        with self._lock:
            idle_s = time.monotonic() - self._active
            found = [f"the loop has not run for {idle_s:.0f} s"] if idle_s > STUCK_S + self._rescan_s else []
            found += ["waiting for the database"] if self._waiting else []
            return found + [f"{source} cannot be read" for source in sorted({family(name) for name in self._errors})]

    def metrics(self, lag_bytes: float | None) -> list[Metric]:
        """Return the metrics; `lag_bytes` is what is left to read, None if unknown. The caller holds the lock."""
        from shipwrightd.status.prometheus import counter, gauge

        read, done = sum(self._read.values()), self._caught_up_s is not None
        catchup_s = self._caught_up_s if done else time.monotonic() - self._began
        progress = 1.0 if done else None if lag_bytes is None else read / max(1.0, read + lag_bytes)
        passes = "Passes over the sources named by events (hint), and over all sources (scan)"
        return [
            counter("source_read_bytes_total", "Bytes of journals stored since the start", self._read),
            self._records.metric("batch_records", "Records stored by one transaction"),
            self._bytes.metric("batch_size_bytes", "Bytes of a journal stored by one transaction"),
            self._seconds.metric("batch_duration_seconds", "Time to read, decode, store and commit one transaction"),
            self._commits.metric("commit_duration_seconds", "Time of the commit alone"),
            counter("passes_total", passes, self._passes, label="reason"),
            self._pass_seconds.metric("pass_duration_seconds", "Time of one pass"),
            counter("watch_starts_total", "How often file watching was started", self._watch_starts),
            counter("source_failures_total", "Errors of sources that began", self._failed),
            counter("database_waits_total", "How often the daemon had to wait for the database", self._waits),
            gauge("database_waiting", "1 while the daemon waits for the database", self._waiting),
            counter("reloads_total", "How often settings were reloaded", self._reloads),
            gauge("first_catchup_done", "1 when everything that existed at the start is stored", done),
            gauge("first_catchup_duration_seconds", "How long the first catch-up took, or has taken so far", catchup_s),
            gauge("first_catchup_progress_ratio", "Share of bytes read so far", progress),
        ]


class Endpoint(LoopMetrics):
    """Serves `/metrics` and `/healthz` where the settings say; a reload starts, moves and stops it.

    `status` is called in a thread of the server; its ShipwrightdError, apsw.Error and OSError mean that the
    database cannot be read at the moment.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        super().__init__()
        self._status = status
        self._server: Server | None = None
        self._address = ""
        self._known: list[Metric] = []
        self._read_at = float("-inf")
        self._reading = threading.Lock()

    def notify(self, event: Event) -> None:
        """Count the event; serve at the address in new settings, and stop at the end.

        At the start an address that cannot be used raises ConfigError or PathError; after a reload
        the old address stays.
        """
        super().notify(event)
        if event is Phase.STOPPING and self._server is not None:
            self._server.stop()
        if not isinstance(event, SettingsApplied) or event.settings.metrics == self._address:
            return
        address = event.settings.metrics
        try:
            server = self._open(address) if address else None
        except ShipwrightdError as error:
            if not event.reloaded:
                raise
            log.error("metrics_refused", error=str(error))  # noqa: TRY400 - a user's mistake needs no traceback
            return
        if self._server is not None:
            self._server.stop()
        self._server, self._address = server, address

    def _open(self, address: str) -> Server:
        from shipwrightd.monitoring.http import Server, bind
        from shipwrightd.status import prometheus  # noqa: F401 - loaded here, so that the first scrape is no slower

        listening = bind(address)
        host, port = listening.getsockname()[:2]
        server = Server(listening, {"/metrics": self.serve_metrics, "/healthz": self.serve_health})
        log.info("metrics_served", host=host, port=port)
        if not server.local:
            log.warning("metrics_open", host=host, why="anyone who reaches this address can read them without a login")
        return server

    def serve_health(self) -> Response:
        """Return 200, or 503 with the reasons."""
        from shipwrightd.monitoring.http import Response

        problems = self.problems()
        return Response(503, "".join(f"{each}\n" for each in problems)) if problems else Response(200, "ok\n")

    def serve_metrics(self) -> Response:
        """Return all metrics."""
        from prometheus_client import PROCESS_COLLECTOR

        from shipwrightd.monitoring.http import Response
        from shipwrightd.status import prometheus

        stored = self._database_metrics()
        lag = [sample.value for metric in stored if metric.name == LAG for sample in metric.samples]
        readable = prometheus.gauge("database_readable", "0 while the database cannot be read", bool(stored))
        with self._lock:
            counted = self.metrics(sum(lag) if stored else None)
        found = [*(stored or [prometheus.build_info()]), readable, *counted, *PROCESS_COLLECTOR.collect()]
        return Response(200, prometheus.exposition(found), TEXT_FORMAT)

    def _database_metrics(self) -> list[Metric]:
        """Return the metrics of `status`, at most a second old; empty if the database cannot be read."""
        from shipwrightd.status import prometheus

        with self._reading:
            if time.monotonic() - self._read_at >= FRESH_S:
                try:
                    self._known = prometheus.metrics(self._status())
                except (ShipwrightdError, apsw.Error, OSError) as error:
                    log.debug("metrics_database_unread", error=str(error))
                    self._known = []
                self._read_at = time.monotonic()
            return self._known
