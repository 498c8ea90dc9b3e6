"""Files replaced in place: one whole, undisturbed copy of the bytes, or the reason why there is none.

Nothing here knows what the bytes mean or what was stored of them.
"""

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


@dataclass(frozen=True, slots=True)
class Signature:
    """What stat says of a file; a change of content changes it, apart from writes within one clock tick."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True)
class Document:
    """All bytes of the file as they stood at one moment.

    `signature` is what to pass to the next look. It is None when the file was
    changed so shortly before that a change after our reading could leave no trace.
    """

    raw: bytes
    signature: Signature | None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file is the one that carried the signature."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing is at the path."""


@dataclass(frozen=True, slots=True)
class Torn:
    """The file changed while it was read; a later look will do."""


Look = Document | Unchanged | Missing | Torn


def signature_of(info: os.stat_result) -> Signature:
    """Return the part of a stat result that tells one version of a file from another."""
    return Signature(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)


def look(path: Path, known: Signature | None, *, now_ns: int) -> Look:
    """Return the document unless it carries the known signature; a quiet file costs one stat.

    Symlinks are followed. `now_ns` is the wall clock. Raises OSError for what cannot be
    read: no permission, a folder, a pipe or a device, more than MAX_BYTES.
    """
    try:
        found = path.stat()
        refuse(path, found)
        if signature_of(found) == known:
            return Unchanged()
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return Missing()
    try:
        return read_whole(path, fd, now_ns=now_ns)
    finally:
        os.close(fd)


def refuse(path: Path, info: os.stat_result) -> None:
    """Raise OSError for what is no regular file or larger than MAX_BYTES."""
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", str(path))
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    if info.st_size > MAX_BYTES:
        raise OSError(errno.EFBIG, f"is larger than {MAX_BYTES} bytes", str(path))


def read_whole(path: Path, fd: int, *, now_ns: int) -> Document | Torn:
    """Read the open file to its end; Torn unless it stood still and is still what the path names.

    A writer in the middle of one write() moves no time stamp, so a prefix may pass as still
    (it does not parse); its stamps are fresh then, thus the next look reads again.
    """
    info = os.fstat(fd)
    refuse(path, info)
    before = signature_of(info)
    raw = read_bytes(fd, before.size)
    try:
        still = signature_of(os.fstat(fd)) == before == signature_of(path.stat())
    except FileNotFoundError:
        return Torn()
    if not still or len(raw) != before.size:
        return Torn()
    fresh = abs(now_ns - before.ctime_ns) < FRESH_NS
    return Document(raw, None if fresh else before)


def read_bytes(fd: int, size: int) -> bytes:
    """Return what the file holds, at most one byte more than `size`."""
    parts = []
    left = size + 1  # the one more shows that it grew
    while left > 0 and (part := os.read(fd, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
