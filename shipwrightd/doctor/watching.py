"""What file-system events need: watches, instances, open files, and a local file system."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.database.mounts import network_type, read_mounts
from shipwrightd.doctor.finding import ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipwrightd.doctor.finding import Case, Finding

PROC = Path("/proc")
INOTIFY = PROC / "sys" / "fs" / "inotify"
INSTANCE = Path("anon_inode:inotify")  # where the descriptor of one leads
INFO_BYTES = 16 << 20  # of one process's list of watches
OPEN_FILES = 64  # what a running daemon holds, with room: a dozen, and two for each journal's older files


@dataclass(frozen=True, slots=True)
class Use:
    """What one user's processes take of a limit."""

    watches: int
    instances: int


def watching(case: Case) -> Iterator[Finding]:
    """Look at the limits of watching."""
    kind = network_type(read_mounts(), str(case.home.resolve()))
    if kind:
        text = f"{case.home} is on a network file system ({kind}): writers on other machines cause no events here"
        yield warn("watching", text, "nothing: it looks every half second instead; a daemon over there is faster")
        return
    if not sys.platform.startswith("linux"):
        yield ok("watching", "events of this system have no limits to look at")
        return
    yield judge(_limit("max_user_watches"), _limit("max_user_instances"), use_of(case.user), folders(case.home))


def folders(home: Path) -> int:
    """Return how many folders are watched."""
    memory = home / "memory"
    named = sum(path.is_dir() for path in (home, home / "heartbeats", memory))
    with contextlib.suppress(OSError), os.scandir(memory) as entries:
        named += sum(entry.is_dir() for entry in entries)
    return named


def _limit(name: str) -> int | None:
    try:
        return int((INOTIFY / name).read_text())
    except (OSError, ValueError):
        return None


def use_of(user: int, proc: Path = PROC) -> Use:
    """Return the watches and instances of a user's processes, as far as they can be seen."""
    watches = instances = 0
    for process in _processes(user, proc):
        with contextlib.suppress(OSError), os.scandir(process / "fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if Path(entry.path).readlink() == INSTANCE:
                        instances += 1
                        with (process / "fdinfo" / entry.name).open("rb") as file:
                            watches += file.read(INFO_BYTES).count(b"inotify wd:")
    return Use(watches, instances)


def _processes(user: int, proc: Path) -> Iterator[Path]:
    with contextlib.suppress(OSError), os.scandir(proc) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and entry.stat().st_uid == user:
                    yield Path(entry.path)


def judge(watches: int | None, instances: int | None, used: Use, needed: int) -> Finding:
    """Judge whether so many folders more can be watched."""
    facts = {"watches": watches, "watches_used": used.watches, "instances": instances,
             "instances_used": used.instances, "folders": needed}  # fmt: skip
    text = f"{needed} folders to watch; {used.watches:,} of {watches or 0:,} watches and {used.instances} of "
    text += f"{instances or 0} instances are in use"
    if watches is not None and used.watches + needed > watches:
        todo = f"`sudo sysctl fs.inotify.max_user_watches={2 * watches}`; until then it looks every half second"
        return warn("watching", text, todo, **facts)
    if instances is not None and used.instances >= instances:
        todo = f"`sudo sysctl fs.inotify.max_user_instances={2 * instances}`; until then it looks every half second"
        return warn("watching", text, todo, **facts)
    return ok("watching", text, **facts)


def open_files(_case: Case) -> Iterator[Finding]:
    """Look at how many files a process of this user may open."""
    yield judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def judge_open_files(limit: int) -> Finding:
    """Judge a limit of open files, which may be none."""
    if limit == resource.RLIM_INFINITY:
        return ok("open_files", "no limit")
    if limit < OPEN_FILES:
        return warn("open_files", f"a process may open {limit} files", f"`ulimit -n {4 * OPEN_FILES}`", limit=limit)
    return ok("open_files", f"a process may open {limit:,}", limit=limit)
