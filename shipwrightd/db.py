"""The database file: where it is opened, locked and put into transactions.

`transaction()` is the only place that says BEGIN, COMMIT or ROLLBACK.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import stat
import time
from typing import TYPE_CHECKING

import apsw

from shipwrightd.errors import DatabaseError, LockedError, MissingError, PathError, ShipwrightdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION_ID = 0x53575244  # "SWRD"
BUSY_TIMEOUT_MS = 5_000
LOCK_PATIENCE_S = 0.2
HEADER_BYTES = 100
STATEMENTS = 512  # kept prepared; with the usual hundred the two largest are prepared anew each time
PAGE_BYTES = 8_192  # measured: a fifth faster to fill than 4,096, with fewer index pages to log
LOAD_CACHE_KIB = 16_384  # while much is loaded; measured: four times as much is no faster
FOLLOW_CACHE_KIB = 8_192
LOAD_WAL_PAGES = 3_000  # 24 MiB: about one batch; a longer log is slower to look things up in
FOLLOW_WAL_PAGES = 1_000  # 8 MiB between automatic checkpoints


class WriterLock:
    """The lock that lets one ingesting process in; its file says who holds it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def acquire(self, holder: dict[str, object]) -> None:
        """Take the lock or raise LockedError naming the holder; PathError if it cannot be made."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            fd = os.open(self.path, flags, 0o600)
        except OSError as error:
            message = f"cannot open the lock {self.path}: {error.strerror}"
            raise PathError(message, hint="check who owns the folder and its mode") from error
        try:
            _lock_patiently(fd)
        except BlockingIOError as error:
            os.close(fd)
            who = read_holder(self.path)
            message = f"another shipwrightd is ingesting (pid {who.get('pid', 'unknown')})"
            raise LockedError(message, hint="stop it first, or use its database as it is") from error
        except OSError as error:
            os.close(fd)
            message = f"cannot lock {self.path}: {error.strerror}"
            raise PathError(message, hint="choose another place with --db FILE") from error
        self._fd = fd
        with contextlib.suppress(OSError):  # a full disk; the lock holds without a note of who has it
            os.ftruncate(fd, 0)
            os.write(fd, json.dumps(holder).encode() + b"\n")

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would let two holders in."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            os.close(fd)


def _lock_patiently(fd: int) -> None:
    """Lock, trying for a moment: `lock_is_held` of another process holds a shared lock while it looks."""
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def identity(path: Path) -> tuple[int, int] | None:
    """Return which file stands at a path, None for none. Raises OSError when that cannot be told."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def lock_path(database: Path) -> Path:
    """Return where the writer lock of `database` lives."""
    return database.with_name(database.name + ".lock")


def read_holder(path: Path) -> dict[str, object]:
    """Return what the lock's holder wrote about itself, or an empty dict."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def lock_is_held(path: Path) -> bool:
    """Tell whether some process holds the writer lock now; never takes it for longer than the look."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def prepare_folder(database: Path) -> None:
    """Make the database's folder, private to its owner. PathError if that cannot be done."""
    folder = database.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        message = f"cannot make the folder {folder}: {error.strerror}"
        raise PathError(message, hint="choose another place with --db FILE") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"cannot write in the folder {folder}"
        raise PathError(message, hint="check its owner and mode, or choose another place with --db FILE")


def open_writer(path: Path) -> apsw.Connection:
    """Open the database for writing, making it if it is not there.

    Raises DatabaseError for a file that is not ours, PathError if it cannot be opened.
    """
    prepare_folder(path)
    fresh = not path.exists() or path.stat().st_size == 0
    if not fresh:
        refuse_foreign(path)
    try:
        if fresh:  # SQLite would make it by the umask
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            path.chmod(0o600)
        db = apsw.Connection(str(path), statementcachesize=STATEMENTS)
    except (apsw.Error, OSError) as error:
        message = f"cannot open the database {path}: {error}"
        raise PathError(message, hint="check its owner and mode, or choose another with --db FILE") from error
    db.set_busy_timeout(BUSY_TIMEOUT_MS)
    if fresh:
        db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA temp_store = MEMORY")
    db.execute(f"PRAGMA cache_size = -{LOAD_CACHE_KIB}")
    db.execute(f"PRAGMA wal_autocheckpoint = {LOAD_WAL_PAGES}")
    db.execute(f"PRAGMA journal_size_limit = {FOLLOW_WAL_PAGES * PAGE_BYTES}")  # the log shrinks when it starts over
    return db


def relax(db: apsw.Connection) -> None:
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
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        message = f"cannot read the database {path}: {error.strerror}"
        raise PathError(message, hint="check its owner and mode, or choose another with --db FILE") from error
    if not header:
        return
    ours = len(header) == HEADER_BYTES and header.startswith(b"SQLite format 3\0")
    if not ours or int.from_bytes(header[68:72]) != APPLICATION_ID:
        message = f"{path} is not a shipwrightd database"
        raise DatabaseError(message, hint="it was left untouched; choose another file with --db FILE")


def open_reader(path: Path) -> apsw.Connection:
    """Open the database read-only.

    Raises MissingError when it does not exist, DatabaseError when it is foreign
    or damaged, PathError when it cannot be read, LockedError when it stays locked.
    """
    if not path.exists():
        message = f"no database at {path}"
        raise MissingError(message, hint="run `shipwrightd backfill` to make it")
    refuse_foreign(path)
    try:
        try:
            return _reader(str(path))
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            if not _lies_still(path):
                raise
            return _reader(f"{path.absolute().as_uri()}?immutable=1")
    except apsw.Error as error:
        raise explained(path, error) from error


def _reader(name: str) -> apsw.Connection:
    db = apsw.Connection(name, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
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
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        hint = (
            "move it aside, and keep it for what the files no longer hold; "
            "`shipwrightd backfill` makes a new one from the files"
        )
        return DatabaseError(f"the database {path} is damaged: {error}", hint=hint)
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
