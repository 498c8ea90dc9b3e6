"""Open the database for writing: lock it, finish or start a recovery, migrate it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from shipwrightd import __version__, clock, database
from shipwrightd.database import migrate
from shipwrightd.database.lock import WriterLock, lock_path
from shipwrightd.errors import LockedError, MissingError, PathError
from shipwrightd.journals import store as journal_store
from shipwrightd.recovery import swap
from shipwrightd.recovery.detect import file_damage
from shipwrightd.recovery.rebuild import RecoveryOptions, open_or_recover

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def open_database(
    path: Path, home: Path | None, command: str = "", options: RecoveryOptions | None = None
) -> tuple[apsw.Connection, WriterLock]:
    """Take the writer lock and open the migrated database. `home` is None for work inside the database.

    With `options`, which needs the home, a damaged database is recovered. Raises MissingError without
    the home, LockedError beside another writer, DatabaseError for a foreign, newer or damaged file,
    PathError for what the system refuses.
    """
    try:
        if home is not None and not home.is_dir():
            raise MissingError(f"no Shipwright home at {home}", hint="name it with --home DIR, or run Shipwright once")
        database.prepare_folder(path, refuse=file_damage if options is not None else None)
        if options is not None:
            file_damage(path)  # also the files beside a database that is missing
        lock = WriterLock(lock_path(path))
        about = {"command": command, "pid": os.getpid(), "started_at": clock.now().text, "version": __version__}
        lock.acquire({**about, "home": str(home or "")})
        try:
            return _open_locked(path, home, options), lock
        except BaseException:
            lock.release()
            raise
    except (apsw.BusyError, apsw.ProtocolError) as error:
        raise LockedError(f"the database {path} stays locked", hint="stop the program that locks it") from error
    except (apsw.CantOpenError, apsw.ReadOnlyError, apsw.FullError, apsw.IOError, apsw.NoMemError) as error:
        raise PathError(f"cannot write the database {path}: {error}", hint="check space, owner and mode") from error
    except database.DAMAGE as error:  # also when the medium fails to read a page
        raise database.explained(path, error) from error
    except OSError as error:
        place = error.filename or path
        raise PathError(f"cannot use {place}: {error.strerror}", hint="check its owner, mode and medium") from error


@contextmanager
def writer(path: Path, home: Path | None, command: str) -> Iterator[apsw.Connection]:
    """Open the database for the block; close it and release the lock afterwards. Raises as open_database."""
    db, lock = open_database(path, home, command)
    try:
        yield db
    finally:
        db.close()
        lock.release()


def _open_locked(path: Path, home: Path | None, options: RecoveryOptions | None) -> apsw.Connection:
    if options is not None and home is not None:
        db = open_or_recover(path, home, options)
    else:
        swap.finish(path)
        db = database.open_writer(path)
        migrate.migrate(db)
    with database.transaction(db):
        journal_store.clear_errors(db)
    return db
