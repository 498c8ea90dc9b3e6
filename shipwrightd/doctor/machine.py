"""Checks of the machine: versions, settings, permissions, disk, the writer lock and the service."""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import resource
import shlex
import shutil
import stat
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipwrightd import __version__
from shipwrightd.config import strays
from shipwrightd.database import migrate
from shipwrightd.database.lock import lock_is_held, lock_path, read_holder
from shipwrightd.database.mounts import network_type, read_mounts
from shipwrightd.doctor import FAIL, WARN, Finding, fail, ok, warn
from shipwrightd.status import size_at
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shipwrightd.config import Resolved
    from shipwrightd.doctor import Target
    from shipwrightd.service import State

# -- versions

LIBRARIES = ("apsw", "orjson", "prometheus-client", "rich", "structlog", "typer", "watchdog")
SUPPORTED = ("Linux", "Darwin")
# Resetting the log while another connection checkpoints can lose pages: https://sqlite.org/wal.html
RESET_BUG = ((3, 7, 0), (3, 51, 3))
BACKPORTED = ((3, 44, 6), (3, 50, 7))


def program() -> Iterator[Finding]:
    """Report the version, its schema, Python and the operating system."""
    schema = migrate.known()[-1].version
    yield ok("program", f"shipwrightd {__version__}, schema {schema}", version=__version__, schema=schema)
    python = platform.python_version()
    yield ok("python", f"Python {python} ({platform.python_implementation()})", version=python)
    system = platform.platform()
    if platform.system() in SUPPORTED:
        yield ok("system", system, platform=system)
    else:
        yield warn("system", system, "shipwrightd supports Linux and macOS", platform=system)


def sqlite(version: str) -> Finding:
    """Judge a version of SQLite."""
    numbers = tuple(int(part) for part in version.split(".")[:3])
    fixed = any(numbers[:2] == release[:2] and numbers >= release for release in BACKPORTED)
    if RESET_BUG[0] <= numbers < RESET_BUG[1] and not fixed:
        text = f"SQLite {version} can damage a database when the write-ahead log is reset (fixed in 3.51.3)"
        return warn("sqlite", text, f"`{sys.executable} -m pip install --upgrade apsw`", version=version)
    return ok("sqlite", f"SQLite {version}", version=version)


def libraries() -> Finding:
    """Report the versions of the libraries."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    return ok("libraries", ", ".join(f"{name} {version}" for name, version in found.items()), versions=found)


# -- settings and service


def settings(found: Resolved, variables: Mapping[str, str]) -> Iterator[Finding]:
    """Judge the settings, and the variables that look like one."""
    files = [file for file in found.files if file.exists]
    wrong = [(FAIL, text, "correct it, see `shipwrightd config show`") for text in found.problems]
    wrong += [(WARN, text, "correct its name or remove it") for text in strays(variables)]
    wrong += [(WARN, file.open_to, "its settings are ignored until then") for file in files if file.open_to]
    hook = found.settings.hook_command
    if hook and shutil.which(hook[0]) is None:
        todo = "give its full path: a service has a shorter PATH than a shell"
        wrong.append((FAIL, f"hook_command: there is no program {hook[0]}", todo))
    yield from (Finding("settings", state, text, todo, private=True) for state, text, todo in wrong)
    if not wrong:
        source = f"{len(files)} file{'s' * (len(files) > 1)}"
        yield ok("settings", f"valid, from {source}" if files else "valid, no settings file")


def service(found: State, *, held: bool) -> Finding:
    """Judge the state of the service; `held` is whether a daemon runs."""
    facts = {name: getattr(found, name) for name in ("kind", "installed", "enabled", "active", "result")}
    state, text, todo = WARN, f"{found.kind} is {found.active or 'not running'}", "`shipwrightd service start`"
    if not found.installed:
        text = f"no {found.kind} is installed" + ("; the daemon was started in another way" if held else "")
        todo = "`shipwrightd service install` starts it automatically and restarts it when it fails"
    elif found.problem:
        text, todo = f"{found.kind}: {found.problem}", "run `shipwrightd service status` in a login shell"
    elif found.active == "failed":
        state, text = FAIL, f"{found.kind} has failed" + (f" ({found.result})" if found.result else "")
        todo = "`shipwrightd service logs` shows why; then `shipwrightd service restart`"
    elif found.active in {"active", "reloading", "activating"}:
        if found.enabled is not False:
            return ok("service", text, **facts)
        text, todo = f"{text}, but does not start automatically", "run `shipwrightd service install` again"
    return Finding("service", state, text, todo, facts)


# -- permissions

FOLDER_MODE = 0o700
FILE_MODE = 0o600
SHARED_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder."""

    path: Path
    mode: int  # with the type, as stat gives it
    owner: int

    def __str__(self) -> str:
        """Return its path with the permission bits as chmod takes them."""
        return f"{self.path} (mode {stat.S_IMODE(self.mode):04o})"


def entry(path: Path, *, follow: bool = True) -> Entry | None:
    """Return the file or folder at a path, if any. Raises OSError if it cannot be examined."""
    try:
        found = path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Entry(path, found.st_mode, found.st_uid)


def home(target: Target) -> Finding:
    """Check Shipwright's folder. Raises OSError if it cannot be examined."""
    found = entry(target.home)
    if found is None:
        return fail("home", f"there is no folder {target.home}", "run Shipwright once, or set its folder with --home")
    return judge_home(found, target.user, readable=os.access(target.home, os.R_OK | os.X_OK))


def judge_home(found: Entry, user: int, *, readable: bool) -> Finding:
    """Judge the permissions of Shipwright's folder, which is only read."""
    quoted = shlex.quote(str(found.path))
    if not stat.S_ISDIR(found.mode):
        return fail("home", f"{found.path} is not a folder", "set Shipwright's folder with --home")
    if not readable:
        text = f"{found} belongs to uid {found.owner} and cannot be read"
        return fail("home", text, f"`chmod u+rx {quoted}`, or run as its owner")
    if found.owner not in {user, 0}:
        return warn("home", f"{found.path} belongs to uid {found.owner}, not {user}", "run as its owner")
    if found.mode & SHARED_WRITE:
        return warn("home", f"other users can write to {found}, and so add records", f"`chmod go-w {quoted}`")
    return ok("home", str(found), mode=f"{stat.S_IMODE(found.mode):04o}")


def folder(target: Target) -> Finding:
    """Check the database's folder. Raises OSError if it cannot be examined."""
    path = target.db.parent
    found = entry(path)
    if found is None:
        return ok("folder", f"{path} does not exist yet")
    writable = os.access(path, os.W_OK | os.X_OK)
    return judge_folder(found, target.user, writable=writable, shared=path == target.home)


def judge_folder(found: Entry, user: int, *, writable: bool, shared: bool) -> Finding:
    """Judge the permissions of the database's folder; Shipwright's own folder may be readable for others."""
    quoted = shlex.quote(str(found.path))
    private = f"`chmod {FOLDER_MODE:04o} {quoted}`"
    if not stat.S_ISDIR(found.mode):
        return fail("folder", f"{found.path} is not a folder", "choose another path with --db")
    if not writable:
        text = f"{found} belongs to uid {found.owner} and cannot be written to"
        return fail("folder", text, f"`chmod u+rwx {quoted}`, or run as its owner")
    if found.owner != user:
        text = f"{found.path} belongs to uid {found.owner}, not {user}"
        return fail("folder", text, f"`chown -R {user} {quoted}`, or run as its owner")
    if found.mode & SHARED_WRITE:
        return fail("folder", f"other users can write to {found} and replace the database", private)
    if stat.S_IMODE(found.mode) & 0o077 and not shared:
        return warn("folder", f"other users can read {found}", private)
    return ok("folder", str(found), mode=f"{stat.S_IMODE(found.mode):04o}")


