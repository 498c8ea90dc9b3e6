"""Open the database, for writing and for reading, and run transactions.

Only `transaction` uses BEGIN, COMMIT and ROLLBACK.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import gc
import os
import stat
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database import ownership
from shipwrightd.database.lock import HELD, lock_is_held, lock_path
from shipwrightd.errors import (
    DamagedError,
    DatabaseError,
    LockedError,
    MissingError,
    PathError,
    ShipwrightdError,
    path_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION_ID = 0x53575244  # "SWRD"
ALL_BITS = (1 << 64) - 1  # of an inode number; SQLite's integers are signed
BUSY_TIMEOUT_MS = 5_000
HEADER_BYTES = 100
BESIDE = ("-wal", "-shm", "-journal", ".lock")  # suffixes of the files beside the database
OWN_NAMES = ("shipwright.db", ".shipwrightd-")  # prefixes of the names of our files
SIGNAL_STEPS = 1_000_000  # of SQLite's virtual machine between checks for signals: some 30 ms
STATEMENTS = 512  # kept prepared; with the default of 100 the two largest are prepared each time
PAGE_BYTES = 8_192  # measured: a fifth faster to fill than 4,096, with fewer index pages to log
LOAD_CACHE_KIB = 16_384  # during a load; measured: four times as much is no faster
BUILD_CACHE_KIB = 65_536  # during a recovery, which inserts in the order of no index
FOLLOW_CACHE_KIB = 8_192
LOAD_WAL_PAGES = 3_000  # 24 MiB: about one batch; a longer log is slower to read from
FOLLOW_WAL_PAGES = 1_000  # 8 MiB between automatic checkpoints
MAYBE_RECOVERABLE = "the next `shipwrightd run` rebuilds it if its pages are ours, and leaves it untouched otherwise"
RECOVERABLE = "the next `shipwrightd run` or `backfill` moves it aside and rebuilds it from its pages and the files"
DAMAGE = (apsw.CorruptError, apsw.NotADBError)


def identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the file at a path, None if there is none. Raises OSError if they cannot be read."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def prepare_folder(database: Path, *, refuse: Callable[[Path], object] | None = None) -> None:
    """Create the database's folder, private to its owner, and check the files in it.

    `refuse` raises for a file that must not be touched, by default one without our header. Raises PathError if the
    folder cannot be created or written in, and for what another user could have prepared.
    """
    folder = database.parent
    ownership.check_symlinks(folder)
    with path_errors(f"cannot create the folder {folder}", hint="choose another place with --db FILE"):
        ownership.make_folder(folder)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"cannot write to the folder {folder}"
        raise PathError(message, hint="check its owner and mode, or choose another place with --db FILE")
    if database.exists():
        (refuse or refuse_foreign)(database)  # before anything of it is changed
    ownership.check_folder(folder, own=(database.name, *OWN_NAMES))
    for end in ("", *BESIDE):
        ownership.check_file(database.with_name(database.name + end))


def open_writer(path: Path) -> apsw.Connection:
    """Open the database for writing, and create it if it is missing.

    Raises DatabaseError for a file that is not ours, PathError if it cannot be opened.
    """
    prepare_folder(path)
    fresh = not path.exists() or path.stat().st_size == 0
    try:
        if fresh:
            os.close(ownership.open_private(path))  # SQLite would apply the umask
        db = apsw.Connection(str(path), statementcachesize=STATEMENTS)
    except (apsw.Error, OSError) as error:
        message = f"cannot open the database {path}: {error}"
        raise PathError(message, hint="check its owner and mode, or choose another with --db FILE") from error
    try:
        _set_up(db)
    except BaseException:
        close_without_checkpoint(db)
        raise
    return db


def _set_up(db: apsw.Connection) -> None:
    """Configure a writing connection, and mark a new database as ours."""
    _distrust(db)
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    if db.execute("PRAGMA page_count").get == 0:  # not the file's size: a rollback of its creation may be pending
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{LOAD_CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint = {LOAD_WAL_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {FOLLOW_WAL_PAGES * PAGE_BYTES}")  # the log shrinks when it restarts


def open_builder(path: Path) -> apsw.Connection:
    """Open a new database without a journal, quick to fill and unsafe until `seal`. Raises as open_writer."""
    db = open_writer(path)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)  # or it silently ignores the next statement
    db.execute("PRAGMA journal_mode = OFF")
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.execute(f"PRAGMA cache_size = -{BUILD_CACHE_KIB}")
    db.execute("PRAGMA synchronous = OFF")
    return db


def seal(db: apsw.Connection) -> None:
    """Turn a database from open_builder into a normal one. The caller must still sync its file."""
    db.execute("PRAGMA main.journal_mode = WAL")
    db.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")


def close_without_checkpoint(db: apsw.Connection) -> None:
    """Close a damaged database and leave its log as it is."""
    with contextlib.suppress(apsw.Error):
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    with contextlib.suppress(apsw.Error):
        db.close()


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _distrust(db: apsw.Connection) -> None:
    """Distrust the schema: triggers and views that someone else stored can call no function with side effects."""
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)


def shrink_caches(db: apsw.Connection) -> None:
    """Return memory after a load: following needs few pages at a time."""
    with contextlib.suppress(apsw.Error):  # a lock that persists fails the next transaction
        db.execute(f"PRAGMA cache_size = -{FOLLOW_CACHE_KIB}")
        db.execute(f"PRAGMA wal_autocheckpoint = {FOLLOW_WAL_PAGES}")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # does not wait for readers
        db.execute("PRAGMA shrink_memory")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only glibc has it, and only glibc keeps freed memory
        ctypes.CDLL(None).malloc_trim(0)


def refuse_foreign(path: Path) -> None:
    """Raise DatabaseError unless the file carries our application id; reads its header only."""
    hint = "check its owner and mode, or choose another with --db FILE"
    with path_errors(f"cannot read the database {path}", hint=hint):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
            header = os.read(fd, HEADER_BYTES) if regular else b""
        finally:
            os.close(fd)
    if not regular:
        raise PathError(f"{path} is not a regular file", hint="choose another with --db FILE")
    if not header:
        return
    is_sqlite = len(header) == HEADER_BYTES and header.startswith(b"SQLite format 3\0")
    if not is_sqlite and lock_path(path).exists():  # we had a database here; recovery checks whether this file is it
        raise DamagedError(f"the database {path} is damaged: its header is destroyed", hint=MAYBE_RECOVERABLE)
    if not is_sqlite or int.from_bytes(header[68:72]) != APPLICATION_ID:
        message = f"{path} is not a shipwrightd database"
        raise DatabaseError(message, hint="it was left untouched; choose another file with --db FILE")


def open_reader(path: Path, *, untouched: bool = False) -> apsw.Connection:
    """Open the database read-only.

    SQLite creates -wal and -shm for a reader, too. With `untouched`, a database that no process has open
    (no lock, no -wal) is read as immutable, and no file is created beside it. Raises MissingError if it does
    not exist, DatabaseError if it is foreign or damaged, PathError if it cannot be read, LockedError if it
    stays locked.
    """
    with path_errors(f"cannot access the database {path}", hint="check owner and mode of its folder"):
        found = identity(path)
    if found is None:
        raise MissingError(f"no database at {path}", hint="run `shipwrightd backfill` to create it")
    if lock_path(path) not in HELD:
        refuse_foreign(path)
    wal, shm = (path.with_name(path.name + end).exists() for end in ("-wal", "-shm"))
    is_unused = untouched and not lock_is_held(lock_path(path))
    is_complete = not wal and (is_unused or not (shm or os.access(path.parent, os.W_OK)))  # nor can SQLite create them
    try:
        return _reader(f"{path.absolute().as_uri()}?immutable=1" if is_complete else str(path))
    except apsw.Error as error:
        raise explained(path, error) from error


def _reader(name: str) -> apsw.Connection:
    db = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    _distrust(db)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    db.set_progress_handler(lambda: False, SIGNAL_STEPS)  # so that a view that never ends can be interrupted
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    db.execute("PRAGMA query_only = ON")
    db.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - opens WAL and shared memory now
    return db


def explained(path: Path, error: apsw.Error) -> ShipwrightdError:
    """Return the ShipwrightdError, with a hint, for an error of SQLite."""
    if isinstance(error, DAMAGE):
        return DamagedError(f"the database {path} is damaged: {error}", hint=RECOVERABLE)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return LockedError(f"the database {path} stays locked", hint="stop the program that locks it")
    message = f"cannot read the database {path}: {error}"
    if isinstance(error, apsw.SQLError):
        return DatabaseError(message, hint="`shipwrightd migrate` brings it up to date")
    return PathError(message, hint="check space, owner and mode of the file, its -wal and folder, or read a copy")


@contextlib.contextmanager
def durable(db: apsw.Connection) -> Iterator[None]:
    """Make the commits of the block, and all before them, survive a power loss; each costs a sync."""
    db.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        with contextlib.suppress(apsw.Error):  # the transactions are committed anyway
            db.execute("PRAGMA synchronous = NORMAL")


@contextlib.contextmanager
def transaction(db: apsw.Connection) -> Iterator[apsw.Connection]:
    """Commit all changes of the block, or roll them back if it raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
