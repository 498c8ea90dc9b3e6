"""How much of a file is stored, when it is not known exactly: which of its lines are new, and where reading resumes.

Line hashes of the remembered files are asked first. What they leave open is asked of the database, record by record:
a record is stored as often as it stands in the one version of the journal that holds it most. Reads files and
database, writes nothing; raises ChangedError when the file is cut or written over meanwhile.
"""

from __future__ import annotations

import os
import re
from array import array
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from itertools import accumulate, compress, islice, pairwise
from typing import TYPE_CHECKING, Final

from shipwrightd.decoding import row_hash
from shipwrightd.decoding.events import JOURNAL, decode_lines
from shipwrightd.journals import store
from shipwrightd.journals.lines import (
    ANCHOR_BYTES,
    HASH_BYTES,
    MAX_LINE_BYTES,
    START,
    ChangedError,
    Giant,
    Position,
    Reader,
    line_hashes,
    position_at,
    read_at,
    resume_at,
    same_file,
    scan,
)
from shipwrightd.journals.match import NEW, SURE_LINES, Match, match
from shipwrightd.journals.records import decode_all, records, singly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    import apsw

    from shipwrightd.journals import JournalSource
    from shipwrightd.journals.records import Chunk, Records
    from shipwrightd.journals.store import Generation

SURE_BYTES: Final = 512  # a run of lines this long together is no chance either
COMPARED_BYTES: Final = 64 << 20  # of a file that is compared line by line; Shipwright keeps a tenth of that
CHECKED_BYTES: Final = 64 << 10  # at the end of a file that was compared
SEAM: Final = re.compile(rb"(?<=})|(?={)")  # where a record may end, or one begin


@dataclass(slots=True)
class Known:
    """What the remembered files and the database know of a file's lines."""

    fd: int
    lines: bytearray  # 1: stored; empty for a file too large to be compared whole
    hashes: array[int]
    position: Position = START  # where reading resumes
    count: int = 0  # lines before it
    sure: bool = False  # no chance: the file continues or repeats what was read
    inside: bool = False  # it ends with a known line that others follow in a remembered file
    of_newest: bool = False  # it holds lines of the newest file
    ends: bool = False  # the last one that was read of that file as well
    rearranged: bool = False  # lines were removed or moved other than by a trim
    torn: dict[int, int] = field(default_factory=dict)  # bytes of a line that are one that was read, without newline
    missing: dict[int, Counter[int | bytes]] = field(default_factory=dict)  # of groups stored in part, by first line

    def unknown(self) -> set[int]:
        """Return the hashes of the lines that are not known."""
        return {line for line, is_known in zip(self.hashes, self.lines, strict=True) if not is_known}

    @property
    def alike(self) -> bool:
        """Tell whether no two of the lines that are known differ: they may be new ones."""
        return not self.sure and len(set(compress(self.hashes, self.lines))) <= 1

    @property
    def last(self) -> int:
        """Return the index of the last known line, NEW for none."""
        return self.lines.rfind(1)


@dataclass(slots=True)
class _Group:
    """Lines that were decided together: a record, or a line that is none."""

    first: int
    count: int
    hashes: list[int]  # of its rows
    raw: list[bytes]  # its bytes for quarantine
    timed: bool  # each row has a time
    missing: Counter[int | bytes] = field(default_factory=Counter)  # hashes and bytes that are not stored

    @property
    def stored(self) -> list[int]:
        """Return the hashes of the rows that are stored."""
        return [row for row in self.hashes if not self.missing[row]]


@dataclass(slots=True)
class _Groups:
    """The groups of a file that line hashes leave open."""

    open: list[_Group] = field(default_factory=list)
    epochs: set[int | None] = field(default_factory=set)
    pruned: list[tuple[int, int]] = field(default_factory=list)  # first line and number of lines
    stored: Counter[int | bytes] = field(default_factory=Counter)  # in the database, and not of a known line

    def take(self, group: _Group) -> bool:
        """Take of what is stored what a group holds; tell whether a row was, or bytes of a group without rows."""
        group.missing = self._missing(group.hashes)
        if group.hashes and not group.stored:
            return False
        group.missing += self._missing(group.raw)
        return group.missing.total() < len(group.hashes) + len(group.raw)

    def _missing(self, items: Sequence[int | bytes]) -> Counter[int | bytes]:
        missing: Counter[int | bytes] = Counter()
        for item in items:
            if self.stored[item] > 0:
                self.stored[item] -= 1
            else:
                missing[item] += 1
        return missing


