"""A damaged database made whole: found, set aside, built anew from itself and the files.

What can be read of it is copied row for row, ids and reading positions
included; what the files hold and it lost is put back; what is derived is
derived again. See docs/decisions/0010-self-healing.md for what that promises.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw
import orjson
import structlog

from shipwrightd import clock, projections
from shipwrightd.database import connection as database
from shipwrightd.database import migrate
from shipwrightd.database.connection import DAMAGE, SIGNAL_STEPS, transaction
from shipwrightd.errors import DamagedError, DatabaseError, MissingError, PathError
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.projections import runs as projected_runs
from shipwrightd.recovery import store, swap
from shipwrightd.recovery.detect import wrong_with, wrong_with_file, wrong_with_free_pages
from shipwrightd.recovery.files import Refill
from shipwrightd.recovery.lists import take_anew
from shipwrightd.recovery.old_lines import ChangedError
from shipwrightd.recovery.pages import HIGHEST, LOWEST, Pages
from shipwrightd.recovery.tables import Salvage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shipwrightd.recovery.tables import Salvaged

ATTEMPTS = 5  # at files that change while they are compared
PAUSE_S = 0.2
MOST_AN_HOUR = 3  # more recoveries than that, and the disk or the memory is to blame
SUSPECT = "check disk and memory, or choose another place with --db FILE"
KEPT = frozenset({"kept_range", "kept_runs", "kept_stages"})
PROJECTED = (*store.DERIVED, "cost_entries")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a damaged database."""

    reason: str
    set_aside: str
    kept: int
    refilled: int
    lost: int


@dataclass(slots=True)
class Care:
    """How to look after a database while it is opened, and what came of that."""

    damage: str | None = None  # known before; None: look whether there is any
    thorough: bool = False  # look at all of it
    alive: Callable[[], object] = bool  # called now and then while it is built anew; what it raises ends that
    recovery: Recovery | None = None


def open_whole(path: Path, home: Path, care: Care) -> apsw.Connection:
    """Open the migrated database for writing, built anew if it is damaged. Expects the writer lock.

    Raises what open_writer, migrate and heal raise.
    """
    swap.finish(path)
    reason = care.damage or wrong_with_file(path) or wrong_with_free_pages(path)
    if reason is None:
        found = _opened(path, thorough=care.thorough)
        if not isinstance(found, str):
            return found
        reason = found
    care.recovery = heal(path, home, reason, care.alive)
    found = _opened(path)
    if isinstance(found, str):
        raise DamagedError(f"the database {path} was built anew and is damaged again: {found}", hint=SUSPECT)
    return found


def _opened(path: Path, *, thorough: bool = False) -> apsw.Connection | str:
    """Return the open database, or what is wrong with it."""
    try:
        db = database.open_writer(path)
    except DAMAGE as error:
        return str(error)
    try:
        migrate.migrate(db)
        reason = wrong_with(db, path, thorough=thorough)
    except DAMAGE as error:
        reason = str(error)
    except BaseException:
        db.close()
        raise
    if reason is None:
        return db
    database.close_without_checkpoint(db)
    return reason


