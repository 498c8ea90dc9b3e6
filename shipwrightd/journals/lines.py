"""Append-only files: an open descriptor in, whole physical lines out.

Nothing here knows what a line means or where it is stored. Half a line is not a line: it stays unread until its
newline comes. Every read begins with the bytes just before it; if those are no longer what they were, the file is
not the one that was read and ChangedError says so.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from array import array
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

HASH_BYTES = 8
READ_BYTES = 1 << 20  # bounds memory; larger blocks are no faster
ANCHOR_BYTES = 4_096
MAX_LINE_BYTES = 16 << 20
GIANT_HEAD_BYTES = 1_024
ROTATIONS = 10  # tries to open all files of a journal between two renames
OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
SURE_ANCHOR_BYTES = 64  # a shorter anchor does not prove identity when the inode differs


class ChangedError(Exception):
    """The bytes before the reading position are not the ones that were read."""


class NotAFileError(OSError):
    """The path names a folder, a pipe or a device."""


@dataclass(frozen=True, slots=True)
class Position:
    """The first byte not stored yet, and the bytes (at most 4 KiB) just before it."""

    offset: int
    before: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """What a checkpoint knows of a file: identity is a hint, the anchor decides."""

    device: int
    inode: int
    offset: int
    anchor: bytes
    anchor_bytes: int


@dataclass(frozen=True, slots=True)
class Giant:
    """A line longer than the bound: its first KiB, length without newline, and line hash."""

    head: bytes
    length: int
    digest: bytes


START = Position(0, b"")


def anchor_hash(before: bytes) -> bytes:
    """Hash the bytes before an offset."""
    return blake2b(before, digest_size=16).digest()


def open_journal(path: Path) -> int:
    """Open a regular file for reading; never blocks on a pipe. Raises OSError, NotAFileError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        mode = os.fstat(fd).st_mode
    except BaseException:
        os.close(fd)
        raise
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise NotAFileError(errno.EINVAL, "is not a regular file", str(path))
    return fd


def open_files(paths: Sequence[Path]) -> tuple[dict[Path, int], dict[Path, OSError]]:
    """Open those of the paths that exist, in order; return descriptors, and why the others cannot be read.

    Two names of one file count once, as the last of them. A rotation meanwhile would show one file twice or not at
    all, so each must still be where it was opened. Raises OSError when the process lacks descriptors or memory, and
    InterruptedError when files are renamed all the time.
    """
    for _ in range(ROTATIONS):
        files: dict[Path, int] = {}
        refused: dict[Path, OSError] = {}
        try:
            for path in reversed(paths):
                _open_one(path, files, refused)
            if all(_is_at(path, files, refused) for path in paths):
                return {path: files[path] for path in paths if path in files}, refused
        except BaseException:
            _close(files)
            raise
        _close(files)
    raise InterruptedError(errno.EINTR, "is rotated again and again", str(paths[-1]))


def hidden_by(refused: Mapping[Path, OSError]) -> OSError | None:
    """Return why lines of a journal cannot be read; None where each refused file is none or has a second name."""
    for error in refused.values():
        if not isinstance(error, NotAFileError) and error.errno != errno.EEXIST:
            return error
    return None


