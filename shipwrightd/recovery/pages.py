"""Read the intact trees and records of a damaged database file, page by page.

Reads the bytes itself, because SQLite gives up a whole tree when one of its pages is bad. Pages of committed
transactions in the write-ahead log replace those of the file, as in SQLite.
Layout: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_left
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
        try:
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
        except BrokenError:
            pass
        return free, damage or f"the list of free pages is damaged at page {trunk}"

    # -- trees

    def rows(self, root: int, reading: Reading) -> Iterator[list[tuple[int, Record]]]:
        """Yield the rows of a table, leaf by leaf in the order of their rowids."""
        stack = [(root, LOWEST, HIGHEST, 0)]
        while stack:
            number, low, high, depth = stack.pop()
            try:
                kind, page = self._node(number, reading, depth)
                if kind == LEAF_TABLE:
                    yield self.leaf(page, number, low, high, reading.holes)
                elif kind == INTERIOR_TABLE:
                    children = self._children(page, number, low, high)
                    stack.extend((child, after, to, depth + 1) for child, after, to in reversed(children))
                else:
                    reading.holes.append((low, high))
            except BrokenError:
                reading.holes.append((low, high))

    def entries(self, root: int, reading: Reading) -> Iterator[Record]:
        """Yield the records of a tree without rowids, each level before those below it."""
        stack = [(root, 0)]
        while stack:
            number, depth = stack.pop()
            try:
                kind, page = self._node(number, reading, depth)
                cells = cell_places(page, number)
            except BrokenError:
                kind, cells = 0, ()
            if kind not in {LEAF_INDEX, INTERIOR_INDEX}:
                reading.holes.append((LOWEST, HIGHEST))
                continue
            if kind == INTERIOR_INDEX:
                stack.append((int.from_bytes(page[_at(number) + 8 : _at(number) + 12]), depth + 1))
                stack.extend((int.from_bytes(page[at : at + 4]), depth + 1) for at in cells)
            yield from self.index_records(page, number, reading.holes)

    def _node(self, number: int, reading: Reading, depth: int) -> tuple[int, bytes]:
        if number in reading.seen or depth > DEEPEST:
            raise BrokenError("a tree that contains itself")
        page = self.page(number)
        reading.seen.add(number)
        return page[_at(number)], page

    def _children(self, page: bytes, number: int, low: int, high: int) -> list[tuple[int, int, int]]:
        found = []
        after = low
        for at in cell_places(page, number):
            key = varint(page, at + 4)[0]
            if not after <= key <= high:
                raise BrokenError("keys out of order")
            found.append((int.from_bytes(page[at : at + 4]), after, key))
            after = key
        found.append((int.from_bytes(page[_at(number) + 8 : _at(number) + 12]), after, high))
        return found

    def leaf(
        self, page: bytes, number: int, low: int, high: int, holes: list[tuple[int, int]]
    ) -> list[tuple[int, Record]]:
        """Return the intact rows of one leaf, and add the ranges around broken ones to the holes."""
        found: list[tuple[int, Record]] = []
        broken: list[int] = []  # for each broken row the intact ones before it
        for at in cell_places(page, number):
            try:
                length, at_id = varint(page, at)
                rowid, start = varint(page, at_id)
                values = record(self._payload(page, start, length, table=True))
            except BrokenError:
                broken.append(len(found))
            else:
                if low < rowid <= high:
                    found.append((rowid, values))
                else:
                    broken.append(len(found))
        kept = increasing([rowid for rowid, _ in found])
        if len(kept) < len(found):
            whole = set(kept)
            broken += [i for i in range(len(found)) if i not in whole]
        ids = [low, *(found[i][0] for i in kept), high + 1]
        ranges = ((ids[at], ids[at + 1] - 1) for at in (bisect_left(kept, i) for i in broken))
        holes += [(after, to) for after, to in ranges if after < to]
        return [found[i] for i in kept]

    def index_records(self, page: bytes, number: int, holes: list[tuple[int, int]]) -> list[Record]:
        """Return the intact records of one page of a tree without rowids."""
        found = []
        skip = 4 if page[_at(number)] == INTERIOR_INDEX else 0
        for at in cell_places(page, number):
            try:
                length, start = varint(page, at + skip)
                found.append(record(self._payload(page, start, length, table=False)))
            except BrokenError:
                holes.append((LOWEST, HIGHEST))
        return found

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
    except UnicodeDecodeError as error:
        raise BrokenError("text that is not UTF-8") from error
    except struct.error as error:
        raise BrokenError("a number beyond its record") from error
    except KeyError as error:
        raise BrokenError("an unknown serial type") from error
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
