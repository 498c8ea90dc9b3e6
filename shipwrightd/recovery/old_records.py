"""One file of a journal while it is read: lines in, decided chunks out, with the position behind each.

A stream's position moves only over lines that are decided: rows, quarantine or
blank. An open record at the end (a raw newline inside a string) stays undecided
until more lines come or the caller says that none will.
"""

from __future__ import annotations

import os
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.decoding.events import decode_lines
from shipwrightd.decoding.rows import Quarantined
from shipwrightd.recovery.old_align import line_hashes
from shipwrightd.recovery.old_lines import Giant, Position, Reader, begun_before, last_bytes

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from shipwrightd.decoding.events import Decoded, Origin
    from shipwrightd.decoding.rows import EventRow

CHUNK_LINES = 8_192  # a block of very short lines would otherwise exceed a batch


@dataclass(frozen=True, slots=True)
class Chunk:
    """What some lines came to."""

    rows: list[EventRow]
    salvaged: int
    quarantined: list[Quarantined]
    hashes: bytes
    lines: int
    size: int  # bytes
    end: Position  # behind the chunk


@dataclass(frozen=True, slots=True)
class Mark:
    """All that has to come back when a transaction fails."""

    position: Position
    lines: int


class Stream:
    """Reads one file from a position on and decodes what it finds."""

    def __init__(self, fd: int, position: Position, *, origin: Origin, lines: int = 0) -> None:
        info = os.fstat(fd)
        self.fd = fd
        self.identity = (info.st_dev, info.st_ino)
        self.generation: int | None = None
        self.position = position
        self.lines = lines
        self.retire_at = float("inf")  # monotonic seconds; set when the file is no longer the current one
        self.origin = origin
        self._reader = Reader(fd, position)
        self._at = position  # behind what was pulled; ahead of `position` until that is stored
        self._undecided: list[bytes] = []
        self._ahead: list[bytes] = []
        self._giant: Giant | None = None
        self._next_chunk: Future[Chunk | None] | None = None

    @property
    def undecided(self) -> bool:
        """Tell whether whole lines wait for more."""
        self._join()
        return bool(self._undecided)

    def leftover(self) -> bytes:
        """Return all bytes read but not decided: open records and the unfinished line."""
        self._join()
        whole = [line + b"\n" for line in (*self._undecided, *self._ahead)]
        return b"".join([*whole, self._reader.unfinished()])

    def unfinished(self) -> bytes:
        """Return the bytes behind the last newline."""
        self._join()
        return self._reader.unfinished()

    @property
    def behind_bytes(self) -> int:
        """Return how many bytes the file holds behind the position, 0 when that cannot be told."""
        try:
            return max(0, os.fstat(self.fd).st_size - self.position.offset)
        except OSError:
            return 0

    @property
    def unfinished_bytes(self) -> int:
        """Return how many bytes stand behind the last newline; `unfinished` keeps one KiB of a giant."""
        self._join()
        return self._reader.unfinished_bytes

    @property
    def end(self) -> Position:
        """Return the position behind all that was read, finished lines or not."""
        self._join()
        return self._reader.end

    def mark(self) -> Mark:
        """Remember the position before a transaction."""
        return Mark(self.position, self.lines)

    def restore(self, mark: Mark) -> None:
        """Go back to where a transaction began that did not commit."""
        self._join()
        self._next_chunk = None
        self.position = self._at = mark.position
        self.lines = mark.lines
        self._reader = Reader(self.fd, mark.position)
        self._undecided = []
        self._ahead = []
        self._giant = None

    def pull(self, *, final: bool) -> Chunk | None:
        """Return the next decided chunk, or None when nothing more can be decided now.

        `final`: no more lines will come, so open records are decided as they are.
        Raises ChangedError when the file is no longer the one that was read.
        """
        if self._next_chunk is not None:
            coming, self._next_chunk = self._next_chunk, None
            chunk = coming.result()
            if chunk is not None:
                return chunk
        return self._pull(final=final)

    def pull_ahead(self, pool: Executor) -> None:
        """Read and decode the next chunk in another thread while the caller stores this one."""
        self._next_chunk = pool.submit(self._pull, final=False)

    def stored(self, chunk: Chunk) -> None:
        """Move the position behind a chunk that the current transaction holds."""
        self.position = chunk.end
        self.lines += chunk.lines

    def forget(self) -> None:
        """Drop what was read and not decided; it is accounted for elsewhere."""
        self._join()
        self.position = self._at = self._reader.end
        self._reader = Reader(self.fd, self.position)
        self._undecided = []
        self._ahead = []

    def close(self) -> None:
        """Let the file go."""
        self._join()
        os.close(self.fd)

    def _join(self) -> None:
        if self._next_chunk is not None:
            wait([self._next_chunk])

    def _pull(self, *, final: bool) -> Chunk | None:
        while True:
            got = self._next()
            if isinstance(got, Giant):
                self._giant = got
                chunk = self._decide(self._undecided, final=True) if self._undecided else self._swallow(got)
            elif got is None:
                return self._decide(self._undecided, final=True) if final and self._undecided else None
            else:
                chunk = self._decide([*self._undecided, *got] if self._undecided else got, final=False)
            if chunk.lines:
                return chunk

    def _next(self) -> list[bytes] | Giant | None:
        if self._giant is not None:
            return self._giant
        got: list[bytes] | Giant | None = self._ahead or self._reader.read()
        if isinstance(got, list):
            got, self._ahead = got[:CHUNK_LINES], got[CHUNK_LINES:]
        return got

    def _decide(self, lines: list[bytes], *, final: bool) -> Chunk:
        decoded = decode_lines(lines, origin=self.origin, final=final)
        done = lines[: decoded.consumed] if decoded.consumed < len(lines) else lines
        self._undecided = lines[decoded.consumed :]
        size = sum(map(len, done)) + len(done)
        kept = quarantined(decoded, lines, self._at.offset) if decoded.rejected else []
        begun = begun_before(self.fd, self._at) if done else b""
        hashes = line_hashes([begun + done[0], *done[1:]] if begun else done)
        self._at = Position(self._at.offset + size, last_bytes(self._at.before, done) if done else self._at.before)
        return Chunk(decoded.rows, decoded.salvaged, kept, hashes, len(done), size, self._at)

    def _swallow(self, giant: Giant) -> Chunk:
        offset = self._at.offset
        size = giant.length + 1
        self._at = self._reader.end  # just behind it: nothing is read before it is taken
        kept = [Quarantined(offset, giant.length, "line_too_long", giant.head)]
        self._giant = None
        return Chunk([], 0, kept, giant.digest, 1, size, self._at)


def quarantined(decoded: Decoded, lines: list[bytes], offset: int) -> list[Quarantined]:
    """Give each rejected range its place in the file and its bytes."""
    found = []
    line = 0
    for bad in decoded.rejected:
        offset += sum(map(len, lines[line : bad.first])) + bad.first - line
        line = bad.first
        raw = bad.raw(lines)
        found.append(Quarantined(offset + bad.start, len(raw), bad.reason, raw))
    return found