def heal(path: Path, home: Path, reason: str, alive: Callable[[], object]) -> Recovery:
    """Build the database anew and put it in place; expects the writer lock, and that nobody has it open.

    Raises PathError when there is no space or a file cannot be read, MissingError when a journal is
    needed and gone, DatabaseError when it was damaged too often or is of a newer release; then all is
    left as it was.
    """
    began = clock.now().text
    log.error("database_damaged", reason=reason, path=str(path))
    try:
        found = _build_patiently(path, home, (reason, began), alive)
        swap.declare_complete(path)
        swap.finish(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            swap.note_unfinished(path)
        if not isinstance(error, OSError | apsw.FullError | apsw.IOError | apsw.CantOpenError):
            raise
        message = f"the database {path} is damaged ({reason}) and cannot be built anew: {_said(error)}"
        space = isinstance(error, apsw.Error) or error.errno in {errno.ENOSPC, errno.EDQUOT}
        hint = "it needs as much space again" if space else "mend that first"
        raise PathError(message, hint=f"{hint}; it was left as it is") from error
    log.warning("database_recovered_from_damage", kept=found.kept, refilled=found.refilled, lost=found.lost)
    return found


def _said(error: OSError | apsw.Error) -> str:
    """Return what an error says, and of which file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _build_patiently(path: Path, home: Path, why: tuple[str, str], alive: Callable[[], object]) -> Recovery:
    for attempt in range(ATTEMPTS):
        swap.discard_unfinished(path)
        try:
            return _build(path, home, why, alive)
        except ChangedError:
            time.sleep(PAUSE_S * attempt)
    raise PathError("the files changed each time they were compared", hint="try again when less is written")


def _build(path: Path, home: Path, why: tuple[str, str], alive: Callable[[], object]) -> Recovery:
    reason, began = why
    pages = Pages(path)
    with contextlib.closing(pages), contextlib.closing(database.open_builder(swap.building(path))) as db:
        migrate.migrate(db)
        db.set_progress_handler(lambda: bool(alive()), SIGNAL_STEPS)
        with transaction(db):
            salvaged = Salvage(pages, db, alive).run()
            _refuse_endless(db, path)
            found = _complete(db, home, salvaged)
            aside = swap.name_aside(path, began)
            recovery = Recovery(reason, aside, *found)
            detail = {"kept": salvaged.kept, "unreadable": salvaged.unread}
            told = (began, clock.now().text, reason, aside)
            store.add_recovery(db, told, found, orjson.dumps(detail).decode())
        db.set_progress_handler(None)
        database.seal(db)
    return recovery


def _refuse_endless(db: apsw.Connection, path: Path) -> None:
    hour_ago = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    times: int = db.execute(store.RECENT, (hour_ago.strftime("%Y-%m-%dT%H:%M:%SZ"),)).get
    if times >= MOST_AN_HOUR:
        message = f"the database {path} was damaged again, after {times} recoveries within an hour"
        raise DatabaseError(message, hint=SUSPECT)


def _complete(db: apsw.Connection, home: Path, salvaged: Salvaged) -> tuple[int, int, int]:
    """Put back what the files hold, and derive the rest; returns events kept, put back and lost."""
    now = clock.now()
    kept = sum(count for table, count in salvaged.kept.items() if table not in store.DERIVED)
    books_whole = salvaged.is_whole(store.BOOKS)
    expected = store.expected_events(db) if books_whole else None
    holes = _bounded(db, salvaged.holes, expected)
    last = max(db.execute(store.MAX_ID).get, *(to for _, to in holes), 0)
    refilled = 0
    for source in JOURNALS:
        needed = (holes or not books_whole) and store.has_events(db, source.name)
        if needed and not _has_file(home, source.files(home)):
            message = f"the database is damaged, and to make it whole {home / source.name} is needed"
            raise MissingError(message, hint="bring it back; if it is gone for good, make an empty file of that name")
        refilled += Refill(db, source, holes, now).run(home, books_whole=books_whole)
    lost = _note_lost(db, holes, expected, now.text)
    lost_rows = take_anew(db, home, salvaged)
    bounded = expected is not None or all(to != HIGHEST for _, to in salvaged.holes)
    _derive(db, salvaged, last if lost and bounded else None)
    return kept, refilled, lost + lost_rows


def _has_file(home: Path, files: list[Path]) -> bool:
    return home.is_dir() and any(file.exists() for file in files)


def _bounded(db: apsw.Connection, holes: list[tuple[int, int]], expected: int | None) -> list[tuple[int, int]]:
    """Return the holes with the ends that are known: ids begin at 1, and the books know how many there were.

    Those of imported events go down from 0; of what was lost at their end only the last id is known.
    """
    highest: int = db.execute(store.MAX_ID).get
    if expected is not None:
        pruned = db.execute(store.HAS_PRUNED).get
        missing = expected - db.execute(store.COUNT_EVENTS).get
        highest = highest + max(0, missing) if pruned else max(highest, expected)
    ends = [(min(0, to - 1) if after == LOWEST else after, highest if to == HIGHEST else to) for after, to in holes]
    return [(after, to) for after, to in ends if after < to]


def _note_lost(db: apsw.Connection, holes: list[tuple[int, int]], expected: int | None, now: str) -> int:
    """Record the stretches that stay lost; returns how many events that are, as far as it can be told."""
    lost = 0
    for ours in (False, True):
        missing = [ids for hole in holes if (ids := [n for n in store.missing_ids(db, *hole) if (n > 0) is ours])]
        gone = sum(map(len, missing))
        if ours and expected is not None:  # the books do not count what was imported
            gone = min(gone, max(0, expected - db.execute(store.COUNT_EVENTS).get))
        for ids in missing if gone else ():
            hole = (ids[0] - 1, ids[-1])
            store.add_gap(db, store.source_at(db, hole[0]), hole, min(len(ids), gone), now)
        lost += gone
    return lost


def _derive(db: apsw.Connection, salvaged: Salvaged, lost_before: int | None) -> None:
    """Derive runs, stages and metrics from the records.

    Where events are gone, what derived from them is kept as it was, if it could be read.
    `lost_before`: the last event that was stored, if some were lost.
    """
    incomplete = lost_before is not None or not salvaged.is_whole(KEPT) or db.execute(store.HAS_UNKEPT).get
    if incomplete and salvaged.is_whole(PROJECTED):
        projected_runs.keep(db, db.execute(store.MAX_ID).get if lost_before is None else lost_before)
    projections.rebuild(db)
