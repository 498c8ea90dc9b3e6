"""Whether the database and the home are where they were when the daemon began, or were moved, unmounted, exchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from shipwrightd.database.connection import identity
from shipwrightd.errors import MissingError, PathError, ReplacedError

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.database.connection import WriterLock

GONE_S = 1.0  # a database that is not in its place for longer has been removed

log = structlog.get_logger()


class GoneError(Exception):
    """Nothing is where the database was opened."""


class Places:
    """The database that is open, under its lock, and the home that is read."""

    def __init__(self, database: Path, home: Path, lock: WriterLock) -> None:
        self._path = database
        self._home = home
        self._lock = lock
        self._file = _identity(database)
        self._folder = _identity(database.parent)
        self._gone_since: float | None = None
        self._home_file = self._home_seen = _seen(home)

    def check_home(self) -> None:
        """Log once that the home went away, became another folder, or is back; its files are found wherever it is."""
        seen = _seen(self._home)
        if seen == self._home_seen:
            return
        self._home_seen = seen
        if seen is None:
            log.warning("home_missing", home=str(self._home))
        elif seen == self._home_file:
            log.info("home_is_back", home=str(self._home))
        else:
            log.warning("home_is_another_folder", home=str(self._home))

    def check_database(self, now: float) -> None:
        """Store nothing in a file that nobody will find.

        Raises ReplacedError when another file took the database's place, and MissingError
        when it is gone for good. Gone with its folder or its home, it may come back and is waited for.
        """
        try:
            found = identity(self._path)
            away = found is None and identity(self._path.parent) != self._folder and not self._lock.is_removed()
        except OSError:  # cannot be told; SQLite has it open
            return
        if found == self._file:
            self._gone_since = None
            return
        if found is not None:
            message = f"another file has taken the place of the database {self._path}"
            raise ReplacedError(message, hint="start again to go on with that one")
        self._gone_since = self._gone_since or now
        if self._home.is_dir() and not away and now - self._gone_since > GONE_S:
            message = f"the database {self._path} was removed"
            raise MissingError(message, hint="start again to make a new one of what the files still hold")
        raise GoneError("the database is not in its place" + (": its folder was moved or unmounted" if away else ""))


def _identity(path: Path) -> tuple[int, int] | None:
    """Return which file is the database. PathError when that cannot be told."""
    try:
        return identity(path)
    except OSError as error:
        message = f"cannot look at the database {path}: {error.strerror}"
        raise PathError(message, hint="check owner and mode of its folder") from error


def _seen(path: Path) -> tuple[int, int] | None:
    """Return which folder stands at a path, None for none and for one that cannot be looked at."""
    try:
        return identity(path)
    except OSError:
        return None
