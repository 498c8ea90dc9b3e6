"""Copy the readable rows of a damaged database into a new one.

If the first page or one high in a tree is lost, no tree leads to the pages below it. Their records are assigned to
tables by their shape, which differs from table to table.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from types import NoneType
from typing import TYPE_CHECKING

from shipwrightd.database import migrate
from shipwrightd.errors import DatabaseError
from shipwrightd.recovery import store
from shipwrightd.recovery.pages import HIGHEST, LOWEST, BrokenError, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import apsw

    from shipwrightd.recovery.pages import Pages, Record

COLUMNS = 'SELECT name, type, "notnull", pk, hidden FROM pragma_table_xinfo(?) WHERE hidden <> 2 ORDER BY cid'
IS_JSON = "SELECT json_valid(?)"
BATCH_ROWS = 5_000
BATCH_PAGES = 1_000
ORIGINS = ("events.jsonl", "team-events.jsonl/", "import/")
STATES = frozenset({"current", "rotated", "replaced"})
MEMORY = frozenset({"failure", "decision", "pattern", "baseline", "architecture", "learning", "global_pattern"})

# A test of a record whose columns have the types of a table: is it a row of that table?
MARKS: dict[str, Callable[[Record], bool]] = {
    "events": lambda row: str(row[10]).startswith(ORIGINS) and row[11] in {0, 1},
    "checkpoints": lambda row: row[1] in {"journal", "document"},
    "generations": lambda row: row[2] in STATES,
    "line_hashes": lambda row: len(row[2]) % 8 == 0 and len(row[2]) > 0,  # type: ignore[arg-type]
    "quarantine": lambda row: row[8] in {"kept", "recovered"},
    "cost_entries": lambda row: row[9] in {"costs.json", "events.jsonl"},
    "cost_outcomes": lambda row: row[1] in {"outcome", "pipeline"},
    "memory_entries": lambda row: row[2] in MEMORY,
    "budgets": lambda row: row[0] == "daily",
    "daemon_state": lambda row: row[0] == "daemon",
    "kept_range": lambda row: row[0] == 1,
    "kept_runs": lambda row: '"phase"' in str(row[1]),
    "kept_stages": lambda row: '"run_id"' in str(row[1]),
    "pipeline_stages": lambda row: row[4] in {"running", "success", "failed", "skipped"},
}
STRICT = {"INTEGER": (int,), "REAL": (int, float), "TEXT": (str,), "BLOB": (bytes,)}
NUMBER = (int, float, str, NoneType)
LOOSE = {"INTEGER": NUMBER, "REAL": NUMBER, "TEXT": (str, NoneType), "BLOB": (bytes, NoneType)}


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a table, as its records hold them."""

    table: str
    types: tuple[tuple[type, ...], ...]  # of each column
    rowid_at: int  # index of the column that is the rowid; -1 for none
    width: int  # number of stored columns; generated ones come after them
    json_at: int  # index of the column extra or facts; -1 for none

    def row(self, rowid: int | None, values: Record) -> Record | None:
        """Return the record as a row, None when it cannot be one of this table."""
        if self.table == "generations" and len(values) == len(self.types) - 1:
            values = (*values, 1)  # before a migration added `settled`
        if len(values) != len(self.types) or (rowid is None) != (self.rowid_at < 0):
            return None
        if rowid is not None:
            values = (*values[: self.rowid_at], rowid, *values[self.rowid_at + 1 :])
        is_row = all(map(isinstance, values, self.types)) and MARKS.get(self.table, bool)(values)
        return values[: self.width] if is_row else None


def shapes(db: apsw.Connection) -> dict[str, Shape]:
    """Return the shapes of the tables that are restored, as the schema has them."""
    found = {}
    for table in store.RESTORE:
        columns = list(db.execute(COLUMNS, (table,)))
        names = [name for name, *_ in columns]
        keys = [i for i, column in enumerate(columns) if column[3]]
        by_rowid = len(keys) == 1 and columns[keys[0]][1] == "INTEGER"
        json_at = next((names.index(name) for name in ("extra", "facts") if name in names), -1)
        types = tuple(STRICT[kind] if needed or key else LOOSE[kind] for _, kind, needed, key, _ in columns)
        width = sum(hidden == 0 for *_, hidden in columns)
        found[table] = Shape(table, types, keys[0] if by_rowid else -1, width, json_at)
    return found


