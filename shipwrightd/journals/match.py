"""Which lines of a file are known: two sequences of line hashes in, pairs of equal lines out. Pure.

A history is what was read of one file, in that file's own order. Equality alone does not say which of several equal
lines a line is, so lines are paired by position wherever position tells:

1. A trim leaves the end of a history at the beginning of the file. The longest such run is found first; what follows
   it in the file is compared only with what follows it in the history.
2. Lines that occur as often on both sides are pins. The longest sequence of pins in the same order on both sides
   holds; between two of them equal lines are paired from the end.
3. What is left before the last pin may have been moved, and is paired in any order. Behind the last pin only lines
   that the history has behind it are known: a line that is written again is a new one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SURE_LINES: Final = 8  # so many lines in order are no chance (no doubles in simulation)
NEW: Final = -1


@dataclass(frozen=True, slots=True)
class Run:
    """Equal lines: history[start : start + length] == found[:length]."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Match:
    """The lines of a file and their places in a history."""

    pairs: Sequence[int]  # for each line its index in the history, or NEW
    run: Run  # the file's first lines, length 0 where they are not paired as a run
    ended: bool  # the run ends with the history: a trim or growth
    proven: bool  # by a run, by pins in order, or by the history's end: no chance

    @property
    def last(self) -> int:
        """Return the index of the last known line, NEW when there is none."""
        return next((at for at in range(len(self.pairs) - 1, -1, -1) if self.pairs[at] != NEW), NEW)


def match(history: Sequence[int], found: Sequence[int]) -> Match:
    """Pair the lines of a file with those of a history, both as line hashes in file order."""
    run = longest_run(history, found)
    ended = run.length > 0 and run.start + run.length == len(history)
    if not (run.length >= SURE_LINES or (run.length and run.length == len(found)) or ended):
        run = Run(len(history), 0)
    first = run.start + run.length if run.length else 0
    pairs = array("q", range(run.start, first))
    wanted = set(found[run.length :])
    places = array("q", (at for at in range(first, len(history)) if history[at] in wanted)) if wanted else array("q")
    pairs.extend(
        places[at] if at != NEW else NEW for at in _pair_all([history[at] for at in places], found[run.length :])
    )
    whole = 1 < run.length == len(found)
    sure = run.length >= SURE_LINES or ended or whole or _is_proven(history, found, pairs)
    return Match(pairs, run, ended, sure)


def longest_run(history: Sequence[int], found: Sequence[int]) -> Run:
    """Find the longest run of a file's first lines inside a history, in linear time.

    Of equally long runs the last one is taken: a trim keeps the end.
    """
    best = Run(len(history), 0)
    head = found[: len(history)]
    if len(head) and head[0] in history:
        for start, length in enumerate(prefix_matches(history, head)):
            if length and length >= best.length:
                best = Run(start, length)
    return best


def contains(lines: Sequence[int], run: Sequence[int]) -> bool:
    """Tell whether a run of lines, not empty, stands in others without a break."""
    wanted, text = array("Q", run), array("Q", lines).tobytes()
    at = text.find(wanted.tobytes())
    while at > 0 and at % wanted.itemsize:
        at = text.find(wanted.tobytes(), at + 1)
    return len(wanted) > 0 and at >= 0


def prefix_matches(text: Sequence[int], pattern: Sequence[int]) -> list[int]:
    """Return, for each position of a text, how many elements of a pattern match from there (Z-function)."""
    joined = [*pattern, -1, *text]  # hashes are unsigned, so -1 matches nothing
    size = len(joined)
    reach = [0] * size
    left = right = 0
    for i in range(1, size):
        length = min(right - i, reach[i - left]) if i < right else 0
        while i + length < size and joined[length] == joined[i + length]:
            length += 1
        if i + length > right:
            left, right = i, i + length
        reach[i] = length
    return reach[len(pattern) + 1 :]


def increasing(numbers: Sequence[int]) -> list[int]:
    """Return the indexes of a longest strictly increasing part of a sequence."""
    ends: list[int] = []  # the least last number of a part of each length
    at: list[int] = []  # and its index
    before = [NEW] * len(numbers)
    for i, number in enumerate(numbers):
        length = bisect_left(ends, number)
        before[i] = at[length - 1] if length else NEW
        ends[length : length + 1] = [number]
        at[length : length + 1] = [i]
    chain = []
    i = at[-1] if at else NEW
    while i != NEW:
        chain.append(i)
        i = before[i]
    return chain[::-1]


def _is_proven(history: Sequence[int], found: Sequence[int], pairs: Sequence[int]) -> bool:
    """Tell whether enough lines that occur once on each side are in order, or the history's end is in the file."""
    here, there = Counter(found), Counter(history)
    pins = [place for line, place in zip(found, pairs, strict=True) if place != NEW and here[line] == there[line] == 1]
    in_order = len(increasing(pins))
    if in_order >= SURE_LINES or (in_order > 1 and 2 * in_order > len(found)):
        return True
    return len(history) >= SURE_LINES and contains(found, history[-SURE_LINES:])


def _pair_all(history: Sequence[int], found: Sequence[int]) -> list[int]:
    """Pair by pins, between pins, and around them; for each line found its index in the history or NEW."""
    pairs = [NEW] * len(found)
    pins = _pins(history, found)
    begin = (0, 0)
    for place, line in [*pins, (len(history), len(found))]:
        _pair_between(history, found, pairs, begin, (place, line))
        if line < len(found):
            pairs[line] = place
        begin = (place + 1, line + 1)
    _pair_moved(history, found, pairs, pins[-1] if pins else (NEW, NEW))
    return pairs


def _pins(history: Sequence[int], found: Sequence[int]) -> list[tuple[int, int]]:
    """Return (place in the history, index in the file) of the lines that tell the order."""
    there, here = Counter(history), Counter(found)
    places: dict[int, list[int]] = defaultdict(list)
    for at in range(len(history) - 1, -1, -1):
        if there[history[at]] == here[history[at]]:
            places[history[at]].append(at)
    pairs = [(places[line].pop(), at) for at, line in enumerate(found) if places.get(line)]
    return [pairs[at] for at in increasing([place for place, _ in pairs])]


def _pair_between(
    history: Sequence[int], found: Sequence[int], pairs: list[int], begin: tuple[int, int], end: tuple[int, int]
) -> None:
    """Pair equal lines between two pins, from the end: what an edit removes is rather at the beginning."""
    if begin[0] >= end[0] or begin[1] >= end[1]:
        return
    places: dict[int, list[int]] = defaultdict(list)
    for at in range(begin[0], end[0]):
        places[history[at]].append(at)
    limit = end[0]
    for line in range(end[1] - 1, begin[1] - 1, -1):
        left = places.get(found[line], [])
        while left and left[-1] >= limit:
            left.pop()
        if left:
            pairs[line] = limit = left.pop()


def _pair_moved(history: Sequence[int], found: Sequence[int], pairs: list[int], pin: tuple[int, int]) -> None:
    """Pair in any order what was moved: before the last pin with all that is left, behind it with what is behind."""
    taken = {place for place in pairs if place != NEW}
    before: dict[int, list[int]] = defaultdict(list)
    behind: dict[int, list[int]] = defaultdict(list)
    for at, line in enumerate(history):
        if at not in taken:
            (behind if at > pin[0] else before)[line].append(at)
    for at, line in enumerate(found):
        if pairs[at] == NEW:
            for left in (behind[line], before[line] if at < pin[1] else []):
                if left:
                    pairs[at] = left.pop()
                    break