def _open_one(path: Path, files: dict[Path, int], refused: dict[Path, OSError]) -> None:
    try:
        fd = open_journal(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        if error.errno in OUT_OF_RESOURCES:
            raise
        refused[path] = error
        return
    same = next((other for other, known in files.items() if os.path.sameopenfile(fd, known)), None)
    if same is None:
        files[path] = fd
    else:
        os.close(fd)
        refused[path] = OSError(errno.EEXIST, f"is the same file as {same.name}", str(path))


def _is_at(path: Path, files: dict[Path, int], refused: dict[Path, OSError]) -> bool:
    try:
        info = path.stat()
    except OSError:
        return path not in files
    return path in refused or (path in files and os.path.samestat(info, os.fstat(files[path])))


def _close(files: dict[Path, int]) -> None:
    for fd in files.values():
        os.close(fd)


def read_at(fd: int, size: int, offset: int, *, least: int | None = None) -> bytes:
    """Return `size` bytes of a file, or at least `least`; fewer only where it ends.

    The system may give less than was asked for, which is no end and no change of the file.
    """
    least = size if least is None else least
    data = os.pread(fd, size, offset)
    while len(data) < least and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def position_at(fd: int, offset: int) -> Position:
    """Return the position at an offset of a file, with the bytes that stand before it now."""
    size = min(offset, ANCHOR_BYTES)
    return Position(offset, read_at(fd, size, offset - size))


def resume_at(fd: int, place: Place) -> Position | None:
    """Return the position of a checkpoint in this file, or None where its anchor does not stand before it.

    Position 0 has no anchor and proves nothing. Another inode needs an anchor of 64 bytes at least.
    """
    info = os.fstat(fd)
    if not place.offset or info.st_size < place.offset:
        return None
    if not same_file(fd, place) and place.anchor_bytes < SURE_ANCHOR_BYTES:
        return None
    before = read_at(fd, place.anchor_bytes, place.offset - place.anchor_bytes)
    if len(before) != place.anchor_bytes or anchor_hash(before) != place.anchor:
        return None
    return Position(place.offset, before)


def same_file(fd: int, place: Place) -> bool:
    """Tell whether a file has the device and inode of a checkpoint; a hint, never a proof."""
    info = os.fstat(fd)
    return (info.st_dev, info.st_ino) == (place.device, place.inode)


def line_hashes(lines: Iterable[bytes]) -> bytes:
    """Return the hashes of physical lines, 8 bytes each, joined."""
    return b"".join([blake2b(line, digest_size=HASH_BYTES).digest() for line in lines])


class Reader:
    """Reads one open file forward, in blocks, and cuts it into physical lines; nothing from byte `stop` on."""

    def __init__(self, fd: int, position: Position, stop: int = sys.maxsize) -> None:
        self.fd = fd
        self.stop = stop
        self.final = False  # bytes behind the last newline are a line, too
        self._at = position.offset  # next byte to read; behind any unfinished line
        self._before = position.before  # the bytes just before it
        self._rest: list[bytes] = []  # an unfinished line, in pieces
        self._rest_bytes = 0
        self._giant: tuple[bytes, blake2b] | None = None

    @property
    def unfinished_bytes(self) -> int:
        """Return the length of the line that has no newline yet."""
        return self._rest_bytes

    @property
    def end(self) -> Position:
        """Return the position behind all that was read, finished lines or not."""
        return Position(self._at, self._before)

    def unfinished(self) -> bytes:
        """Return the bytes of the line that has no newline yet; of a giant, its first KiB."""
        return self._giant[0] if self._giant else b"".join(self._rest)

    def read(self) -> list[bytes] | Giant | None:
        """Return the next whole lines without their newlines, a giant line, or None at the end.

        Raises ChangedError when the file is no longer the one that was read.
        """
        while True:
            fresh = self._fresh()
            if not fresh:
                return self._take_rest() if self.final else None
            if self._giant is not None:
                giant = self._read_giant(fresh)
                if giant is not None:
                    return giant
                continue
            end = fresh.rfind(b"\n")
            if end < 0:
                self._keep(fresh)
                self._advance(fresh)
                continue
            if self._rest_bytes + fresh.find(b"\n") > MAX_LINE_BYTES:
                self._begin_giant()
                continue
            body = b"".join([*self._rest, fresh[:end]]) if self._rest else fresh[:end]
            self._rest, self._rest_bytes = [], 0
            if end + 1 < len(fresh):
                self._keep(fresh[end + 1 :])
            self._advance(fresh)
            return body.split(b"\n")

    def _take_rest(self) -> list[bytes] | Giant | None:
        rest, size = self.unfinished(), self._rest_bytes
        self._rest, self._rest_bytes = [], 0
        if self._giant is not None:
            giant, self._giant = Giant(rest, size, self._giant[1].digest()), None
            return giant
        return [rest] if rest else None

    def _fresh(self) -> bytes:
        back = len(self._before)
        size = min(READ_BYTES, max(0, self.stop - self._at))
        data = read_at(self.fd, back + size, self._at - back, least=back)
        if data[:back] != self._before:
            raise ChangedError
        return data[back:]

    def _advance(self, consumed: bytes) -> None:
        self._at += len(consumed)
        self._before = (self._before + consumed)[-ANCHOR_BYTES:]

    def _keep(self, piece: bytes) -> None:
        self._rest.append(piece)
        self._rest_bytes += len(piece)
        if self._rest_bytes > MAX_LINE_BYTES:
            self._begin_giant()

    def _begin_giant(self) -> None:
        """Go on without holding the line; what is kept of it is its first KiB and its hash."""
        hasher = blake2b(digest_size=HASH_BYTES)
        for part in self._rest:
            hasher.update(part)
        self._giant = (b"".join(self._rest)[:GIANT_HEAD_BYTES], hasher)
        self._rest = []

    def _read_giant(self, fresh: bytes) -> Giant | None:
        assert self._giant is not None  # noqa: S101 - the caller looked
        head, hasher = self._giant
        end = fresh.find(b"\n")
        piece = fresh if end < 0 else fresh[:end]
        hasher.update(piece)
        self._rest_bytes += len(piece)
        if end < 0:
            self._advance(fresh)
            return None
        self._advance(fresh[: end + 1])
        giant = Giant(head, self._rest_bytes, hasher.digest())
        self._giant = None
        self._rest_bytes = 0
        return giant


def begun_before(fd: int, position: Position) -> bytes:
    """Return what a line begins with that was read up to a position inside of it; nothing where a line begins."""
    before, at = position.before, position.offset - len(position.before)
    while b"\n" not in before and at and len(before) <= MAX_LINE_BYTES:
        size = min(at, len(before))
        at -= size
        before = read_at(fd, size, at) + before
    return before.rpartition(b"\n")[2]


def last_bytes(before: bytes, lines: list[bytes]) -> bytes:
    """Return the bytes (at most 4 KiB) that end with the newline of the last of `lines`."""
    parts: list[bytes] = []
    size = 0
    for line in reversed(lines):
        parts += (b"\n", line)
        size += len(line) + 1
        if size >= ANCHOR_BYTES:
            break
    else:
        parts.append(before)
    return b"".join(reversed(parts))[-ANCHOR_BYTES:]


@dataclass(frozen=True, slots=True)
class Block:
    """Hashes and byte sizes (newline included) of some of a file's complete lines."""

    hashes: array[int]
    sizes: list[int]


def scan(fd: int) -> Iterator[Block]:
    """Hash a file's complete lines from its beginning. Raises ChangedError if it changes under us."""
    reader = Reader(fd, START)
    while (lines := reader.read()) is not None:
        if isinstance(lines, Giant):
            yield Block(array("Q", lines.digest), [lines.length + 1])
        else:
            yield Block(array("Q", line_hashes(lines)), [len(line) + 1 for line in lines])
