"""Where to go on in a journal whose file was replaced, trimmed, rotated or left alone for a while.

Reads files, writes nothing; raises ChangedError when one is cut meanwhile.
The anchor decides first, because it costs one read; line hashes are compared
only when no file holds the anchor in its place.
"""

from __future__ import annotations

import os
from array import array
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import TYPE_CHECKING

from shipwrightd.recovery.old_align import SURE_BYTES, SURE_LINES, unknown_in
from shipwrightd.recovery.old_compare import How, Overlap, known_up_to, overlap_of, position_behind, same_file
from shipwrightd.recovery.old_lines import Place, Position, open_existing, resume_behind, scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from shipwrightd.journals.store import Generation

Inode = tuple[int, int]  # device and number
Standing = dict[str, tuple[int, int, int]]  # device, number and time of writing of what stands at each path

START = Position(0, b"")


@dataclass(frozen=True, slots=True)
class Plan:
    """Which of the files to read, oldest first, and where in the first of them to begin."""

    how: How
    first: int = 0  # index into the files
    position: Position = START
    overlap: Overlap | None = None


def find_anchor(files: Sequence[int], place: Place) -> Plan | None:
    """Return where the checkpoint's anchor stands in its place, if any file still has it.

    `files` are open descriptors, the oldest sibling first, the file at the path last.
    """
    order = [len(files) - 1, *range(len(files) - 1)]
    for index in sorted(order, key=lambda index: not same_file(files[index], place)):
        position = resume_behind(files[index], place)
        if position is not None:
            return Plan(How.ANCHOR, index, position)
    return None


def edits_before(fd: int, position: Position, history: Sequence[int]) -> Overlap | None:
    """Compare the lines of a replaced file up to a position with the history; None when all of them are known.

    An edit far before the anchor that keeps the length leaves the anchor in its place.
    """
    if not history:
        return None
    found = known_up_to(fd, position.offset)
    window = found.window[-len(history) :]
    unknown = unknown_in(window, history)
    if not unknown:
        return None
    return replace(found, unknown=[found.known - len(window) + at for at in unknown])


def find_return(files: Sequence[int], known: Sequence[Place], history: Sequence[int]) -> Plan | None:
    """Plan for a file at the path that was read before and is back, from as far as it was read.

    A file that was read, copied, read on and then edited begins as that older one does, too: where it
    goes on as the history does, it was read further.
    """
    position = _furthest(files[-1], known)
    if position is None:
        return None
    further = _further(files, len(files) - 1, history, position.offset)
    if further is not None:
        return further
    return Plan(How.OVERLAP, len(files) - 1, position, known_up_to(files[-1], position.offset))


def find_grown(siblings: Sequence[int], known: Sequence[Place], history: Sequence[int]) -> Plan | None:
    """Plan for a sibling that begins as one read before and goes on as the history does: a copy that was edited."""
    for index, sibling in enumerate(siblings):
        position = _furthest(sibling, known)
        further = _further(siblings, index, history, position.offset) if position else None
        if further is not None:
            return further
    return None


def _furthest(fd: int, known: Sequence[Place]) -> Position | None:
    """Return how far a file was read, if ever: a copy's place may lie in the same bytes, but before it."""
    for place in sorted(known, key=lambda place: -place.offset):
        position = resume_behind(fd, place)
        if position is not None:
            return position
    return None


def _further(files: Sequence[int], index: int, history: Sequence[int], read: int) -> Plan | None:
    """Plan to go on where a file leaves the history, when that is behind what is known to be read."""
    fd = files[index]
    if not history or os.fstat(fd).st_size <= read:
        return None
    found = overlap_of(fd, history, settled=True, in_place=False)
    if not isinstance(found, Overlap):
        return None
    position = position_behind(fd, found)
    return Plan(How.OVERLAP, index, position, found) if position.offset > read else None


def first_unknown(siblings: Sequence[int], known: Sequence[Place], held: AbstractSet[Inode]) -> int:
    """Return the index of the oldest sibling that is newer than all that were read before, and not empty.

    Those held open are being read, though none of their lines may have been whole yet.
    """
    start = 0
    for index, sibling in enumerate(siblings):
        if _identity(sibling) in held or any(resume_behind(sibling, place) for place in known):
            start = index + 1
    while start < len(siblings) and not os.fstat(siblings[start]).st_size:
        start += 1
    return start


def find_generation(fd: int, others: Sequence[Generation]) -> tuple[Generation, Position] | None:
    """Return which of the files read before (the newest first) an open file is, and how far it was read.

    The furthest first, as with `_furthest`. A file left before a line of it was whole has no anchor, but the
    inode of its own that no later one had.
    """
    for other in sorted(others, key=lambda other: -other.place.offset):
        position = resume_behind(fd, other.place)
        if position is not None:
            return other, position
    last = next((other for other in others if same_file(fd, other.place)), None)
    return None if last is None or last.place.offset else (last, START)