def files(target: Target) -> Iterator[Finding]:
    """Check the database, its log, its shared memory and its lock file. Raises OSError if one cannot be examined."""
    db = target.db
    paths = (db, *(db.with_name(db.name + end) for end in ("-wal", "-shm", "-journal")), lock_path(db))
    found = [file for path in paths if (file := entry(path, follow=path == db))]
    usable = os.R_OK | os.W_OK
    wrong = [one for file in found for one in judge_file(file, target.user, usable=os.access(file.path, usable))]
    yield from wrong
    if not wrong:
        yield ok("files", f"{len(found)} files, private" if found else "none yet", count=len(found))


def judge_file(found: Entry, user: int, *, usable: bool) -> Iterator[Finding]:
    """Judge the type and permissions of one file of the database; yield nothing if they are right."""
    quoted = shlex.quote(str(found.path))
    private = f"`chmod {FILE_MODE:04o} {quoted}`"
    if not stat.S_ISREG(found.mode):
        kind = "a symbolic link" if stat.S_ISLNK(found.mode) else "not a regular file"
        yield fail("files", f"{found.path} is {kind}", "move it away: shipwrightd creates a new one")
    elif not usable:
        text = f"{found} belongs to uid {found.owner} and cannot be read and written"
        yield fail("files", text, f"{private}, or run as its owner")
    elif found.owner != user:
        yield fail("files", f"{found.path} belongs to uid {found.owner}, not {user}", f"`chown {user} {quoted}`")
    elif stat.S_IMODE(found.mode) & 0o077:
        yield warn("files", f"other users can access {found}", private)


# -- disk

NO_SPACE = 32 << 20  # bytes: the write-ahead log of a load is 24 MiB, and rows follow
LOW_SPACE = 256 << 20
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Space:
    """Free space of a file system, for this user."""

    free: int  # bytes
    total: int
    inodes: int | None  # None where they are not counted
    read_only: bool
    device: int


def space_at(path: Path) -> Space:
    """Return the space at a path, or at the nearest folder above it that exists."""
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


def disk(target: Target) -> Iterator[Finding]:
    """Check the file system of the database, and that of the home if it is another one."""
    space = space_at(target.db)
    size = sum(size_at(target.db.with_name(target.db.name + end)) for end in ("", "-wal"))
    yield judge_space(space, size)
    if target.home.exists() and (other := space_at(target.home)).device != space.device:
        yield judge_home_space(other)


def judge_space(found: Space, size: int) -> Finding:
    """Judge the space for a database of this size: migrations, prune and backup need as much again."""
    share = found.free * PERCENT // found.total if found.total else 0
    text = f"{size_of(found.free)} free ({share} %), the database takes {size_of(size)}"
    facts = {"free_bytes": found.free, "total_bytes": found.total, "database_bytes": size}
    if found.read_only:
        return fail("disk", "the database's file system is read-only", "mount it for writing, or choose another --db")
    if found.free < NO_SPACE:
        todo = "free space: nothing can be stored until then; the daemon waits and continues automatically"
        return fail("disk", text, todo, **facts)
    if found.inodes == 0:
        return fail("disk", "there are no free inodes", "delete files; the daemon continues automatically", **facts)
    if found.free < max(LOW_SPACE, size):
        todo = "free space: `prune`, `backup` and some updates need as much as the database takes"
        return warn("disk", text, todo, **facts)
    return ok("disk", text, **facts)


def judge_home_space(found: Space) -> Finding:
    """Judge the space for Shipwright's own files."""
    text = f"{size_of(found.free)} free in the file system of Shipwright's files"
    facts = {"free_bytes": found.free, "total_bytes": found.total}
    if found.free < NO_SPACE:
        todo = "free space there: Shipwright cannot write its events, and they will be missing"
        return fail("disk_home", text, todo, **facts)
    return ok("disk_home", text, **facts)


# -- limits

WATCH_LIMIT = Path("/proc/sys/fs/inotify/max_user_watches")
OPEN_FILES = 64  # a dozen, two for each journal's older files, and room


