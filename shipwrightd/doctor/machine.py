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
from typing import TYPE_CHECKING

import apsw

from shipwrightd import __version__
from shipwrightd.config import strays
from shipwrightd.database import migrate
from shipwrightd.database.lock import lock_path, read_holder
from shipwrightd.database.mounts import network_type, read_mounts
from shipwrightd.doctor import FAIL, OK, WARN, Finding, fail, ok, warn
from shipwrightd.status import size_at
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipwrightd.doctor import Target

# -- versions

LIBRARIES = ("apsw", "orjson", "prometheus-client", "rich", "structlog", "typer", "watchdog")
SUPPORTED = ("Linux", "Darwin")
# Resetting the log while another connection checkpoints can lose pages: https://sqlite.org/wal.html
RESET_BUG = ((3, 7, 0), (3, 51, 3))
BACKPORTED = ((3, 44, 6), (3, 50, 7))


def program(_: Target) -> Iterator[Finding]:
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


def sqlite(_: Target) -> Finding:
    """Judge the version of SQLite."""
    version = apsw.sqlite_lib_version()
    numbers = tuple(int(part) for part in version.split(".")[:3])
    fixed = any(numbers[:2] == release[:2] and numbers >= release for release in BACKPORTED)
    if RESET_BUG[0] <= numbers < RESET_BUG[1] and not fixed:
        text = f"SQLite {version} can damage a database when the write-ahead log is reset (fixed in 3.51.3)"
        return warn("sqlite", text, f"`{sys.executable} -m pip install --upgrade apsw`", version=version)
    return ok("sqlite", f"SQLite {version}", version=version)


def libraries(_: Target) -> Finding:
    """Report the versions of the libraries."""
    found = {name: metadata.version(name) for name in LIBRARIES}
    return ok("libraries", ", ".join(f"{name} {version}" for name, version in found.items()), versions=found)


# -- settings and service


def settings(target: Target) -> Iterator[Finding]:
    """Judge the settings, and the variables that look like one."""
    found = target.settings
    files = [file for file in found.files if file.exists]
    wrong = [(FAIL, text, "correct it, see `shipwrightd config show`") for text in found.problems]
    wrong += [(WARN, text, "correct its name or remove it") for text in strays(target.variables)]
    wrong += [(WARN, file.open_to, "its settings are ignored until then") for file in files if file.open_to]
    hook = found.settings.hook_command
    if hook and shutil.which(hook[0]) is None:
        todo = "give its full path: a service has a shorter PATH than a shell"
        wrong.append((FAIL, f"hook_command: there is no program {hook[0]}", todo))
    yield from (Finding("settings", state, text, todo, private=True) for state, text, todo in wrong)
    if not wrong:
        source = f"{len(files)} file{'s' * (len(files) > 1)}"
        yield ok("settings", f"valid, from {source}" if files else "valid, no settings file")


def service(target: Target) -> Iterator[Finding]:
    """Judge the state of the service."""
    if (found := target.service) is None:
        return
    facts = {name: getattr(found, name) for name in ("kind", "installed", "enabled", "active", "result")}
    state, text, todo = WARN, f"{found.kind} is {found.active or 'not running'}", "`shipwrightd service start`"
    if not found.installed:
        text = f"no {found.kind} is installed" + ("; the daemon was started in another way" if target.held else "")
        todo = "`shipwrightd service install` starts it automatically and restarts it when it fails"
    elif found.problem:
        text, todo = f"{found.kind}: {found.problem}", "run `shipwrightd service status` in a login shell"
    elif found.active == "failed":
        state, text = FAIL, f"{found.kind} has failed" + (f" ({found.result})" if found.result else "")
        todo = "`shipwrightd service logs` shows why; then `shipwrightd service restart`"
    elif found.active in {"active", "reloading", "activating"}:
        if found.enabled is not False:
            yield ok("service", text, **facts)
            return
        text, todo = f"{text}, but does not start automatically", "run `shipwrightd service install` again"
    yield Finding("service", state, text, todo, facts)


# -- permissions

