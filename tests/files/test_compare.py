"""What two files have in common, and where a known line without its newline ends, asked of real files."""

from __future__ import annotations

import os
from array import array
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import line

from shipwrightd.journals import compare
from shipwrightd.journals.align import SURE_LINES, line_hashes
from shipwrightd.journals.compare import Overlap
from shipwrightd.journals.lines import ANCHOR_BYTES, READ_BYTES, ChangedError, Position, begun_before, open_journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Holding = Callable[[bytes], int]


@pytest.fixture
def holding(tmp_path: Path) -> Iterator[Holding]:
    """Return a function that makes a file of these bytes and opens it."""
    opened: list[int] = []

    def make(content: bytes) -> int:
        path = tmp_path / f"file.{len(opened)}"
        path.write_bytes(content)
        opened.append(open_journal(path))
        return opened[-1]

    yield make
    for fd in opened:
        os.close(fd)


def lines(*seqs: int) -> bytes:
    return b"".join(map(line, seqs))


def hash_of(text: bytes) -> int:
    return array("Q", line_hashes([text]))[0]


# -- a copy beside what it was made from


@pytest.mark.parametrize("count", [2, SURE_LINES, 100])
@pytest.mark.parametrize("more", [0, 1, 50])
def test_a_copy_is_repeated_from_its_beginning(holding: Holding, count: int, more: int) -> None:
    copy = holding(lines(*range(count)))
    assert compare.repeated_from(copy, holding(lines(*range(count + more)))) == 0


def test_a_copy_of_several_blocks_is_repeated_only_if_all_of_it_is(holding: Holding) -> None:
    text = lines(1) + b"x" * READ_BYTES + b"\n" + lines(2) + b"y" * READ_BYTES + b"\n" + lines(3)
    assert compare.repeated_from(holding(text), holding(text + lines(4))) == 0
    assert compare.repeated_from(holding(text), holding(text[:-9] + b"9" + text[-8:])) == len(text)
    assert compare.repeated_from(holding(text), holding(text[:-1])) == len(text)
    assert compare.repeated_from(holding(text), holding(b"[" + text[1:])) == len(text)


@pytest.mark.parametrize("kept", [SURE_LINES, 20, 39])
def test_a_copy_of_what_was_trimmed_since_is_repeated_from_there_on(holding: Holding, kept: int) -> None:
    copy = holding(lines(*range(40)))
    trimmed = holding(lines(*range(40 - kept, 45)))
    assert compare.repeated_from(copy, trimmed) == len(lines(*range(40 - kept)))


def test_a_copy_of_what_was_trimmed_and_nothing_else_is_repeated_from_there_on(holding: Holding) -> None:
    assert compare.repeated_from(holding(lines(*range(40))), holding(lines(*range(20, 40)))) == len(lines(*range(20)))


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (range(40), range(40, 80)),  # rotated
        (range(40), range(40 - SURE_LINES + 1, 80)),  # too few to be no chance
        (range(40), [*range(20, 30), *range(50, 60)]),  # not up to its end
        ([1, *[2] * 20], [*[2] * 20, 3]),  # all alike
        ([7], [7, 8]),
        ([7, 7, 7], [7, 7, 7, 8]),
        (range(3), []),
        ([], range(3)),
    ],
)
def test_what_shares_nothing_or_too_little_is_no_copy(holding: Holding, older: list[int], newer: list[int]) -> None:
    assert compare.repeated_from(holding(lines(*older)), holding(lines(*newer))) == len(lines(*older))


def test_two_different_lines_in_turn_are_enough(holding: Holding) -> None:
    assert compare.repeated_from(holding(lines(9, *[1, 2] * 4)), holding(lines(*[1, 2] * 4, 3))) == len(lines(9))