def reconcile(
    db: apsw.Connection, source: JournalSource, file: Records, remembered: Sequence[Generation], *, intact: bool
) -> Known:
    """Return which lines of a file are stored and where reading resumes; up to the file's position all are.

    `remembered`: files of the journal, the newest first. `intact`: the file that holds the newest line is still at a
    path, so that another one is new unless the evidence is strong.
    """
    fd = file.fd
    if not any(generation.place.offset for generation in remembered):
        return Known(fd, bytearray(), array("Q"))
    if os.fstat(fd).st_size > COMPARED_BYTES:
        return _reconcile_large(db, fd, remembered)
    hashes, sizes = array("Q"), array("Q")
    for block in scan(fd):
        hashes.extend(block.hashes)
        sizes.extend(block.sizes)
    if len(hashes) < file.lines or not file.is_unchanged():
        raise ChangedError
    known = Known(fd, bytearray(b"\1" * file.lines).ljust(len(hashes), b"\0"), hashes, sure=bool(file.lines))
    trimmed, inner = _ask_remembered(db, remembered, known, sizes, intact=intact)
    _find_torn(db, remembered, known, sizes)
    if not all(known.lines) and (known.sure or not intact or _begins_as_stored(db, source, fd)):
        begin = known.last + 1 if trimmed else 0
        _ask_database(db, source, known, begin, position_at(fd, sum(islice(sizes, begin))))
    known.count = known.last + 1
    known.rearranged = known.count > file.lines and not trimmed
    known.inside = known.count == len(hashes) and known.last in inner and not known.ends
    end = sum(islice(sizes, known.count))
    if known.count <= file.lines and file.position.offset:
        known.count, known.position = file.lines, file.position
        return known
    if not known.count:
        return known
    last = hashes[known.last]
    known.position = position_behind(fd, end, last, lambda: _followers(db, remembered, {last})[last])
    return known


def newest_of(read: Sequence[Generation]) -> Generation | None:
    """Return the file that has the newest line, of those of which lines were read, the last remembered one first."""
    return next((row for row in read if row.state == "current"), next(iter(read), None))


def _ask_remembered(
    db: apsw.Connection, remembered: Sequence[Generation], known: Known, sizes: array[int], *, intact: bool
) -> tuple[bool, set[int]]:
    """Mark the lines that remembered files have.

    Returns whether the file grew or is a trim of one, so that what follows is new; and the last lines of matches that
    are not the last ones there.
    """
    trimmed = known.sure  # what a file grows by is new, too
    inner: set[int] = set()
    left = known.unknown()
    repeated = {line for line, times in Counter(known.hashes).items() if times > 1}
    newest = newest_of([row for row in remembered if row.place.offset])
    for generation in remembered:
        history = store.line_hashes(db, generation.id)
        if left.isdisjoint(history):
            continue
        found = match(history, known.hashes)
        written_over = same_file(known.fd, generation.place)
        if not _is_sure(found, known.hashes, sizes, intact=intact, written_over=written_over):
            continue
        known.sure |= not _is_weak(found, known, sizes)
        follows_on = found.run.length > 0 and (found.run.start > 0 or found.ended)
        trimmed |= follows_on and not any(known.lines[found.run.length :])
        _mark(known, found, repeated)
        top = max(found.pairs)
        if top + 1 < len(history):
            inner.add(found.last)
        known.of_newest |= generation is newest
        known.ends |= generation is newest and top == len(history) - 1
        left = known.unknown()
        if not left:
            break
    return trimmed and all(known.lines[: known.last + 1]), inner


