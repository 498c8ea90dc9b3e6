"""Which lines of a file are known from a history: against examples of each rule, and against plain models."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipwrightd.journals.match import (
    NEW,
    SURE_LINES,
    Match,
    Run,
    contains,
    increasing,
    longest_run,
    match,
    prefix_matches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FEW = st.lists(st.integers(0, 3), max_size=30)  # equal lines everywhere
DISTINCT = st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=60)
MANY = 65_536  # lines that are remembered of a file


def known(found: Match) -> list[int]:
    """Return the indexes of the known lines of a file."""
    return [at for at, place in enumerate(found.pairs) if place != NEW]


def check(history: Sequence[int], lines: Sequence[int]) -> Match:
    """Match, and assert what holds for any two sequences."""
    found = match(history, lines)
    pairs = [(place, at) for at, place in enumerate(found.pairs) if place != NEW]
    assert len(found.pairs) == len(lines)
    assert all(history[place] == lines[at] for place, at in pairs)
    assert len({place for place, _ in pairs}) == len(pairs), "a line of the history is paired twice"
    assert found.last == max((at for _, at in pairs), default=NEW)
    run = found.run
    assert list(found.pairs[: run.length]) == list(range(run.start, run.start + run.length))
    assert found.ended == (run.length > 0 and run.start + run.length == len(history))
    return found


# -- rule 1: the end of a history at the beginning of the file


@pytest.mark.parametrize("cut", [0, 1, 500, 999])
@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_trim_is_known_to_its_end_and_what_follows_is_new(cut: int, more: int) -> None:
    history = list(range(1000))
    found = check(history, [*history[cut:], *range(5000, 5000 + more)])
    assert (known(found), found.run) == (list(range(1000 - cut)), Run(cut, 1000 - cut))
    assert (found.ended, found.proven) == (True, True)


def test_a_single_line_that_ends_the_history_is_a_trim() -> None:
    found = check([1, 2, 3], [3, 4, 5])
    assert (known(found), found.run, found.ended, found.proven) == ([0], Run(2, 1), True, True)


def test_a_file_inside_the_history_is_known_whole() -> None:
    found = check([1, 2, 3, 4], [2, 3])
    assert (list(found.pairs), found.run, found.ended) == ([1, 2], Run(1, 2), False)


def test_behind_a_trim_a_line_that_the_trim_cut_off_is_new() -> None:
    """What was written once and cut off is written again."""
    history = list(range(100))
    found = check(history, [*history[50:], 10, 200])
    assert known(found) == list(range(50))


def test_behind_a_run_only_what_follows_it_in_the_history_is_known() -> None:
    history = list(range(100))
    found = check(history, [*history[10:40], 5, *history[60:70]])
    assert [at for at in range(30, 41) if found.pairs[at] == NEW] == [30]
    assert (found.run, found.ended) == (Run(10, 30), False)


@pytest.mark.parametrize(("length", "is_run"), [(SURE_LINES - 1, False), (SURE_LINES, True)])
def test_fewer_lines_in_a_row_from_the_middle_are_no_run(length: int, *, is_run: bool) -> None:
    found = check(range(100), [*range(10, 10 + length), 3, 10 + length])
    assert found.run == (Run(10, length) if is_run else Run(100, 0))
    assert found.pairs[length] == (NEW if is_run else 3), "what follows a run was behind it"
    assert found.pairs[length + 1] == 10 + length


def test_of_equal_lines_a_trim_keeps_the_last() -> None:
    found = check([7] * 10, [7] * 4)
    assert (list(found.pairs), found.run) == ([6, 7, 8, 9], Run(6, 4))
    assert known(check([7] * 10, [7] * 12)) == list(range(10))


def test_an_equal_line_behind_the_end_is_a_new_one() -> None:
    found = check([1, 2, 3], [1, 2, 3, 3])
    assert known(found) == [0, 1, 2]


# -- rule 2: lines that occur as often on both sides tell the order


def test_an_edited_line_is_the_only_new_one() -> None:
    history = list(range(100))
    found = check(history, [*history[:40], 999, *history[41:], 500, 501])
    assert [at for at in range(102) if found.pairs[at] == NEW] == [40, 100, 101]
    assert (found.run, found.last, found.proven) == (Run(0, 40), 99, True)


def test_deleted_lines_leave_nothing_new() -> None:
    history = list(range(100))
    found = check(history, [*history[20:50], *history[60:]])
    assert list(found.pairs) == [*range(20, 50), *range(60, 100)]


def test_lines_put_before_the_known_ones_are_new() -> None:
    history = list(range(20))
    found = check(history, [900, 901, *history])
    assert list(found.pairs) == [NEW, NEW, *history]
    assert found.run.length == 0


def test_two_identical_lines_around_a_pin_are_both_known() -> None:
    found = check([1, 7, 2, 7, 3], [0, 1, 7, 2, 7, 3])
    assert list(found.pairs) == [NEW, 0, 1, 2, 3, 4]


def test_between_pins_equal_lines_are_paired_from_the_end() -> None:
    """What an edit removes is rather at the beginning."""
    found = check([0, 1, 7, 7, 7, 2], [9, 0, 1, 7, 2])
    assert list(found.pairs) == [NEW, 0, 1, 4, 5]


def test_between_pins_a_further_equal_line_is_new_and_the_first_one() -> None:
    found = check([0, 1, 7, 2], [9, 0, 1, 7, 7, 2])
    assert list(found.pairs) == [NEW, 0, 1, NEW, 2, 3]


# -- rule 3: what is left before the last pin in any order, behind it only what is behind


def test_moved_lines_before_the_last_pin_are_known() -> None:
    found = check(range(10), [5, 4, 3, 6, 7, 8, 9])
    assert list(found.pairs) == [5, 4, 3, 6, 7, 8, 9]


def test_a_line_written_again_behind_the_last_pin_is_new() -> None:
    found = check([7, 1, 2, 3, 4], [9, 7, 1, 2, 3, 4, 7])
    assert list(found.pairs) == [NEW, 0, 1, 2, 3, 4, NEW]


def test_behind_the_last_pin_what_the_history_has_behind_it_is_known() -> None:
    found = check([1, 2, 7, 8, 8], [9, 1, 2, 8, 7])
    assert known(found) == [1, 2, 3, 4]


def test_one_that_was_removed_before_the_last_pin_and_is_there_twice_is_known_as_often_as_it_was() -> None:
    found = check([7, 7, 1, 2], [9, 1, 7, 7, 7, 2])
    assert [found.pairs[at] == NEW for at in (2, 3, 4)].count(False) == 2


# -- proven


@pytest.mark.parametrize(
    ("history", "lines", "proven"),
    [
        (range(100), [900, *range(0, 2 * SURE_LINES, 2), *range(901, 950)], True),  # eight pins in order
        (range(100), [900, *range(0, 2 * SURE_LINES - 2, 2), *range(901, 950)], False),
        (range(100), [1, 3, 900], True),  # most of a short file
        (range(100), [3, 1, 900], False),  # out of order
        (range(100), [1, 3, 900, 901], False),  # half
        (range(100), [1, 900], False),  # one may be chance
        (range(100), [50], False),
        (range(100), [900, 901], False),
        (range(100), [], False),
        ([], range(5), False),
        ([7] * 50, [9, *[7] * 5], False),  # one line again and again
        ([*[7] * 50, 8], [9, *[7] * (SURE_LINES - 1), 8], True),  # the history's last eight lines
        ([*[7] * 50, 8], [9, *[7] * (SURE_LINES - 2), 8], False),
        ([*[7] * (SURE_LINES - 1), 8], [9, *[7] * (SURE_LINES - 1), 8], True),
        ([7, 7, 8], [9, 7, 7, 8], False),  # of a history that has as many
        (range(100), [*range(10, 10 + SURE_LINES), *range(900, 999)], True),  # a run
        (range(100), [*range(10, 9 + SURE_LINES), *range(900, 999)], False),
        (range(100), [99, *range(900, 999)], True),  # a trim to the last line
    ],
)
def test_evidence_that_is_no_chance_is_proven(history: Sequence[int], lines: Sequence[int], *, proven: bool) -> None:
    assert check(list(history), list(lines)).proven is proven


def test_the_end_of_the_history_is_found_at_whole_lines_only() -> None:
    """The bytes of eight hashes may also begin inside of another."""
    shifted = [int.from_bytes(b"\1" * 4 + b"\2" * 4, "little")] * (SURE_LINES + 1)
    end = [int.from_bytes(b"\2" * 4 + b"\1" * 4, "little")] * SURE_LINES
    assert not check([3, *end], [9, *shifted]).proven
    assert check([3, *end], [9, *shifted, *end]).proven
    assert check([3, *end], [9, *shifted, *end, *shifted]).proven
    assert check([3, *end], [9, *end, *shifted]).proven


# -- any sequences


@given(DISTINCT, st.data())
def test_of_distinct_lines_each_before_the_last_in_order_is_paired_with_its_equal(
    lines: list[int], data: st.DataObject
) -> None:
    """But for lines behind a trim that were cut off by it, and moved ones behind the last in order, all are known."""
    history = lines[: data.draw(st.integers(0, len(lines)))]
    found = data.draw(st.permutations(lines).map(lambda order: order[: data.draw(st.integers(0, len(lines)))]))
    result = check(history, found)
    places = {line: at for at, line in enumerate(history)}
    for at, line in enumerate(found):
        assert result.pairs[at] in {places.get(line, NEW), NEW}
        if result.pairs[at] == NEW and line in places:
            end = result.run.start + result.run.length
            cut_off = result.run.length > 0 and places[line] < end
            behind = [place for place in result.pairs[at + 1 :] if place > places[line]]
            assert cut_off or not behind, "a line before one that follows it in the history is no new one"


@given(DISTINCT, st.data())
def test_a_subsequence_of_distinct_lines_with_new_ones_anywhere_is_known_whole(
    lines: list[int], data: st.DataObject
) -> None:
    is_kept = data.draw(st.lists(st.sampled_from(["both", "new", "gone"]), min_size=len(lines), max_size=len(lines)))
    history = [line for line, state in zip(lines, is_kept, strict=True) if state != "new"]
    found = [line for line, state in zip(lines, is_kept, strict=True) if state != "gone"]
    result = check(history, found)
    wanted = [history.index(line) if line in history else NEW for line in found]
    assert list(result.pairs) == wanted
    shared = len(set(history) & set(found))
    assert result.proven or shared < SURE_LINES
    if shared >= 2 and 2 * shared > len(found):
        assert result.proven


@given(DISTINCT.filter(len), st.data())
def test_a_trim_of_distinct_lines_is_never_doubled_nor_lost(lines: list[int], data: st.DataObject) -> None:
    read = data.draw(st.integers(1, len(lines)))
    cut = data.draw(st.integers(0, read - 1))
    found = check(lines[:read], lines[cut:])
    assert (found.last, len(known(found)), found.ended, found.proven) == (read - cut - 1, read - cut, True, True)


@given(FEW, FEW)
def test_of_equal_lines_no_more_are_known_than_the_history_has(history: list[int], lines: list[int]) -> None:
    found = check(history, lines)
    there, here = Counter(history), Counter(lines[at] for at in known(found))
    assert here <= there
    if not found.run.length:
        pin = max((at for at, line in enumerate(lines) if there[line] == Counter(lines)[line]), default=None)
        if pin is None:
            assert here == there & Counter(lines), "without any order all that both have is known"


@given(FEW, FEW)
def test_growth_keeps_what_is_known(history: list[int], more: list[int]) -> None:
    if history:
        found = check(history, [*history, *more])
        assert known(found) == list(range(len(history)))


@given(FEW.filter(len), st.integers(0, 29), FEW)
def test_a_trim_is_known_whatever_follows_as_long_as_no_longer_run_is_there(
    history: list[int], cut: int, more: list[int]
) -> None:
    kept = history[cut % len(history) :]
    found = check(history, [*kept, *more])
    assert found.run.length >= len(kept) or found.last >= len(kept) - 1
    if found.run.length == len(kept):
        assert known(found) == list(range(len(kept)))


# -- the parts


def plain_matches(text: Sequence[int], pattern: Sequence[int]) -> list[int]:
    """Compare one by one."""
    lengths = []
    for at in range(len(text)):
        length = 0
        while length < len(pattern) and at + length < len(text) and text[at + length] == pattern[length]:
            length += 1
        lengths.append(length)
    return lengths


@given(FEW, FEW)
def test_prefix_matches_agree_with_comparing_one_by_one(text: list[int], pattern: list[int]) -> None:
    assert prefix_matches(text, pattern) == plain_matches(text, pattern)


@given(FEW, FEW)
def test_the_longest_run_is_the_last_of_the_longest(history: list[int], found: list[int]) -> None:
    lengths = plain_matches(history, found)
    best = max(lengths, default=0)
    last = max((at for at, length in enumerate(lengths) if length == best), default=0)
    assert longest_run(history, found) == (Run(last, best) if best else Run(len(history), 0))


def test_the_longest_of_several_runs_wins() -> None:
    assert longest_run([1, 2, 3, 9, 1, 2], [1, 2, 3, 4]) == Run(0, 3)
    assert longest_run([1, 2, 3], [4, 5]) == Run(3, 0)


@given(st.lists(st.integers(0, 20), max_size=12))
def test_an_increasing_part_is_a_longest_one(numbers: list[int]) -> None:
    best = [1] * len(numbers)
    for at, number in enumerate(numbers):
        best[at] = 1 + max((best[i] for i in range(at) if numbers[i] < number), default=0)
    chain = increasing(numbers)
    assert len(chain) == max(best, default=0)
    assert all(a < b and numbers[a] < numbers[b] for a, b in pairwise(chain))


# -- as long as files are remembered


class Counted(int):
    """A line hash that counts how often it is compared or hashed."""

    work = 0

    def __eq__(self, other: object) -> bool:
        Counted.work += 1
        return int(self) == other

    def __hash__(self) -> int:
        Counted.work += 1
        return hash(int(self))


@pytest.mark.parametrize(
    ("history", "lines"),
    [
        ([7] * MANY, [7] * MANY),
        ([7] * MANY, [*[7] * (MANY // 2), 8, *[7] * (MANY // 2)]),
        ([*[7] * MANY, 8], [*[7] * (MANY - 1), 9]),
        ([1, 2] * (MANY // 2), [2, 1] * (MANY // 2)),
        ([9, *[1, 2, 3] * (MANY // 3)], [8, *[1, 2, 3] * (MANY // 3 - 1), 3]),
        (list(range(MANY)), [*range(0, MANY, 2), *range(1, MANY, 2)]),
        (list(range(MANY)), list(range(MANY - 1, -1, -1))),
        ([at % 300 for at in range(MANY)], [at % 301 for at in range(MANY)]),
    ],
    ids=["alike", "one between", "one at the end", "turned", "threes", "halves", "backwards", "beat"],
)
def test_work_grows_with_the_lines_whatever_they_repeat_linear_time(history: list[int], lines: list[int]) -> None:
    Counted.work = 0
    match(list(map(Counted, history)), list(map(Counted, lines)))
    assert Counted.work < 50 * MANY


@given(
    st.lists(st.sampled_from([0, 1, 256, 257]), max_size=12), st.lists(st.sampled_from([0, 1, 256, 257]), max_size=4)
)
def test_a_run_is_contained_where_it_is_a_slice(lines: list[int], run: list[int]) -> None:
    slices = [lines[at : at + len(run)] for at in range(len(lines))]
    assert contains(lines, run) == (len(run) > 0 and run in slices)


@pytest.mark.parametrize(("lines", "run"), [([256, 0], [1]), ([0, 1 << 56, 5], [1]), ([1, 2], [2, 3])])
def test_bytes_of_two_lines_are_no_line(lines: list[int], run: list[int]) -> None:
    assert not contains(lines, run)
    assert contains([*lines, *run], run)
    assert contains([*run, *lines], run)
    assert not contains(lines, [])
