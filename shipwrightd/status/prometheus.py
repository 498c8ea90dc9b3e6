"""The answer of `status` as metrics. Each name is explained in docs/monitoring.md.

Sources that are alike count as one, so that the number of series does not
grow with repositories and jobs, and no label holds what a user wrote.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from shipwrightd import __version__
from shipwrightd.clock import seconds_of
from shipwrightd.monitoring.exposition import Metric, Sample, counter, gauge
from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipwrightd.status.collect import Source, Status


def metrics(status: Status) -> list[Metric]:
    """Return the metrics of a status."""
    return [build_info(), *_whole(status), *_totals(status), *_by_source(status)]


def build_info() -> Metric:
    """Return which release says all this."""
    labels = {"version": __version__, "python": platform.python_version()}
    return Metric("shipwrightd_build_info", "gauge", "Release that says this, always 1", [Sample(1, labels)])


def _whole(status: Status) -> list[Metric]:
    daemon, database = status.daemon, status.database
    following = daemon.alive and daemon.command == "run"
    return [
        gauge("shipwrightd_up", "1 while a daemon holds the database and follows the files", int(following)),
        gauge(
            "shipwrightd_daemon_start_time_seconds",
            "When the daemon started, in seconds since 1970",
            seconds_of(daemon.started_at),
        ),
        gauge(
            "shipwrightd_watching_degraded",
            "1 while file-system events cannot be relied on and changes show later",
            int(daemon.watching_degraded is not None) if following else None,
        ),
        gauge("shipwrightd_problems", "What status --check fails for, counted", len(status.problems)),
        gauge("shipwrightd_database_size_bytes", "Size of the database file with its WAL", database.size_bytes),
        gauge("shipwrightd_database_wal_size_bytes", "Size of the write-ahead log", database.wal_bytes),
        gauge(
            "shipwrightd_database_schema_version",
            "Schema version of the database, 0 before it is made",
            database.schema_version,
        ),
    ]


def _totals(status: Status) -> list[Metric]:
    by = _grouped(status.sources)
    return [
        counter(
            "shipwrightd_source_records_total",
            "Records stored, since the database was made",
            _each(by, lambda s: s.records),
        ),
        counter(
            "shipwrightd_source_salvaged_total",
            "Records read from lines that were not strict JSON",
            _each(by, lambda s: s.salvaged),
        ),
        counter(
            "shipwrightd_source_quarantined_total",
            "Pieces that could not become records, those recovered later included",
            _each(by, lambda s: s.quarantined_ever),
        ),
        counter("shipwrightd_source_gaps_total", "Stretches that passed unseen", _each(by, lambda s: s.gaps)),
        gauge(
            "shipwrightd_source_quarantine_pieces",
            "Pieces in quarantine now",
            _each(by, lambda s: s.quarantined),
        ),
    ]


def _by_source(status: Status) -> list[Metric]:
    by = _grouped(status.sources)
    return [
        gauge("shipwrightd_source_size_bytes", "Size of the file", _each(by, lambda s: s.size_bytes)),
        gauge(
            "shipwrightd_source_lag_bytes",
            "What the file holds that the database does not",
            _each(by, lambda s: s.behind_bytes),
        ),
        gauge(
            "shipwrightd_source_lag_seconds",
            "For how long the oldest unread byte has been there",
            _each(by, lambda s: s.lag_s, max),
        ),
        gauge(
            "shipwrightd_source_unfinished_bytes",
            "Last line without its end, which waits and is no lag",
            _each(by, lambda s: s.unfinished_bytes),
        ),
        gauge(
            "shipwrightd_source_errors",
            "Files with an error standing",
            _each(by, lambda s: int(s.error is not None)),
        ),
        gauge(
            "shipwrightd_source_newest_record_timestamp_seconds",
            "Time of the newest record by its own clock, in seconds since 1970",
            _each(by, lambda s: seconds_of(s.newest_at), max),
        ),
        gauge(
            "shipwrightd_source_last_commit_timestamp_seconds",
            "When something of it was last committed, in seconds since 1970",
            _each(by, lambda s: seconds_of(s.committed_at), max),
        ),
    ]


def _grouped(sources: list[Source]) -> dict[str, list[Source]]:
    found: dict[str, list[Source]] = {}
    for source in sources:
        found.setdefault(family(source.source), []).append(source)
    return found


def _each(
    by: dict[str, list[Source]],
    value: Callable[[Source], float | None],
    join: Callable[[list[float]], float] = sum,
) -> dict[str, float]:
    """Return one value for each kind of source; none where no file of it has one."""
    values = {name: [v for source in like if (v := value(source)) is not None] for name, like in by.items()}
    return {name: join(found) for name, found in values.items() if found}
