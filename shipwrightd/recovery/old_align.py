"""Where in a file's past its present beginning lies: sequences of line hashes in, a verdict out.

Pure. A history is what was read of a file, in the file's own order; a head is
the beginning of what now stands in its place. A trim keeps a suffix of the
old lines, so the overlap begins at the head's first line.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass
from enum import Enum, auto
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WINDOW_LINES = 65_536  # a trim keeps 5,000; this also covers rewrites by age of any usual size
HASH_BYTES = 8
SURE_LINES = 8  # a run that ends before the history does is chance below this length,
SURE_BYTES = 512  # unless its lines are this long together (no doubles in simulation)
TAIL_LINES = 8  # how much of the history's end must come back to call a rewrite an edit
EXTEND_LINES = 64  # how far equal tails are compared; bounds the work on repetitive files


class Verdict(Enum):
    """What to make of a file that took another's place."""

    RESUME = auto()  # the first `skip` lines are known
    LOOK_FURTHER = auto()  # the head alone does not say; search for the history's tail
    WAIT = auto()  # it may still be being written


@dataclass(frozen=True, slots=True)
class Run:
    """Equal lines: history[start : start + length] == head[:length]."""

    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, and the run it rests on."""

    verdict: Verdict
    run: Run


def line_hashes(lines: Iterable[bytes]) -> bytes:
    """Return the hashes of physical lines, 8 bytes each, joined."""
    return b"".join([blake2b(line, digest_size=HASH_BYTES).digest() for line in lines])


def longest_run(history: Sequence[int], head: Sequence[int]) -> Run:
    """Find the longest run of the head's first lines inside the history, in linear time.

    Among equally long runs the latest wins, for a trim keeps the end.
    """
    head = head[: len(history)]
    if not head:
        return Run(len(history), 0)
    best = Run(len(history), 0)
    for start, length in enumerate(prefix_matches(history, head)):
        if length and length >= best.length:
            best = Run(start, length)
    return best


def prefix_matches(text: Sequence[int], pattern: Sequence[int]) -> list[int]:
    """Return, for each position of text, how many elements of pattern match from there (Z-function)."""
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


def decide(history: Sequence[int], head: Sequence[int], *, whole: bool, settled: bool) -> Decision:
    """Judge a head (line hashes) against a history.

    `whole`: the head is all of the file's complete lines. `settled`: nothing
    is being written to the file, so what it holds is meant.
    """
    run = longest_run(history, head)
    if run.length and run.start + run.length == len(history):
        return Decision(Verdict.RESUME, run)
    inside = whole and run.length == len(head)
    if inside and not settled:
        return Decision(Verdict.WAIT, run)
    if inside and run.length:
        return Decision(Verdict.RESUME, run)
    return Decision(Verdict.LOOK_FURTHER, run)


def is_sure(run: Run, sizes: Sequence[int]) -> bool:
    """Tell whether a run that ends before the history does is long enough to be no chance."""
    return run.length >= SURE_LINES or sum(sizes[: run.length]) >= SURE_BYTES


class _Search:
    """Looks through a file, fed with its line hashes in order, for the line up to which a history knows it.

    Of several places the worthiest wins, the last among equals.
    """

    def __init__(self, history: Sequence[int]) -> None:
        self._history = history
        self._recent: list[int] = []
        self._fed = 0
        self._best = 0
        self.known = 0  # lines of the file up to and including that one; 0: not found
        self.window: list[int] = []  # hashes of the file's last lines up to `known`

    def feed(self, hashes: Sequence[int]) -> None:
        """Look at the file's next lines."""
        fresh = len(self._recent)
        self._recent.extend(hashes)
        found = -1
        for i in range(fresh, len(self._recent)):
            worth = self._worth(i)
            if worth and worth >= self._best:
                self._best = worth
                found = i
        if found >= 0:
            self.known = self._fed - fresh + found + 1
            self.window = self._recent[max(0, found + 1 - len(self._history)) : found + 1]
        self._fed += len(hashes)
        del self._recent[: max(0, len(self._recent) - WINDOW_LINES)]

    @property
    def unknown(self) -> list[int]:
        """Return the positions before `known` of lines that the history does not have."""
        first = self.known - len(self.window)
        found = unknown_in(self.window, self._history)
        if first:  # what the window begins with is older than the history
            found = [at for index, at in enumerate(found) if at != index]
        return [first + at for at in found]

    @property
    def next_hash(self) -> int | None:
        """Return the hash of the line behind that place in the history, None when it ends there."""
        return None

    def _worth(self, i: int) -> int:
        """Return how good a place the i-th of the recent lines is, 0 for none."""
        raise NotImplementedError


class TailSearch(_Search):
    """Finds the end of a history inside a longer file: the longest common tail."""

    def _worth(self, i: int) -> int:
        if self._recent[i] != self._history[-1]:
            return 0
        limit = min(i + 1, len(self._history), EXTEND_LINES)
        length = 0
        while length < limit and self._recent[i - length] == self._history[-1 - length]:
            length += 1
        return length if length >= min(TAIL_LINES, len(self._history)) else 0


class RunSearch(_Search):
    """Finds the latest lines of a history that a file has as well, SURE_LINES in a row and not all of them alike.

    An edit took the file's place while lines were appended to what was read: these end the history and nothing else.
    """

    def __init__(self, history: Sequence[int]) -> None:
        super().__init__(history)
        lines = array("Q", history)
        runs = ((lines[end - SURE_LINES : end], end) for end in range(SURE_LINES, len(lines) + 1))
        self._ends = {run.tobytes(): end for run, end in runs if len(set(run)) > 1}

    @property
    def next_hash(self) -> int | None:
        """Return the hash of the line behind that place in the history, None when it ends there."""
        return self._history[self._best] if 0 < self._best < len(self._history) else None

    def _worth(self, i: int) -> int:
        run = self._recent[max(0, i + 1 - SURE_LINES) : i + 1]
        return self._ends.get(array("Q", run).tobytes(), 0)


def unknown_in(lines: Sequence[int], history: Sequence[int]) -> list[int]:
    """Return the positions of lines that occur more often here than in the history, the last of them."""
    left = Counter(history)
    found = []
    for at in range(len(lines) - 1, -1, -1):
        if left[lines[at]] > 0:
            left[lines[at]] -= 1
        else:
            found.append(at)
    return found[::-1]
