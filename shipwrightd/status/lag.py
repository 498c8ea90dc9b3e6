"""How far the database is behind a file: how many bytes are unread, and for how long.

Reads a bounded part of each file.
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

    import apsw

DOCUMENT_BYTES = 4 << 20  # a larger document is compared by its modification time alone
PEEK_BYTES = 1 << 20  # of unread bytes, to find the end of the first line
FRESH_S = 10.0  # a daemon stores younger bytes in a moment
JOURNAL = "events.jsonl"
CHECKPOINT = """
SELECT g.device, g.inode, g.offset FROM checkpoints AS c LEFT JOIN generations AS g ON g.id = c.generation
WHERE c.source = ?"""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The part of a source's checkpoint that its file can be compared with."""

    kind: str = ""
    file_id: tuple[int, int] | None = None  # device and inode of the journal's current file
    offset: int = 0
    digest: bytes | None = None
    committed: float | None = None  # seconds


@dataclass(frozen=True, slots=True)
class Lag:
    """What a file holds that the database does not."""

    present: bool
    size: int = 0
    behind: int = 0  # bytes; of a replaced journal an upper bound, of a changed document all
    unfinished: int = 0  # bytes of a last line without its end, which waits and is no lag
    seconds: float = 0.0  # how long ago the oldest unread byte was written


ABSENT = Lag(present=False)


def unread_bytes(db: apsw.Connection, home: Path, now: float) -> int:
    """Return how many bytes of events.jsonl have been unread for longer than storing takes; 0 if it cannot be read."""
    row = db.execute(CHECKPOINT, (JOURNAL,)).fetchone()
    checkpoint = Checkpoint("journal") if row is None else Checkpoint("journal", (row[0], row[1]), row[2] or 0)
    try:
        lag = measure(home / JOURNAL, checkpoint, now)
    except OSError:
        return 0
    return lag.behind if lag.seconds > FRESH_S else 0


def measure(path: Path, checkpoint: Checkpoint, now: float) -> Lag:
    """Compare a file with its checkpoint. Raises OSError if the file exists and cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    try:
        file = os.fstat(fd)
        if not stat.S_ISREG(file.st_mode):
            return ABSENT
        if checkpoint.kind == "document" or (not checkpoint.kind and path.suffix != ".jsonl"):
            return _document(fd, file, checkpoint, now)
        return _journal(fd, file, checkpoint, now)
    finally:
        os.close(fd)


def _document(fd: int, file: os.stat_result, checkpoint: Checkpoint, now: float) -> Lag:
    size = file.st_size
    current = Lag(present=True, size=size)
    # A commit in the future means that the clock was set back: then the times prove nothing.
    if checkpoint.committed is not None and int(file.st_mtime) <= checkpoint.committed <= now:
        return current
    if checkpoint.digest and size <= DOCUMENT_BYTES:
        content = os.pread(fd, DOCUMENT_BYTES, 0)
        if blake2b(content, digest_size=len(checkpoint.digest)).digest() == checkpoint.digest:
            return current
    return Lag(present=True, size=size, behind=size, seconds=max(0.0, now - file.st_mtime))


def _journal(fd: int, file: os.stat_result, checkpoint: Checkpoint, now: float) -> Lag:
    size = file.st_size
    same = checkpoint.file_id == (file.st_dev, file.st_ino) and checkpoint.offset <= size
    start = checkpoint.offset if same else 0
    if start == size:
        return Lag(present=True, size=size)
    peek = os.pread(fd, PEEK_BYTES, start)
    first, end, _ = peek.partition(b"\n")
    if not end and len(peek) == size - start:
        return Lag(present=True, size=size, unfinished=size - start)
    seconds = unread_for(now, file.st_mtime, checkpoint.committed, written_at(first))
    return Lag(present=True, size=size, behind=size - start, seconds=seconds)


def unread_for(now: float, modified: float, committed: float | None, written: float | None) -> float:
    """Return for how many seconds the oldest unread line has been in the file.

    At least since the file was last modified and at most since the last commit; between the two the line's own
    time decides, if it has one.
    """
    least = max(0.0, now - modified)
    most = max(least, now - committed) if committed is not None else least
    return least if written is None else min(max(now - written, least), most)


def written_at(line: bytes) -> float | None:
    """Return the ts_epoch of a line; None if it has none or cannot be read."""
    try:
        value = json.loads(line)["ts_epoch"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(value) if isinstance(value, int) and 0 < value < 1 << 40 else None
