"""How far the database is behind a file: what is unread, and for how long it has been.

Looks at files, never at the database, and reads a bounded piece of each.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT_BYTES = 4 << 20  # a larger document is compared by its time alone
PEEK_BYTES = 1 << 20  # of what is unread, to find the end of its first line


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database says of a source: the parts that a file can be compared with."""

    kind: str = ""
    identity: tuple[int, int] | None = None  # device and inode of the journal's current file
    offset: int = 0
    digest: bytes | None = None
    committed: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Lag:
    """What a file holds that the database does not."""

    present: bool
    size: int = 0
    behind: int = 0  # bytes; of a replaced journal at most so many, of a changed document all
    unfinished: int = 0  # bytes of a last line without its end, which waits and is no lag
    seconds: float = 0.0  # for how long the oldest unread byte has been there


ABSENT = Lag(present=False)


def measure(path: Path, stored: Stored, now: float) -> Lag:
    """Compare a file with what is stored of it. Raises OSError when it exists and cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return ABSENT
        if stored.kind == "document" or (not stored.kind and path.suffix != ".jsonl"):
            return _document(fd, found, stored, now)
        return _journal(fd, found, stored, now)
    finally:
        os.close(fd)


def _document(fd: int, found: os.stat_result, stored: Stored, now: float) -> Lag:
    size = found.st_size
    fresh = Lag(present=True, size=size)
    if stored.committed is not None and int(found.st_mtime) <= stored.committed <= now:  # no clock was set back
        return fresh
    if stored.digest and size <= DOCUMENT_BYTES:
        content = os.pread(fd, DOCUMENT_BYTES, 0)
        if blake2b(content, digest_size=len(stored.digest)).digest() == stored.digest:
            return fresh  # written again, nothing new
    return Lag(present=True, size=size, behind=size, seconds=max(0.0, now - found.st_mtime))


def _journal(fd: int, found: os.stat_result, stored: Stored, now: float) -> Lag:
    size = found.st_size
    same = stored.identity == (found.st_dev, found.st_ino) and stored.offset <= size
    start = stored.offset if same else 0
    if start == size:
        return Lag(present=True, size=size)
    peek = os.pread(fd, PEEK_BYTES, start)
    first, end, _ = peek.partition(b"\n")
    if not end and len(peek) == size - start:
        return Lag(present=True, size=size, unfinished=size - start)
    seconds = unread_for(now, found.st_mtime, stored.committed, written_at(first))
    return Lag(present=True, size=size, behind=size - start, seconds=seconds)


def unread_for(now: float, modified: float, committed: float | None, written: float | None) -> float:
    """Return how long the oldest unread line has been waiting, in seconds.

    It is there at least since the file was last modified and at most since
    the last commit; between the two its own time decides, if it has one.
    """
    least = max(0.0, now - modified)
    most = max(least, now - committed) if committed is not None else least
    return least if written is None else min(max(now - written, least), most)


def written_at(line: bytes) -> float | None:
    """Return the ts_epoch of a line, or None if it has none that can be read."""
    try:
        value = json.loads(line)["ts_epoch"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(value) if isinstance(value, int) and 0 < value < 1 << 40 else None
