"""New files for exports and backups: complete, or absent. Never among the files of Shipwright or the database."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.database import fsync_folder, ownership
from shipwrightd.database.lock import lock_path
from shipwrightd.errors import PathError

if TYPE_CHECKING:
    from collections.abc import Iterator

NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
UNFINISHED = re.compile(r"\.shipwrightd-[0-9a-f]{16}")
YOUNG_S = 60  # a younger file may not be locked yet
OURS = "shipwrightd"  # this program's folder in Shipwright's home


@contextlib.contextmanager
def new_file(target: Path, *, force: bool) -> Iterator[Path]:
    """Yield an empty file with mode 0600 to write to; at the end of the block it is moved to `target`, synced.

    If the block fails, the file is deleted; what a killed process left is deleted by the next call in that folder.
    Without `force` an existing file is never replaced. Raises PathError if the file cannot be created or moved.
    """
    _clear_away(target.parent)
    # Named before anything else, as an interrupt may come at any time.
    temporary, lock = target.with_name(f".shipwrightd-{secrets.token_hex(8)}"), -1
    try:
        lock = os.open(temporary, NEW, 0o600)
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield temporary
        os.fsync(lock)
        _place(temporary, target, force=force)
        fsync_folder(target.parent)
    except OSError as error:
        raise PathError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
        if lock >= 0:
            os.close(lock)


def _clear_away(folder: Path) -> None:
    """Delete our unfinished files that no process is writing."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name) and _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid() or status.st_mtime > time.time() - YOUNG_S:
            return False
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _place(temporary: Path, target: Path, *, force: bool) -> None:
    """Rename the file atomically. Without `force`, raise PathError instead of replacing another file."""
    if force:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise _exists(target) from error
    except OSError as error:  # a file system without links
        if os.path.lexists(target):
            raise _exists(target) from error
        temporary.rename(target)


def _exists(target: Path) -> PathError:
    return PathError(f"{target} exists", hint="--force replaces it")


def destination(name: str, *, force: bool, home: Path, database: Path) -> Path:
    """Return the path of a new file of this name, links resolved. Raises PathError if it must not be written there."""
    ownership.check_symlinks(Path(name))
    target = Path(os.path.realpath(name))
    try:
        _refuse(target, home, database)
        mode = target.stat().st_mode
    except FileNotFoundError:
        if name.endswith("/"):
            raise PathError(f"{target} is not a folder", hint="name a file") from None
        return target
    except OSError as error:
        raise PathError(f"cannot write {target}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        raise PathError(f"{target} is a folder", hint="name a file in it")
    if not stat.S_ISREG(mode):
        raise PathError(f"{target} is not a regular file", hint="write to stdout and redirect that")
    if not force:
        raise _exists(target)
    return target


def _refuse(target: Path, home: Path, database: Path) -> None:
    beside = [database.with_name(database.name + end) for end in ("", "-wal", "-shm", "-journal")]
    for file in (*beside, lock_path(database)):
        same = Path(os.path.realpath(file)) == target
        if same or (target.exists() and file.exists() and target.samefile(file)):
            raise PathError(f"{target} belongs to the database in use", hint="choose another file")
    folder = Path(os.path.realpath(home))
    if target.is_relative_to(folder) and not target.is_relative_to(folder / OURS):
        raise PathError(f"{target} is among Shipwright's files", hint="choose a place outside of its folder")
