"""Which file is the database: the damaged one out of its place, the new one into it, whatever interrupts.

`X.healing` is a new database being built, `X.healed` one that is complete. Only
a complete one takes the place, and it names the file to set aside. So each
step can be done again: what was begun is built anew, what was complete is put
in place. A damaged file is renamed together with its log, never deleted, and
nothing is ever written over.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import apsw

from shipwrightd.db import fsync_folder

if TYPE_CHECKING:
    from pathlib import Path

BESIDE = ("-wal", "-shm")
SET_ASIDE = "SELECT set_aside FROM recoveries ORDER BY id DESC LIMIT 1"


def building(path: Path) -> Path:
    """Return where the new database is built."""
    return path.with_name(path.name + ".healing")


def complete(path: Path) -> Path:
    """Return where the new database waits to take its place."""
    return path.with_name(path.name + ".healed")


def beside(path: Path) -> list[Path]:
    """Return the log of a database and its index."""
    return [path.with_name(path.name + end) for end in BESIDE]


def name_aside(path: Path, at: str) -> str:
    """Return a free name for the damaged file; `at` is UTC text, e.g. 2026-01-05T08:30:00Z."""
    stem = f"{path.name}.corrupt-{at.replace('-', '').replace(':', '')}"
    name, nth = stem, 1
    while any(file.exists() for file in (path.with_name(name), *beside(path.with_name(name)))):
        nth += 1
        name = f"{stem}.{nth}"
    return name


def discard_unfinished(path: Path) -> bool:
    """Remove a new database that was not completed; tell whether there was one."""
    unfinished = building(path)
    found = unfinished.exists()
    for file in (unfinished, *beside(unfinished), unfinished.with_name(unfinished.name + "-journal")):
        file.unlink(missing_ok=True)
    return found


def note_unfinished(path: Path) -> None:
    """Leave word that the database is damaged, though it may not show at the next start. Raises OSError."""
    discard_unfinished(path)
    building(path).touch(mode=0o600)


def finish(path: Path) -> bool:
    """Put a complete new database in its place; tell whether there was one. Raises OSError."""
    new = complete(path)
    if not new.exists():
        return False
    with contextlib.closing(apsw.Connection(f"{new.absolute().as_uri()}?immutable=1", flags=READ)) as db:
        aside = path.with_name(db.execute(SET_ASIDE).get)
    moves = [(path, aside), *zip(beside(path), beside(aside), strict=True)]
    for old, name in moves:
        if old.exists() and not name.exists():
            old.rename(name)
    fsync_folder(path.parent)
    new.rename(path)
    fsync_folder(path.parent)
    return True


def declare_complete(path: Path) -> None:
    """Say that the new database is all there. Raises OSError."""
    new = building(path)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.rename(complete(path))
    fsync_folder(path.parent)


READ = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
