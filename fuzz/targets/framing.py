"""Framing: whatever the blocks, and however the file grows, its lines are those that split finds."""

from __future__ import annotations

import os
from array import array
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from fuzz import scratch
from fuzz.feed import Feed
from shipwrightd.journals import lines as tail
from shipwrightd.journals.align import HASH_BYTES, line_hashes
from shipwrightd.journals.lines import ChangedError, Giant, Position, Reader

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTRUMENTED = ("shipwrightd.journals.lines",)
LONGEST = 160
SEEDS = (
    b"\x00\x10\x05\x02\x02\x40\x80\x00" + b'{"ts":"a"}\n{"ts":"b"}\nhalf',
    b"\x07\x04\x08\x02\x01\x80\x02" + b"a line beyond the bound\nshort\n\n\r\n",
    b"\x20\x18\x01\x00\x00\x01" + b"\n\n\n" + b"x" * 70 + b"\ny\n",
)
WORDS = (b"\n", b"\r\n", b"\n\n", b"xxxxxxxx")


@contextmanager
def bounds(*, block: int, line: int, anchor: int, head: int) -> Iterator[None]:
    """Read with small bounds, so that short inputs reach what megabytes reach otherwise."""
    before = tail.READ_BYTES, tail.MAX_LINE_BYTES, tail.ANCHOR_BYTES, tail.GIANT_HEAD_BYTES
    tail.READ_BYTES, tail.MAX_LINE_BYTES, tail.ANCHOR_BYTES, tail.GIANT_HEAD_BYTES = block, line, anchor, head
    try:
        yield
    finally:
        tail.READ_BYTES, tail.MAX_LINE_BYTES, tail.ANCHOR_BYTES, tail.GIANT_HEAD_BYTES = before


def check(data: bytes) -> None:
    """Let a file grow in pieces, read after each, and compare with all its bytes split at newlines."""
    feed = Feed(data)
    block, anchor, head = 1 + feed.upto(63), 1 + feed.byte(), 1 + feed.upto(15)
    line = block + head + feed.upto(63)  # as in life: a block and the kept head are shorter than the bound
    cuts = feed.cuts(255, 4)
    changed = feed.byte()
    content = feed.rest()
    with bounds(block=block, line=line, anchor=anchor, head=head):
        _grow(content, [cut * len(content) // 255 for cut in cuts], expected(content, line, head))
        _change(content, changed)


def expected(content: bytes, bound: int, head: int) -> list[bytes | Giant]:
    """Return the lines of a file, those over the bound as giants."""
    return [
        Giant(line[:head], len(line), blake2b(line, digest_size=HASH_BYTES).digest()) if len(line) > bound else line
        for line in content.split(b"\n")[:-1]
    ]


def drain(reader: Reader) -> list[bytes | Giant]:
    """Return all whole lines that are there."""
    found: list[bytes | Giant] = []
    while (got := reader.read()) is not None:
        found += [got] if isinstance(got, Giant) else got
    return found


def _grow(content: bytes, cuts: list[int], lines: list[bytes | Giant]) -> None:
    fd = scratch.empty()
    reader = Reader(fd, Position(0, b""))
    found: list[bytes | Giant] = []
    for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True):
        os.pwrite(fd, content[start:stop], start)
        found += drain(reader)
        rest = content[:stop].rpartition(b"\n")[2]
        assert reader.end == Position(stop, content[:stop][-tail.ANCHOR_BYTES :])
        assert reader.unfinished_bytes == len(rest)
        assert rest.startswith(reader.unfinished())
        assert reader.unfinished() == rest or len(rest) > tail.MAX_LINE_BYTES
        assert len(reader.unfinished()) <= max(tail.MAX_LINE_BYTES, tail.GIANT_HEAD_BYTES)
    assert found == lines
    if len(content) & 1:
        _resume(fd, content, cuts, lines)


def _resume(fd: int, content: bytes, cuts: list[int], lines: list[bytes | Giant]) -> None:
    """Begin anew behind whole lines: what follows is the same."""
    for cut in cuts:
        done = content[:cut].count(b"\n")
        offset = content[:cut].rfind(b"\n") + 1
        before = content[:offset][-tail.ANCHOR_BYTES :]
        info = os.fstat(fd)
        place = tail.Place(info.st_dev, info.st_ino, offset, tail.anchor_hash(before), len(before))
        position = tail.resume_at(fd, place)
        assert position == Position(offset, before)
        assert drain(Reader(fd, position)) == lines[done:]
    sizes = [line.length if isinstance(line, Giant) else len(line) for line in lines]
    blocks = list(tail.scan(fd))
    assert [size for block in blocks for size in block.sizes] == [size + 1 for size in sizes]
    hashes = [line.digest if isinstance(line, Giant) else line_hashes([line]) for line in lines]
    assert b"".join(array("Q", block.hashes).tobytes() for block in blocks) == b"".join(hashes)
    picked = [line.head if isinstance(line, Giant) else line for line in lines]
    assert tail.pick(fd, list(range(0, len(lines), 2))) == picked[::2]
    plain = [line for line in lines if isinstance(line, bytes)]
    joined = b"".join(line + b"\n" for line in plain)
    assert tail.last_bytes(b"", plain) == joined[-tail.ANCHOR_BYTES :]


def _change(content: bytes, at: int) -> None:
    """Write over one of the bytes before the position: that is noticed, and nothing is read."""
    reader = Reader(fd := scratch.holding(content), Position(0, b""))
    drain(reader)
    before = len(reader.end.before)
    if not before:
        return
    place = len(content) - 1 - at % before
    os.pwrite(fd, bytes([content[place] ^ 1]), place)
    os.pwrite(fd, b"more\n", len(content))
    try:
        reader.read()
    except ChangedError:
        return
    raise AssertionError("a changed file was read on")