def find_fresh(files: Sequence[int], start: int, place: Place, others: Sequence[Generation], most: int) -> Plan:
    """Plan for a file of which nothing was read, so that no history tells: read it, and what is unread before it.

    `most`: how many siblings there can be. When none of the files is one that was read before, what came between
    is gone.
    """
    if same_file(files[-1], place) and _is_edited(files[:-1], others, most):
        start = len(files) - 1
    known = any(other.place.offset for other in others)
    gone = known and not start and not any(same_file(fd, place) for fd in files)
    return Plan(How.NOTHING if gone else How.FRESH, start)


def _is_edited(siblings: Sequence[int], others: Sequence[Generation], most: int) -> bool:
    """Tell whether the file rotated last is gone though no rotations pushed it out: an edit stands in its place."""
    last = next((other.place for other in others if other.state == "rotated" and other.place.offset), None)
    if last is None or any(resume_behind(sibling, last) for sibling in siblings):
        return False
    return len(siblings) < most or any(resume_behind(fd, other.place) for fd in siblings for other in others)


def passed_over(
    fd: int, paths: Sequence[Path], others: Sequence[Generation], held: AbstractSet[Inode], before: Standing | None
) -> tuple[list[int], Standing]:
    """Open what was never read and is older than a file of which nothing was read yet, the oldest first.

    The file may have been copied there and then emptied, with no anchor to tell of it. What has lines in common with
    what it holds now was made from it, and is newer. `before`: what stood at each sibling's path when the file was
    new; what only took the place of one of these is an edit of it, not unread. Returns what stands there now, too.
    """
    found = open_existing(paths)
    files = list(found.values())
    unread: list[int] = []
    try:
        inodes = [_identity(file) for file in files]
        at = inodes.index(_identity(fd)) if _identity(fd) in inodes else max(0, len(files) - 1)
        siblings = [(str(path), file) for path, file in found.items() if path != paths[-1]]
        standing = {path: (*_identity(file), os.fstat(file).st_mtime_ns) for path, file in siblings}
        new = files[first_unknown(files[:at], [other.place for other in others], held) : at]
        most = len(paths) - 1
        if new and (not _is_edited(files[:at], others, most) if before is None else _moved(before, standing, most)):
            lines = array("Q", chain.from_iterable(block.hashes for block in scan(fd)))
            unread = list(takewhile(lambda file: not _continues(lines, file), new))
    finally:
        for file in set(files) - set(unread):
            os.close(file)
    return unread, standing


def _moved(before: Standing, now: Standing, most: int) -> bool:
    """Tell whether siblings were renamed on: to a new name, to that of another, or all of them out of the last one."""
    stood = set(before.values())
    pushed = len(now) == most and not any(before.get(path) == file for path, file in now.items())
    return pushed or any(path not in before or (file != before[path] and file in stood) for path, file in now.items())


def _continues(lines: Sequence[int], fd: int) -> bool:
    found = overlap_of(fd, lines, settled=True, in_place=False) if lines else None
    if not isinstance(found, Overlap):
        return False
    sure = found.known >= min(SURE_LINES, len(lines)) or found.offset >= SURE_BYTES
    return sure or found.offset >= os.fstat(fd).st_size


def find_repeated(fd: int, others: Sequence[Generation], history: Sequence[int]) -> Plan | None:
    """Plan for the next of the open files when it repeats what was read: that was copied and then cut, or is back."""
    back = find_return([fd], [other.place for other in others], history)
    if back is not None:
        return back
    first = next(scan(fd), None)
    if first is None or len(set(first.hashes) & set(history)) < SURE_LINES:  # as nearly always
        return None
    found = overlap_of(fd, history, settled=True, in_place=False)
    if not isinstance(found, Overlap) or found.known < SURE_LINES:
        return None
    return Plan(How.OVERLAP, 0, position_behind(fd, found), found)


def find_overlap(files: Sequence[int], start: int, history: Sequence[int], place: Place, *, settled: bool) -> Plan:
    """Compare the files from index `start` on with the history; the oldest that overlaps is where to go on.

    A copy of what was read, with nothing else in it, is that only where no later file overlaps.
    `settled` speaks of the last file, the one at the path; siblings are at rest.
    """
    answer = How.NOTHING
    copy: Plan | None = None
    for index in range(start, len(files)):
        rest = settled or index < len(files) - 1
        in_place = same_file(files[index], place)
        found = overlap_of(files[index], history, settled=rest, in_place=in_place)
        if isinstance(found, Overlap):
            plan = Plan(How.OVERLAP, index, position_behind(files[index], found), found)
            if index == len(files) - 1 or found.unknown or found.offset < os.fstat(files[index]).st_size:
                return plan
            copy = plan
        elif index == len(files) - 1:
            answer = found
    if copy is not None and answer is not How.WAIT:
        return copy
    if answer is How.EMPTY and start < len(files) - 1:
        answer = How.NOTHING  # a rotation left it empty: what came before stands in the siblings
    return Plan(answer, start)


def _identity(fd: int) -> Inode:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino
