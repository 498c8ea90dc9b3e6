"""The result of `status` as metrics. Each name is explained in docs/monitoring.md.

Sources of one kind count as one, so that the number of series does not grow with repositories and jobs, and no label
holds what a user wrote. Import this only for that format: prometheus-client takes longer than the rest of `status`.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shipwrightd import __version__
from shipwrightd.clock import seconds_of
from shipwrightd.text import family, visible

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from shipwrightd.status import Source, Status

PREFIX = "shipwrightd_"


class _Known(list["Metric"], Collector):
    """Metrics as the library takes them."""

    def collect(self) -> Iterable[Metric]:
        return self


def exposition(metrics: Iterable[Metric]) -> str:
    """Return metrics in the text format of Prometheus; those without a value are left out."""
    return generate_latest(_Known(metric for metric in metrics if metric.samples)).decode()


def metric(name: str, text: str, value: float | Mapping[str, float] | None, label: str = "source") -> Metric:
    """Return a counter if the name ends in _total, else a gauge. The name gets our prefix.

    A mapping has one value for each of the label; None is unknown.
    """
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    made = kind(PREFIX + name, text, labels=[label] if isinstance(value, Mapping) else [])
    if isinstance(value, Mapping):
        for each, of_label in sorted(value.items()):
            made.add_metric([visible(each)], of_label)
    elif value is not None:
        made.add_metric([], float(value))
    return made


# Metrics of sources: name, help, field of a source. Those of one kind are added up; of times, the largest.
SOURCES = (
    ("records_total", "Records stored since the database was created", "records"),
    ("salvaged_total", "Records read from lines that were not strict JSON", "salvaged"),
    ("quarantined_total", "Pieces that could not be decoded, including those recovered later", "quarantined_ever"),
    ("gaps_total", "Times that content was lost before it could be read", "gaps"),
    ("quarantine_pieces", "Pieces in quarantine now", "quarantined"),
    ("size_bytes", "Size of the file", "size_bytes"),
    ("lag_bytes", "Bytes in the file that are not in the database", "behind_bytes"),
    ("lag_seconds", "Age of the oldest unread byte", "lag_s"),
    ("unfinished_bytes", "Size of an unfinished last line, which is not counted as lag", "unfinished_bytes"),
    ("errors", "Files with an error", "error"),
    ("newest_record_timestamp_seconds", "Timestamp of the newest record, in seconds since 1970", "newest_at"),
    ("last_commit_timestamp_seconds", "Time of the last commit, in seconds since 1970", "committed_at"),
)


def metrics(status: Status) -> list[Metric]:
    """Return the metrics of a status."""
    daemon, database = status.daemon, status.database
    following = daemon.alive and daemon.command == "run"
    degraded = (daemon.watching_degraded is not None) if following else None
    version = database.schema_version
    return [
        build_info(),
        metric("up", "1 while a daemon follows the files", following),
        metric(
            "daemon_start_time_seconds", "When the daemon started, in seconds since 1970", seconds_of(daemon.started_at)
        ),
        metric(
            "watching_degraded", "1 while file-system events are unreliable and changes are noticed later", degraded
        ),
        metric("problems", "Number of problems for which status --check fails", len(status.problems)),
        metric("database_size_bytes", "Size of the database file with its WAL", database.size_bytes),
        metric("database_wal_size_bytes", "Size of the write-ahead log", database.wal_bytes),
        metric("database_schema_version", "Schema version of the database, 0 before it exists", version),
        *_of_sources(status.sources),
    ]


def build_info() -> Metric:
    """Return the version of shipwrightd as a metric."""
    info = GaugeMetricFamily(f"{PREFIX}build_info", "Version of shipwrightd, always 1", labels=["version", "python"])
    info.add_metric([__version__, platform.python_version()], 1)
    return info


def _of_sources(sources: Iterable[Source]) -> Iterable[Metric]:
    """Yield the metrics of sources, one value for each kind of source that has any."""
    for name, text, field in SOURCES:
        join = max if name.endswith("_seconds") else sum
        values: dict[str, list[float]] = {}
        for source in sources:
            value = getattr(source, field)
            if field == "error":
                value = value is not None
            elif field.endswith("_at"):
                value = seconds_of(value)
            if value is not None:
                values.setdefault(family(source.source), []).append(value)
        joined = {kind: join(each) for kind, each in values.items()}
        yield metric(f"source_{name}", text, joined)
