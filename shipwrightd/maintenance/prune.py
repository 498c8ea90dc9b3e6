"""Old events out of the database; what they added up to, and what the files still hold, stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from shipwrightd import clock, projections
from shipwrightd.daemon.catch_up import open_database
from shipwrightd.database.connection import open_reader, transaction
from shipwrightd.decoding.events import decode_lines
from shipwrightd.errors import MissingError, PathError
from shipwrightd.journals.lines import ChangedError, Giant, Position, Reader, open_files
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.journals.store import current_generation
from shipwrightd.maintenance import store

if TYPE_CHECKING:
    from shipwrightd.journals.sources import JournalSource
    from shipwrightd.maintenance.store import Old

ATTEMPTS = 5  # at files that change while they are read
SPARE_BYTES = 16 << 20  # that the log may grow by besides


@dataclass(frozen=True, slots=True)
class Pruned:
    """What went, or would go: origin by origin, and how large the database was before and is now, in bytes."""

    before_epoch: int
    origins: list[Old]
    bytes_before: int
    bytes_after: int


def preview(home: Path, path: Path, before_epoch: int) -> Pruned:
    """Say what prune would do, and change nothing. Raises MissingError, DatabaseError, PathError."""
    size = _size(path)
    with closing(open_reader(path)) as db:
        db.execute("PRAGMA query_only = OFF")  # for the temporary tables; the file itself is open for reading only
        store.lay_out(db)
        _lay_out_held(db, home, before_epoch)
        _, origins = store.find_old(db, before_epoch)
    return Pruned(before_epoch, origins, size, size)


def prune(home: Path, path: Path, before_epoch: int) -> Pruned:
    """Delete the events older than that which no file holds, all or none, and give their space back.

    Runs, stages, costs and figures stay. Raises LockedError beside a daemon,
    PathError when a file cannot be read or the disk is too full; then nothing
    is deleted.
    """
    db, lock = open_database(path, home, "prune")
    try:
        size = _size(path)
        need_space(path, size)
        store.lay_out(db)
        with transaction(db):
            _lay_out_held(db, home, before_epoch)
        with transaction(db):
            origins = delete(db, before_epoch)
        if any(old.going for old in origins) or db.pragma("freelist_count"):  # of one that ended before it shrank
            _shrink(db)
    finally:
        db.close()
        lock.release()
    return Pruned(before_epoch, origins, size, _size(path))


def delete(db: apsw.Connection, before_epoch: int) -> list[Old]:
    """Delete the events older than that, but for those laid out as held; returns what went and what stayed.

    Expects the caller's transaction.
    """
    boundary, origins = store.find_old(db, before_epoch)
    if any(old.going for old in origins):
        projections.settle(db, boundary)
        store.delete_old(db, before_epoch, clock.now().text)
    return origins


def _shrink(db: apsw.Connection) -> None:
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    try:
        db.execute("VACUUM")
    except apsw.FullError as error:
        raise PathError(
            "the events are deleted, but the disk is too full to make the file smaller",
            hint="its free pages are used again; free space and prune again to give them back",
        ) from error
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _size(path: Path) -> int:
    """Return how many bytes the database and its log take, 0 when there is none."""
    found = 0
    for file in (path, path.with_name(path.name + "-wal")):
        try:
            found += file.stat().st_size
        except FileNotFoundError:
            continue
    return found


def need_space(path: Path, size: int) -> None:
    """Raise PathError unless so many bytes fit twice on the disk: into the database's log, and a temporary file."""
    log, copy = path.parent, _temporary()
    together = log.stat().st_dev == copy.stat().st_dev
    for folder, needed in ((log, size * 2 if together else size), (copy, size)):
        free = shutil.disk_usage(folder).free
        if free < needed + SPARE_BYTES:
            what = f"pruning needs {_mib(needed + SPARE_BYTES)} free in {folder}, there are {_mib(free)}"
            raise PathError(what, hint="free space, or name another folder for temporary files in SQLITE_TMPDIR")


def _temporary() -> Path:
    """Return the folder in which SQLite makes its temporary files: not quite that of Python."""
    named = (os.environ.get("SQLITE_TMPDIR"), os.environ.get("TMPDIR"), "/var/tmp", "/usr/tmp")  # noqa: S108 - SQLite's
    usable = (folder for folder in named if folder and os.access(folder, os.W_OK | os.X_OK))
    return Path(next(usable, tempfile.gettempdir()))


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"


def _lay_out_held(db: apsw.Connection, home: Path, before_epoch: int) -> None:
    """Lay out what the files hold and is old. Raises MissingError without a home, PathError for a file."""
    if not home.is_dir():
        raise MissingError(
            f"no Shipwright home at {home}", hint="what its files hold must be known; name it with --home"
        )
    for source in JOURNALS:
        try:
            _lay_out_journal(db, home, source, before_epoch)
        except OSError as error:
            message = f"cannot read {source.name}: {error.strerror}"
            raise PathError(message, hint="mend that first: what the files hold is never deleted") from error


def _lay_out_journal(db: apsw.Connection, home: Path, source: JournalSource, before_epoch: int) -> None:
    for _ in range(ATTEMPTS):
        files, _ = open_files(source.files(home)[::-1])  # the newest first: what is rotated meanwhile is seen twice
        here = current_generation(db, source.name)
        if not files and here is not None and here.place.offset:
            raise MissingError(
                f"{home} does not hold {source.name}, of which events were read",
                hint="mount or name its folder; if the file is gone for good, make an empty one of that name",
            )
        try:
            for fd in files.values():
                _lay_out_file(db, fd, source, before_epoch)
        except ChangedError:
            continue
        else:
            return
        finally:
            for fd in files.values():
                os.close(fd)
    raise PathError(f"{source.name} changed while it was read", hint="try again when less is written")


def _lay_out_file(db: apsw.Connection, fd: int, source: JournalSource, before_epoch: int) -> None:
    reader = Reader(fd, Position(0, b""))
    waiting: list[bytes] = []
    while (got := reader.read()) is not None:
        lines = [*waiting, *got] if not isinstance(got, Giant) else waiting
        decoded = decode_lines(lines, origin=source.origin, final=isinstance(got, Giant))
        store.add_held(db, decoded.rows, before_epoch)
        waiting = lines[decoded.consumed :]
    store.add_held(db, decode_lines(waiting, origin=source.origin, final=True).rows, before_epoch)
