"""The tables that can be exported, their order, and the single pass over a snapshot that writes one.

Memory does not grow with the rows: no statement sorts, and none is fetched at once. The formats are in `text` and
`parquet`, the lines of events in `journal_lines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Protocol

from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

EVENTS: Final = "events"
FIRST: Final = -(1 << 63)
LAST: Final = (1 << 63) - 1

Row = tuple[Any, ...]


class Form(StrEnum):
    """The format of an export."""

    JSONL = "jsonl"
    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the schema declares it; SQLite may store values of other types in it."""

    name: str
    type: str  # INTEGER | REAL | TEXT | BLOB


@dataclass(frozen=True, slots=True)
class Table:
    """How to read a table. `timed` takes the first and the last second of the period."""

    every: str
    timed: str = ""  # empty if its rows have no time


class Writer(Protocol):
    """Writes one row after the other, then the end."""

    def row(self, row: Row) -> None:
        """Write a row; it may be buffered."""

    def end(self) -> None:
        """Write what is buffered, and the end of the format."""


# Events are in file order. Their times nearly are, so ids bound what has to be read.
ALL_EVENTS = "SELECT * FROM events ORDER BY id"
EVENTS_BETWEEN = """
SELECT * FROM events
WHERE id BETWEEN (SELECT min(id) FROM events INDEXED BY events_ts_epoch WHERE ts_epoch BETWEEN ?1 AND ?2)
    AND (SELECT max(id) FROM events INDEXED BY events_ts_epoch WHERE ts_epoch BETWEEN ?1 AND ?2)
    AND +ts_epoch BETWEEN ?1 AND ?2
ORDER BY id"""

TABLES: Final[dict[str, Table]] = {
    EVENTS: Table(ALL_EVENTS, EVENTS_BETWEEN),
    "pipeline_runs": Table(
        "SELECT * FROM pipeline_runs ORDER BY id",
        "SELECT * FROM pipeline_runs WHERE +started_epoch BETWEEN ? AND ? ORDER BY id",
    ),
    "pipeline_stages": Table(
        "SELECT * FROM pipeline_stages ORDER BY id",
        "SELECT * FROM pipeline_stages WHERE coalesce(started_epoch, ended_epoch) BETWEEN ? AND ? ORDER BY id",
    ),
    "run_outcomes": Table(
        "SELECT * FROM run_outcomes ORDER BY ended_epoch, run_id",
        "SELECT * FROM run_outcomes WHERE ended_epoch BETWEEN ? AND ? ORDER BY ended_epoch, run_id",
    ),
    "metrics": Table(
        "SELECT * FROM metrics ORDER BY name, period, period_start, dimension",
        """SELECT * FROM metrics WHERE unixepoch(period_start) BETWEEN ? AND ?
        ORDER BY name, period, period_start, dimension""",
    ),
    "cost_entries": Table(
        "SELECT * FROM cost_entries ORDER BY id",
        "SELECT * FROM cost_entries WHERE +ts_epoch BETWEEN ? AND ? ORDER BY id",
    ),
    "cost_outcomes": Table(
        "SELECT * FROM cost_outcomes ORDER BY id",
        "SELECT * FROM cost_outcomes WHERE ts_epoch BETWEEN ? AND ? ORDER BY id",
    ),
    "budgets": Table("SELECT * FROM budgets ORDER BY id"),
    "sessions": Table(
        "SELECT * FROM sessions ORDER BY id",
        "SELECT * FROM sessions WHERE last_heartbeat_ms / 1000 BETWEEN ? AND ? ORDER BY id",
    ),
    "memory_entries": Table(
        "SELECT * FROM memory_entries ORDER BY id",
        "SELECT * FROM memory_entries WHERE unixepoch(last_seen) BETWEEN ? AND ? ORDER BY id",
    ),
    "heartbeats": Table(
        "SELECT * FROM heartbeats ORDER BY id",
        "SELECT * FROM heartbeats WHERE updated_epoch BETWEEN ? AND ? ORDER BY id",
    ),
    "daemon_state": Table("SELECT * FROM daemon_state ORDER BY id"),
    "daemon_jobs": Table(
        "SELECT * FROM daemon_jobs ORDER BY id",
        "SELECT * FROM daemon_jobs WHERE unixepoch(started_at) BETWEEN ? AND ? ORDER BY id",
    ),
    "daemon_queue": Table("SELECT * FROM daemon_queue ORDER BY id"),
    "daemon_titles": Table("SELECT * FROM daemon_titles ORDER BY id"),
    "daemon_completed": Table(
        "SELECT * FROM daemon_completed ORDER BY id",
        "SELECT * FROM daemon_completed WHERE completed_epoch BETWEEN ? AND ? ORDER BY id",
    ),
    "daemon_failures": Table(
        "SELECT * FROM daemon_failures ORDER BY id",
        "SELECT * FROM daemon_failures WHERE ts_epoch BETWEEN ? AND ? ORDER BY id",
    ),
    "quarantine": Table(
        "SELECT * FROM quarantine ORDER BY id",
        "SELECT * FROM quarantine WHERE unixepoch(seen_at) BETWEEN ? AND ? ORDER BY id",
    ),
    "gaps": Table(
        "SELECT * FROM gaps ORDER BY id",
        "SELECT * FROM gaps WHERE unixepoch(detected_at) BETWEEN ? AND ? ORDER BY id",
    ),
    "pruned": Table("SELECT * FROM pruned ORDER BY origin"),
}
COLUMNS: Final = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"


@dataclass(frozen=True, slots=True)
class Wish:
    """What to export: rows of a table whose time is in [since, until), in seconds; None for no bound."""

    table: str
    since: int | None = None
    until: int | None = None

    def check(self) -> None:
        """Raise QuestionError for an unknown table, and for a period that is empty or that the table cannot have."""
        table = TABLES.get(self.table)
        if table is None:
            raise QuestionError(f"--table {self.table}: no such table; choose from {', '.join(TABLES)}")
        if self.since is None and self.until is None:
            return
        if not table.timed:
            raise QuestionError(f"--since and --until: rows of {self.table} have no time")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise QuestionError("the period is empty: --until is not after --since")


def columns(db: apsw.Connection, table: str) -> list[Column]:
    """Return the columns of a table in the order of `SELECT *`, including generated ones."""
    return [Column(name, kind) for name, kind in db.execute(COLUMNS, (table,))]


def rows(db: apsw.Connection, wish: Wish) -> Iterator[Row]:
    """Return the rows one by one. A row without a time belongs to no period."""
    table = TABLES[wish.table]
    if wish.since is None and wish.until is None:
        return db.execute(table.every)
    first = FIRST if wish.since is None else wish.since
    last = LAST if wish.until is None else wish.until - 1
    return db.execute(table.timed, (first, last))


def pour(db: apsw.Connection, wish: Wish, writer: Writer) -> int:
    """Write all rows, and the end; return their number. For one consistent snapshot the caller opens a transaction."""
    count = 0
    for count, row in enumerate(rows(db, wish), 1):  # noqa: B007 - the last one
        writer.row(row)
    writer.end()
    return count
