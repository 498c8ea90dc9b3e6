"""Records: however a journal grows and is taken back, its chunks are one decoding of the whole file."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fuzz import scratch
from fuzz.feed import Feed
from fuzz.targets.framing import bounds
from shipwrightd.decoding import Quarantined
from shipwrightd.decoding.events import JOURNAL
from shipwrightd.journals import records
from shipwrightd.journals.lines import START, line_hashes
from shipwrightd.journals.records import Chunk, Records, decode_all, singly

if TYPE_CHECKING:
    from shipwrightd.decoding import EventRow

INSTRUMENTED = ("shipwrightd.journals.records", "shipwrightd.journals.lines")
ANCHOR_BYTES = HEAD_BYTES = 8  # shorter than any line that is too long, as in life
GOOD = b'{"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200,"type":"t","issue":7}'
SPLIT = b'{"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200,"type":"t","goal":"one\ntwo\nthree","n":1}'
LONGEST = 320
SEEDS = (
    b"\xff\xff\x03\x02\x40\x80\x01" + GOOD + b"\n" + SPLIT + b"\n" + GOOD + b"\n",
    b"\x1f\x20\x00\x03\x20\x60\xa0\x02" + SPLIT + b"\nnone\n" + GOOD[:40] + GOOD + b"\n\n\x00\x00" + GOOD + b"\nha",
    b"\x40\x50\x01\x01\x80\x00" + GOOD[:30] + b"\n" + b"x" * 90 + b"\n" + GOOD + b"\n",
)
WORDS = (b"\n", GOOD + b"\n", SPLIT, b'{"ts":"', b'"}\n', b'","', b"\x00\x00", b"{\n", b"}\n")


@dataclass(slots=True)
class _Taken:
    rows: list[EventRow] = field(default_factory=list)
    kept: list[Quarantined] = field(default_factory=list)
    hashes: bytes = b""
    salvaged: int = 0

    def add(self, chunk: Chunk) -> None:
        self.rows += chunk.rows
        self.kept += chunk.rejected
        self.hashes += chunk.hashes
        self.salvaged += chunk.salvaged


def check(data: bytes) -> None:
    """Let a journal grow in pieces, pull and sometimes take back, and compare with the whole."""
    feed = Feed(data)
    block, chunk_lines = 1 + feed.byte(), 1 + feed.upto(15)
    line = block + HEAD_BYTES + feed.byte()
    cuts = feed.cuts(255, 2)
    taken_back = feed.byte()  # one bit a piece
    content = feed.rest()
    places = [cut * len(content) // 255 for cut in cuts]
    before = records.CHUNK_LINES
    records.CHUNK_LINES = chunk_lines
    try:
        with bounds(block=block, line=line, anchor=ANCHOR_BYTES, head=HEAD_BYTES):
            _follow(content, places, taken_back, line)
    finally:
        records.CHUNK_LINES = before


def _follow(content: bytes, cuts: list[int], taken_back: int, bound: int) -> None:
    fd = scratch.empty()
    reading = Records(fd, START, origin=JOURNAL)
    taken = _Taken()
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(content)], strict=True)):
        os.pwrite(fd, content[start:stop], start)
        if taken_back >> number & 1:  # the transaction failed: all comes back
            reading.begin()
            _pull(reading, content, _Taken(), final=False)
            reading.rollback()
        _pull(reading, content, taken, final=False)
        left = reading.leftover()
        assert content[reading.position.offset : stop].startswith(left) or len(left) > bound
    _pull(reading, content, taken, final=True)
    _compare(reading, content, taken, bound)
    whole = list(records.records(fd, JOURNAL))
    assert [row for chunk in whole for row in chunk.rows] == taken.rows
    assert [bad for chunk in whole for bad in chunk.rejected] == taken.kept
    _stop(content, cuts)


def _pull(reading: Records, content: bytes, taken: _Taken, *, final: bool) -> None:
    while (chunk := reading.pull(final=final)) is not None:
        assert chunk.count > 0
        assert reading.position.offset + chunk.size == chunk.end.offset
        assert chunk.end.before == content[: chunk.end.offset][-ANCHOR_BYTES:]
        reading.stored(chunk)
        taken.add(chunk)
        _singly(chunk)


def _singly(chunk: Chunk) -> None:
    """Split a chunk: what comes out is what it holds."""
    groups = list(singly(chunk, JOURNAL))
    assert all(group.count for group in groups)
    assert [text for group in groups for text in group.lines] == chunk.lines
    assert [row for group in groups for row in group.rows] == chunk.rows
    assert [bad for group in groups for bad in group.rejected] == chunk.rejected
    assert sum(group.size for group in groups) == chunk.size


def _stop(content: bytes, cuts: list[int]) -> None:
    """Read up to a byte, as if the file ended there."""
    for cut in cuts:
        for unterminated in (False, True):
            stopped = list(records.records(scratch.holding(content), JOURNAL, stop=cut, unterminated=unterminated))
            ended = list(records.records(scratch.holding(content[:cut]), JOURNAL, unterminated=unterminated))
            assert stopped == ended


def _compare(reading: Records, content: bytes, taken: _Taken, bound: int) -> None:
    whole = content.rpartition(b"\n")
    lines = whole[0].split(b"\n") if whole[1] else []
    assert reading.position.offset == len(whole[0]) + len(whole[1])
    assert reading.lines == len(lines)
    half = reading.unfinished()
    assert (half.length if half else 0) == (len(whole[2]) if whole[2].strip() else 0) or len(whole[2]) > bound
    assert taken.hashes == line_hashes(lines)
    assert taken.salvaged == sum(row[10] for row in taken.rows)
    rows, kept = _decoded(lines, bound)
    assert taken.rows == rows
    assert taken.kept == kept
    for bad in taken.kept:
        assert content.startswith(bad.raw, bad.offset)
        assert len(bad.raw) == (bad.length if bad.reason != "line_too_long" else min(bad.length, HEAD_BYTES))


def _decoded(lines: list[bytes], bound: int) -> tuple[list[EventRow], list[Quarantined]]:
    """Decode the lines between giants, each stretch by itself."""
    rows: list[EventRow] = []
    kept: list[Quarantined] = []
    offset = 0
    stretch: list[bytes] = []
    for line in [*lines, None]:
        if line is not None and len(line) <= bound:
            stretch.append(line)
            continue
        chunk = decode_all(stretch, JOURNAL, offset)
        rows += chunk.rows
        kept += chunk.rejected
        offset += chunk.size
        stretch = []
        if line is not None:
            kept.append(Quarantined(offset, len(line), "line_too_long", line[:HEAD_BYTES]))
            offset += len(line) + 1
    return rows, kept
