"""What a file has in common with what was read, line by line: up to where it is known.

Reads files, writes nothing; raises ChangedError when one is cut meanwhile.
"""

from __future__ import annotations

import os
import re
from array import array
from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

from shipwrightd.recovery.old_align import (
    HASH_BYTES,
    SURE_LINES,
    WINDOW_LINES,
    RunSearch,
    TailSearch,
    Verdict,
    decide,
    is_sure,
    line_hashes,
    prefix_matches,
)
from shipwrightd.recovery.old_lines import (
    ANCHOR_BYTES,
    READ_BYTES,
    ChangedError,
    Giant,
    Position,
    Reader,
    position_at,
    read_at,
    scan,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipwrightd.recovery.old_align import Run
    from shipwrightd.recovery.old_lines import Place


SEAM = re.compile(rb"(?<=})|(?={)")  # where a record may end, or one begin


class How(Enum):
    """What the plan rests on."""

    FRESH = auto()  # nothing of this source was read before
    ANCHOR = auto()  # a file holds the anchor in its place: go on as if nothing happened
    OVERLAP = auto()  # a file begins with, or contains, the end of what was read
    NOTHING = auto()  # no file has anything in common with what was read
    WAIT = auto()  # a file may still be being written: look again
    EMPTY = auto()  # no whole line is there yet; what it will become cannot be known


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much of a file is known, and its line hashes up to there."""

    known: int  # lines
    offset: int  # bytes
    window: array[int]
    unknown: list[int] = field(default_factory=list)  # positions of edited lines before `known`
    next_hash: int | None = None  # of the line that came next in the history


def overlap_of(fd: int, history: Sequence[int], *, settled: bool, in_place: bool) -> Overlap | How:
    """Return what a file has in common with a history: an overlap, or NOTHING, EMPTY without a whole line, or WAIT.

    `settled`: nothing is being written to the file. `in_place`: the file is the
    one that was read, written over; what replaces it may come piece by piece,
    while a renamed file is whole when it appears.
    """
    blocks = scan(fd)
    head: array[int] = array("Q")
    sizes: list[int] = []
    for block in blocks:
        head.extend(block.hashes)
        sizes.extend(block.sizes)
        if len(head) > len(history):
            break
    whole = len(head) <= len(history)
    if not head:
        return How.EMPTY
    decision = decide(history, head, whole=whole, settled=settled)
    if decision.verdict is Verdict.WAIT:
        return How.WAIT
    if decision.verdict is Verdict.LOOK_FURTHER:
        tail, part = _search(history, chain([head], (block.hashes for block in blocks)))
        edited = part.known > decision.run.length
        sure = is_sure(decision.run, sizes)
        sure |= in_place and _begins_alike(history, head, decision.run.length)
        trimmed = sure and decision.run.start > 0  # a file written anew, piece by piece, begins as it did
        if not settled and not tail.known and (in_place or not trimmed):
            return How.WAIT
        if tail.known or edited:
            return _searched(fd, tail if tail.known else part)
        if not sure:
            return How.NOTHING
    return _head_overlap(history, decision.run, sizes)


def _begins_alike(history: Sequence[int], head: Sequence[int], lines: int) -> bool:
    """Tell whether a file written to in place begins as it always did: it lost its end and was written on since.

    A history shorter than the window begins with the file's first line. Lines that are all equal prove nothing,
    for inode numbers come back.
    """
    same = list(history[:lines]) == list(head[:lines])
    return same and len(history) < WINDOW_LINES and len(set(head[:lines])) > 1


def _head_overlap(history: Sequence[int], run: Run, sizes: Sequence[int]) -> Overlap:
    window = array("Q", history[run.start : run.start + run.length])
    end = run.start + run.length
    next_hash = history[end] if end < len(history) else None
    return Overlap(run.length, sum(sizes[: run.length]), window, next_hash=next_hash)


def _search(history: Sequence[int], parts: Iterable[Sequence[int]]) -> tuple[TailSearch, RunSearch]:
    tail, part = TailSearch(history), RunSearch(history)
    for hashes in parts:
        tail.feed(hashes)
        part.feed(hashes)
    return tail, part


def _searched(fd: int, search: TailSearch | RunSearch) -> Overlap:
    offset = _offset_of(fd, search.known)
    return Overlap(search.known, offset, array("Q", search.window), search.unknown, search.next_hash)


def _offset_of(fd: int, lines: int) -> int:
    offset = seen = 0
    for block in scan(fd):
        sizes = block.sizes[: lines - seen]
        offset += sum(sizes)
        seen += len(sizes)
        if seen == lines:
            break
    return offset


def position_behind(fd: int, overlap: Overlap) -> Position:
    """Return the position behind an overlap, and behind the text of the next known line if that has lost its newline.

    Raises ChangedError where another line stands before it by now.
    """
    position = position_at(fd, overlap.offset)
    head, _, last = position.before[:-1].rpartition(b"\n")
    whole = head or overlap.offset <= ANCHOR_BYTES
    if whole and line_hashes([last]) != overlap.window[-1:].tobytes():
        raise ChangedError
    if overlap.next_hash is None:
        return position
    text = _torn(fd, position, overlap.next_hash)
    return Position(overlap.offset + len(text), (position.before + text)[-ANCHOR_BYTES:])


def _torn(fd: int, position: Position, wanted: int) -> bytes:
    """Return the beginning of the next line that has this hash: cut before its newline, what follows is glued to it.

    Between two texts of which neither is a record no seam is looked for.
    """
    reader = Reader(fd, position)
    lines = reader.read()
    if isinstance(lines, Giant):
        return b""
    line = lines[0] if lines else reader.unfinished()
    seams = [match.start() for match in SEAM.finditer(line)]
    hasher = blake2b(digest_size=HASH_BYTES)
    start = 0
    for end in seams if lines else [*seams, len(line)]:
        hasher.update(line[start:end])
        start = end
        if array("Q", hasher.digest())[0] == wanted:
            return line[:end]
    return b""


def known_up_to(fd: int, end: int) -> Overlap:
    """Return the whole lines before a position as known. Raises ChangedError when the file ends before it."""
    window: deque[int] = deque(maxlen=WINDOW_LINES)
    lines = offset = 0
    for block in scan(fd):
        for size, line in zip(block.sizes, block.hashes, strict=True):
            if offset + size > end:
                return Overlap(lines, offset, array("Q", window))
            offset += size
            lines += 1
            window.append(line)
    if os.fstat(fd).st_size < end:
        raise ChangedError
    return Overlap(lines, offset, array("Q", window))


def repeated_from(fd: int, newer: int) -> int:
    """Return from which byte on a newer file begins with what a file ends with: its size where it does not.

    The file was copied, and what it was copied from is still there, whole or trimmed. Rotated files share nothing;
    a few equal lines, or lines that are all alike, prove no copy.
    """
    size = os.fstat(fd).st_size
    lines, sizes = _last_lines(fd)
    head: array[int] = array("Q")
    for block in scan(newer):
        head.extend(block.hashes)
        if len(head) >= len(lines):
            break
    if len(set(lines)) > 1 and _begins_with(newer, fd, size):
        return 0
    if not head or head[0] not in lines:
        return size
    reach = prefix_matches(lines, head[: len(lines)])
    at = next((at for at, length in enumerate(reach) if at + length == len(lines)), len(lines))
    sure = len(lines) - at >= SURE_LINES and len(set(lines[at:])) > 1
    return size - sum(sizes[at:]) if sure else size


def _begins_with(newer: int, fd: int, size: int) -> bool:
    """Tell whether another file begins with so many bytes of this one."""
    for at in range(0, size, READ_BYTES):
        block = read_at(fd, min(READ_BYTES, size - at), at)
        if read_at(newer, len(block), at) != block:
            return False
    return True


def _last_lines(fd: int) -> tuple[list[int], list[int]]:
    """Return hashes and sizes of a file's last lines, at most WINDOW_LINES."""
    hashes: deque[int] = deque(maxlen=WINDOW_LINES)
    sizes: deque[int] = deque(maxlen=WINDOW_LINES)
    for block in scan(fd):
        hashes.extend(block.hashes)
        sizes.extend(block.sizes)
    return list(hashes), list(sizes)


def same_file(fd: int, place: Place) -> bool:
    """Tell whether a file has the device and inode of a place; a hint, never a proof."""
    info = os.fstat(fd)
    return (info.st_dev, info.st_ino) == (place.device, place.inode)
