"""Appended lists with a cap: what was known of a list and what now stands there in, what is new out.

Pure. A list is a sequence of 8-byte hashes, one an entry. Its writer appends
and keeps the last so many, thus the tail of the old list is the head of the new
one. People edit, prune, import and restore lists too, which breaks that:
then entries that are known by content are not taken again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

Hashes = Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Remembered:
    """A list as last seen; `ended`: it was since seen empty or gone, so that a new beginning is no gap."""

    hashes: tuple[bytes, ...]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Added:
    """Which entries of the found list are new, by index in its order.

    `sure` says that they follow the known ones. When not, the list was edited or
    replaced: an entry may be known from longer ago than what is remembered.
    `torn_off` says that nothing remembered is in the found list.
    """

    new: tuple[int, ...]
    sure: bool = True
    torn_off: bool = False


def added(known: Hashes, found: Hashes, cap: int) -> Added:
    """Return what the found list adds to the known one.

    The longest overlap of the known tail with the found head decides, as long as the
    entries after it are unknown, or nothing fell off the head, or the list is full.
    An overlap without that is chance (a repeated entry at both ends of an edited list).
    """
    length = overlap(known, found)
    rest = range(length, len(found))
    if not known or not rest:
        return Added(tuple(rest))
    seen = set(known)
    repeats = any(found[i] in seen for i in rest)
    if length and (not repeats or length == len(known) or 0 < cap <= len(found)):
        return Added(tuple(rest))
    if not repeats:
        return Added(tuple(rest), sure=False, torn_off=True)
    return Added(surplus(known, found), sure=False)


def overlap(known: Hashes, found: Hashes) -> int:
    """Return the largest n with known[-n:] == found[:n], in linear time."""
    if not found:
        return 0
    borders = [0] * len(found)  # Knuth, Morris, Pratt: longest border of found[: i + 1]
    length = 0
    for i in range(1, len(found)):
        while length and found[i] != found[length]:
            length = borders[length - 1]
        length += found[i] == found[length]
        borders[i] = length
    length = 0
    for item in known[-len(found) :]:
        while length and (length == len(found) or item != found[length]):
            length = borders[length - 1]
        length += item == found[length]
    return length


def surplus(known: Hashes, found: Hashes) -> tuple[int, ...]:
    """Return the indices of found entries beyond as many equal ones as are known."""
    left = Counter(known)
    new = []
    for i, item in enumerate(found):
        left[item] -= 1
        if left[item] < 0:
            new.append(i)
    return tuple(new)


def remember(known: Remembered, found: Hashes, new: Sequence[int]) -> Remembered:
    """Return what to remember once the new entries are stored.

    A list that only lost entries (emptied, cut, an older copy) is remembered as it was:
    what left it may return, and is not new then.
    """
    if not found:
        return Remembered(known.hashes, ended=True)
    if not new and known.hashes and len(found) <= len(known.hashes):
        return Remembered(known.hashes)
    return Remembered(tuple(found))