def _mark(known: Known, found: Match, repeated: set[int]) -> None:
    """Mark the paired lines; of equal ones no more than this one history has, or a copy would count twice."""
    paired = [line for line, place in enumerate(found.pairs) if place != NEW]
    spare = Counter(known.hashes[line] for line in paired if known.hashes[line] in repeated)
    if spare:
        spare.subtract(
            line for line, is_known in zip(known.hashes, known.lines, strict=True) if is_known and line in repeated
        )
    for line in paired:
        text = known.hashes[line]
        if not known.lines[line] and (text not in repeated or spare[text] > 0):
            known.lines[line] = 1
            spare[text] -= 1


def _is_sure(found: Match, hashes: Sequence[int], sizes: Sequence[int], *, intact: bool, written_over: bool) -> bool:
    """Tell whether equal lines are no chance."""
    paired = [line for line, place in enumerate(found.pairs) if place != NEW]
    if not paired:
        return False
    alike = len({hashes[line] for line in paired}) == 1
    if intact:
        return found.proven and not alike
    begins = found.pairs[0] != NEW
    lost_its_end = written_over and begins and not alike
    return found.proven or lost_its_end or (begins and sum(sizes[line] for line in paired) >= SURE_BYTES)


def _is_weak(found: Match, known: Known, sizes: Sequence[int]) -> bool:
    """Tell whether all that a file has in common is a line without a time, such as a brace, which may be a new one."""
    paired = [line for line, place in enumerate(found.pairs) if place != NEW]
    if len({known.hashes[line] for line in paired}) > 1 or len(paired) >= SURE_LINES:
        return False
    text = read_at(known.fd, sizes[paired[0]] - 1, sum(islice(sizes, paired[0])))
    return all(row[1] is None for row in decode_lines([text], origin=JOURNAL, final=True).rows)


def _ask_database(db: apsw.Connection, source: JournalSource, known: Known, begin: int, position: Position) -> None:
    """Mark the records that line hashes leave open and that the database holds, from line `begin` at a position on.

    Of equal records those at the beginning are the stored ones; what is written again is behind. What follows a trim
    (`begin` is not 0) is new, unless a record that occurs once on both sides shows that lines were moved; one that is
    glued to another shows only that the file lost its end.
    """
    groups = _open_groups(db, source, known, begin, position)
    here = Counter(mark for group in groups.open for mark in group.hashes)
    if begin:
        before = set(known.hashes[:begin])
        alone = [group for group in groups.open if group.timed and len(group.hashes) == 1]
        once = (group.hashes[0] for group in alone if known.hashes[group.first] not in before)
        if any(groups.stored[mark] == here[mark] == 1 for mark in once):
            _ask_database(db, source, known, 0, START)
        return
    stored = [group for group in groups.open if groups.take(group)]
    marks = {mark for group in stored for mark in group.stored}
    enough = len(marks) >= SURE_LINES or (len(marks) > 1 and 2 * len(marks) > len(here))
    # Equal records may be new ones; but not all of the file is new when one that occurs once is stored.
    moved = any(group.timed and all(here[mark] == 1 for mark in group.stored) for group in stored)
    for group in stored:
        if (group.timed and moved) or enough or known.sure:
            known.lines[group.first : group.first + group.count] = b"\1" * group.count
            if group.missing:
                known.missing[group.first] = group.missing
    known.sure |= enough
    for first, count in groups.pruned:  # these stay away, but not what is written again behind all that is known
        if first < known.last:
            known.lines[first : first + count] = b"\1" * count


