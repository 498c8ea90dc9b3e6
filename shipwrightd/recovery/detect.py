"""Detect damage: quickly at each start, completely on request.

Damage that the quick check misses raises an SQLite error when it is read.
"""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database import APPLICATION_ID, refuse_foreign
from shipwrightd.decoding import EVENT_COLUMNS
from shipwrightd.errors import DamagedError, DatabaseError
from shipwrightd.recovery import store, swap
from shipwrightd.recovery.pages import HIGHEST, LOWEST, BrokenError, Pages
from shipwrightd.recovery.tables import MARKS

if TYPE_CHECKING:
    from pathlib import Path

CHECKED_BYTES = 16 << 20  # a smaller file is checked completely: a tenth of a second
TRUNKS = 100  # checked pages of the list of free pages; each lists 2,000
SEARCHED = 2_000  # pages searched for one of ours if the file has no header
EVENT_VALUES = 1 + len(EVENT_COLUMNS)
TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table'"
# With max() and min() in one query SQLite would walk the whole index.
ENDS = """
SELECT * FROM checkpoints;
SELECT * FROM generations;
SELECT generation, first, length(hashes) FROM line_hashes;
SELECT * FROM kept_range;
SELECT * FROM projection_state;
SELECT * FROM events ORDER BY id DESC LIMIT 100;
SELECT * FROM events ORDER BY id LIMIT 10;
SELECT max(ts_epoch) FROM events; SELECT min(ts_epoch) FROM events;
SELECT max(type) FROM events; SELECT max(issue) FROM events;
SELECT * FROM cost_entries ORDER BY id DESC LIMIT 20;
SELECT * FROM pipeline_runs ORDER BY id DESC LIMIT 20;
SELECT * FROM pipeline_stages ORDER BY id DESC LIMIT 20;
SELECT * FROM run_outcomes ORDER BY ended_epoch DESC LIMIT 5;
SELECT * FROM memory_entries ORDER BY id DESC LIMIT 20"""


def file_damage(path: Path) -> str | None:
    """Return the damage that is visible before the database is opened, None for none.

    Raises DatabaseError for a file that is not ours, which stays untouched.
    """
    if swap.building(path).exists():
        return "an earlier recovery was interrupted"
    size = path.stat().st_size if path.exists() else 0
    if not size:
        return "it is empty, its log is not" if _is_ours(path) else None
    try:
        refuse_foreign(path)
    except DamagedError as error:
        if not _is_ours(path):
            raise DatabaseError(
                f"{path} is not a shipwrightd database",
                hint="it was left untouched; choose another file with --db FILE",
            ) from error
        return "its header is destroyed"
    return None


def free_list_damage(path: Path) -> str | None:
    """Return the damage to the list of free pages, which SQLite's own checks skip; None for none.

    Expects that no process has the database open. Not checked beside a log, which may hold newer pages of the list.
    """
    log = path.with_name(path.name + "-wal")
    if not path.exists() or not path.stat().st_size or (log.exists() and log.stat().st_size):
        return None
    with closing(Pages(path)) as pages:
        return pages.free_pages(TRUNKS)[1]


def _is_ours(path: Path) -> bool:
    """Return whether a file without a header, or its log, holds pages of ours."""
    with closing(Pages(path)) as pages:
        for number in range(1, min(pages.count, SEARCHED) + 1):
            with suppress(BrokenError):
                page = pages.page(number)
                if number == 1 and int.from_bytes(page[68:72]) == APPLICATION_ID:
                    return True
                rows = pages.page_records(page, number, LOWEST, HIGHEST, [])
                if any(len(values) == EVENT_VALUES and MARKS["events"](values) for _, values in rows):
                    return True
    return False


def check_database(db: apsw.Connection, path: Path, *, thorough: bool = False) -> None:
    """Check an open, migrated database quickly. Raises CorruptError or NotADBError if it is damaged.

    `thorough`: check every page and every index entry, however long that takes.
    """
    try:
        missing = set(store.RESTORE) - {name for (name,) in db.execute(TABLES)}
        if missing:
            raise apsw.CorruptError(f"tables are missing: {', '.join(sorted(missing))}")
        db.execute(ENDS).fetchall()
        if thorough or path.stat().st_size <= CHECKED_BYTES:
            result: str = db.execute("PRAGMA integrity_check(1)").get
            if result != "ok":
                raise apsw.CorruptError(result.replace("\n", ": "))
    except (apsw.SQLError, UnicodeDecodeError) as error:  # the latter for garbled text
        raise apsw.CorruptError(str(error)) from error