def watching(target: Target) -> Finding:
    """Check whether file-system events reach this machine, and whether enough inotify watches are left."""
    kind = network_type(read_mounts(), str(target.home.resolve()))
    if kind:
        text = f"{target.home} is on a network file system ({kind}): writes on other machines cause no events here"
        todo = "nothing to do: files are polled every half second; a daemon on the other machine is faster"
        return warn("watching", text, todo)
    if not WATCH_LIMIT.is_file():
        return ok("watching", "the file system of the home has events")
    memory = target.home / "memory"
    folders = sum(path.is_dir() for path in (target.home, target.home / "heartbeats", memory, *memory.glob("*")))
    return judge_watches(int(WATCH_LIMIT.read_text()), watches_used(target.user), folders)


def watches_used(user: int) -> int:
    """Return how many inotify watches the processes of a user have, as far as they can be read."""
    used = 0
    for name in glob.iglob("/proc/[0-9]*/fdinfo/*"):  # noqa: PTH207 - passes over processes that end meanwhile
        with contextlib.suppress(OSError), open(name, "rb") as file:  # noqa: PTH123 - likewise a plain name
            if os.fstat(file.fileno()).st_uid == user:
                used += sum(line.startswith(b"inotify ") for line in file)
    return used


def judge_watches(limit: int, used: int, folders: int) -> Finding:
    """Judge whether so many folders more can be watched."""
    facts = {"watches": limit, "watches_used": used, "folders": folders}
    text = f"{folders} folders to watch; {used:,} of {limit:,} inotify watches are in use"
    if used + folders > limit:
        todo = f"`sudo sysctl fs.inotify.max_user_watches={2 * limit}`; until then files are polled every half second"
        return warn("watching", text, todo, **facts)
    return ok("watching", text, **facts)


def open_files(limit: int) -> Finding:
    """Judge the limit on open files of this user's processes."""
    text = "no limit" if limit == resource.RLIM_INFINITY else f"a process may open {limit:,} files"
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES:
        text += f", the daemon needs up to {OPEN_FILES}"
        return warn("open_files", text, f"`ulimit -n {4 * OPEN_FILES}`", limit=limit)
    return ok("open_files", text, limit=limit)


# -- the writer lock


def holder_of(db: Path) -> dict[str, Any]:
    """Return what the lock file of a database says of its holder, with whether the lock is `held`, and `alive`."""
    path = lock_path(db)
    stored = read_holder(path)
    pid = stored.get("pid")
    pid = pid if isinstance(pid, int) and not isinstance(pid, bool) and pid > 0 else None
    texts = {key: str(stored.get(key) or "") for key in ("command", "started_at", "version", "home")}
    return {"held": lock_is_held(path), "pid": pid, "alive": pid is not None and _is_alive(pid), **texts}


def _is_alive(pid: int) -> bool:
    """Tell whether a process with this id exists, of any user."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def lock(found: Mapping[str, Any], home: str) -> Iterator[Finding]:
    """Judge the holder of the lock, valid only while it is held, against the home that is examined."""
    pid, command, version = found["pid"], found["command"], found["version"]
    facts = {"held": found["held"], "pid": pid, "command": command or None, "version": version or None}
    if not found["held"]:
        left = f"; pid {pid} ended without releasing the lock, which the next start takes over"
        text = "no daemon is running" + (left if pid else "")
        yield warn("lock", text, "`shipwrightd service start`, or `shipwrightd run`", **facts)
        return
    who = f"{command or 'shipwrightd'} (pid {pid or 'unknown'}, since {found['started_at'] or 'unknown'})"
    if command != "run":
        yield ok("lock", f"held by {who}; a daemon can start when it is done", **facts)
    elif pid is not None and not found["alive"]:
        todo = "it runs in another container or on another machine: check it there, and start no second one here"
        yield warn("lock", f"held by {who}, which is not visible here", todo, **facts)
    else:
        yield ok("lock", f"held by {who}", **facts)
    if found["home"] and os.path.realpath(found["home"]) != os.path.realpath(home):
        text = f"the daemon follows another home: {found['home']}"
        yield Finding("lock_home", WARN, text, "use the same --home, or another --db for this one", private=True)
    if version and version != __version__:
        text = f"the daemon is version {version}, this program {__version__}"
        yield warn("lock_version", text, "restart it: `shipwrightd service restart`")
