"""The tables that can be exported, their order, and the single pass over a snapshot that writes one.

Memory does not grow with the rows: no statement sorts, and none is fetched at once. The formats are in `text` and
`parquet`, the lines of events in `journal_lines`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import apsw

    # Writes rows of a table in one format.
    Write = Callable[[Iterable["Row"], BinaryIO, str, Sequence["Column"]], None]

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


# ?1 the first, ?2 the last second of the period, NULL for all rows; tables without times take neither.
# Events are in file order. Their times nearly are, so ids bound what has to be read.
TABLES: Final[dict[str, str]] = {
    EVENTS: """
SELECT * FROM events
WHERE id BETWEEN iif(?1 IS NULL, -9223372036854775808,
        (SELECT min(id) FROM events INDEXED BY events_ts_epoch WHERE ts_epoch BETWEEN ?1 AND ?2))
    AND iif(?1 IS NULL, 9223372036854775807,
        (SELECT max(id) FROM events INDEXED BY events_ts_epoch WHERE ts_epoch BETWEEN ?1 AND ?2))
    AND (?1 IS NULL OR +ts_epoch BETWEEN ?1 AND ?2)
ORDER BY id""",
    "pipeline_runs": "SELECT * FROM pipeline_runs WHERE ?1 IS NULL OR +started_epoch BETWEEN ?1 AND ?2 ORDER BY id",
    "pipeline_stages": """
SELECT * FROM pipeline_stages
WHERE ?1 IS NULL OR coalesce(started_epoch, ended_epoch) BETWEEN ?1 AND ?2 ORDER BY id""",
    "run_outcomes": """
SELECT * FROM run_outcomes WHERE ?1 IS NULL OR ended_epoch BETWEEN ?1 AND ?2 ORDER BY ended_epoch, run_id""",
    "metrics": """
SELECT * FROM metrics
WHERE ?1 IS NULL OR unixepoch(period_start) BETWEEN ?1 AND ?2 ORDER BY name, period, period_start, dimension""",
    "cost_entries": "SELECT * FROM cost_entries WHERE ?1 IS NULL OR +ts_epoch BETWEEN ?1 AND ?2 ORDER BY id",
    "cost_outcomes": "SELECT * FROM cost_outcomes WHERE ?1 IS NULL OR ts_epoch BETWEEN ?1 AND ?2 ORDER BY id",
    "budgets": "SELECT * FROM budgets ORDER BY id",
    "sessions": "SELECT * FROM sessions WHERE ?1 IS NULL OR last_heartbeat_ms / 1000 BETWEEN ?1 AND ?2 ORDER BY id",
    "memory_entries": """
SELECT * FROM memory_entries WHERE ?1 IS NULL OR unixepoch(last_seen) BETWEEN ?1 AND ?2 ORDER BY id""",
    "heartbeats": "SELECT * FROM heartbeats WHERE ?1 IS NULL OR updated_epoch BETWEEN ?1 AND ?2 ORDER BY id",
    "daemon_state": "SELECT * FROM daemon_state ORDER BY id",
    "daemon_jobs": "SELECT * FROM daemon_jobs WHERE ?1 IS NULL OR unixepoch(started_at) BETWEEN ?1 AND ?2 ORDER BY id",
    "daemon_queue": "SELECT * FROM daemon_queue ORDER BY id",
    "daemon_titles": "SELECT * FROM daemon_titles ORDER BY id",
    "daemon_completed": """
SELECT * FROM daemon_completed WHERE ?1 IS NULL OR completed_epoch BETWEEN ?1 AND ?2 ORDER BY id""",
    "daemon_failures": "SELECT * FROM daemon_failures WHERE ?1 IS NULL OR ts_epoch BETWEEN ?1 AND ?2 ORDER BY id",
    "quarantine": "SELECT * FROM quarantine WHERE ?1 IS NULL OR unixepoch(seen_at) BETWEEN ?1 AND ?2 ORDER BY id",
    "gaps": "SELECT * FROM gaps WHERE ?1 IS NULL OR unixepoch(detected_at) BETWEEN ?1 AND ?2 ORDER BY id",
    "pruned": "SELECT * FROM pruned ORDER BY origin",
}
TIMED: Final = {name for name, statement in TABLES.items() if "?1" in statement}
COLUMNS: Final = "SELECT name, type FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid"


@dataclass(frozen=True, slots=True)
class Wish:
    """What to export: rows of a table whose time is in [since, until), in seconds; None for no bound."""

    table: str
    since: int | None = None
    until: int | None = None

    def check(self) -> None:
        """Raise QuestionError for an unknown table, and for a period that is empty or that the table cannot have."""
        if self.table not in TABLES:
            raise QuestionError(f"--table {self.table}: no such table; choose from {', '.join(TABLES)}")
        if self.since is self.until is None:
            return
        if self.table not in TIMED:
            raise QuestionError(f"--since and --until: rows of {self.table} have no time")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise QuestionError("the period is empty: --until is not after --since")


def columns(db: apsw.Connection, table: str) -> list[Column]:
    """Return the columns of a table in the order of `SELECT *`, including generated ones."""
    return [Column(name, kind) for name, kind in db.execute(COLUMNS, (table,))]


def rows(db: apsw.Connection, wish: Wish) -> Iterator[Row]:
    """Return the rows one by one. A row without a time belongs to no period."""
    if wish.since is wish.until is None:
        return db.execute(TABLES[wish.table], (None, None) if wish.table in TIMED else ())
    first = FIRST if wish.since is None else wish.since
    last = LAST if wish.until is None else wish.until - 1
    return db.execute(TABLES[wish.table], (first, last))


def pour(db: apsw.Connection, wish: Wish, write: Write, out: BinaryIO) -> int:
    """Write all rows; return their number. For one consistent snapshot the caller opens a transaction."""
    count = 0

    def counted() -> Iterator[Row]:
        nonlocal count
        for count, row in enumerate(rows(db, wish), 1):  # noqa: B007 - the last one
            yield row

    write(counted(), out, wish.table, columns(db, wish.table))
    out.flush()
    return count
