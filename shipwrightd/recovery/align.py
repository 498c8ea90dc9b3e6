"""Which stored rows the lines of the files became: two sequences of marks in, their pairs out. Pure.

Both have the same order but for what damage, late writers and edits did. Marks
that occur once in each are pinned first, in the longest order that both have;
between two pins equal marks pair up from the end. So of several equal rows
those are paired that stand where the lines do, and no row is missed that says
what a line says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from shipwrightd.recovery.pages import increasing

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = -1


def pair_up(stored: Sequence[int], lines: Sequence[int]) -> list[int]:
    """Return for each line the index of the stored row that it became, NONE where there is none."""
    found = [NONE] * len(lines)
    ends = _equal_ends(stored, lines)
    for back in range(1, ends + 1):
        found[-back] = len(stored) - back
    stored_end, lines_end = len(stored) - ends, len(lines) - ends
    after = [0, 0]
    for row, line in [*_pins(stored[:stored_end], lines[:lines_end]), (stored_end, lines_end)]:
        _pair_between(stored, lines, found, (after[0], row, after[1], line))
        if line < lines_end:
            found[line] = row
        after = [row + 1, line + 1]
    _pair_left(stored, lines, found)
    return found


def _equal_ends(stored: Sequence[int], lines: Sequence[int]) -> int:
    length = 0
    most = min(len(stored), len(lines))
    while length < most and stored[-1 - length] == lines[-1 - length]:
        length += 1
    return length


def _pins(stored: Sequence[int], lines: Sequence[int]) -> list[tuple[int, int]]:
    """Return the marks that occur once on both sides, as pairs of indices that rise together."""
    times_stored, times = Counter(stored), Counter(lines)
    place = {mark: i for i, mark in enumerate(stored) if times_stored[mark] == 1}
    pairs = [(place[mark], i) for i, mark in enumerate(lines) if times[mark] == 1 and mark in place]
    return [pairs[i] for i in increasing([row for row, _ in pairs])]


def _pair_between(
    stored: Sequence[int], lines: Sequence[int], found: list[int], span: tuple[int, int, int, int]
) -> None:
    """Pair the marks between two pins from the end: rows [span 0, 1) with lines [span 2, 3)."""
    first, end, first_line, end_line = span
    if first == end or first_line == end_line:
        return
    places: dict[int, list[int]] = defaultdict(list)
    for i in range(first, end):
        places[stored[i]].append(i)
    limit = end
    for line in range(end_line - 1, first_line - 1, -1):
        rows = places.get(lines[line], [])
        while rows and rows[-1] >= limit:
            rows.pop()
        if rows:
            found[line] = limit = rows.pop()


def _pair_left(stored: Sequence[int], lines: Sequence[int], found: list[int]) -> None:
    """Pair what is left and stands in another order; rows before the first pair are what the files lost long ago."""
    paired = [row for row in found if row != NONE]
    first = min(paired, default=0)
    taken = set(paired)
    places: dict[int, list[int]] = defaultdict(list)
    wanted = {lines[i] for i, row in enumerate(found) if row == NONE}
    for i in range(first, len(stored)):
        if i not in taken and stored[i] in wanted:
            places[stored[i]].append(i)
    for line in range(len(lines) - 1, -1, -1):
        rows = places.get(lines[line]) if found[line] == NONE else None
        if rows:
            found[line] = rows.pop()
