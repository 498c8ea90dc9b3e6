"""Read the intact trees and records of a damaged database file, page by page.

Reads the bytes itself, because SQLite gives up a whole tree when one of its pages is bad. Pages of committed
transactions in the write-ahead log replace those of the file, as in SQLite.
Layout: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.journals.match import increasing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Value = str | int | float | bytes | None
Record = tuple[Value, ...]

DEFAULT_PAGE_BYTES = 8_192  # if the header is lost; see database.PAGE_BYTES
HEADER_BYTES = 100
MAGIC = b"SQLite format 3\0"
LOG_MAGIC = (0x377F0682, 0x377F0683)  # the second one: checksums over big-endian words
LOG_HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE = 2, 5, 10, 13
DEEPEST = 20  # levels; SQLite has no deeper trees
LOWEST, HIGHEST = -(1 << 63), (1 << 63) - 1
NUMBER_BYTES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}  # by serial type
REAL_TYPE, ZERO_TYPE, TEXT_OR_BLOB = 7, 8, 12  # serial types; 9 is the number one
REAL = struct.Struct(">d")


class BrokenError(ValueError):
    """The bytes do not follow the file format."""


@dataclass(slots=True)
class Reading:
    """The pages that were read of one tree, and the unreadable ranges of rowids, (after, up to]."""

    seen: set[int] = field(default_factory=set)
    holes: list[tuple[int, int]] = field(default_factory=list)


class Pages:
    """The pages of a database and its log, by number from 1."""

    def __init__(self, path: Path) -> None:
        """Open both; either may be missing. Raises OSError."""
        self._file = path.open("rb") if path.exists() else None
        log = path.with_name(path.name + "-wal")
        self._log = log.read_bytes() if log.exists() else b""
        header = self._bytes(0, HEADER_BYTES)
        size = int.from_bytes(header[16:18]) if header.startswith(MAGIC) else 0
        size = 65_536 if size == 1 else size
        if size < 512 or size & (size - 1):  # noqa: PLR2004 - the least that SQLite has
            size = int.from_bytes(self._log[8:12]) if _is_log(self._log) else DEFAULT_PAGE_BYTES
        self.size = size
        self._frames, in_log = committed_frames(self._log, size)
        self.count = in_log or ((path.stat().st_size if self._file is not None else 0) + size - 1) // size

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _bytes(self, offset: int, size: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(offset)
        return self._file.read(size)

    def page(self, number: int) -> bytes:
        """Return the bytes of a page. Raises BrokenError when there is no such page, OSError."""
        if not 1 <= number <= self.count:
            raise BrokenError(f"no page {number}")
        at = self._frames.get(number)
        found = self._bytes((number - 1) * self.size, self.size) if at is None else self._log[at : at + self.size]
        if len(found) != self.size:
            raise BrokenError(f"page {number} is cut short")
        return found

    def shadowed(self) -> Iterator[bytes]:
        """Yield the pages of the file that the log replaces: if the log is damaged, they may be newer."""
        for number in self._frames:
            page = self._bytes((number - 1) * self.size, self.size)
            if len(page) == self.size and number > 1:
                yield page

    def free_pages(self, most: int = sys.maxsize) -> tuple[set[int], str | None]:
        """Return the free pages, as far as their list is readable, and its damage; reads `most` pages of it."""
        free: set[int] = set()
        damage = None
        trunk = 0
        with suppress(BrokenError):
            trunk, count = struct.unpack_from(">II", self.page(1), 32)
            for _ in range(most):
                if not trunk:
                    lacking = count - len(free)
                    return free, damage or (f"the list of free pages lacks {lacking}" if lacking > 0 else None)
                page = self.page(trunk)
                size = int.from_bytes(page[4:8])
                if trunk in free or size > self.size // 4 - 2:
                    break
                leaves = struct.unpack_from(f">{size}I", page, 8)
                if len(free) + size >= count or any(not 1 < leaf <= self.count for leaf in leaves):
                    damage = damage or f"the list of free pages is damaged at page {trunk}"
                free.update(leaves, (trunk,))
                trunk = int.from_bytes(page[:4])
            else:
                return free, damage
        return free, damage or f"the list of free pages is damaged at page {trunk}"

    # -- trees

    def records(self, root: int, reading: Reading) -> Iterator[tuple[int | None, Record]]:
        """Yield the intact records of a tree with their rowids, if it has them, in the order of these."""
        stack = [(root, LOWEST, HIGHEST, 0)]
        has_rowids = 0
        while stack:
            number, low, high, depth = stack.pop()
            children, page = None, b""
            with suppress(BrokenError):
                if number not in reading.seen and depth <= DEEPEST:
                    page = self.page(number)
                    reading.seen.add(number)
                    children = self.children(page, number, low, high)
                    has_rowids = has_rowids if depth else page[_at(number)] & 1
            if children is None or page[_at(number)] & 1 != has_rowids:
                reading.holes.append((low, high))
                continue
            stack.extend((child, after, to, depth + 1) for child, after, to in reversed(children))
            yield from self.page_records(page, number, low, high, reading.holes)

    def children(self, page: bytes, number: int, low: int, high: int) -> list[tuple[int, int, int]]:
        """Return the pages below a page with their ranges of rowids, (after, up to]. Raises BrokenError."""
        cells, last = cell_places(page, number), _at(number) + 8
        kind = page[_at(number)]
        if kind in {LEAF_INDEX, LEAF_TABLE}:
            return []
        if kind == INTERIOR_INDEX:
            return [(int.from_bytes(page[at : at + 4]), low, high) for at in (*cells, last)]
        found = []
        for at in cells:
            key = varint(page, at + 4)[0]
            if not low <= key <= high:
                raise BrokenError("keys out of order")
            found.append((int.from_bytes(page[at : at + 4]), low, key))
            low = key
        return [*found, (int.from_bytes(page[last : last + 4]), low, high)]

    def page_records(
        self, page: bytes, number: int, low: int, high: int, holes: list[tuple[int, int]]
    ) -> list[tuple[int | None, Record]]:
        """Return the intact records of one page, and add the ranges around broken ones to the holes."""
        found: list[Record] = []
        ids: list[int] = []
        broken: list[int] = []  # for each broken record the intact ones before it
        kind = page[_at(number)]
        for at in cell_places(page, number) if kind != INTERIOR_TABLE else ():
            rowid = low  # of no record in this page
            with suppress(BrokenError):
                length, start = varint(page, at + 4 if kind == INTERIOR_INDEX else at)
                key, start = varint(page, start) if kind == LEAF_TABLE else (high, start)
                values = record(self._payload(page, start, length, table=kind == LEAF_TABLE))
                rowid = key
            if low < rowid <= high:
                found.append(values)
                ids.append(rowid)
            else:
                broken.append(len(found))
        if kind != LEAF_TABLE:
            holes += [(low, high)] * len(broken)
            return [(None, values) for values in found]
        kept = increasing(ids)
        broken += sorted(set(range(len(ids))) - set(kept))
        ends = [low, *(ids[i] for i in kept), high + 1]
        ranges = ((ends[at], ends[at + 1] - 1) for at in (bisect_left(kept, i) for i in broken))
        holes += [(after, to) for after, to in ranges if after < to]
        return [(ids[i], found[i]) for i in kept]

    def _payload(self, page: bytes, start: int, length: int, *, table: bool) -> bytes:
        most = self.size - 35 if table else (self.size - 12) * 64 // 255 - 23
        if length <= most:
            if start + length > len(page):
                raise BrokenError("a record beyond its page")
            return page[start : start + length]
        if length > self.count * self.size:
            raise BrokenError("a record larger than the file")
        least = (self.size - 12) * 32 // 255 - 23
        local = least + (length - least) % (self.size - 4)
        local = local if local <= most else least
        if start + local + 4 > len(page):
            raise BrokenError("a record beyond its page")
        parts, left = [page[start : start + local]], length - local
        following = int.from_bytes(page[start + local : start + local + 4])
        while left > 0:
            more = self.page(following)
            following = int.from_bytes(more[:4])
            parts.append(more[4 : 4 + min(left, self.size - 4)])
            left -= len(parts[-1])
        return b"".join(parts)


def _at(number: int) -> int:
    """Return the offset of the tree in a page: the first page begins with the header of the file."""
    return HEADER_BYTES if number == 1 else 0


def cell_places(page: bytes, number: int) -> Sequence[int]:
    """Return the offsets of the cells of a page. Raises BrokenError if they cannot be right."""
    start = _at(number)
    kind = page[start]
    if kind not in {INTERIOR_INDEX, INTERIOR_TABLE, LEAF_INDEX, LEAF_TABLE}:
        raise BrokenError("not a page of a tree")
    first = start + (8 if kind in {LEAF_INDEX, LEAF_TABLE} else 12)
    count = int.from_bytes(page[start + 3 : start + 5])
    if first + 2 * count > len(page):
        raise BrokenError("more cells than fit")
    places = struct.unpack(f">{count}H", page[first : first + 2 * count])
    if places and (min(places) < first + 2 * count or max(places) > len(page) - 2):
        raise BrokenError("a cell outside its page")
    return places


def varint(page: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes and the offset behind it. Raises BrokenError at the end of the page."""
    value = 0
    try:
        for i in range(8):
            byte = page[at + i]
            value = value << 7 | byte & 0x7F
            if byte < 0x80:  # noqa: PLR2004 - the highest bit
                return value, at + i + 1
        value = value << 8 | page[at + 8]
    except IndexError as error:
        raise BrokenError("a number beyond its page") from error
    return (value - (1 << 64) if value >> 63 else value), at + 9


