"""Appended lists with a cap: what is new in them, case by case. Random ones are in test_documents_properties."""

from __future__ import annotations

from itertools import product

import pytest

from shipwrightd.documents.lists import Added, Remembered, added, overlap, remember, surplus


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
    ("known", "found", "cap", "more"),
    [
        ("", "ab", 9, Added((0, 1))),
        ("ab", "", 9, Added(())),
        ("ab", "ab", 9, Added(())),
        ("abc", "bcd", 9, Added((2,))),  # the head fell off, what follows is unknown
        ("ab", "aba", 9, Added((2,))),  # nothing fell off: a repeated entry is new
        ("abc", "bca", 3, Added((2,))),  # the list is full: that is why the head fell off
        ("abc", "bca", 9, Added((), sure=False)),  # it is not full: an edit put the entry elsewhere
        ("abc", "cab", 9, Added((), sure=False)),
        ("abc", "de", 9, Added((0, 1), sure=False, torn_off=True)),
        ("abc", "xcy", 9, Added((0, 2), sure=False)),
    ],
)
def test_what_a_list_adds(known: str, found: str, cap: int, more: Added) -> None:
    assert added(entries(known), entries(found), cap) == more


def test_of_equal_entries_those_beyond_the_known_ones_are_surplus_the_last_ones() -> None:
    assert surplus(entries("aab"), entries("abaac")) == (3, 4)


@pytest.mark.parametrize(
    ("known", "found", "new", "after"),
    [
        ("", "ab", (0, 1), Remembered((b"a", b"b"))),
        ("ab", "", (), Remembered((b"a", b"b"), ended=True)),  # emptied: what returns is known
        ("ab", "a", (), Remembered((b"a", b"b"))),  # only lost entries: likewise
        ("ab", "ba", (), Remembered((b"a", b"b"))),  # only put in another order
        ("ab", "bc", (1,), Remembered((b"b", b"c"))),
        ("ab", "abc", (), Remembered((b"a", b"b", b"c"))),  # longer though nothing is new: stored before
        ("", "a", (), Remembered((b"a",))),
    ],
)
def test_what_is_remembered_of_a_list(known: str, found: str, new: tuple[int, ...], after: Remembered) -> None:
    assert remember(Remembered(tuple(entries(known))), entries(found), new) == after
