"""The database file: where it is opened, locked and put into transactions.

`transaction()` is the only place that says BEGIN, COMMIT or ROLLBACK.
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
from shipwrightd.errors import DamagedError, DatabaseError, LockedError, MissingError, PathError, ShipwrightdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

APPLICATION_ID = 0x53575244  # "SWRD"
ALL_BITS = (1 << 64) - 1  # of an inode number; what SQLite holds has a sign
BUSY_TIMEOUT_MS = 5_000
HEADER_BYTES = 100
BESIDE = ("-wal", "-shm", "-journal", ".lock")  # what SQLite and we put beside the database
OWN_NAMES = ("shipwright.db", ".shipwrightd-")  # how the names of what we put into a folder begin
SIGNAL_STEPS = 1_000_000  # of SQLite's machine, a few tens of milliseconds: then an interrupt is heard
STATEMENTS = 512  # kept prepared; with the usual hundred the two largest are prepared anew each time
PAGE_BYTES = 8_192  # measured: a fifth faster to fill than 4,096, with fewer index pages to log
LOAD_CACHE_KIB = 16_384  # while much is loaded; measured: four times as much is no faster
BUILD_CACHE_KIB = 65_536  # while all is built anew, in the order of no index
FOLLOW_CACHE_KIB = 8_192
LOAD_WAL_PAGES = 3_000  # 24 MiB: about one batch; a longer log is slower to look things up in
FOLLOW_WAL_PAGES = 1_000  # 8 MiB between automatic checkpoints
PERHAPS_HEALED = "the next `shipwrightd run` builds it anew if its pages are ours, and leaves it untouched otherwise"
HEALED_BY = "the next `shipwrightd run` or `backfill` sets it aside and builds it anew, from itself and the files"
DAMAGE = (apsw.CorruptError, apsw.NotADBError)


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file stands at a path, None for none. Raises OSError when that cannot be told."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def prepare_folder(database: Path, *, refuse: Callable[[Path], object] | None = None) -> None:
    """Make the database's folder, private to its owner, and look at what stands in it already.

    `refuse` raises for a file that is not to be touched; that is one without our header, unless told otherwise.
    Raises PathError if it cannot be made or written in, and for what another user could have prepared.
    """
    folder = database.parent
    ownership.check_symlinks(folder)
    try:
        ownership.make_folder(folder)
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except OSError as error:
        message = f"cannot make the folder {folder}: {error.strerror}"
        raise PathError(message, hint="choose another place with --db FILE") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"cannot write in the folder {folder}"
        raise PathError(message, hint="check its owner and mode, or choose another place with --db FILE")
    if database.exists():
        (refuse or refuse_foreign)(database)  # before anything of it is changed
    ownership.check_folder(folder, own=(database.name, *OWN_NAMES))
    for end in ("", *BESIDE):
        ownership.check_file(database.with_name(database.name + end))


def open_writer(path: Path) -> apsw.Connection:
    """Open the database for writing, making it if it is not there.

    Raises DatabaseError for a file that is not ours, PathError if it cannot be opened.
    """
    prepare_folder(path)
    fresh = not path.exists() or path.stat().st_size == 0
    try:
        if fresh:
            _make_private(path)
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
    """Give a writer its settings, and a fresh database what makes it ours."""
    _distrust(db)
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    if db.execute("PRAGMA page_count").get == 0:  # the file's size does not tell: making it may be undone just now
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{LOAD_CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint = {LOAD_WAL_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {FOLLOW_WAL_PAGES * PAGE_BYTES}")  # the log shrinks when it starts over


def open_builder(path: Path) -> apsw.Connection:
    """Open a new database that counts for nothing until it is sealed, and is quick to fill. Raises as open_writer."""
    db = open_writer(path)
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)  # it refuses, without a word, what comes next
    db.execute("PRAGMA journal_mode = OFF")
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.execute(f"PRAGMA cache_size = -{BUILD_CACHE_KIB}")
    db.execute("PRAGMA synchronous = OFF")
    return db


def seal(db: apsw.Connection) -> None:
    """Make a database that was built so one like any other; its file is still to be synced."""
    db.execute("PRAGMA main.journal_mode = WAL")
    db.execute("PRAGMA main.wal_checkpoint(TRUNCATE)")


def close_without_checkpoint(db: apsw.Connection) -> None:
    """Close a damaged database as it is: what its log holds stays there."""
    with contextlib.suppress(apsw.Error):
        db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    with contextlib.suppress(apsw.Error):
        db.close()


def fsync_folder(folder: Path) -> None:
    """Have names in a folder survive a power cut. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_private(path: Path) -> None:
    """Make an empty file, or take the one that is there; by itself SQLite would make it by the umask."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, ownership.FILE_MODE)
    try:
        os.fchmod(fd, ownership.FILE_MODE)
    finally:
        os.close(fd)


def _distrust(db: apsw.Connection) -> None:
    """Give what is stored in the file no power: a trigger or view of a stranger's calls no function with effects."""
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0)