class Salvage:
    """Copies the readable rows into a new database, and records what was unreadable."""

    def __init__(self, pages: Pages, db: apsw.Connection, alive: Callable[[], object]) -> None:
        self._alive = alive  # called now and then
        self._pages = pages
        self._db = db
        self._shapes = shapes(db)
        self._seen = pages.free_pages()[0]
        self.kept: dict[str, int] = {}  # number of rows by table
        self.unread: dict[str, int] = {}  # number of unreadable places by table
        self.holes: list[tuple[int, int]] = []  # ids of events, (after, up to]

    def is_whole(self, tables: Iterable[str]) -> bool:
        """Return whether these tables were completely readable."""
        return not self.unread.keys() & set(tables)

    def run(self) -> None:
        """Copy all tables. Expects the caller's transaction."""
        roots, whole = self._roots()
        self._refuse_newer(roots)
        unknown = [] if whole else [(LOWEST, HIGHEST)]  # an older schema has fewer tables
        wanted: dict[str, list[tuple[int, int]]] = {}
        for table, shape in self._shapes.items():
            reading = Reading()
            self.kept[table] = self._copy(shape, roots[table], reading) if table in roots else 0
            self._seen |= reading.seen
            if holes := reading.holes if table in roots else unknown:
                wanted[table] = holes
                self.unread[table] = len(holes)
        if wanted:
            self._strays(wanted)
        self.holes = merged(wanted.get("events", []))

    def _refuse_newer(self, roots: dict[str, int]) -> None:
        """Raise DatabaseError if a newer release wrote this database, as far as that is readable."""
        applied = self._pages.records(roots["schema_version"], Reading()) if "schema_version" in roots else ()
        newest, known = max((rowid or 0 for rowid, _ in applied), default=0), migrate.known()[-1].version
        if newest > known:
            message = f"the database is damaged and at schema version {newest}, this release knows {known}"
            raise DatabaseError(message, hint="install the newer shipwrightd")

    def _roots(self) -> tuple[dict[str, int], bool]:
        """Return the root page of each table, and whether the whole schema was readable."""
        reading = Reading()
        found = {}
        for _, values in self._pages.records(1, reading):
            if len(values) == 5 and values[0] == "table" and isinstance(values[3], int):  # noqa: PLR2004
                found[str(values[1])] = values[3]
        self._seen |= reading.seen
        return found, bool(found) and not reading.holes

    def _copy(self, shape: Shape, root: int, reading: Reading) -> int:
        """Copy the records of a tree that are rows and return how many; any other leaves a hole."""
        records = self._pages.records(root, reading)
        kept = 0
        while batch := list(islice(records, BATCH_ROWS)):
            rows = []
            for rowid, values in batch:
                row = self._row(shape, rowid, values)
                if row is not None:
                    rows.append(row)
                else:
                    reading.holes.append((LOWEST, HIGHEST) if rowid is None else (rowid - 1, rowid))
            kept += store.restore(self._db, shape.table, rows)
            self._alive()
        return kept

    def _row(self, shape: Shape, rowid: int | None, values: Record) -> Record | None:
        """Return the record as a row, None if it cannot be one: SQL that reads invalid JSON would fail every time."""
        row = shape.row(rowid, values)
        text = row[shape.json_at] if row is not None and shape.json_at >= 0 else None
        return row if text is None or self._db.execute(IS_JSON, (text,)).get else None

    def _strays(self, wanted: dict[str, list[tuple[int, int]]]) -> None:
        """Search all pages that no tree leads to, first those that another page points to."""
        pointed = self._pointed_to()
        rest = [number for number in range(2, self._pages.count + 1) if number not in self._seen]
        for nth, number in enumerate(sorted(rest, key=lambda number: number not in pointed)):
            if not nth % BATCH_PAGES:
                self._alive()
            with suppress(BrokenError):
                self._stray(self._pages.page(number), wanted)
        for page in self._pages.shadowed():
            with suppress(BrokenError):
                self._stray(page, {table: holes for table, holes in wanted.items() if table == "events"})

    def _pointed_to(self) -> set[int]:
        found: set[int] = set()
        for number in range(2, self._pages.count + 1):
            if not number % BATCH_PAGES:
                self._alive()
            with suppress(BrokenError):
                children = self._pages.children(self._pages.page(number), number, LOWEST, HIGHEST)
                found.update(child for child, _, _ in children)
        return found

    def _stray(self, page: bytes, wanted: dict[str, list[tuple[int, int]]]) -> None:
        """Store the rows of a page that are missing."""
        for rowid, values in self._pages.page_records(page, 2, LOWEST, HIGHEST, []):
            for table, holes in wanted.items():
                if rowid is not None and not any(after < rowid <= to for after, to in holes):
                    continue
                if (row := self._row(self._shapes[table], rowid, values)) is not None:
                    self.kept[table] += store.restore(self._db, table, [row])
                    break


def merged(holes: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges in order, with adjacent ones joined."""
    found: list[tuple[int, int]] = []
    for after, to in sorted(holes):
        if found and after <= found[-1][1]:
            found[-1] = (found[-1][0], max(to, found[-1][1]))
        else:
            found.append((after, to))
    return found