def _open_groups(db: apsw.Connection, source: JournalSource, known: Known, begin: int, position: Position) -> _Groups:
    """Return the records of which not all lines are known, and how often the database holds each beside known ones."""
    groups = _Groups()
    pruned = store.pruned_before(db)
    held: dict[int | None, list[int]] = defaultdict(list)  # rows of known records by time
    for first, group in groups_of(source, known, begin, position):
        count, raw = group.count, [piece.raw for piece in group.rejected]
        kept = [row for row in group.rows if row[1] is None or row[1] >= pruned.get(row[9], row[1])]
        if all(known.lines[first : first + count]):
            for row in kept:
                held[row[1]].append(row_hash(row))
            groups.stored.subtract(raw)
        elif kept or raw:
            known.lines[first : first + count] = bytes(count)
            timed = bool(kept) and all(row[1] is not None for row in kept)
            groups.open.append(_Group(first, count, [row_hash(row) for row in kept], raw, timed))
            groups.epochs.update(row[1] for row in kept)
        elif group.rows:
            groups.pruned.append((first, count))
    groups.stored.update(map(row_hash, store.events_at(db, source.name, groups.epochs)))
    for epoch in groups.epochs:
        groups.stored.subtract(held.get(epoch, ()))
    groups.stored.update(store.quarantined(db, source.name))
    return groups


def _begins_as_stored(db: apsw.Connection, source: JournalSource, fd: int) -> bool:
    """Tell whether several of a file's first records are stored, so that it holds in other bytes what was read."""
    first = next(records(fd, source.origin), None)
    here = {row_hash(row): row[1] for row in first.rows if row[1] is not None} if first else {}
    there = set(map(row_hash, store.events_at(db, source.name, set(here.values()))))
    return len(there & here.keys()) >= SURE_LINES


def groups_of(
    source: JournalSource, known: Known, begin: int = 0, position: Position = START
) -> Iterator[tuple[int, Chunk]]:
    """Yield what is decided together in the compared lines of a file, with the index of its first line.

    `begin`: the line at a position to begin with. Raises ChangedError when the lines are no longer those that were
    compared.
    """
    first = begin
    for chunk in records(known.fd, source.origin, position=position):
        if first >= len(known.hashes):
            break  # appended since
        compared = known.hashes[first : first + chunk.count].tobytes()
        if not chunk.hashes.startswith(compared):
            raise ChangedError
        offset = chunk.end.offset - chunk.size
        for group in singly(chunk, source.origin):
            if first + group.count > len(known.hashes):
                return
            torn = known.torn.get(first)
            lines = group.lines
            yield first, decode_all([lines[0][torn:], *lines[1:]], source.origin, offset + torn) if torn else group
            first += group.count
            offset += group.size


def only(group: Chunk, missing: Counter[int | bytes]) -> Chunk:
    """Return of a group what is missing in the database."""
    left = missing.copy()

    def is_missing(item: int | bytes) -> bool:
        left[item] -= 1
        return left[item] >= 0

    rows = [row for row in group.rows if is_missing(row_hash(row))]
    rejected = [piece for piece in group.rejected if is_missing(piece.raw)]
    return replace(group, rows=rows, rejected=rejected, salvaged=sum(row[10] for row in rows))


def _reconcile_large(db: apsw.Connection, fd: int, remembered: Sequence[Generation]) -> Known:
    """Do the same for a file too large to be compared whole: by an anchor in its place, else by its first lines."""
    for generation in sorted(remembered, key=lambda generation: -generation.place.offset):
        if position := resume_at(fd, generation.place):
            hashes = store.line_hashes(db, generation.id)
            return Known(fd, bytearray(), hashes, position, generation.lines, sure=True, ends=True)
    head: array[int] = array("Q")
    tail: deque[tuple[int, int]] = deque(maxlen=store.WINDOW_LINES)
    sizes: array[int] = array("Q")
    total = end = 0
    for block in scan(fd):
        if len(head) < store.WINDOW_LINES:
            head.extend(block.hashes)
            sizes.extend(block.sizes)
        tail.extend(zip(block.hashes, block.sizes, strict=True))
        total += len(block.hashes)
        end += sum(block.sizes)
    for generation in remembered:
        history = store.line_hashes(db, generation.id)
        found = match(history, head)
        if found.proven:
            count = found.last + 1
            position = position_at(fd, sum(islice(sizes, count)))
            return Known(fd, bytearray(), head[:count], position, count, sure=True)
        lines = array("Q", (line for line, _ in tail))
        found = match(history, lines)
        if found.proven:
            behind = sum(size for _, size in islice(tail, found.last + 1, None))
            count = total - (len(lines) - found.last - 1)
            return Known(fd, bytearray(), lines[: found.last + 1], position_at(fd, end - behind), count, sure=True)
    return Known(fd, bytearray(), array("Q"))


