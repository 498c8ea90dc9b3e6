"""The writer lock, which lets one process write to a database; the lock file names that process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING

from shipwrightd.database import ownership
from shipwrightd.errors import LockedError, PathError, path_errors

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_S = 0.2
HOLDER_BYTES = 4_096  # ten times what a holder writes about itself
READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # opening a pipe would block

# Locks of the databases that this process writes to. Only SQLite may open those files: when a process closes any
# descriptor of a file, POSIX drops all locks it has on that file, and SQLite would write on without them.
HELD: set[Path] = set()


class WriterLock:
    """An exclusive lock on the file beside the database."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._holder: dict[str, object] = {}

    def acquire(self, holder: dict[str, object]) -> None:
        """Take the lock. Raises LockedError naming the holder, PathError if the file cannot be created."""
        ownership.check_file(self.path)
        with path_errors(f"cannot open the lock {self.path}", hint="check who owns the folder and its mode"):
            fd = ownership.open_private(self.path)
        try:
            _lock_patiently(fd)
        except BlockingIOError as error:
            os.close(fd)
            who = read_holder(self.path)
            message = f"another shipwrightd is ingesting (pid {who.get('pid', 'unknown')})"
            raise LockedError(message, hint="stop it first, or only read its database") from error
        except OSError as error:
            os.close(fd)
            message = f"cannot lock {self.path}: {error.strerror}"
            raise PathError(message, hint="choose another place with --db FILE") from error
        self._fd = fd
        HELD.add(self.path)
        self._holder = holder
        self.note({})

    def note(self, more: dict[str, object]) -> None:
        """Write the holder and `more` to the lock file, replacing what it held."""
        text = json.dumps(self._holder | more).encode() + b"\n"
        with contextlib.suppress(OSError):  # a full disk; the lock holds without the text
            os.pwrite(self._fd, text, 0)
            os.ftruncate(self._fd, len(text))

    def is_removed(self) -> bool:
        """Return whether the lock file was deleted; a moved file still has a name. Raises OSError."""
        return not os.fstat(self._fd).st_nlink

    def release(self) -> None:
        """Release the lock. The file stays: removing it would let two processes hold the lock."""
        if self._fd >= 0:
            HELD.discard(self.path)
            fd, self._fd = self._fd, -1
            with contextlib.suppress(OSError):
                os.ftruncate(fd, 0)
            os.close(fd)


def _lock_patiently(fd: int) -> None:
    """Lock, retrying for a moment: `lock_is_held` of another process takes a shared lock for an instant."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def lock_path(database: Path) -> Path:
    """Return the path of the writer lock of `database`."""
    return database.with_name(database.name + ".lock")


def read_holder(path: Path) -> dict[str, object]:
    """Return what the holder wrote about itself, an empty dict if that cannot be read."""
    try:
        fd = os.open(path, READ_FLAGS)
    except OSError:
        return {}
    try:
        value = json.loads(os.read(fd, HOLDER_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(fd)
    return value if isinstance(value, dict) else {}


def lock_is_held(path: Path) -> bool:
    """Return whether a process holds the writer lock; takes a shared lock for an instant only."""
    try:
        fd = os.open(path, READ_FLAGS)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False
