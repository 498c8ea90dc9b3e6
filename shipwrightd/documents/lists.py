"""Appended lists with a cap: which entries of a list are new, and what to remember of it. Pure.

A list is a sequence of 8-byte hashes, one an entry. Its writer appends and keeps
the last `cap` entries, so the end of the list as last seen is the head of the list
now. People also edit, prune, join and restore lists. Then an entry is new only
beyond as many of its content as are remembered or stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Hashes = Sequence[bytes]
REMEMBERED_LISTS = 4  # full lists; what left the list longer ago is looked up in the database
UNCAPPED = 1_000  # entries a full list has, for a list without a cap


@dataclass(frozen=True, slots=True)
class Remembered:
    """Entries that left a list, then the list as last seen, which is the last `present` of the hashes."""

    hashes: tuple[bytes, ...] = ()
    present: int = 0


def new_entries(known: Remembered, found: Hashes, cap: int, stored: Callable[[], Counter[bytes]]) -> tuple[int, ...]:
    """Return the indices of the found entries that are new.

    If the list now begins with the end of what is remembered, what follows was appended,
    provided that it is unknown, or nothing ever left the list, or the list is full and it
    equals only entries of the list as last seen, which the cap removed just now. Otherwise
    someone changed the list: of each content as many are known as are remembered, or as
    `stored` counts in the database, and of equal entries the last ones are new.
    """
    length = overlap(known.hashes, found)
    rest = found[length:]
    if not rest:
        return ()
    is_full = 0 < cap <= len(found)
    may_return = known.hashes[: len(known.hashes) - known.present] if is_full else known.hashes
    if length and (length == len(known.hashes) or set(may_return).isdisjoint(rest)):
        return tuple(range(length, len(found)))
    return surplus(Counter(known.hashes) | stored(), found)


def remember(known: Remembered, found: Hashes, cap: int) -> Remembered:
    """Return the hashes to remember once the new entries of the found list are stored."""
    newest_first = known.hashes[::-1]
    left = [newest_first[i] for i in surplus(Counter(found), newest_first)]
    room = (REMEMBERED_LISTS - 1) * max(cap or UNCAPPED, len(found))
    return Remembered((*reversed(left[:room]), *found), len(found))


def is_gap(known: Remembered, found: Hashes, new: Sequence[int]) -> bool:
    """Return whether entries between the list as last seen and the found one may be missing."""
    return known.present > 0 and 0 < len(found) == len(new)


def overlap(known: Hashes, found: Hashes) -> int:
    """Return the largest n with known[-n:] == found[:n], in linear time."""
    text = (*found, None, *known[-len(found) :])  # None equals no hash
    borders = [0] * len(text)  # Knuth, Morris, Pratt: longest border of text[: i + 1]
    for i in range(1, len(text)):
        length = borders[i - 1]
        while length and text[i] != text[length]:
            length = borders[length - 1]
        borders[i] = length + (text[i] == text[length])
    return borders[-1]


def surplus(known: Counter[bytes], found: Hashes) -> tuple[int, ...]:
    """Return the indices of the found entries beyond as many equal ones as are known."""
    left = known.copy()
    new = []
    for i, item in enumerate(found):
        left[item] -= 1
        if left[item] < 0:
            new.append(i)
    return tuple(new)
