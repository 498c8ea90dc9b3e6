"""Check owner and mode of folders and files before they are used.

What another user could have prepared is refused, never repaired.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from shipwrightd.errors import PathError

ROOT = 0
OTHERS_WRITE = 0o002
GROUP_WRITES = 0o020
OTHERS = 0o077  # all bits of group and others
FOLDER_MODE = 0o700
FILE_MODE = 0o600
MOST_LINKS = 40  # as in Linux; a loop ends here
ELSEWHERE = "choose another place with --db FILE"


def check_symlinks(path: Path) -> None:
    """Raise PathError if a symbolic link on the way to `path` belongs to another user, who could redirect us."""
    at, left, links = Path("/"), list(path.absolute().parts[1:]), 0
    while left:
        step = at.parent if left[0] == ".." else at / left[0]
        left.pop(0)
        try:
            info = step.lstat()
        except OSError:
            return  # missing: opening it will report that
        if not stat.S_ISLNK(info.st_mode):
            at = step
            continue
        links += 1
        if info.st_uid not in (ROOT, os.geteuid()) or links > MOST_LINKS:
            message = f"the symbolic link {step} belongs to {user_name(info.st_uid)}"
            raise PathError(message, hint="name the real path, or choose another")
        target = step.readlink()
        left[:0] = target.parts[target.is_absolute() :]
        at = Path("/") if target.is_absolute() else at


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents with mode 700 whatever the umask. Raises OSError."""
    for part in (*reversed(folder.parents), folder):
        with contextlib.suppress(FileExistsError):
            part.mkdir(FOLDER_MODE)
            if stat.S_IMODE(part.stat().st_mode) & FOLDER_MODE != FOLDER_MODE:
                part.chmod(FOLDER_MODE)  # the umask removed bits of the owner


def check_folder(folder: Path, *, own: tuple[str, ...]) -> None:
    """Make the folder private if it holds only our files. Raises PathError if others can create files there.

    `own` are the prefixes of the names of our files.
    """
    info = folder.stat()
    me = os.geteuid()
    if info.st_uid not in (ROOT, me):
        message = f"the folder {folder} belongs to {user_name(info.st_uid)}"
        raise PathError(message, hint=f"run as that user, or {ELSEWHERE}")
    if info.st_uid == me and info.st_mode & OTHERS and all(entry.name.startswith(own) for entry in folder.iterdir()):
        folder.chmod(FOLDER_MODE)
        info = folder.stat()
    if others_can_write(info):
        message = f"other users can write to the folder {folder} and replace the database"
        raise PathError(message, hint=f"remove that permission with `chmod go-w`, or {ELSEWHERE}")


def others_can_write(info: os.stat_result) -> bool:
    """Return whether anyone but the owner may write; a private group with no other member does not count."""
    if info.st_mode & OTHERS_WRITE:
        return True
    return bool(info.st_mode & GROUP_WRITES) and not _is_private_group(info.st_uid, info.st_gid)


def _is_private_group(uid: int, gid: int) -> bool:
    import grp  # noqa: PLC0415 - seldom needed
    import pwd  # noqa: PLC0415

    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def open_private(path: Path) -> int:
    """Open a file, or create it, for its owner only whatever the umask; never blocks on a pipe. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, FILE_MODE)
    try:
        os.fchmod(fd, FILE_MODE)
    except OSError:
        os.close(fd)
        raise
    return fd


def check_file(path: Path) -> bool:
    """Return whether the file exists, and make it private to its owner. Never opens it.

    Raises PathError for anything but a regular file of our own with one name: a symbolic link
    leads elsewhere, opening a pipe or device may block, and SQLite loses data if a file has two names.
    """
    try:
        info = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if stat.S_ISLNK(info.st_mode):
        raise PathError(f"{path} is a symbolic link", hint=f"name the file itself, or {ELSEWHERE}")
    if not stat.S_ISREG(info.st_mode):
        raise PathError(f"{path} is not a regular file", hint=ELSEWHERE)
    if info.st_uid != os.geteuid():
        raise PathError(f"{path} belongs to {user_name(info.st_uid)}", hint=f"run as that user, or {ELSEWHERE}")
    if info.st_nlink > 1:
        raise PathError(f"{path} has a second name (a hard link)", hint=f"remove that name, or {ELSEWHERE}")
    if info.st_mode & OTHERS:
        path.chmod(FILE_MODE)
    return True


def user_name(uid: int) -> str:
    """Return the name of a user, or "user N" if it has none."""
    import pwd  # noqa: PLC0415 - seldom needed

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