@given(
    older=st.lists(st.integers(0, 3), max_size=30), newer=st.lists(st.integers(0, 3), max_size=30), whole=st.booleans()
)
def test_the_longest_common_end_and_beginning_counts(
    holding: Holding, older: list[int], newer: list[int], *, whole: bool
) -> None:
    newer = older[len(older) // 2 :] + newer if whole else newer
    ends = [at for at in range(len(older)) if older[at:] == newer[: len(older) - at]]
    sure = [at for at in ends if len(older) - at >= SURE_LINES and len(set(older[at:])) > 1]
    at = 0 if ends[:1] == [0] and len(set(older)) > 1 else sure[0] if sure[:1] == ends[:1] and sure else len(older)
    assert compare.repeated_from(holding(lines(*older)), holding(lines(*newer))) == len(lines(*older[:at]))


# -- a known line without its newline


def behind(fd: int, known: int, *, next_text: bytes | None) -> Position:
    """Return the position behind so many lines of a file, of which the history goes on with a text."""
    texts = [line(seq)[:-1] for seq in range(known)]
    window = array("Q", line_hashes(texts))
    next_hash = None if next_text is None else hash_of(next_text)
    return compare.position_behind(fd, Overlap(known, len(lines(*range(known))), window, next_hash=next_hash))


@pytest.mark.parametrize("text", [b'{"a":1}', b"no record", b'{"a":{"b":2}}', b'{"n":"' + b"{" * 9_000 + b'"}'])
@pytest.mark.parametrize("glued", [b"", b'{"ts":"x"}', b'{"ts":"x"}\n', b'{"ts"'])
def test_reading_goes_on_behind_the_text_that_is_known(holding: Holding, text: bytes, glued: bytes) -> None:
    before = lines(*range(5))
    position = behind(holding(before + text + glued + lines(9)), 5, next_text=text)
    assert position == Position(len(before + text), (before + text)[-ANCHOR_BYTES:])


@pytest.mark.parametrize("after", [b"", b'{"a":2}', b'{"a":2}\n', b"\n", b'{"a":1', b'x{"a":1}'])
@pytest.mark.parametrize("next_text", [None, b'{"a":1}'])
def test_another_text_is_read_from_its_beginning(holding: Holding, after: bytes, next_text: bytes | None) -> None:
    before = lines(*range(5))
    assert behind(holding(before + after), 5, next_text=next_text) == Position(len(before), before[-ANCHOR_BYTES:])


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_above_all_bounds_is_no_known_text(holding: Holding, end: bytes) -> None:
    before = lines(*range(5))
    assert behind(holding(before + b"{" + b"x" * (17 << 20) + end), 5, next_text=b"{").offset == len(before)


def test_a_whole_line_that_is_no_record_is_read_though_its_text_is_known(holding: Holding) -> None:
    before = lines(*range(5))
    assert behind(holding(before + b"no record\n"), 5, next_text=b"no record").offset == len(before)


def test_an_overlap_ends_where_its_last_line_does_in_files_of_several_blocks(holding: Holding) -> None:
    texts = [line(seq) for seq in range(40_000)]
    history = array("Q", line_hashes([text[:-1] for text in texts]))
    content = b"".join([*texts[:5], line(99_999), *texts[6:]])
    assert len(content) > 3 * READ_BYTES
    found = compare.overlap_of(holding(content + line(7)), history, settled=True, in_place=False)
    assert isinstance(found, Overlap)
    assert (found.known, found.offset, found.unknown) == (len(texts), len(content), [5])


@pytest.mark.parametrize("known", [1, 5, 100])
def test_another_line_before_the_place_is_a_change(holding: Holding, known: int) -> None:
    with pytest.raises(ChangedError):
        behind(holding(lines(*range(known - 1), 9) + lines(5)), known, next_text=None)


@pytest.mark.parametrize("size", [0, 1, 50, ANCHOR_BYTES, 3 * ANCHOR_BYTES])
@pytest.mark.parametrize("first", [b"", lines(1)])
def test_what_a_line_begins_with_is_found_whatever_its_length(holding: Holding, size: int, first: bytes) -> None:
    content = first + b"x" * size
    assert begun_before(holding(content), Position(len(content), content[-ANCHOR_BYTES:])) == b"x" * size


# -- the whole lines before a position


@pytest.mark.parametrize("inside", [0, 1, 40])
def test_the_whole_lines_before_a_position_are_known(holding: Holding, inside: int) -> None:
    found = compare.known_up_to(holding(lines(*range(6))), len(lines(*range(4))) + inside)
    hashes = array("Q", line_hashes([line(seq)[:-1] for seq in range(4)]))
    assert found == Overlap(4, len(lines(*range(4))), hashes)


def test_all_lines_are_known_up_to_the_end_and_none_behind_it(holding: Holding) -> None:
    fd = holding(lines(*range(6)) + b"half")
    assert compare.known_up_to(fd, len(lines(*range(6))) + 4).known == 6
    with pytest.raises(ChangedError):
        compare.known_up_to(fd, len(lines(*range(6))) + 5)
