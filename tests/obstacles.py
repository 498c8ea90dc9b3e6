"""What stands in the way of a daemon, made for real: modes that count, a disk that is full, a database that is held."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import apsw
import pytest
from world import doubles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from world import World

ERRORS = "SELECT source, error FROM source_errors"


def has(world: World, count: int) -> Callable[[], bool]:
    return lambda: world.count() >= count


def errors(world: World) -> dict[str, str]:
    """Return what stands in the way of which source; empty before there is a database."""
    return {str(name): str(error) for name, error in world.query(ERRORS)} if world.db_path.exists() else {}


def assert_each_line_once(world: World) -> None:
    stored = world.stored()
    assert doubles(stored) == []
    assert set(stored) == set(range(1, world.written + 1))


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount a file system of three megabytes."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if (
        os.geteuid() != 0
        or not shutil.which("mount")
        or subprocess.run(command, check=False, capture_output=True).returncode
    ):
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(disk: Path) -> None:
    """Give it more space than any test needs."""
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return ballast


@contextmanager
def held(world: World) -> Iterator[None]:
    """Hold the database as another program's transaction does."""
    with closing(apsw.Connection(str(world.db_path))) as other:
        other.set_busy_timeout(5_000)  # the daemon may be in a transaction of its own
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def mounted(folder: Path, *what: str) -> Iterator[None]:
    """Mount something over a folder, and take it away again as far as the test has not."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("no file system can be mounted here")
    if subprocess.run(["mount", *what, str(folder)], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)  # unless the test has


def unmount(folder: Path) -> None:
    """Take a file system away though a daemon has files of it open."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


def make_unreadable(file: int, folder: Path) -> None:
    """Have the engine's own descriptor of a file answer each read with an error, as when it is stale."""
    own = next(int(fd) for fd in os.listdir("/dev/fd") if _is(int(fd), file))  # noqa: PTH208
    other = os.open(folder, os.O_RDONLY)
    os.dup2(other, own)
    os.close(other)


def _is(fd: int, other: int) -> bool:
    """Tell whether another descriptor is of the same file."""
    try:
        return fd != other and os.path.samestat(os.fstat(fd), os.fstat(other))
    except OSError:
        return False
