"""Delete old events, except those that projections derive from and those that a file still holds.

See docs/decisions/0014-prune-keeps-what-runs-derive-from.md.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import orjson

from shipwrightd import clock, projections
from shipwrightd.database import open_reader, transaction
from shipwrightd.decoding import row_hash
from shipwrightd.errors import MissingError, PathError, path_errors
from shipwrightd.journals import JOURNALS
from shipwrightd.journals.lines import ChangedError
from shipwrightd.journals.records import records
from shipwrightd.journals.store import current_generation
from shipwrightd.recovery import writer
from shipwrightd.recovery.rebuild import open_journal
from shipwrightd.recovery.store import create_row_hash
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shipwrightd.decoding import EventRow
    from shipwrightd.journals import JournalSource

ATTEMPTS = 5  # at files that change while they are read
SPARE_BYTES = 16 << 20  # room for the growth of the log
DERIVED_FROM = orjson.dumps(sorted(projections.DERIVED_FROM)).decode()

# On disk, so that ten million rows need no more memory than ten. Two rows with one hash would keep an event too many.
CREATE_STAGING = """
PRAGMA temp_store = FILE;
CREATE TEMP TABLE held (hash INTEGER PRIMARY KEY, ts_epoch INTEGER);
CREATE TEMP TABLE old (id INTEGER PRIMARY KEY, origin TEXT, held INTEGER)"""
ADD_HELD = "INSERT OR IGNORE INTO temp.held (hash, ts_epoch) VALUES (?, ?)"
CLEAR_OLD = "DELETE FROM temp.old"
# A row without a time is old if all before it are. The events that projections derive from stay, and so do the last
# event, whose id must not be used again, and the latest one, which is "now" in event time.
FIND_OLD = """
INSERT INTO temp.old (id, origin, held)
SELECT e.id, e.origin,
    CASE WHEN e.ts_epoch < (SELECT coalesce(min(ts_epoch), 0x7fffffffffffffff) FROM temp.held) THEN 0  -- no hash needed
        ELSE row_hash(ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
            IN (SELECT hash FROM temp.held)
        END
FROM events AS e
WHERE (e.ts_epoch < ?1
        OR e.ts_epoch IS NULL
            AND e.id < coalesce((SELECT min(id) FROM events WHERE ts_epoch >= ?1), 0x7fffffffffffffff))
    AND NOT ((e.origin = 'events.jsonl' OR e.origin GLOB 'import/*')
        AND e.type IS NOT NULL AND e.type IN (SELECT value FROM json_each(?2)))
    AND e.id < (SELECT max(id) FROM events)
    AND e.id IS NOT (
        SELECT id FROM events WHERE origin = 'events.jsonl' OR origin GLOB 'import/*' ORDER BY ts_epoch DESC LIMIT 1)"""
COUNT_OLD = "SELECT origin, count(*) FILTER (WHERE NOT held), count(*) FILTER (WHERE held) FROM temp.old GROUP BY 1"
DELETE_OLD = "DELETE FROM events WHERE id IN (SELECT id FROM temp.old WHERE NOT held)"
NOTE_PRUNED = """
INSERT INTO pruned (origin, before_epoch, events, pruned_at)
SELECT origin, ?1, count(*), ?2 FROM temp.old WHERE NOT held GROUP BY origin
ON CONFLICT (origin) DO UPDATE SET
    before_epoch = max(before_epoch, excluded.before_epoch),
    events       = events + excluded.events,
    pruned_at    = excluded.pruned_at"""


@dataclass(frozen=True, slots=True)
class Old:
    """Old events of one origin: how many go, and how many stay because a file still holds them."""

    origin: str
    going: int
    held: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """The result of a prune or its preview, by origin, with the size of the database in bytes."""

    before_epoch: int
    origins: list[Old]
    bytes_before: int
    bytes_after: int


def preview(home: Path, path: Path, before_epoch: int) -> Pruned:
    """Return what prune would do, without changing anything. Raises MissingError, DatabaseError, PathError."""
    size = _size(path)
    with closing(open_reader(path)) as db:
        db.execute("PRAGMA query_only = OFF")  # for the temporary tables; the file itself is open for reading only
        create_staging(db)
        _add_files(db, home, before_epoch)
        origins = _find_old(db, before_epoch)
    return Pruned(before_epoch, origins, size, size)


def prune(home: Path, path: Path, before_epoch: int) -> Pruned:
    """Delete the events before that time, all or none, and return their space to the disk.

    Events that projections derive from stay, and so do events that a file holds. Raises LockedError beside a daemon,
    PathError if a file cannot be read or the disk is too full; then nothing is deleted.
    """
    with writer(path, home, "prune") as db:
        size = _size(path)
        need_space(path, size)
        create_staging(db)
        with transaction(db):
            _add_files(db, home, before_epoch)
        with transaction(db):
            origins = delete(db, before_epoch)
        if any(old.going for old in origins) or db.pragma("freelist_count"):  # left by a prune that was interrupted
            _shrink(db)
    return Pruned(before_epoch, origins, size, _size(path))


def create_staging(db: apsw.Connection) -> None:
    """Create the temporary tables. Must not be called in a transaction."""
    db.execute(CREATE_STAGING)
    create_row_hash(db)


def add_held(db: apsw.Connection, rows: Iterable[EventRow], before_epoch: int) -> None:
    """Stage the rows of a file that may be old."""
    db.executemany(ADD_HELD, [(row_hash(row), row[1]) for row in rows if row[1] is None or row[1] < before_epoch])


def delete(db: apsw.Connection, before_epoch: int) -> list[Old]:
    """Delete the events before that time in the caller's transaction; return how many go and how many stay."""
    origins = _find_old(db, before_epoch)
    if any(old.going for old in origins):
        db.execute(NOTE_PRUNED, (before_epoch, clock.now().text))
        db.execute(DELETE_OLD)
    return origins


def _find_old(db: apsw.Connection, before_epoch: int) -> list[Old]:
    db.execute(CLEAR_OLD)
    db.execute(FIND_OLD, (before_epoch, DERIVED_FROM))
    return [Old(*row) for row in db.execute(COUNT_OLD)]


def _shrink(db: apsw.Connection) -> None:
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        db.execute("VACUUM")
    except apsw.FullError as error:
        raise PathError(
            "the events are deleted, but the disk is too full to make the file smaller",
            hint="the database reuses its free pages; to return them to the disk, free space and prune again",
        ) from error
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _size(path: Path) -> int:
    """Return the size of the database and its log in bytes, 0 without a database."""
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def need_space(path: Path, size: int) -> None:
    """Raise PathError unless `size` bytes fit on the disk twice: in the database's log and in a temporary file."""
    log, copy = path.parent, _temporary()
    together = log.stat().st_dev == copy.stat().st_dev
    for folder, needed in ((log, size * 2 if together else size), (copy, size)):
        free = shutil.disk_usage(folder).free
        if free < needed + SPARE_BYTES:
            what = f"pruning needs {size_of(needed + SPARE_BYTES)} free in {folder}, only {size_of(free)} are"
            raise PathError(what, hint="free space, or name another folder for temporary files in SQLITE_TMPDIR")


def _temporary() -> Path:
    """Return the folder in which SQLite creates temporary files, which need not be that of Python."""
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp")  # noqa: S108 - SQLite's
    usable = (folder for folder in named if folder and os.access(folder, os.W_OK | os.X_OK))
    return Path(next(usable, tempfile.gettempdir()))


def _add_files(db: apsw.Connection, home: Path, before_epoch: int) -> None:
    """Stage the old events that the files hold. Raises MissingError without a home, PathError for a file."""
    if not home.is_dir():
        raise MissingError(f"no Shipwright home at {home}", hint="prune must read its files; name it with --home")
    for source in JOURNALS:
        hint = "fix that first: events that a file holds are never deleted"
        with path_errors(f"cannot read {source.name}", hint=hint):
            _add_journal(db, home, source, before_epoch)


def _add_journal(db: apsw.Connection, home: Path, source: JournalSource, before_epoch: int) -> None:
    for _ in range(ATTEMPTS):
        with suppress(ChangedError), open_journal(source, home) as files:
            here = current_generation(db, source.name)
            if not files and here is not None and here.place.offset:
                raise MissingError(
                    f"{home} does not hold {source.name}, from which events were read",
                    hint="mount or name its folder; if the file is gone for good, create an empty one of that name",
                )
            for fd in files.values():
                for chunk in records(fd, source.origin):
                    add_held(db, chunk.rows, before_epoch)
            return
    raise PathError(f"{source.name} changed while it was read", hint="try again when less is written")