def shrink_caches(db: apsw.Connection) -> None:
    """Give memory back after a load: following takes few pages at a time."""
    with contextlib.suppress(apsw.Error):  # what is wrong for longer the next transaction meets, and is waited for
        db.execute(f"PRAGMA cache_size = -{FOLLOW_CACHE_KIB}")
        db.execute(f"PRAGMA wal_autocheckpoint = {FOLLOW_WAL_PAGES}")
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # waits for no reader; what it leaves a later one does
        db.execute("PRAGMA shrink_memory")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # only the GNU library has it, and only it needs it:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed would stay with the process


def refuse_foreign(path: Path) -> None:
    """Raise DatabaseError unless the file carries our application id; reads its header only."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            regular = stat.S_ISREG(os.fstat(fd).st_mode)
            header = os.read(fd, HEADER_BYTES) if regular else b""
        finally:
            os.close(fd)
    except OSError as error:
        message = f"cannot read the database {path}: {error.strerror}"
        raise PathError(message, hint="check its owner and mode, or choose another with --db FILE") from error
    if not regular:
        raise PathError(f"{path} is no regular file", hint="choose another with --db FILE")
    if not header:
        return
    is_sqlite = len(header) == HEADER_BYTES and header.startswith(b"SQLite format 3\0")
    if not is_sqlite and lock_path(path).exists():  # we worked here; whether on this file, healing looks closer
        message = f"the database {path} is damaged: its header is destroyed"
        raise DamagedError(message, hint=PERHAPS_HEALED)
    if not is_sqlite or int.from_bytes(header[68:72]) != APPLICATION_ID:
        message = f"{path} is not a shipwrightd database"
        raise DatabaseError(message, hint="it was left untouched; choose another file with --db FILE")


def open_reader(path: Path, *, untouched: bool = False) -> apsw.Connection:
    """Open the database read-only.

    SQLite makes a -wal and a -shm for a reader, too. With `untouched` a database that nobody has open, as
    lock and missing -wal tell, is read as one that does not change, and nothing is put beside it.

    Raises MissingError when it does not exist, DatabaseError when it is foreign
    or damaged, PathError when it cannot be read, LockedError when it stays locked.
    """
    try:
        missing = identity(path) is None
    except OSError as error:
        message = f"cannot look at the database {path}: {error.strerror}"
        raise PathError(message, hint="check owner and mode of its folder") from error
    if missing:
        message = f"no database at {path}"
        raise MissingError(message, hint="run `shipwrightd backfill` to make it")
    if lock_path(path) not in HELD:
        refuse_foreign(path)
    still = f"{path.absolute().as_uri()}?immutable=1"
    try:
        if untouched and not lock_is_held(lock_path(path)) and not path.with_name(path.name + "-wal").exists():
            return _reader(still)
        try:
            return _reader(str(path))
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            if not _lies_still(path):
                raise
            return _reader(still)
    except apsw.Error as error:
        raise explained(path, error) from error


def _reader(name: str) -> apsw.Connection:
    db = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
    _distrust(db)
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    db.set_progress_handler(lambda: False, SIGNAL_STEPS)  # a view can be made to never end
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    db.execute("PRAGMA query_only = ON")
    db.execute("SELECT count(*) FROM sqlite_schema").get  # noqa: B018 - opens WAL and shared memory now
    return db


def _lies_still(path: Path) -> bool:
    """Tell whether the database is all in its one file, in a folder where SQLite can put no other beside it."""
    beside = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    return not os.access(path.parent, os.W_OK) and not any(file.exists() for file in beside)


def explained(path: Path, error: apsw.Error) -> ShipwrightdError:
    """Return an error that SQLite met while reading as one that says what to do about it."""
    if isinstance(error, DAMAGE):
        return DamagedError(f"the database {path} is damaged: {error}", hint=HEALED_BY)
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return LockedError(f"the database {path} stays locked", hint="end the program that holds it")
    message = f"cannot read the database {path}: {error}"
    if isinstance(error, apsw.SQLError):
        return DatabaseError(message, hint="`shipwrightd migrate` brings it up to date")
    return PathError(message, hint="check owner and mode of the file, its -wal and its folder, or read a copy")


@contextlib.contextmanager
def durable(db: apsw.Connection) -> Iterator[None]:
    """Let the commits of the block, and all before them, survive a power loss; costs a sync each."""
    db.execute("PRAGMA synchronous = FULL")
    try:
        yield
    finally:
        with contextlib.suppress(apsw.Error):  # what was committed is, whatever this says
            db.execute("PRAGMA synchronous = NORMAL")


@contextlib.contextmanager
def transaction(db: apsw.Connection) -> Iterator[apsw.Connection]:
    """Commit what the block did, or nothing of it."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