def record(payload: bytes) -> Record:
    """Return the values of a record. Raises BrokenError unless its header and body agree."""
    end, at = varint(payload, 0)
    body = end
    if not 1 <= end <= len(payload):
        raise BrokenError("a header beyond its record")
    values: list[Value] = []
    try:
        while at < end:
            kind, at = varint(payload, at)
            size = (kind - TEXT_OR_BLOB) // 2 if kind >= TEXT_OR_BLOB else NUMBER_BYTES[kind]
            raw = payload[body : body + size]
            body += size
            if kind >= TEXT_OR_BLOB:
                values.append(raw.decode() if kind & 1 else raw)
            elif kind < REAL_TYPE:
                values.append(int.from_bytes(raw, signed=True) if kind else None)
            else:
                values.append(REAL.unpack(raw)[0] if kind == REAL_TYPE else kind - ZERO_TYPE)
    except (UnicodeDecodeError, struct.error, KeyError) as error:  # the latter for an unknown type
        raise BrokenError("a value that cannot be read") from error
    if at != end or body != len(payload):
        raise BrokenError("a header of another record")
    return tuple(values)


# -- the write-ahead log


def _is_log(log: bytes) -> bool:
    size = int.from_bytes(log[8:12])
    return len(log) > LOG_HEADER_BYTES and int.from_bytes(log[:4]) in LOG_MAGIC and 512 <= size <= 65_536  # noqa: PLR2004


