"""One file of a journal while it is read: lines in, decided records out, with the position behind them.

The position moves only over lines that are decided: rows, quarantine or blank. An open record at the end (a raw
newline inside a string) stays undecided until more lines come or the caller says that none will. Following, verify,
import, prune and recovery all read files through here.
"""

from __future__ import annotations

import os
import sys
from bisect import bisect_left
from concurrent.futures import wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.decoding import Quarantined
from shipwrightd.decoding.events import decode_lines
from shipwrightd.journals.lines import (
    START,
    Giant,
    Position,
    Reader,
    begun_before,
    last_bytes,
    line_hashes,
    read_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Executor, Future

    from shipwrightd.decoding import EventRow
    from shipwrightd.decoding.events import Decoded, Origin

CHUNK_LINES = 8_192  # a block of very short lines would otherwise exceed a batch
TOO_LONG = "line_too_long"  # a reason of quarantine
FEW_LINES = 16  # of one record; a longer open record is not tried again with each line


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some decided lines, what they are, and the position behind them."""

    lines: list[bytes]  # without newlines; of an overlong line its first KiB
    rows: list[EventRow]
    salvaged: int
    rejected: list[Quarantined]
    hashes: bytes  # 8 for each physical line
    size: int  # bytes
    end: Position

    @property
    def count(self) -> int:
        """Return the number of physical lines."""
        return len(self.lines)


class Records:
    """Reads one open file from a position on and decodes it."""

    def __init__(self, fd: int, position: Position, *, origin: Origin, stop: int = sys.maxsize) -> None:
        info = os.fstat(fd)
        self.fd = fd
        self.identity = (info.st_dev, info.st_ino)
        self.position = position  # behind what is stored
        self.lines = 0  # physical lines before it
        self.origin = origin
        self._reader = Reader(fd, position, stop)
        self._at = position  # behind what was pulled; ahead of `position` until that is stored
        self._begun = (position, 0)
        self._undecided: list[bytes] = []
        self._ahead: list[bytes] = []
        self._giant: Giant | None = None
        self._next_chunk: Future[Chunk | None] | None = None

    @property
    def undecided(self) -> bool:
        """Tell whether complete lines wait for more."""
        self._join()
        return bool(self._undecided)

    def leftover(self) -> bytes:
        """Return all bytes read but not decided: open records and the unfinished line."""
        self._join()
        return b"".join([*(line + b"\n" for line in (*self._undecided, *self._ahead)), self._reader.unfinished()])

    def unfinished(self) -> Quarantined | None:
        """Return the bytes behind the last newline, at most the first KiB of an overlong line; None for blanks."""
        self._join()
        raw = self._reader.unfinished()
        size = self._reader.unfinished_bytes
        return Quarantined(self._reader.end.offset - size, size, "unterminated", raw) if raw.strip() else None

    @property
    def unread_bytes(self) -> int:
        """Return how many bytes the file holds behind the position, 0 when that cannot be told."""
        try:
            return max(0, os.fstat(self.fd).st_size - self.position.offset)
        except OSError:
            return 0

    def is_unchanged(self) -> bool:
        """Tell whether the bytes before the position are still those that were read."""
        before = self.position.before
        return read_at(self.fd, len(before), self.position.offset - len(before)) == before

    @property
    def end(self) -> Position:
        """Return the position behind all that was read, decided or not."""
        self._join()
        return self._reader.end

    def begin(self) -> None:
        """Remember the position before a transaction."""
        self._begun = (self.position, self.lines)

    def rollback(self) -> None:
        """Return to the position before a transaction that did not commit."""
        self._join()
        self.position, self.lines = self._begun
        self._restart()

    def restart_at(self, position: Position, lines: int) -> None:
        """Read on from another position, with so many lines before it."""
        self._join()
        self.position, self.lines = position, lines
        self.begin()
        self._restart()

    def skip_leftover(self) -> None:
        """Move behind all that was read, decided or not; the caller has stored it."""
        self._join()
        self.position = self._reader.end
        self._restart()

    def take_unterminated(self) -> None:
        """Take bytes behind the last newline for a line, too."""
        self._reader.final = True

    def pull(self, *, final: bool) -> Chunk | None:
        """Return the next decided chunk, or None when nothing more can be decided now.

        `final`: no more lines will come, so open records are decided as they are. Raises ChangedError when the file
        is no longer the one that was read.
        """
        if self._next_chunk is not None:
            coming, self._next_chunk = self._next_chunk, None
            if (chunk := coming.result()) is not None:
                return chunk
        return self._pull(final=final)

    def pull_ahead(self, pool: Executor) -> None:
        """Read and decode the next chunk in another thread while the caller stores this one."""
        self._next_chunk = pool.submit(self._pull, final=False)

    def stored(self, chunk: Chunk) -> None:
        """Move the position behind a chunk that the current transaction holds."""
        self.position = chunk.end
        self.lines += len(chunk.lines)

    def close(self) -> None:
        """Close the file."""
        self._join()
        os.close(self.fd)

    def _restart(self) -> None:
        self._next_chunk = None
        self._at = self.position
        self._reader = Reader(self.fd, self.position, self._reader.stop)
        self._undecided, self._ahead = [], []
        self._giant = None

    def _join(self) -> None:
        if self._next_chunk is not None:
            wait([self._next_chunk])

    def _pull(self, *, final: bool) -> Chunk | None:
        while True:
            got = self._next()
            if isinstance(got, Giant):
                self._giant = got
                chunk = self._decide(self._undecided, final=True) if self._undecided else self._take_giant(got)
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
        rejected = _located(decoded, lines, self._at.offset) if decoded.rejected else []
        inside = done and self._at.before and not self._at.before.endswith(b"\n")
        begun = begun_before(self.fd, self._at) if inside else b""
        hashes = line_hashes([begun + done[0], *done[1:]] if begun else done)
        size = sum(map(len, done)) + len(done)
        self._at = Position(self._at.offset + size, last_bytes(self._at.before, done) if done else self._at.before)
        return Chunk(done, decoded.rows, decoded.salvaged, rejected, hashes, size, self._at)

    def _take_giant(self, giant: Giant) -> Chunk:
        rejected = [Quarantined(self._at.offset, giant.length, TOO_LONG, giant.head)]
        self._at = self._reader.end  # nothing behind it is read before it is taken
        self._giant = None
        return Chunk([giant.head], [], 0, rejected, giant.digest, giant.length + 1, self._at)


def records(
    fd: int, origin: Origin, *, position: Position = START, stop: int = sys.maxsize, unterminated: bool = False
) -> Iterator[Chunk]:
    """Yield the decided chunks of a file from a position on, up to byte `stop`, open records at its end as they are.

    `unterminated`: bytes behind the last newline are a line, too. Raises ChangedError when the file is cut or written
    over meanwhile.
    """
    reader = Records(fd, position, origin=origin, stop=stop)
    if unterminated:
        reader.take_unterminated()
    while (chunk := reader.pull(final=False) or reader.pull(final=True)) is not None:
        reader.stored(chunk)
        yield chunk


def singly(chunk: Chunk, origin: Origin) -> Iterator[Chunk]:
    """Split a chunk into what was decided together, a record or a line that is none; `end` and `hashes` are empty."""
    if len(chunk.rows) == chunk.count and not chunk.salvaged and not chunk.rejected:
        for line, row in zip(chunk.lines, chunk.rows, strict=True):
            yield Chunk([line], [row], 0, [], b"", len(line) + 1, START)
        return
    if chunk.rejected and chunk.rejected[0].reason == TOO_LONG:
        yield chunk
        return
    offset = chunk.end.offset - chunk.size
    waiting: list[bytes] = []
    for at, line in enumerate(chunk.lines):
        waiting.append(line)
        final = at == chunk.count - 1
        if len(waiting) > FEW_LINES and len(waiting) % FEW_LINES and not final:
            continue
        while waiting and (count := _decided(waiting, origin, final=final)):
            group = decode_all(waiting[:count], origin, offset)
            yield group
            offset += group.size
            waiting = waiting[count:]


def _decided(lines: list[bytes], origin: Origin, *, final: bool) -> int:
    """Return how many of the first lines are decided together, 0 when they wait for more."""
    if not decode_lines(lines, origin=origin, final=final).consumed:
        return 0
    fewest = bisect_left(
        range(1, len(lines)), 1, key=lambda count: decode_lines(lines[:count], origin=origin, final=False).consumed
    )
    return decode_lines(lines[: fewest + 1], origin=origin, final=final and fewest + 1 == len(lines)).consumed


def _located(decoded: Decoded, lines: list[bytes], offset: int) -> list[Quarantined]:
    """Return each rejected range with its bytes and its place in the file, `lines` beginning at an offset."""
    located = []
    line = 0
    for bad in decoded.rejected:
        offset += sum(map(len, lines[line : bad.first])) + bad.first - line
        line = bad.first
        raw = bad.raw(lines)
        located.append(Quarantined(offset + bad.start, len(raw), bad.reason, raw))
    return located


def decode_all(lines: list[bytes], origin: Origin, offset: int) -> Chunk:
    """Decode lines that are final, apart from their file; they stood at an offset of it."""
    decoded = decode_lines(lines, origin=origin, final=True)
    size = sum(map(len, lines)) + len(lines)
    return Chunk(lines, decoded.rows, decoded.salvaged, _located(decoded, lines, offset), b"", size, START)
