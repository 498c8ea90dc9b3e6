"""Which rows the lines of the files became, where neither is as the other."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipwrightd.recovery.align import NONE, pair_up

MARKS = st.lists(st.integers(0, 5), max_size=12)


@pytest.mark.parametrize(
    ("stored", "lines", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], [0, 1, 2]),
        ([1, 2, 3], [2, 9, 3], [1, NONE, 2]),
        ([], [1, 2], [NONE, NONE]),
        ([1, 2, 1], [1, 1, 2], [2, 0, 1]),
        ([2, 2, 1, 1, 9], [1, 1, 2, 2, 8], [2, 3, 0, 1, NONE]),
        ([7, 7, 7, 5, 9], [7, 5, 8], [2, 3, NONE]),
    ],
    ids=["equal", "one lost", "all lost", "in another order", "two kinds in another order", "fewer lines than rows"],
)
def test_each_line_finds_the_row_that_it_became(stored: list[int], lines: list[int], expected: list[int]) -> None:
    assert pair_up(stored, lines) == expected


def test_rows_before_the_first_that_the_files_hold_are_what_they_lost_long_ago() -> None:
    assert pair_up([4, 1, 2, 3], [1, 2, 4, 3]) == [1, 2, NONE, 3]


@given(MARKS, MARKS)
def test_no_row_is_two_lines_and_no_line_misses_a_row_that_says_the_same(stored: list[int], lines: list[int]) -> None:
    found = pair_up(stored, lines)
    rows = [row for row in found if row != NONE]
    assert len(rows) == len(set(rows))
    assert all(stored[row] == line for row, line in zip(found, lines, strict=True) if row != NONE)
    first = min(rows, default=0)
    left = Counter(mark for i, mark in enumerate(stored) if i >= first and i not in rows)
    assert not left.keys() & {line for row, line in zip(found, lines, strict=True) if row == NONE}