def committed_frames(log: bytes, size: int) -> tuple[dict[int, int], int]:
    """Return the offset in the log of each page of committed transactions, and the number of pages after them."""
    frames: dict[int, int] = {}
    if not _is_log(log) or int.from_bytes(log[8:12]) != size:
        return frames, 0
    order = ">" if int.from_bytes(log[:4]) & 1 else "<"
    sums = checksum(log[:24], order, (0, 0))
    if sums != struct.unpack(">II", log[24:32]):
        return frames, 0
    pending: dict[int, int] = {}
    pages = 0
    for at in range(LOG_HEADER_BYTES, len(log) - FRAME_HEADER_BYTES - size + 1, FRAME_HEADER_BYTES + size):
        number, commit = struct.unpack(">II", log[at : at + 8])
        start = at + FRAME_HEADER_BYTES
        if log[at + 8 : at + 16] != log[16:24]:
            break
        sums = checksum(log[start : start + size], order, checksum(log[at : at + 8], order, sums))
        if sums != struct.unpack(">II", log[at + 16 : at + 24]):
            break
        pending[number] = start
        if commit:
            frames |= pending
            pending = {}
            pages = commit
    return frames, pages


def checksum(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """Return SQLite's running checksum of the log after some more bytes."""
    one, two = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for first, second in zip(words, words, strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two
