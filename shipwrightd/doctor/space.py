"""Free disk where the database and Shipwright's files are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.doctor.finding import fail, ok, warn
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shipwrightd.doctor.finding import Case, Finding

NO_ROOM = 32 << 20  # bytes: the write-ahead log of a load is 24 MiB, and rows follow
LITTLE_ROOM = 256 << 20
WHOLE = 100  # percent


@dataclass(frozen=True, slots=True)
class Space:
    """What a file system has left for this user."""

    free: int  # bytes
    total: int
    inodes: int | None  # None where it does not count them
    read_only: bool
    device: int


def look(path: Path) -> Space:
    """Return the space where a path is, or would be: of the nearest folder that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    found = os.statvfs(path)
    return Space(
        free=found.f_bavail * found.f_frsize,
        total=found.f_blocks * found.f_frsize,
        inodes=found.f_favail if found.f_files else None,
        read_only=bool(found.f_flag & os.ST_RDONLY),
        device=path.stat().st_dev,
    )


def space(case: Case) -> Iterator[Finding]:
    """Look at both file systems, once where they are one."""
    ours = look(case.db)
    size = sum(_size(case.db.with_name(case.db.name + end)) for end in ("", "-wal"))
    yield judge("disk", ours, size)
    if case.home.exists() and (theirs := look(case.home)).device != ours.device:
        yield judge_home(theirs)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def judge(check: str, found: Space, size: int) -> Finding:
    """Judge the room for a database of so many bytes: migrations, prune and backup need as much again."""
    share = found.free * WHOLE // found.total if found.total else 0
    text = f"{size_of(found.free)} free ({share} %), the database has {size_of(size)}"
    facts = {"free_bytes": found.free, "total_bytes": found.total, "database_bytes": size}
    if found.read_only:
        return fail(check, "the database's file system is mounted read-only", "mount it for writing, or choose --db")
    if found.free < NO_ROOM:
        return fail(check, text, "free space: nothing can be stored; the daemon waits and goes on by itself", **facts)
    if found.inodes == 0:
        return fail(check, "no inode is left for a new file", "delete files; the daemon goes on by itself", **facts)
    if found.free < max(LITTLE_ROOM, size):
        todo = "free space: `prune`, `backup` and some updates need as much as the database has"
        return warn(check, text, todo, **facts)
    return ok(check, text, **facts)


def judge_home(found: Space) -> Finding:
    """Judge the room Shipwright has for its own files."""
    text = f"{size_of(found.free)} free where Shipwright's files are"
    facts = {"free_bytes": found.free, "total_bytes": found.total}
    if found.free < NO_ROOM:
        todo = "free space there: Shipwright cannot write its events, and what it does not write nobody reads"
        return fail("disk_home", text, todo, **facts)
    return ok("disk_home", text, **facts)