SHARED_WRITE = stat.S_IWGRP | stat.S_IWOTH
OTHERS = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder; its text is the path with the permission bits as chmod takes them."""

    path: Path
    mode: int  # with the type, as stat gives it
    owner: int

    def __str__(self) -> str:
        return f"{self.path} (mode {stat.S_IMODE(self.mode):04o})"

    def judged(self, check: str, *rules: tuple[object, str, str, str]) -> Finding:
        """Return the first rule that is broken: whether it is, state, text, todo."""
        for broken, state, text, todo in rules:
            if broken:
                return Finding(check, state, text, todo)
        return ok(check, str(self), mode=f"{stat.S_IMODE(self.mode):04o}")


def entry(path: Path, *, follow: bool = True) -> Entry | None:
    """Return the file or folder at a path, if any. Raises OSError if it cannot be examined."""
    try:
        found = path.stat(follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Entry(path, found.st_mode, found.st_uid)


def home(target: Target) -> Finding:
    """Check Shipwright's folder, which is only read. Raises OSError if it cannot be examined."""
    path, user, quoted = target.home, target.user, shlex.quote(str(target.home))
    if (found := entry(path)) is None:
        return fail("home", f"there is no folder {path}", "run Shipwright once, or set its folder with --home")
    belongs, writable = f"belongs to uid {found.owner}", f"other users can write to {found}, and so add records"
    can_read = os.access(path, os.R_OK | os.X_OK)
    return found.judged(
        "home",
        (not stat.S_ISDIR(found.mode), FAIL, f"{path} is not a folder", "set Shipwright's folder with --home"),
        (not can_read, FAIL, f"{found} {belongs} and cannot be read", f"`chmod u+rx {quoted}`, or run as its owner"),
        (found.owner not in {user, 0}, WARN, f"{path} {belongs}, not {user}", "run as its owner"),
        (found.mode & SHARED_WRITE, WARN, writable, f"`chmod go-w {quoted}`"),
    )


def folder(target: Target) -> Finding:
    """Check the database's folder. Raises OSError if it cannot be examined."""
    path, user, quoted = target.db.parent, target.user, shlex.quote(str(target.db.parent))
    if (found := entry(path)) is None:
        return ok("folder", f"{path} does not exist yet")
    belongs, private, own = f"belongs to uid {found.owner}", f"`chmod 0700 {quoted}`", "or run as its owner"
    can_write = os.access(path, os.W_OK | os.X_OK)
    is_open = found.mode & OTHERS and path != target.home  # Shipwright's own folder may be readable for others
    return found.judged(
        "folder",
        (not stat.S_ISDIR(found.mode), FAIL, f"{path} is not a folder", "choose another path with --db"),
        (not can_write, FAIL, f"{found} {belongs} and cannot be written to", f"`chmod u+rwx {quoted}`, {own}"),
        (found.owner != user, FAIL, f"{path} {belongs}, not {user}", f"`chown -R {user} {quoted}`, {own}"),
        (found.mode & SHARED_WRITE, FAIL, f"other users can write to {found} and replace the database", private),
        (is_open, WARN, f"other users can read {found}", private),
    )


def files(target: Target) -> Iterator[Finding]:
    """Check the database, its log, its shared memory and its lock file. Raises OSError if one cannot be examined."""
    db = target.db
    paths = (db, *(db.with_name(db.name + end) for end in ("-wal", "-shm", "-journal")), lock_path(db))
    found = [judge_file(file, target.user) for path in paths if (file := entry(path, follow=path == db))]
    wrong = [finding for finding in found if finding.state != OK]
    yield from wrong or [ok("files", f"{len(found)} files, private" if found else "none yet", count=len(found))]


def judge_file(found: Entry, user: int) -> Finding:
    """Judge the type and permissions of one file of the database."""
    path, quoted, belongs = found.path, shlex.quote(str(found.path)), f"belongs to uid {found.owner}"
    private, kind = f"`chmod 0600 {quoted}`", "a symbolic link" if stat.S_ISLNK(found.mode) else "not a regular file"
    is_usable = os.access(path, os.R_OK | os.W_OK)
    return found.judged(
        "files",
        (not stat.S_ISREG(found.mode), FAIL, f"{path} is {kind}", "move it away: shipwrightd creates a new one"),
        (not is_usable, FAIL, f"{found} {belongs} and cannot be read and written", f"{private}, or run as its owner"),
        (found.owner != user, FAIL, f"{path} {belongs}, not {user}", f"`chown {user} {quoted}`"),
        (found.mode & OTHERS, WARN, f"other users can access {found}", private),
    )


# -- disk

NO_SPACE = 32 << 20  # bytes: the write-ahead log of a load is 24 MiB, and rows follow
LOW_SPACE = 256 << 20
PERCENT = 100


def disk(target: Target) -> Iterator[Finding]:
    """Check the file system of the database, and that of the home if it is another one."""
    place = next(path for path in (target.db, *target.db.parents) if path.exists())
    size = sum(size_at(target.db.with_name(target.db.name + end)) for end in ("", "-wal"))
    yield judge_space(os.statvfs(place), size)
    if target.home.exists() and target.home.stat().st_dev != place.stat().st_dev:
        yield judge_home_space(os.statvfs(target.home))