def missing_at_end(db: apsw.Connection, source: JournalSource, file: Records) -> tuple[int, int]:
    """Count the last records of the stored part of a file, and those of them that the database lacks.

    Cheap, so that a wrong comparison is noticed when it happens. Records that needed salvage are left out: the end may
    begin inside of one. Raises ChangedError.
    """
    start = max(0, file.position.offset - CHECKED_BYTES)
    if start:
        start += read_at(file.fd, CHECKED_BYTES, start).find(b"\n") + 1
    pruned = store.pruned_before(db)
    wanted: Counter[int] = Counter()
    epochs: set[int | None] = set()
    for chunk in records(file.fd, source.origin, position=position_at(file.fd, start), stop=file.position.offset):
        rows = [
            row for row in chunk.rows if not row[10] and row[1] is not None and row[1] >= pruned.get(row[9], row[1])
        ]
        wanted.update(map(row_hash, rows))
        epochs.update(row[1] for row in rows)
    total = wanted.total()
    wanted.subtract(map(row_hash, store.events_at(db, source.name, epochs)))
    return total, sum(count for count in wanted.values() if count > 0)


def _followers(db: apsw.Connection, remembered: Sequence[Generation], lines: set[int]) -> dict[int, set[int]]:
    """Return for lines the hashes of those that follow them in the remembered files."""
    followers: dict[int, set[int]] = defaultdict(set)
    for generation in remembered:
        for before, after in pairwise(store.line_hashes(db, generation.id)):
            if before in lines:
                followers[before].add(after)
    return followers


def _find_torn(db: apsw.Connection, remembered: Sequence[Generation], known: Known, sizes: Sequence[int]) -> None:
    """Find the unknown lines that begin with the line that was read behind the one before them."""
    begins = [at for at in range(1, len(known.lines)) if not known.lines[at]]
    if not begins:
        return
    followers = _followers(db, remembered, {known.hashes[at - 1] for at in begins})
    starts = list(accumulate(sizes, initial=0))
    for at in begins:
        wanted = followers.get(known.hashes[at - 1])
        if wanted and sizes[at] <= MAX_LINE_BYTES:
            line = read_at(known.fd, sizes[at] - 1, starts[at])
            if torn := _torn(line, _seams(line), wanted):
                known.torn[at] = torn


def position_behind(fd: int, offset: int, last: int, followers: Callable[[], set[int]]) -> Position:
    """Return the position at an offset, behind the text of the next known line if that has lost its newline.

    `last`: hash of the line before it. `followers`: hashes of the lines that were read behind that one. Raises
    ChangedError where another line is before it by now.
    """
    position = position_at(fd, offset)
    head, _, text = position.before[:-1].rpartition(b"\n")
    complete = head or offset <= ANCHOR_BYTES
    if complete and line_hashes([text]) != array("Q", [last]).tobytes():
        raise ChangedError
    reader = Reader(fd, position)
    lines = reader.read()
    if isinstance(lines, Giant):
        return position
    line = lines[0] if lines else reader.unfinished()
    ends = _seams(line) if lines else [*_seams(line), len(line)]
    torn = _torn(line, ends, followers()) if line and ends else 0
    return Position(offset + torn, (position.before + line[:torn])[-ANCHOR_BYTES:])


def _seams(line: bytes) -> list[int]:
    """Return where a record may end in a line or begin; between two texts of which neither is one, none is seen."""
    return [seam.start() for seam in SEAM.finditer(line) if 0 < seam.start() < len(line)]


def _torn(line: bytes, ends: Sequence[int], followers: AbstractSet[int]) -> int:
    """Return how many bytes of a line are one that was read: cut before its newline, what follows is glued to it."""
    hasher = blake2b(digest_size=HASH_BYTES)
    start = 0
    for end in ends:
        hasher.update(line[start:end])
        start = end
        if array("Q", hasher.digest())[0] in followers:
            return end
    return 0
