"""Is the database what it should be? A look at little of it, at each start, and at all of it when asked.

Damage that the first look does not meet is met when something reads there:
SQLite says so, and it is healed then.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database.connection import APPLICATION_ID, refuse_foreign
from shipwrightd.errors import DamagedError, DatabaseError
from shipwrightd.recovery import store, swap
from shipwrightd.recovery.pages import HIGHEST, LEAF_TABLE, LOWEST, BrokenError, Pages
from shipwrightd.recovery.tables import MARKS

if TYPE_CHECKING:
    from pathlib import Path

WHOLE_BYTES = 16 << 20  # a smaller file is checked as a whole: a tenth of a second
TRUNKS = 100  # pages of the list of free pages, each with 2,000 of them
LOOKED_AT = 2_000  # pages, for one of ours in a file without a header
TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table'"
ENDS = (
    "SELECT * FROM checkpoints",
    "SELECT * FROM generations",
    "SELECT generation, first, length(hashes) FROM line_hashes",
    "SELECT * FROM settled",
    "SELECT * FROM projection_state",
    "SELECT * FROM events ORDER BY id DESC LIMIT 100",
    "SELECT * FROM events ORDER BY id LIMIT 10",
    "SELECT max(ts_epoch) FROM events",  # with the least in one question SQLite would walk the whole index
    "SELECT min(ts_epoch) FROM events",
    "SELECT max(type) FROM events",
    "SELECT max(issue) FROM events",
    "SELECT * FROM cost_entries ORDER BY id DESC LIMIT 20",
    "SELECT * FROM pipeline_runs ORDER BY id DESC LIMIT 20",
    "SELECT * FROM pipeline_stages ORDER BY id DESC LIMIT 20",
    "SELECT * FROM run_outcomes ORDER BY ended_epoch DESC LIMIT 5",
    "SELECT * FROM memory_entries ORDER BY id DESC LIMIT 20",
)
WHOLE = "PRAGMA integrity_check(1)"


def file_damage(path: Path) -> str | None:
    """Return what is wrong with the files at the database's place, before one is opened; None for nothing.

    Raises DatabaseError for a file that is not ours; it is left untouched.
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
    """Return what is wrong with the list of free pages, which SQLite's own checks do not look at.

    Expects that nobody has the database open. With a log beside it that list may stand there, and is not looked at.
    """
    log = path.with_name(path.name + "-wal")
    if (log.exists() and log.stat().st_size) or not path.exists():
        return None
    with path.open("rb") as file:
        header = file.read(100)
        size = int.from_bytes(header[16:18])
        size = 65_536 if size == 1 else size
        if len(header) < 100 or size < 512:  # noqa: PLR2004 - what has no header is looked at elsewhere
            return None
        pages = path.stat().st_size // size
        trunk, free = int.from_bytes(header[32:36]), int.from_bytes(header[36:40])
        for _ in range(TRUNKS):
            if not trunk:
                break
            file.seek((trunk - 1) * size)
            page = file.read(size) if 1 < trunk <= pages else b""
            leaves = int.from_bytes(page[4:8])
            if len(page) < size or leaves > size // 4 - 2 or leaves >= free:
                return f"the list of free pages is damaged at page {trunk}"
            if any(not 1 < leaf <= pages for leaf in struct.unpack(f">{leaves}I", page[8 : 8 + 4 * leaves])):
                return f"the list of free pages is damaged at page {trunk}"
            free -= leaves + 1
            trunk = int.from_bytes(page[:4])
        else:
            return None
    return f"the list of free pages lacks {free}" if free else None


def _is_ours(path: Path) -> bool:
    """Tell whether a file without a header holds pages of ours, itself or in its log."""
    pages = Pages(path)
    try:
        return any(_has_ours(pages, number) for number in range(1, min(pages.count, LOOKED_AT) + 1))
    finally:
        pages.close()


def _has_ours(pages: Pages, number: int) -> bool:
    try:
        page = pages.page(number)
        if number == 1 and int.from_bytes(page[68:72]) == APPLICATION_ID:
            return True
        if page[0] != LEAF_TABLE:
            return False
        rows = pages.leaf(page, number, LOWEST, HIGHEST, [])
    except BrokenError:
        return False
    return any(len(values) == 13 and MARKS["events"](values) for _, values in rows)  # noqa: PLR2004 - columns


def database_damage(db: apsw.Connection, path: Path, *, thorough: bool = False) -> str | None:
    """Return what is wrong with an open, migrated database as far as a quick look tells, None for nothing.

    `thorough`: look at every page and every index entry, however long that takes.
    """
    try:
        missing = set(store.RESTORE) - {name for (name,) in db.execute(TABLES)}
        if missing:
            return f"tables are missing: {', '.join(sorted(missing))}"
        for sql in ENDS:
            db.execute(sql).fetchall()
        if thorough or path.stat().st_size <= WHOLE_BYTES:
            result: str = db.execute(WHOLE).get
            return None if result == "ok" else result.replace("\n", ": ")
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError) as error:
        return str(error)
    return None