def judge_space(found: os.statvfs_result, size: int) -> Finding:
    """Judge the space for a database of this size: migrations, prune and backup need as much again."""
    free, total = found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
    text = f"{size_of(free)} free ({free * PERCENT // total if total else 0} %), the database takes {size_of(size)}"
    facts = {"free_bytes": free, "total_bytes": total, "database_bytes": size}
    if found.f_flag & os.ST_RDONLY:
        return fail("disk", "the database's file system is read-only", "mount it for writing, or choose another --db")
    if free < NO_SPACE:
        todo = "free space: nothing can be stored until then; the daemon waits and continues automatically"
        return fail("disk", text, todo, **facts)
    if found.f_files and not found.f_favail:
        return fail("disk", "there are no free inodes", "delete files; the daemon continues automatically", **facts)
    if free < max(LOW_SPACE, size):
        todo = "free space: `prune`, `backup` and some updates need as much as the database takes"
        return warn("disk", text, todo, **facts)
    return ok("disk", text, **facts)


def judge_home_space(found: os.statvfs_result) -> Finding:
    """Judge the space for Shipwright's own files."""
    free = found.f_bavail * found.f_frsize
    text = f"{size_of(free)} free in the file system of Shipwright's files"
    facts = {"free_bytes": free, "total_bytes": found.f_blocks * found.f_frsize}
    if free < NO_SPACE:
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
    limit, used = int(WATCH_LIMIT.read_text()), watches_used(target.user)
    facts = {"watches": limit, "watches_used": used, "folders": folders}
    text = f"{folders} folders to watch; {used:,} of {limit:,} inotify watches are in use"
    if used + folders > limit:
        todo = f"`sudo sysctl fs.inotify.max_user_watches={2 * limit}`; until then files are polled every half second"
        return warn("watching", text, todo, **facts)
    return ok("watching", text, **facts)


def watches_used(user: int) -> int:
    """Return how many inotify watches the processes of a user have, as far as they can be read."""
    used = 0
    for name in glob.iglob("/proc/[0-9]*/fdinfo/*"):  # noqa: PTH207 - passes over processes that end meanwhile
        with contextlib.suppress(OSError), open(name, "rb") as file:  # noqa: PTH123 - likewise a plain name
            if os.fstat(file.fileno()).st_uid == user:
                used += sum(line.startswith(b"inotify ") for line in file)
    return used


def open_files(_: Target) -> Finding:
    """Judge the limit on open files of this user's processes."""
    limit, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = "no limit" if limit == resource.RLIM_INFINITY else f"a process may open {limit:,} files"
    if limit != resource.RLIM_INFINITY and limit < OPEN_FILES:
        text += f", the daemon needs up to {OPEN_FILES}"
        return warn("open_files", text, f"`ulimit -n {4 * OPEN_FILES}`", limit=limit)
    return ok("open_files", text, limit=limit)


# -- the writer lock


def _is_alive(pid: int) -> bool:
    """Tell whether a process with this id exists, of any user."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass
    return True


def lock(target: Target) -> Iterator[Finding]:
    """Judge the holder that the lock file names, valid only while it is held, against the home that is examined."""
    stored, held = read_holder(lock_path(target.db)), target.held
    pid = stored.get("pid")
    pid = pid if isinstance(pid, int) and not isinstance(pid, bool) and pid > 0 else None
    keys = ("command", "started_at", "version", "home")
    command, started_at, version, home = (str(stored.get(key) or "") for key in keys)
    facts = {"held": held, "pid": pid, "command": command or None, "version": version or None}
    if not held:
        left = f"; pid {pid} ended without releasing the lock, which the next start takes over"
        text = "no daemon is running" + (left if pid else "")
        yield warn("lock", text, "`shipwrightd service start`, or `shipwrightd run`", **facts)
        return
    who = f"{command or 'shipwrightd'} (pid {pid or 'unknown'}, since {started_at or 'unknown'})"
    if command != "run":
        yield ok("lock", f"held by {who}; a daemon can start when it is done", **facts)
    elif pid is not None and not _is_alive(pid):
        todo = "it runs in another container or on another machine: check it there, and start no second one here"
        yield warn("lock", f"held by {who}, which is not visible here", todo, **facts)
    else:
        yield ok("lock", f"held by {who}", **facts)
    if home and os.path.realpath(home) != os.path.realpath(target.home):
        text = f"the daemon follows another home: {home}"
        yield Finding("lock_home", WARN, text, "use the same --home, or another --db for this one", private=True)
    if version and version != __version__:
        text = f"the daemon is version {version}, this program {__version__}"
        yield warn("lock_version", text, "restart it: `shipwrightd service restart`")
