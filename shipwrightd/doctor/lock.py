"""Who holds the writer lock."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd import __version__
from shipwrightd.database.connection import lock_is_held, lock_path, read_holder
from shipwrightd.doctor.finding import WARN, Finding, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shipwrightd.doctor.finding import Case


@dataclass(frozen=True, slots=True)
class Holder:
    """What lock and lock file say. What the file says counts only while the lock is held."""

    held: bool
    pid: int | None = None
    alive: bool = False  # a process of that number is there
    command: str = ""
    since: str = ""
    version: str = ""
    home: str = ""


def look(db: Path) -> Holder:
    """Return who holds the lock of a database, or held it last and did not give it back."""
    path = lock_path(db)
    said = read_holder(path)
    pid = said.get("pid")
    known = pid if isinstance(pid, int) and not isinstance(pid, bool) and pid > 0 else None
    texts = (str(said.get(key) or "") for key in ("command", "started_at", "version", "home"))
    return Holder(lock_is_held(path), known, known is not None and _is_there(known), *texts)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def lock(case: Case) -> Iterator[Finding]:
    """Look at the lock."""
    yield from judge(look(case.db), str(case.home))


def judge(found: Holder, home: str) -> Iterator[Finding]:
    """Judge what the lock says of a daemon for this home."""
    facts = {"held": found.held, "pid": found.pid, "command": found.command or None, "version": found.version or None}
    if not found.held:
        left = f"; pid {found.pid} ended without giving the lock back, which the next start takes" if found.pid else ""
        todo = "`shipwrightd service start`, or `shipwrightd run`"
        yield warn("lock", f"no daemon is running{left}", todo, **facts)
        return
    who = f"{found.command or 'shipwrightd'} (pid {found.pid or 'unknown'}, since {found.since or 'unknown'})"
    if found.command != "run":
        yield ok("lock", f"held by {who}; a daemon can start when it is done", **facts)
    elif found.pid is not None and not found.alive:
        text = f"held by {who}, which cannot be seen from here"
        todo = "it runs in another container or on another machine: ask it there, and run no second one here"
        yield warn("lock", text, todo, **facts)
    else:
        yield ok("lock", f"held by {who}", **facts)
    if found.home and os.path.realpath(found.home) != os.path.realpath(home):
        text = f"the daemon follows another home: {found.home}"
        todo = "name the same --home, or another --db for this one"
        yield Finding("lock_home", WARN, text, todo, private=True)
    if found.version and found.version != __version__:
        text = f"the daemon is version {found.version}, this program {__version__}"
        yield warn("lock_version", text, "restart it: `shipwrightd service restart`")
