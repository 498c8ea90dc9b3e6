"""Home, database folder and the files in it: there, whose, and who else gets at them."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.database.connection import lock_path
from shipwrightd.doctor.finding import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shipwrightd.doctor.finding import Case, Finding

FOLDER_MODE = 0o700
FILE_MODE = 0o600
SHARED_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path."""

    path: Path
    mode: int  # with the type, as stat gives it
    owner: int

    @property
    def bits(self) -> str:
        """Return the permission bits as chmod takes them."""
        return f"{stat.S_IMODE(self.mode):04o}"


def entry(path: Path, *, follow: bool = True) -> Entry | None:
    """Return what stands at a path, None for nothing. Raises OSError when that cannot be told."""
    try:
        found = path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Entry(path, found.st_mode, found.st_uid)


def home(case: Case) -> Iterator[Finding]:
    """Look at Shipwright's folder."""
    try:
        found = entry(case.home)
    except OSError as error:
        yield fail(
            "home", f"{case.home} cannot be looked at: {error.strerror}", "check the modes of the folders above it"
        )
        return
    if found is None:
        todo = "run Shipwright once, or name its folder with --home"
        yield fail("home", f"there is no folder {case.home}", todo)
        return
    if not stat.S_ISDIR(found.mode):
        yield fail("home", f"{case.home} is no folder", "name Shipwright's folder with --home")
        return
    yield from judge_home(found, case.user, readable=os.access(case.home, os.R_OK | os.X_OK))


def judge_home(found: Entry, user: int, *, readable: bool) -> Iterator[Finding]:
    """Judge the modes of Shipwright's folder: we only read there."""
    quoted = shlex.quote(str(found.path))
    if not readable:
        text = f"{found.path} cannot be read (mode {found.bits}, uid {found.owner})"
        yield fail("home", text, f"`chmod u+rx {quoted}`, or run as the user it belongs to")
    elif found.owner not in {user, 0}:
        yield warn("home", f"{found.path} belongs to uid {found.owner}, not {user}", "run as the user it belongs to")
    elif found.mode & SHARED_WRITE:
        text = f"others may write to {found.path} (mode {found.bits}) and put records there"
        yield warn("home", text, f"`chmod go-w {quoted}`")
    else:
        yield ok("home", f"{found.path} (mode {found.bits})", mode=found.bits)


def folder(case: Case) -> Iterator[Finding]:
    """Look at the database's folder."""
    path = case.db.parent
    try:
        found = entry(path)
    except OSError as error:
        yield fail("folder", f"{path} cannot be looked at: {error.strerror}", "check the modes of the folders above it")
        return
    if found is None:
        yield ok("folder", f"{path} is not made yet")
        return
    writable = os.access(path, os.W_OK | os.X_OK)
    yield from judge_folder(found, case.user, writable=writable, shared=path == case.home)


def judge_folder(found: Entry, user: int, *, writable: bool, shared: bool) -> Iterator[Finding]:
    """Judge the modes of the database's folder; one that is shared with Shipwright has that one's mode."""
    quoted = shlex.quote(str(found.path))
    if not stat.S_ISDIR(found.mode):
        yield fail("folder", f"{found.path} is no folder", "choose another place with --db")
    elif not writable:
        text = f"{found.path} cannot be written to (mode {found.bits}, uid {found.owner})"
        yield fail("folder", text, f"`chmod u+rwx {quoted}`, or run as the user it belongs to")
    elif found.owner != user:
        text = f"{found.path} belongs to uid {found.owner}, not {user}"
        yield fail("folder", text, f"`chown -R {user} {quoted}`, or run as the user it belongs to")
    elif found.mode & SHARED_WRITE:
        text = f"others may write to {found.path} (mode {found.bits}) and replace the database"
        yield fail("folder", text, f"`chmod {FOLDER_MODE:04o} {quoted}`")
    elif stat.S_IMODE(found.mode) & 0o077 and not shared:
        yield warn(
            "folder", f"others may look into {found.path} (mode {found.bits})", f"`chmod {FOLDER_MODE:04o} {quoted}`"
        )
    else:
        yield ok("folder", f"{found.path} (mode {found.bits})", mode=found.bits)


def files(case: Case) -> Iterator[Finding]:
    """Look at the database, its log, its shared memory and its lock."""
    db = case.db
    beside = [db.with_name(db.name + end) for end in ("-wal", "-shm", "-journal")]
    wrong, seen = [], 0
    for path in (db, *beside, lock_path(db)):
        try:
            found = entry(path, follow=path == db)
        except OSError as error:
            wrong.append(fail("files", f"{path} cannot be looked at: {error.strerror}", "check the mode of its folder"))
            continue
        if found is not None:
            seen += 1
            wrong += judge_file(found, case.user, usable=os.access(path, os.R_OK | os.W_OK))
    yield from wrong
    if not wrong:
        yield ok("files", f"{seen} beside each other, private" if seen else "none yet", count=seen)


def judge_file(found: Entry, user: int, *, usable: bool) -> Iterator[Finding]:
    """Judge one file of ours."""
    quoted = shlex.quote(str(found.path))
    if not stat.S_ISREG(found.mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.mode) else "no regular file"
        yield fail("files", f"{found.path} is {kind}", "move it away: shipwrightd makes a new one")
    elif not usable:
        text = f"{found.path} cannot be read and written (mode {found.bits}, uid {found.owner})"
        yield fail("files", text, f"`chmod {FILE_MODE:04o} {quoted}`, or run as the user it belongs to")
    elif found.owner != user:
        text = f"{found.path} belongs to uid {found.owner}, not {user}"
        yield fail("files", text, f"`chown {user} {quoted}`")
    elif stat.S_IMODE(found.mode) & 0o077:
        yield warn("files", f"others get at {found.path} (mode {found.bits})", f"`chmod {FILE_MODE:04o} {quoted}`")
