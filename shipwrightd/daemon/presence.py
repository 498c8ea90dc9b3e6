"""Detects that the database or the home was moved, unmounted or replaced while the daemon runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from shipwrightd.database import identity
from shipwrightd.errors import MissingError, ReplacedError, path_errors

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.database.lock import WriterLock

GONE_S = 1.0  # a database that is missing for longer was removed

log = structlog.get_logger()


class GoneError(Exception):
    """There is no file at the database's path."""


class Presence:
    """Checks the path of the open database and the home against what was there at the start."""

    def __init__(self, database: Path, home: Path, lock: WriterLock) -> None:
        self._path = database
        self._home = home
        self._lock = lock
        with path_errors(f"cannot examine the database {database}", hint="check owner and mode of its folder"):
            self._file, self._folder = identity(database), identity(database.parent)
        self._gone_since: float | None = None
        self._first_home = self._last_home = folder_at(home)

    def check_home(self) -> None:
        """Log when the home disappears, is replaced by another folder, or is back."""
        folder = folder_at(self._home)
        if folder == self._last_home:
            return
        self._last_home = folder
        if folder is not None and folder == self._first_home:
            log.info("home_is_back", home=str(self._home))
        else:
            log.warning("home_missing" if folder is None else "home_is_another_folder", home=str(self._home))

    def check_database(self, now: float) -> None:
        """Raise unless the open database is still at its path, so that nothing is stored in a file that is lost.

        Raises ReplacedError if another file is there, MissingError if the database was deleted, and
        GoneError while it, its folder or its home may still come back.
        """
        try:
            found = identity(self._path)
            away = found is None and identity(self._path.parent) != self._folder and not self._lock.is_removed()
        except OSError:  # unknown; SQLite has it open
            return
        if found == self._file:
            self._gone_since = None
            return
        if found is not None:
            message = f"another file has taken the place of the database {self._path}"
            raise ReplacedError(message, hint="start again to use that file")
        self._gone_since = self._gone_since or now
        if self._home.is_dir() and not away and now - self._gone_since > GONE_S:
            message = f"the database {self._path} was removed"
            raise MissingError(message, hint="start again to create a new one from the files")
        raise GoneError("the database is not in its place" + (": its folder was moved or unmounted" if away else ""))


def folder_at(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the folder at a path, None if it is missing or cannot be read."""
    try:
        return identity(path)
    except OSError:
        return None
