"""The result of `status` as metrics. Each name is explained in docs/monitoring.md.

Sources of one kind count as one, so that the number of series does not grow
with repositories and jobs, and no label holds what a user wrote. Loads
prometheus-client, which takes longer than the rest of `status`: import this
module only for that format.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shipwrightd import __version__
from shipwrightd.clock import seconds_of
from shipwrightd.text import family, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.core import Metric

    from shipwrightd.status.collect import Source, Status


class _Known(Collector):
    """Metrics that have a value."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = [metric for metric in metrics if metric.samples]

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def exposition(metrics: Iterable[Metric]) -> str:
    """Return metrics in the text format of Prometheus; those without a value are left out."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Known(metrics))
    return generate_latest(registry).decode()


def counter(name: str, text: str, value: float | Mapping[str, float], label: str = "source") -> Metric:
    """Return a counter; a mapping holds a value for each value of the label."""
    return _with_values(CounterMetricFamily(name, text, labels=_labels(value, label)), value)


def gauge(name: str, text: str, value: float | Mapping[str, float] | None) -> Metric:
    """Return a gauge; a mapping holds a value for each source, None is a value that is unknown."""
    return _with_values(GaugeMetricFamily(name, text, labels=_labels(value, "source")), value)


def _labels(value: float | Mapping[str, float] | None, label: str) -> list[str]:
    return [label] if isinstance(value, Mapping) else []


def _with_values(
    metric: CounterMetricFamily | GaugeMetricFamily, value: float | Mapping[str, float] | None
) -> CounterMetricFamily | GaugeMetricFamily:
    if isinstance(value, Mapping):
        for name, each in sorted(value.items()):
            metric.add_metric([visible(name)], each)
    elif value is not None:
        metric.add_metric([], value)
    return metric


def metrics(status: Status) -> list[Metric]:
    """Return the metrics of a status."""
    return [build_info(), *_overall(status), *_totals(status), *_by_source(status)]


def build_info() -> Metric:
    """Return the version of shipwrightd as a metric."""
    metric = GaugeMetricFamily(
        "shipwrightd_build_info", "Version of shipwrightd, always 1", labels=["version", "python"]
    )
    metric.add_metric([__version__, platform.python_version()], 1)
    return metric


def _overall(status: Status) -> list[Metric]:
    daemon, database = status.daemon, status.database
    following = daemon.alive and daemon.command == "run"
    return [
        gauge("shipwrightd_up", "1 while a daemon follows the files", int(following)),
        gauge(
            "shipwrightd_daemon_start_time_seconds",
            "When the daemon started, in seconds since 1970",
            seconds_of(daemon.started_at),
        ),
        gauge(
            "shipwrightd_watching_degraded",
            "1 while file-system events are unreliable and changes are noticed later",
            int(daemon.watching_degraded is not None) if following else None,
        ),
        gauge("shipwrightd_problems", "Number of problems for which status --check fails", len(status.problems)),
        gauge("shipwrightd_database_size_bytes", "Size of the database file with its WAL", database.size_bytes),
        gauge("shipwrightd_database_wal_size_bytes", "Size of the write-ahead log", database.wal_bytes),
        gauge(
            "shipwrightd_database_schema_version",
            "Schema version of the database, 0 before it exists",
            database.schema_version,
        ),
    ]


def _totals(status: Status) -> list[Metric]:
    by = _grouped(status.sources)
    return [
        counter(
            "shipwrightd_source_records_total",
            "Records stored since the database was created",
            _each(by, lambda s: s.records),
        ),
        counter(
            "shipwrightd_source_salvaged_total",
            "Records read from lines that were not strict JSON",
            _each(by, lambda s: s.salvaged),
        ),
        counter(
            "shipwrightd_source_quarantined_total",
            "Pieces that could not be decoded, including those recovered later",
            _each(by, lambda s: s.quarantined_ever),
        ),
        counter(
            "shipwrightd_source_gaps_total",
            "Times that content was lost before it could be read",
            _each(by, lambda s: s.gaps),
        ),
        gauge("shipwrightd_source_quarantine_pieces", "Pieces in quarantine now", _each(by, lambda s: s.quarantined)),
    ]


def _by_source(status: Status) -> list[Metric]:
    by = _grouped(status.sources)
    return [
        gauge("shipwrightd_source_size_bytes", "Size of the file", _each(by, lambda s: s.size_bytes)),
        gauge(
            "shipwrightd_source_lag_bytes",
            "Bytes in the file that are not in the database",
            _each(by, lambda s: s.behind_bytes),
        ),
        gauge("shipwrightd_source_lag_seconds", "Age of the oldest unread byte", _each(by, lambda s: s.lag_s, max)),
        gauge(
            "shipwrightd_source_unfinished_bytes",
            "Size of an unfinished last line, which is not counted as lag",
            _each(by, lambda s: s.unfinished_bytes),
        ),
        gauge("shipwrightd_source_errors", "Files with an error", _each(by, lambda s: int(s.error is not None))),
        gauge(
            "shipwrightd_source_newest_record_timestamp_seconds",
            "Timestamp of the newest record, in seconds since 1970",
            _each(by, lambda s: seconds_of(s.newest_at), max),
        ),
        gauge(
            "shipwrightd_source_last_commit_timestamp_seconds",
            "Time of the last commit, in seconds since 1970",
            _each(by, lambda s: seconds_of(s.committed_at), max),
        ),
    ]


def _grouped(sources: list[Source]) -> dict[str, list[Source]]:
    found: dict[str, list[Source]] = {}
    for source in sources:
        found.setdefault(family(source.source), []).append(source)
    return found


def _each(
    by: dict[str, list[Source]], value: Callable[[Source], float | None], join: Callable[[list[float]], float] = sum
) -> dict[str, float]:
    """Return one value for each kind of source that has any."""
    values = {name: [v for source in like if (v := value(source)) is not None] for name, like in by.items()}
    return {name: join(found) for name, found in values.items() if found}
