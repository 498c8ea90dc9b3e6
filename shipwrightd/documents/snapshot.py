"""Read a file that is replaced in place: all its bytes from one moment, or the reason why there are none."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 8 << 20  # a thousand entries are 200 KiB; as rows it may take a hundred times as much memory
FRESH_NS = 2_000_000_000  # two writes within a file system's clock tick (up to 2 s) look alike to stat


# The parts of a stat result that change with the content, apart from writes within one clock tick:
# device, inode, size, mtime_ns, ctime_ns.
Signature = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Document:
    """All bytes of the file at one moment.

    Pass `signature` to the next `read_document`. It is None if the file changed so shortly
    before that a change after our reading could leave no trace.
    """

    raw: bytes
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file has the known signature."""


@dataclass(frozen=True, slots=True)
class Torn:
    """The file changed while it was read; try again later."""


def signature_of(info: os.stat_result) -> Signature:
    """Return the signature of a stat result."""
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def read_document(path: Path, known: Signature | None, *, now_ns: int) -> Document | Unchanged | Torn | None:
    """Return the document unless it has the known signature, None if there is none; an unchanged file costs one stat.

    Follows symlinks. `now_ns` is the wall clock. Raises OSError for a file that cannot be
    read: no permission, a folder, a pipe or a device, more than MAX_BYTES.
    """
    try:
        found = path.stat()
        _refuse(path, found)
        if signature_of(found) == known:
            return Unchanged()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return read_open(path, fd, now_ns=now_ns)
    finally:
        os.close(fd)


def _refuse(path: Path, info: os.stat_result) -> None:
    """Raise OSError for anything but a regular file of at most MAX_BYTES."""
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    if info.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"is larger than {MAX_BYTES} bytes", str(path))


def read_open(path: Path, fd: int, *, now_ns: int) -> Document | Torn:
    """Read the open file to its end; Torn if it changed meanwhile or is no longer the file at the path.

    A writer in the middle of one write() moves no time stamp, so a prefix may pass as unchanged
    (it does not parse); its time stamps are fresh then, so the next call reads again.
    """
    info = os.fstat(fd)
    _refuse(path, info)
    before = signature_of(info)
    with os.fdopen(fd, "rb", closefd=False) as file:
        raw = file.read(info.st_size + 1)  # one more shows that it grew
    try:
        still = signature_of(os.fstat(fd)) == before == signature_of(path.stat())
    except FileNotFoundError:
        return Torn()
    if not still or len(raw) != info.st_size:
        return Torn()
    fresh = abs(now_ns - info.st_ctime_ns) < FRESH_NS
    return Document(raw, None if fresh else before)
