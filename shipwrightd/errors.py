"""Every error a user can cause, each with its own exit code.

| code | meaning |
|---|---|
| 0 | done |
| 1 | a check found something: `status --check`, `verify` |
| 2 | the command line is wrong |
| 65 | the database is foreign, newer, damaged, or a migration was altered |
| 66 | the Shipwright home, a source or the database is missing |
| 69 | the service manager is missing, cannot be reached or refuses |
| 73 | a file or folder cannot be made, read or written |
| 75 | another shipwrightd is ingesting, the database stays locked, or was exchanged under the daemon: try again |
| 78 | a setting is invalid |
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FOUND = 1  # exit code of a check that found something
USAGE = 2  # exit code for a wrong command line


class ShipwrightdError(Exception):
    """Something the user can mend: what is wrong, and what to do about it."""

    exit_code = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """One line: what is wrong and, after a dash, what to do."""
        return f"{self.message} - {self.hint}" if self.hint else self.message


class DatabaseError(ShipwrightdError):
    """The database is foreign, newer than this program, damaged, or its history was altered."""

    exit_code = 65


class DamagedError(DatabaseError):
    """The database is ours and damaged: `run` and `backfill` build it anew."""


class MissingError(ShipwrightdError):
    """The Shipwright home, or a database that a command needs, does not exist."""

    exit_code = 66


class UnavailableError(ShipwrightdError):
    """The service manager is missing, cannot be reached, or refuses what was asked of it."""

    exit_code = 69


class PathError(ShipwrightdError):
    """A file or folder cannot be created, read or written."""

    exit_code = 73


@contextmanager
def path_errors(what: str, *, hint: str) -> Iterator[None]:
    """Raise an OSError of the block as PathError: `what` failed, the system's reason, and a hint."""
    try:
        yield
    except OSError as error:
        raise PathError(f"{what}: {error.strerror}", hint=hint) from error


class LockedError(ShipwrightdError):
    """Another process holds what this one needs; trying again later is right."""

    exit_code = 75


class ReplacedError(ShipwrightdError):
    """Another file stands where the database was opened; starting again goes on with that one."""

    exit_code = 75


class ConfigError(ShipwrightdError):
    """One or more settings are invalid."""

    exit_code = 78
