"""Framing: whatever the blocks, and however the file grows, its lines are those that split returns."""

from __future__ import annotations

import os
from array import array
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING

from fuzz import scratch
from fuzz.feed import Feed
from shipwrightd.journals import lines as module
from shipwrightd.journals.lines import HASH_BYTES, START, ChangedError, Giant, Position, Reader, line_hashes

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
    before = module.READ_BYTES, module.MAX_LINE_BYTES, module.ANCHOR_BYTES, module.GIANT_HEAD_BYTES
    module.READ_BYTES, module.MAX_LINE_BYTES, module.ANCHOR_BYTES, module.GIANT_HEAD_BYTES = block, line, anchor, head
    try:
        yield
    finally:
        module.READ_BYTES, module.MAX_LINE_BYTES, module.ANCHOR_BYTES, module.GIANT_HEAD_BYTES = before


def check(data: bytes) -> None:
    """Let a file grow in pieces, read after each, and compare with all its bytes split at newlines."""
    feed = Feed(data)
    block, anchor, head = 1 + feed.upto(63), 1 + feed.byte(), 1 + feed.upto(15)
    line = block + head + feed.upto(63)  # as in life: a block and the kept head are shorter than the bound
    cuts = feed.cuts(255, 4)
    changed = feed.byte()
    content = feed.rest()
    with bounds(block=block, line=line, anchor=anchor, head=head):
        _grow(content, [cut * len(content) // 255 for cut in cuts], expected(content.split(b"\n")[:-1]))
        _change(content, changed)


def expected(lines: list[bytes]) -> list[bytes | Giant]:
    """Return lines, those over the bound as giants."""
    return [
        Giant(line[: module.GIANT_HEAD_BYTES], len(line), blake2b(line, digest_size=HASH_BYTES).digest())
        if len(line) > module.MAX_LINE_BYTES
        else line
        for line in lines
    ]


def drain(reader: Reader) -> list[bytes | Giant]:
    """Return all whole lines that are there."""
    found: list[bytes | Giant] = []
    while (got := reader.read()) is not None:
        found += [got] if isinstance(got, Giant) else got
    return found


def _grow(content: bytes, cuts: list[int], lines: list[bytes | Giant]) -> None:
    fd = scratch.empty()
    reader = Reader(fd, START)
    found: list[bytes | Giant] = []
    for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True):
        os.pwrite(fd, content[start:stop], start)
        found += drain(reader)
        rest = content[:stop].rpartition(b"\n")[2]
        assert reader.end == Position(stop, content[:stop][-module.ANCHOR_BYTES :])
        assert reader.unfinished_bytes == len(rest)
        assert rest.startswith(reader.unfinished())
        assert reader.unfinished() == rest or len(rest) > module.MAX_LINE_BYTES
        assert len(reader.unfinished()) <= max(module.MAX_LINE_BYTES, module.GIANT_HEAD_BYTES)
    assert found == lines
    if len(content) & 1:
        _resume(fd, content, cuts, lines)
        _stop(fd, content, cuts)


def _resume(fd: int, content: bytes, cuts: list[int], lines: list[bytes | Giant]) -> None:
    """Resume behind whole lines: what follows is the same. The beginning of a file proves nothing."""
    for cut in cuts:
        done = content[:cut].count(b"\n")
        offset = content[:cut].rfind(b"\n") + 1
        before = content[:offset][-module.ANCHOR_BYTES :]
        info = os.fstat(fd)
        place = module.Place(info.st_dev, info.st_ino, offset, module.anchor_hash(before), len(before))
        position = module.resume_at(fd, place)
        assert position == (Position(offset, before) if offset else None)
        assert drain(Reader(fd, position or START)) == lines[done:]
    sizes = [line.length if isinstance(line, Giant) else len(line) for line in lines]
    blocks = list(module.scan(fd))
    assert [size for block in blocks for size in block.sizes] == [size + 1 for size in sizes]
    hashes = [line.digest if isinstance(line, Giant) else line_hashes([line]) for line in lines]
    assert b"".join(array("Q", block.hashes).tobytes() for block in blocks) == b"".join(hashes)
    plain = [line for line in lines if isinstance(line, bytes)]
    joined = b"".join(line + b"\n" for line in plain)
    assert module.last_bytes(b"", plain) == joined[-module.ANCHOR_BYTES :]


def _stop(fd: int, content: bytes, cuts: list[int]) -> None:
    """Read up to a byte, as if the file ended there; what is behind the last newline is a line, too."""
    for cut in cuts:
        reader = Reader(fd, START, cut)
        reader.final = True
        *whole, half = content[:cut].split(b"\n")
        assert drain(reader) == expected([*whole, half] if half else whole)
        assert reader.end == Position(cut, content[:cut][-module.ANCHOR_BYTES :])
        assert (reader.unfinished(), reader.unfinished_bytes) == (b"", 0)
        if len(half) < module.MAX_LINE_BYTES:
            assert module.begun_before(fd, reader.end) == half
        assert module.position_at(fd, cut) == reader.end


def _change(content: bytes, at: int) -> None:
    """Write over one of the bytes before the position: that is noticed, and nothing is read."""
    reader = Reader(fd := scratch.holding(content), START)
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
