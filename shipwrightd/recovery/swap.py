"""Move the damaged database aside and the new one into its place; each step can be interrupted and repeated.

`X.healing` is a new database being built, `X.healed` a complete one. Only a complete one takes the place of X, and
it holds the name for the damaged file. An unfinished one is built again. A damaged file is renamed together with its
log; nothing is ever deleted or overwritten.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database import DAMAGE, fsync_folder

if TYPE_CHECKING:
    from pathlib import Path

BESIDE = ("-wal", "-shm", "-journal")
SET_ASIDE = "SELECT set_aside FROM recoveries ORDER BY id DESC LIMIT 1"


def building(path: Path) -> Path:
    """Return where the new database is built."""
    return path.with_name(path.name + ".healing")


def complete(path: Path) -> Path:
    """Return where the new database waits to take its place."""
    return path.with_name(path.name + ".healed")


def beside(path: Path) -> list[Path]:
    """Return the logs of a database and its shared memory."""
    return [path.with_name(path.name + end) for end in BESIDE]


def name_aside(path: Path, at: str) -> str:
    """Return a free name for the damaged file; `at` is UTC text, e.g. 2026-01-05T08:30:00Z."""
    return _free_name(path, f"{path.name}.corrupt-{at.replace('-', '').replace(':', '')}")


def _free_name(path: Path, stem: str) -> str:
    name, nth = stem, 1
    while any(file.exists() for file in (path.with_name(name), *beside(path.with_name(name)))):
        nth += 1
        name = f"{stem}.{nth}"
    return name


def discard_unfinished(path: Path) -> None:
    """Delete a new database that was not completed."""
    unfinished = building(path)
    for file in (unfinished, *beside(unfinished)):
        file.unlink(missing_ok=True)


def note_unfinished(path: Path) -> None:
    """Record that the database is damaged, which the next start may not notice by itself. Raises OSError."""
    discard_unfinished(path)
    building(path).touch(mode=0o600)


def finish(path: Path) -> None:
    """Put a complete new database in its place, if there is one. Raises OSError.

    Every writer calls this before it opens the database, so that none creates another one in that place.
    """
    new = complete(path)
    if not new.exists():
        return
    name = _set_aside_by(new)
    if name is None:
        _give_up(path)
        return
    aside = path.with_name(name)
    if path.exists() and aside.exists():  # a new database was created at the path meanwhile
        aside = path.with_name(_free_name(path, name))
    _move(path, aside)
    fsync_folder(path.parent)
    new.rename(path)
    fsync_folder(path.parent)


def _set_aside_by(new: Path) -> str | None:
    """Return the name for the damaged database that a new one holds, None if the new one is damaged itself."""
    uri, flags = f"{new.absolute().as_uri()}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with contextlib.suppress(*DAMAGE, apsw.SQLError), contextlib.closing(apsw.Connection(uri, flags=flags)) as db:
        name: str | None = db.execute(SET_ASIDE).get
        return name
    return None


def _give_up(path: Path) -> None:
    """Move aside a new database that was damaged before it took its place, and start again with the old one."""
    olds = [file for file in path.parent.glob(f"{path.name}.corrupt-*") if not file.name.endswith(BESIDE)]
    _move(complete(path), path.with_name(_free_name(path, f"{path.name}.corrupt-new")))
    if not path.exists() and olds:
        _move(max(olds, key=lambda file: file.stat().st_mtime_ns), path)
    note_unfinished(path)
    fsync_folder(path.parent)


def _move(old: Path, new: Path) -> None:
    """Rename a database with its log; files that an interrupted call already renamed stay."""
    for file, name in ((old, new), *zip(beside(old), beside(new), strict=True)):
        if file.exists() and not name.exists():
            file.rename(name)


def declare_complete(path: Path) -> None:
    """Mark the new database as complete. Raises OSError."""
    new = building(path)
    with new.open("rb") as file:
        os.fsync(file.fileno())
    new.rename(complete(path))
    fsync_folder(path.parent)
