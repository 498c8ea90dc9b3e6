"""`run --metrics HOST:PORT`: counts what the loop does and serves it, with what `status` reports, over HTTP.

The loop's thread counts, the server's threads read. prometheus-client and the server load only when metrics are served.
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
from shipwrightd.monitoring import Response
from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client.core import Metric

    from shipwrightd.monitoring.http import Server
    from shipwrightd.status import Status

RECORDS = (1, 10, 100, 1_000, 10_000, 100_000)
BYTES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26)
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
STUCK_S = 30.0  # beyond rescan_s; the longest transaction takes a small part of it
FRESH_S = 1.0  # the database is read at most this often
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


class Endpoint(Listener):
    """Counts events since the start, and serves `/metrics` and `/healthz` where the settings say.

    `status` is called in a thread of the server; its ShipwrightdError, apsw.Error and OSError mean that the
    database cannot be read at the moment.
    """

    def __init__(self, status: Callable[[], Status]) -> None:
        self._lock = threading.Lock()  # of all that is counted
        self._passes = Counter({"hint": 0, "scan": 0})
        self._failed: Counter[str] = Counter()
        self._read: Counter[str] = Counter()
        self._records, self._bytes = Histogram(RECORDS), Histogram(BYTES)
        self._seconds, self._commits, self._pass_seconds = Histogram(SECONDS), Histogram(SECONDS), Histogram(SECONDS)
        self._last = PassReport(0)
        self._waits = self._reloads = 0
        self._rescan_s = 0.0
        self._began = self._active = time.monotonic()
        self._caught_up_s: float | None = None
        self._status = status
        self._known: Status | None = None
        self._read_at = float("-inf")
        self._reading = threading.Lock()
        self._server: Server | None = None
        self._address = ""

    def notify(self, event: Event) -> None:
        """Count the event; serve at the address in new settings, and stop at the end.

        At the start an address that cannot be used raises ConfigError or PathError; after a reload
        the old address stays.
        """
        with self._lock:
            self._count(event)
        if event is Phase.STOPPING and self._server is not None:
            self._server.stop()
        elif isinstance(event, SettingsApplied) and event.settings.metrics != self._address:
            try:
                self._move(event.settings.metrics)
            except ShipwrightdError as error:
                if not event.reloaded:
                    raise
                log.error("metrics_refused", error=str(error))  # noqa: TRY400 - a user's mistake needs no traceback

    def _count(self, event: Event) -> None:
        now = time.monotonic()
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
                self._read[family(event.source)] += event.size_bytes
                self._records.observe(event.records)
                self._bytes.observe(event.size_bytes)
                self._seconds.observe(event.seconds)
                self._commits.observe(event.commit_s)
            case PassReport():
                self._active = now
                self._passes["hint" if event.hinted else "scan"] += 1
                self._pass_seconds.observe(event.seconds)
                self._failed.update(family(source) for source in event.errors.keys() - self._last.errors.keys())
                self._waits += event.waiting is not None and self._last.waiting is None
                self._last = event

    def _move(self, address: str) -> None:
        """Serve at another address, or nowhere if it is empty."""
        from shipwrightd.monitoring.http import Server, bind
        from shipwrightd.status import prometheus  # noqa: F401 - loaded here, so that the first scrape is no slower

        old, server = self._server, None
        if address:
            server = Server(bind(address), {"/metrics": self.serve_metrics, "/healthz": self.serve_health})
            host = server.server_name
            log.info("metrics_served", host=host, port=server.server_port)
            if not server.local:
                why = "anyone who reaches this address can read them without a login"
                log.warning("metrics_open", host=host, why=why)
        if old is not None:
            old.stop()
        self._server, self._address = server, address

    def serve_health(self) -> Response:
        """Return 200, or 503 with the reasons, in texts without data."""
        with self._lock:
            idle_s = time.monotonic() - self._active
            problems = [f"the loop has not run for {idle_s:.0f} s"] if idle_s > STUCK_S + self._rescan_s else []
            problems += ["waiting for the database"] if self._last.waiting is not None else []
            problems += [f"{source} cannot be read" for source in sorted({family(name) for name in self._last.errors})]
        return Response(503, "".join(f"{each}\n" for each in problems)) if problems else Response(200, "ok\n")

    def serve_metrics(self) -> Response:
        """Return all metrics."""
        from prometheus_client import PROCESS_COLLECTOR

        from shipwrightd.status import prometheus

        status = self._read_status()
        stored = [prometheus.build_info()] if status is None else prometheus.metrics(status)
        readable = prometheus.metric("database_readable", "0 while the database cannot be read", status is not None)
        with self._lock:
            counted = self._counted(None if status is None else sum(source.behind_bytes for source in status.sources))
        text = prometheus.exposition([*stored, readable, *counted, *PROCESS_COLLECTOR.collect()])
        return Response(200, text, TEXT_FORMAT)

    def _read_status(self) -> Status | None:
        """Return the status, at most a second old; None if the database cannot be read."""
        with self._reading:
            if time.monotonic() - self._read_at >= FRESH_S:
                try:
                    self._known = self._status()
                except (ShipwrightdError, apsw.Error, OSError) as error:
                    log.debug("metrics_database_unread", error=str(error))
                    self._known = None
                self._read_at = time.monotonic()
            return self._known

    def _counted(self, lag_bytes: float | None) -> list[Metric]:
        """Return what was counted; `lag_bytes` is what is left to read, None if unknown."""
        from shipwrightd.status.prometheus import metric

        read, done = sum(self._read.values()), self._caught_up_s is not None
        catchup_s = self._caught_up_s if done else time.monotonic() - self._began
        progress = 1.0 if done else None if lag_bytes is None else read / max(1.0, read + lag_bytes)
        waiting = self._last.waiting is not None
        took = "How long the first catch-up took, or has taken so far"
        passes = "Passes over the sources named by events (hint), and over all sources (scan)"
        return [
            metric("source_read_bytes_total", "Bytes of journals stored since the start", self._read),
            self._records.metric("batch_records", "Records stored by one transaction"),
            self._bytes.metric("batch_size_bytes", "Bytes of a journal stored by one transaction"),
            self._seconds.metric("batch_duration_seconds", "Time to read, decode, store and commit one transaction"),
            self._commits.metric("commit_duration_seconds", "Time of the commit alone"),
            metric("passes_total", passes, self._passes, label="reason"),
            self._pass_seconds.metric("pass_duration_seconds", "Time of one pass"),
            metric("watch_starts_total", "How often file watching was started", self._last.watch_starts),
            metric("source_failures_total", "Errors of sources that began", self._failed),
            metric("database_waits_total", "How often the daemon had to wait for the database", self._waits),
            metric("database_waiting", "1 while the daemon waits for the database", waiting),
            metric("reloads_total", "How often settings were reloaded", self._reloads),
            metric("first_catchup_done", "1 when everything that existed at the start is stored", done),
            metric("first_catchup_duration_seconds", took, catchup_s),
            metric("first_catchup_progress_ratio", "Share of bytes read so far", progress),
        ]
