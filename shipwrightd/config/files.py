"""Settings files: their paths, their content, and who can write to them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.database import ownership
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

BELOW = Path("shipwrightd") / "config.toml"
FILE_BYTES = 1 << 20  # a larger file is not a settings file


@dataclass(frozen=True, slots=True)
class File:
    """A settings file that was read, or does not exist."""

    path: Path
    exists: bool = False
    table: Mapping[str, object] = field(default_factory=dict)
    problem: str | None = None  # why it could not be read
    open_to: str | None = None  # who else can write to it, and what to do about that


def paths(env: Mapping[str, str]) -> list[Path]:
    """Return the paths of settings files, the strongest first.

    The user's, then those of `$XDG_CONFIG_DIRS` (default `/etc/xdg`, as the XDG base directory
    specification says), then `/etc`; the same on macOS.
    """
    own = env.get("XDG_CONFIG_HOME", "")
    if not own.startswith("/"):  # the specification says to ignore relative paths
        home = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - stays "~" for a user without a home
        own = f"{home}/.config"
    folders = [own, *(env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"), "/etc"]
    return list(dict.fromkeys(Path(folder) / BELOW for folder in folders if folder.startswith("/")))


def read(path: Path) -> File:
    """Read a settings file. It is a problem if it cannot be read, but not if it does not exist."""
    try:
        content, found = _content(path)
    except (FileNotFoundError, NotADirectoryError):
        return File(path)
    except OSError as error:
        problem = f"cannot read the settings {path}: {error.strerror} (check its owner and mode)"
        return File(path, exists=True, problem=problem)
    import tomllib  # noqa: PLC0415 - only for who has a settings file

    try:
        table = tomllib.loads(content.decode())
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or nested too deeply
        problem = f"the settings {path} are not TOML: {visible(str(error))}"
        return File(path, exists=True, problem=problem)
    return File(path, exists=True, table=table, open_to=writers(path, found, os.geteuid()))


def _content(path: Path) -> tuple[bytes, os.stat_result]:
    # A named pipe must not block.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "it is not a regular file")
        if found.st_size > FILE_BYTES:
            raise OSError(0, f"it is larger than {FILE_BYTES} bytes")
        return file.read(FILE_BYTES), found


def writers(path: Path, found: os.stat_result, user: int) -> str | None:
    """Return who besides the user and root can write to a file, with what to do about it; None for nobody.

    The folder does not matter: if another user replaces the file, it belongs to that user.
    """
    if found.st_uid not in {0, user}:
        return f"{path} belongs to another user (uid {found.st_uid}): `chown {user} {path}`"
    if ownership.others_can_write(found):
        return f"{path} can be written by other users (mode {stat.S_IMODE(found.st_mode):04o}): `chmod go-w {path}`"
    return None
