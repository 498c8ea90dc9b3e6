"""How much of a file the database holds, where the history of line hashes does not say: asked row by row.

Rare and bounded: a backup that is put back, lines taken out all over a file, another way of writing the same
records. Reads files and database, writes nothing; raises ChangedError when a file is cut meanwhile.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from shipwrightd.decoding.events import decode_lines
from shipwrightd.decoding.rows import row_hash
from shipwrightd.journals import store
from shipwrightd.journals.align import SURE_LINES, WINDOW_LINES, line_hashes
from shipwrightd.journals.compare import How, Overlap, position_behind
from shipwrightd.journals.lines import Giant, Position, Reader
from shipwrightd.journals.locate import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from shipwrightd.decoding.events import Decoded
    from shipwrightd.journals.sources import JournalSource

FEW_LINES = 16  # of one record; an open one that is longer is not tried with each line
MOST_BYTES = 64 << 20  # of a file that is asked for; Shipwright keeps a tenth of that


@dataclass(slots=True)
class Group:
    """Some lines that were decided together: a record of several lines, or one line."""

    lines: int
    hashes: bytes
    end: int  # bytes
    marks: list[int]  # of its rows
    rejected: list[bytes]
    known: bool | None = None  # None: blank
    single: bool = False  # no other row is like its own


@dataclass(slots=True)
class Recalled:
    """What a file holds, group by group."""

    pruned: dict[str, int]  # origin: seconds since 1970 before which rows were taken away, and stay away
    groups: list[Group] = field(default_factory=list)
    epochs: set[int | None] = field(default_factory=set)

    def take(self, lines: Sequence[bytes], decoded: Decoded, hashes: bytes, end: int) -> None:
        """Add some lines that were decided together."""
        raw = [bad.raw(lines) for bad in decoded.rejected]
        rows = [row for row in decoded.rows if row[1] is None or row[1] >= self.pruned.get(row[9], row[1])]
        self.groups.append(Group(len(lines), hashes, end, [row_hash(row) for row in rows], raw))
        self.epochs.update(row[1] for row in rows)

    def judge(self, stored: Counter[int], kept: Counter[bytes]) -> None:
        """Say which groups the database holds; of equal ones the first, for what is new stands behind."""
        times = Counter(stored)
        for group in self.groups:
            needed, raw = Counter(group.marks), Counter(group.rejected)
            if needed or raw:
                group.known = all(stored[mark] >= count for mark, count in needed.items())
                group.known &= all(kept[text] >= count for text, count in raw.items())
            if group.known:
                group.single = bool(needed) and all(times[mark] == 1 for mark in needed)
                stored.subtract(needed)
                kept.subtract(raw)

    def is_sure(self) -> bool:
        """Tell whether that is no chance: enough different rows are there, or most of a few."""
        known = {mark for group in self.groups if group.known for mark in group.marks}
        every = {mark for group in self.groups for mark in group.marks}
        return len(known) >= SURE_LINES or (len(known) > 1 and len(known) * 2 > len(every))


def recall(db: apsw.Connection, source: JournalSource, fd: int, plan: Plan) -> Plan:
    """Return a plan that stores of a file only what the database lacks.

    The given one where nothing is in doubt, the file is too large, or too little of it is stored to be sure.
    Raises OSError, and ChangedError when the file is cut or written over meanwhile.
    """
    overlap = plan.overlap
    if not _in_doubt(plan, fd) or os.fstat(fd).st_size > MOST_BYTES:
        return plan
    found = Recalled(store.pruned_before(db))
    for group in _groups(fd, source):
        found.take(*group)
    stored = Counter(map(row_hash, store.events_at(db, source.name, found.epochs)))
    found.judge(stored, Counter(store.quarantined(db, source.name)))
    if not found.is_sure():
        return plan
    return _plan(fd, plan, found, overlap or Overlap(0, 0, array("Q")))


def _in_doubt(plan: Plan, fd: int) -> bool:
    """Tell whether lines of the file may be stored that the history does not have."""
    overlap = plan.overlap
    if overlap is None:
        return plan.how in {How.NOTHING, How.FRESH}
    older = overlap.known > len(overlap.window)
    return bool(overlap.unknown) or older or (overlap.next_hash is not None and os.fstat(fd).st_size > overlap.offset)


def _groups(fd: int, source: JournalSource) -> Iterator[tuple[list[bytes], Decoded, bytes, int]]:
    """Yield lines that are decided together, what they are, their hashes, and where they end."""
    decode = partial(decode_lines, origin=source.origin)
    reader = Reader(fd, Position(0, b""))
    waiting: list[bytes] = []
    end = 0
    while (got := reader.read()) is not None:
        if isinstance(got, Giant):
            if waiting:
                yield waiting, decode(waiting, final=True), line_hashes(waiting), end
            end += got.length + 1
            yield [got.head], decode([got.head], final=True), got.digest, end
            waiting = []
            continue
        for line in got:
            waiting.append(line)
            end += len(line) + 1
            if len(waiting) > FEW_LINES and len(waiting) % FEW_LINES:
                continue
            decoded = decode(waiting, final=False)
            if decoded.consumed:
                done, waiting = waiting[: decoded.consumed], waiting[decoded.consumed :]
                yield done, decoded, line_hashes(done), end - sum(map(len, waiting)) - len(waiting)
    if waiting:
        yield waiting, decode(waiting, final=True), line_hashes(waiting), end


def _plan(fd: int, plan: Plan, found: Recalled, overlap: Overlap) -> Plan:
    """Go on behind the last line that is known, and store what is not known before it."""
    by_history = set(range(overlap.known - len(overlap.window), overlap.known)) - set(overlap.unknown)
    knowns = [at for at, group in enumerate(found.groups) if group.known]
    last = max((at for at in knowns if found.groups[at].single), default=knowns[-1])
    hashes: array[int] = array("Q")
    unknown: list[int] = []
    known = end = 0
    for at, group in enumerate(found.groups):
        if at > last and known >= overlap.known:
            break
        if group.known is False:
            unknown += [line for line in range(known, known + group.lines) if line not in by_history]
        hashes.frombytes(group.hashes)
        known, end = known + group.lines, group.end
    if known <= overlap.known:
        unknown = [line for line in unknown if line < overlap.known]
        return replace(plan, overlap=replace(overlap, unknown=unknown))
    recalled = Overlap(known, end, hashes[-WINDOW_LINES:], unknown)
    return Plan(How.OVERLAP, plan.first, position_behind(fd, recalled), recalled)
