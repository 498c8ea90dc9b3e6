"""Alignment: what of a file is known from before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shipwrightd.journals.align import (
    EXTEND_LINES,
    Run,
    RunSearch,
    TailSearch,
    Verdict,
    decide,
    is_sure,
    longest_run,
    prefix_matches,
)


def test_a_trim_is_found_where_its_first_line_stood() -> None:
    assert longest_run(list(range(1000)), list(range(700, 1000))) == Run(700, 300)


def test_the_longest_of_several_runs_wins() -> None:
    assert longest_run([1, 2, 3, 9, 1, 2], [1, 2, 3, 4]) == Run(0, 3)


def test_of_equally_long_runs_the_latest_wins() -> None:
    assert longest_run([7] * 10, [7] * 4) == Run(6, 4)


def test_no_common_line_is_no_run() -> None:
    assert longest_run([1, 2, 3], [4, 5]).length == 0


def test_a_run_to_the_end_of_the_history_is_resumed_even_when_it_is_short() -> None:
    decision = decide([1, 2, 3], [3, 4, 5], whole=True, settled=False)
    assert (decision.verdict, decision.run.length) == (Verdict.RESUME, 1)


def test_a_file_wholly_inside_the_history_is_waited_for_until_it_rests() -> None:
    assert decide([1, 2, 3, 4], [2, 3], whole=True, settled=False).verdict is Verdict.WAIT
    settled = decide([1, 2, 3, 4], [2, 3], whole=True, settled=True)
    assert (settled.verdict, settled.run.length) == (Verdict.RESUME, 2)


def test_a_run_that_stops_in_the_middle_asks_for_the_tail() -> None:
    assert decide([1, 2, 3, 4], [1, 2, 9, 9, 9], whole=False, settled=True).verdict is Verdict.LOOK_FURTHER


def test_eight_lines_or_512_bytes_are_no_chance() -> None:
    assert is_sure(Run(0, 8), [2] * 8)
    assert is_sure(Run(0, 1), [512])
    assert not is_sure(Run(0, 7), [2] * 7)


def test_an_edited_line_is_the_only_unknown_one() -> None:
    history = list(range(100))
    search = TailSearch(history)
    search.feed([*history[:40], 999, *history[41:], 500, 501])
    assert (search.known, search.unknown) == (100, [40])


def test_deleted_lines_leave_nothing_unknown() -> None:
    history = list(range(100))
    search = TailSearch(history)
    search.feed([*history[20:50], *history[60:]])
    assert (search.known, search.unknown) == (70, [])


def test_a_tail_that_never_comes_back_is_not_found() -> None:
    search = TailSearch(list(range(100)))
    search.feed(list(range(50)))
    assert search.known == 0


def test_a_tail_is_found_across_feeds() -> None:
    history = list(range(200, 300))
    search = TailSearch(history)
    for start in range(0, 400, 7):
        search.feed(list(range(start, start + 7)))
    assert (search.known, search.unknown) == (300, [])


def test_the_latest_lines_in_a_row_are_found_where_the_end_never_comes_back() -> None:
    history = list(range(100))
    search = RunSearch(history)
    search.feed([*history[:40], 999, *history[41:90], 500, 501])
    assert (search.known, search.unknown) == (90, [40])


def test_seven_lines_in_a_row_or_lines_all_alike_are_chance() -> None:
    search = RunSearch([*range(20), *[7] * 20])
    search.feed([*range(13, 20), 500, *[7] * 20])
    assert search.known == 0


def test_of_two_places_that_agree_further_than_is_compared_the_last_wins() -> None:
    history = list(range(2 * EXTEND_LINES))
    search = TailSearch(history)
    search.feed([*history, -7, *history[-EXTEND_LINES:], 500])
    assert search.known == len(history) + 1 + EXTEND_LINES


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=40))
def test_prefix_matches_agree_with_comparing_one_by_one(text: list[int], pattern: list[int]) -> None:
    def plain(i: int) -> int:
        length = 0
        while length < len(pattern) and i + length < len(text) and text[i + length] == pattern[length]:
            length += 1
        return length

    assert prefix_matches(text, pattern) == [plain(i) for i in range(len(text))]


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, min_size=1, max_size=60), st.data())
def test_distinct_lines_are_never_doubled_nor_lost_by_a_trim(lines: list[int], data: st.DataObject) -> None:
    read = data.draw(st.integers(1, len(lines)))
    cut = data.draw(st.integers(0, read - 1))
    decision = decide(lines[:read], lines[cut:], whole=len(lines) - cut <= read, settled=True)
    assert decision.verdict is Verdict.RESUME
    assert cut + decision.run.length == read
