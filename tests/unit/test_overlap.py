"""Appended lists with a cap: what is new in them, case by case. test_documents_properties has random ones."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from shipwrightd.documents.lists import Remembered, is_gap, new_entries, overlap, remember, surplus


def entries(letters: str) -> list[bytes]:
    return [letter.encode() for letter in letters]


def test_the_overlap_is_the_longest_one_for_all_short_lists_of_two_letters() -> None:
    lists = [entries("".join(letters)) for size in range(7) for letters in product("ab", repeat=size)]
    for known, found in product(lists, lists):
        lengths = range(min(len(known), len(found)) + 1)
        assert overlap(known, found) == max(n for n in lengths if known[len(known) - n :] == found[:n])


def test_the_overlap_is_found_where_a_longer_one_breaks_off() -> None:
    assert overlap(entries("aabaaab"), entries("aabaaac")) == 3


@pytest.mark.parametrize(
    ("known", "found", "cap", "new", "gap"),
    [
        ("", "ab", 9, (0, 1), False),
        ("ab", "", 9, (), False),
        ("ab", "ab", 9, (), False),
        ("abc", "bcd", 9, (2,), False),  # the head fell off, what follows is unknown
        ("ab", "aba", 9, (2,), False),  # nothing fell off: a repeated entry is new
        ("abc", "bca", 3, (2,), False),  # the list is full: that is why the head fell off
        ("abc", "bca", 9, (), False),  # it is not full: an edit put the entry elsewhere
        ("abc", "cab", 9, (), False),
        ("abc", "de", 9, (0, 1), True),
        ("abc", "xcy", 9, (0, 2), False),
    ],
)
def test_what_a_list_adds(known: str, found: str, cap: int, new: tuple[int, ...], gap: bool) -> None:  # noqa: FBT001
    remembered = Remembered(tuple(entries(known)), len(known))

    assert new_entries(remembered, entries(found), cap, Counter) == new
    assert is_gap(remembered, entries(found), new) == gap


@pytest.mark.parametrize(
    ("left", "present", "found", "new"),
    [
        ("xy", "abc", "bcx", ()),  # full, but x left the list before it was last seen: an older copy was joined
        ("xy", "abc", "bca", (2,)),  # a was in the list: its cap removed it, and an equal one was appended
        ("xy", "abc", "bcd", (2,)),
        ("xy", "abc", "xya", ()),  # an older copy
        ("xy", "ab", "abx", ()),
        ("xyab", "", "xab", ()),  # seen empty, and put back
        ("xyab", "", "abz", (2,)),
    ],
)
def test_what_left_a_list_and_returns_is_known(left: str, present: str, found: str, new: tuple[int, ...]) -> None:
    known = Remembered(tuple(entries(left + present)), len(present))

    assert new_entries(known, entries(found), 3, Counter) == new


def test_what_the_database_holds_is_known_though_it_is_not_remembered() -> None:
    stored = Counter(entries("aab"))

    assert new_entries(Remembered(), entries("aaabc"), 9, lambda: stored) == (2, 4)
    assert new_entries(Remembered((b"x",), 1), entries("aabc"), 9, lambda: stored) == (3,)


def test_a_list_that_was_seen_empty_begins_without_a_gap() -> None:
    assert not is_gap(Remembered((b"a", b"b"), 0), entries("cd"), (0, 1))


def test_of_equal_entries_those_beyond_the_known_ones_are_surplus_the_last_ones() -> None:
    assert surplus(Counter(entries("aab")), entries("abaac")) == (3, 4)


@pytest.mark.parametrize(
    ("known", "present", "found", "after"),
    [
        ("", 0, "ab", "ab"),
        ("ab", 2, "", "ab"),  # emptied: what returns is known
        ("ab", 2, "a", "ba"),  # only lost entries: likewise
        ("ab", 2, "bc", "abc"),
        ("abcd", 2, "ca", "bdca"),  # what left it stays in order
        ("aab", 3, "a", "aba"),  # of equal entries the first ones left
        ("zabcdefghijk", 2, "xy", "fghijkxy"),  # no more than four full lists
    ],
)
def test_what_is_remembered_of_a_list(known: str, present: int, found: str, after: str) -> None:
    remembered = remember(Remembered(tuple(entries(known)), present), entries(found), 2)

    assert remembered == Remembered(tuple(entries(after)), len(found))


def test_a_list_without_a_cap_is_remembered_when_it_is_emptied() -> None:
    known = Remembered(tuple(entries("abc")), 3)

    assert remember(known, [], 0) == Remembered(known.hashes, 0)
