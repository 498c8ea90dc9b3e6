"""A backup of the database while the daemon writes: a consistent copy in one file, checked.

Pages are copied within one snapshot of the reader, so that the copy can be compared with it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import apsw

from shipwrightd.database import APPLICATION_ID, explained, migrate, open_reader
from shipwrightd.errors import DatabaseError, MissingError, PathError
from shipwrightd.export.files import new_file

if TYPE_CHECKING:
    from pathlib import Path

STEP_PAGES: Final = 1_024  # 8 MiB; interrupts are handled between two steps
PROGRESS_STEPS: Final = 100_000  # of SQLite's virtual machine, some milliseconds; likewise

COUNTS = """
SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM checkpoints),
    (SELECT ts FROM events ORDER BY ts_epoch DESC LIMIT 1)"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a database holds, to compare a copy with it."""

    application: int
    schema: int
    events: int
    checkpoints: int
    newest: str | None  # time of the newest event, as written


def back_up(database: Path, target: Path, *, force: bool) -> Content:
    """Copy the database to `target`, check the copy before it gets that name, and return its content.

    Raises PathError if the copy cannot be written, DatabaseError if it fails the check.
    """
    with new_file(target, force=force) as temporary:
        with contextlib.closing(open_reader(database)) as source:
            try:
                content = _copy(source, temporary)
            except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
                raise PathError(f"cannot write {target}: {error}") from error
            except apsw.Error as error:
                raise explained(database, error) from error
        check(temporary, content, database)
    return content


def _copy(source: apsw.Connection, path: Path) -> Content:
    """Copy all pages of one snapshot, and return its content. Raises MissingError if there are no tables."""
    if not migrate.version(source):
        raise MissingError("the database has no shipwrightd tables yet", hint="run `shipwrightd backfill`")
    _hear_interrupts(source)
    with contextlib.closing(apsw.Connection(str(path))) as copy:
        copy.execute("PRAGMA journal_mode = OFF").fetchall()  # a copy that fails is deleted
        copy.execute("PRAGMA synchronous = OFF")  # it is synced at the end
        with source:  # one snapshot for counting and copying
            content = _content(source)
            with copy.backup("main", source, "main") as copying:
                while not copying.done:
                    copying.step(STEP_PAGES)
    return content


def _content(db: apsw.Connection) -> Content:
    (counts,) = db.execute(COUNTS)
    return Content(db.execute("PRAGMA application_id").get, migrate.version(db), *counts)


def check(path: Path, content: Content, database: Path) -> None:
    """Read the whole copy. Raises DatabaseError if it is damaged or differs from its source."""
    name = f"{path.absolute().as_uri()}?immutable=1"  # no WAL or lock file is created beside it
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    try:
        with contextlib.closing(apsw.Connection(name, flags=flags)) as copy:
            _hear_interrupts(copy)
            problems = [text for (text,) in copy.execute("PRAGMA integrity_check(3)") if text != "ok"]
            problems += [f"a broken reference from {row[0]}" for row in copy.execute("PRAGMA foreign_key_check")][:3]
            same = _content(copy) == content and content.application == APPLICATION_ID
    except apsw.Error as error:
        problems, same = [str(error)], False
    if problems or not same:
        why = "; ".join(problems) or "its content differs from the database"
        hint = "the copy was deleted; the database itself may be damaged"
        raise DatabaseError(f"the copy of {database} fails its check: {why}", hint=hint)


def _hear_interrupts(db: apsw.Connection) -> None:
    """Have long statements call back now and then, so that Python handles signals."""
    db.set_progress_handler(lambda: False, PROGRESS_STEPS)
