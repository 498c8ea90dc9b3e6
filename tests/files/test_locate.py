"""Where to go on, asked of real files: which of several places counts, and what is too little to go by."""

from __future__ import annotations

import os
import sys
from array import array
from typing import TYPE_CHECKING

import pytest
from world import line

from shipwrightd.journals import compare, locate
from shipwrightd.journals.align import WINDOW_LINES, line_hashes
from shipwrightd.journals.compare import How
from shipwrightd.journals.lines import Place, Position, anchor_hash, open_existing, open_journal
from shipwrightd.journals.store import Generation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import FrameType


class Folder:
    """Files of numbered lines; what was opened is closed in the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[int] = []

    def holding(self, *seqs: int) -> int:
        """Make a file of these lines and open it."""
        path = self.path / f"file.{len(self.opened)}"
        path.write_bytes(b"".join(map(line, seqs)))
        self.opened.append(open_journal(path))
        return self.opened[-1]

    def named(self, fd: int) -> Path:
        """Return the path of a file that was made here."""
        return self.path / f"file.{self.opened.index(fd)}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path)
    yield folder
    for fd in folder.opened:
        os.close(fd)


def history(*seqs: int) -> list[int]:
    return list(array("Q", line_hashes([line(seq).removesuffix(b"\n") for seq in seqs])))


def size(*seqs: int) -> int:
    return sum(len(line(seq)) for seq in seqs)


def place(fd: int, offset: int) -> Place:
    """Return what a checkpoint knows of a file read so far."""
    info = os.fstat(fd)
    before = os.pread(fd, offset, 0)
    return Place(info.st_dev, info.st_ino, offset, anchor_hash(before), len(before))


def elsewhere(fd: int, offset: int) -> Place:
    """Return the place in a file that has gone since; it was a copy of this one."""
    known = place(fd, offset)
    return Place(known.device, 0, known.offset, known.anchor, known.anchor_bytes)


def test_of_two_files_that_hold_the_anchor_the_one_that_was_read_goes_on(folder: Folder) -> None:
    files = [folder.holding(1, 2, 3), folder.holding(1, 2, 3), folder.holding(1, 2, 3)]

    for index, fd in enumerate(files):
        plan = locate.find_anchor(files, place(fd, size(1, 2)))
        assert plan is not None
        assert (plan.how, plan.first) == (How.ANCHOR, index)


@pytest.mark.parametrize("turned", [False, True])
def test_a_file_that_is_back_goes_on_as_far_as_it_was_read_furthest(folder: Folder, turned: object) -> None:
    fd = folder.holding(1, 2, 3)
    other = folder.holding(7, 8, 9)
    known = [elsewhere(fd, size(1)), elsewhere(fd, size(1, 2)), elsewhere(other, size(7, 8, 9))]
    plan = locate.find_return([fd], known[::-1] if turned else known, history(4, 5))

    assert plan is not None
    assert (plan.how, plan.position.offset) == (How.OVERLAP, size(1, 2))
    assert plan.overlap is not None
    assert (plan.overlap.known, list(plan.overlap.window)) == (2, history(1, 2))


def test_a_file_of_which_nothing_was_read_is_not_back(folder: Folder) -> None:
    fd = folder.holding(1, 2, 3)

    assert locate.find_return([fd], [place(fd, 0)], history(4, 5)) is None


def test_a_sibling_that_goes_on_as_the_history_does_is_read_from_where_it_leaves_it(folder: Folder) -> None:
    never_read, grown = folder.holding(20, 21), folder.holding(*range(1, 11), 90, 91)
    known = [elsewhere(folder.holding(*range(30, 60)), size(*range(30, 60))), elsewhere(grown, size(1, 2))]
    plan = locate.find_grown([never_read, grown], known, history(*range(1, 15)))

    assert plan is not None
    assert (plan.how, plan.first, plan.position.offset) == (How.OVERLAP, 1, size(*range(1, 11)))


def test_a_sibling_inside_the_history_is_known_to_its_end(folder: Folder) -> None:
    grown = folder.holding(*range(1, 7))
    plan = locate.find_grown([grown], [elsewhere(grown, size(1, 2))], history(*range(1, 11)))

    assert plan is not None
    assert plan.position.offset == size(*range(1, 7))


def test_a_sibling_that_was_read_to_where_it_leaves_the_history_has_not_grown(folder: Folder) -> None:
    grown = folder.holding(*range(1, 11), 90, 91)
    known = [elsewhere(grown, size(*range(1, 11)))]

    assert locate.find_grown([grown], known, history(*range(1, 15))) is None


def test_a_sibling_that_was_never_read_has_not_grown(folder: Folder) -> None:
    never_read = folder.holding(*range(1, 11), 90, 91)
    known = [elsewhere(folder.holding(50), size(50)), place(never_read, 0)]

    assert locate.find_grown([never_read], known, history(*range(1, 15))) is None


def test_so_few_lines_that_go_on_as_the_history_does_are_chance(folder: Folder) -> None:
    grown = folder.holding(1, 2, 90, 91)

    assert locate.find_grown([grown], [elsewhere(grown, size(1))], history(*range(1, 11))) is None


def test_files_that_are_rotated_while_they_are_opened_are_each_seen_once(tmp_path: Path) -> None:
    names = [tmp_path / name for name in ("events.jsonl.2", "events.jsonl.1", "events.jsonl")]
    names[1].write_bytes(line(1))
    names[2].write_bytes(line(2))
    rotated: list[FrameType] = []

    def rotate_behind_the_first(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is open_journal.__code__ and not rotated:
            rotated.append(frame)
            names[1].rename(names[0])
            names[2].rename(names[1])
            names[2].touch()

    sys.setprofile(rotate_behind_the_first)
    try:
        found = open_existing(names[1:])
    finally:
        sys.setprofile(None)
    held = [os.pread(fd, 200, 0) for fd in found.values()]
    for fd in found.values():
        os.close(fd)
    assert held == [line(2), b""]


def generation(number: int, place: Place) -> Generation:
    return Generation(number, "rotated", place, 0)


@pytest.mark.parametrize("turned", [False, True])
def test_a_finished_file_was_read_as_far_as_the_furthest_place_in_it(folder: Folder, turned: object) -> None:
    fd = folder.holding(1, 2, 3)
    others = [generation(2, elsewhere(fd, size(1))), generation(1, elsewhere(fd, size(1, 2)))]
    found = locate.find_generation(fd, others[::-1] if turned else others)

    assert found == (others[1], Position(size(1, 2), line(1) + line(2)))


def test_a_file_left_before_its_first_line_was_whole_is_known_by_its_inode(folder: Folder) -> None:
    fd = folder.holding(1, 2, 3)
    empty = generation(1, place(fd, 0))

    assert locate.find_generation(fd, [empty]) == (empty, locate.START)


def test_an_inode_that_a_later_file_had_tells_nothing(folder: Folder) -> None:
    fd, other = folder.holding(1, 2, 3), folder.holding(7, 8)
    here, gone = place(fd, 0), place(other, size(7))
    later = Place(here.device, here.inode, gone.offset, gone.anchor, gone.anchor_bytes)

    assert locate.find_generation(fd, [generation(2, later), generation(1, here)]) is None


def test_a_file_that_nobody_read_is_no_generation(folder: Folder) -> None:
    fd, other = folder.holding(1, 2, 3), folder.holding(7, 8)

    assert locate.find_generation(fd, [generation(1, place(other, size(7)))]) is None


def passed_over(folder: Folder, fd: int, *files: int) -> list[int]:
    """Return which of the files, the last at the path, were passed over for an open one."""
    found, _ = locate.passed_over(fd, [folder.named(file) for file in files], [], frozenset(), None)
    inodes = [os.fstat(file).st_ino for file in found]
    for file in found:
        os.close(file)
    return [index for index, file in enumerate(files) if os.fstat(file).st_ino in inodes]


def test_a_copy_of_a_file_that_was_emptied_since_was_passed_over(folder: Folder) -> None:
    copy, emptied = folder.holding(1, 2), folder.holding()

    assert passed_over(folder, emptied, copy, emptied) == [0]


def test_a_copy_of_a_file_that_still_holds_it_is_nothing_more(folder: Folder) -> None:
    copy, fd = folder.holding(1, 2), folder.holding(1, 2, 3)

    assert passed_over(folder, fd, copy, fd) == []


def test_what_is_newer_than_a_file_that_was_renamed_was_not_passed_over(folder: Folder) -> None:
    older, renamed, newer, at_path = (folder.holding(seq) for seq in (1, 2, 3, 4))

    assert passed_over(folder, renamed, older, renamed, newer, at_path) == [0]


def test_the_file_at_the_path_was_not_passed_over_for_one_that_was_removed(folder: Folder) -> None:
    removed, at_path = folder.holding(1), folder.holding(2)

    assert passed_over(folder, removed, at_path) == []


def test_a_sibling_is_at_rest_while_the_file_at_the_path_is_written(folder: Folder) -> None:
    files = [folder.holding(*range(3, 12)), folder.holding(90)]
    plan = locate.find_overlap(files, 0, history(*range(1, 11)), place(files[1], 0), settled=False)

    assert (plan.how, plan.first) == (How.OVERLAP, 0)


@pytest.mark.parametrize(
    ("seqs", "known", "found"),
    [
        ((1, 2, 90), range(1, 11), 2),  # begins as it always did, and lost its end
        ((5, 6, 90), range(1, 11), None),  # two lines from its middle prove nothing
        ((1, 1, 90), (1, 1, 1, 2, 3), None),  # nor do equal ones
        ((1, 2, 90), range(1, WINDOW_LINES), 2),
        ((1, 2, 90), range(1, WINDOW_LINES + 1), None),  # its first line may have left the window
    ],
)
def test_a_short_file_written_over_in_place_is_known_by_its_beginning(
    folder: Folder, seqs: tuple[int, ...], known: tuple[int, ...], found: int | None
) -> None:
    head = history(*seqs)
    lines = history(*known) if len(known) < WINDOW_LINES - 1 else [*head[:2], *range(len(known) - 2)]
    overlap = compare.overlap_of(folder.holding(*seqs), lines, settled=True, in_place=True)

    assert overlap is How.NOTHING if found is None else not isinstance(overlap, How) and overlap.known == found


# -- what an unread file is, by what stands beside it


def rotated(number: int, fd: int, *seqs: int) -> Generation:
    """Return what the books know of a sibling that was read to the end of these lines."""
    return Generation(number, "rotated", place(fd, size(*seqs)), len(seqs))


@pytest.mark.parametrize(
    ("last", "others", "expected"),
    [
        ("kept", [], (How.FRESH, 0)),  # the one rotated last is there, so what is unread came before the open file
        ("edited", [], (How.FRESH, 1)),  # it is gone, and no rotations pushed it out: an edit stands in its place
        ("edited", [2, 3], (How.FRESH, 0)),  # as many siblings as can be, none of them known: they pushed it out
        ("edited", [1, 3], (How.FRESH, 3)),  # one of them was read before, so nothing was pushed out
    ],
)
def test_siblings_of_a_file_of_which_nothing_was_read(
    folder: Folder, last: str, others: list[int], expected: tuple[How, int]
) -> None:
    read, before, here = folder.holding(1, 2, 3), folder.holding(11, 12), folder.holding(90)
    stands = {"kept": folder.holding(1, 2, 3), "edited": folder.holding(4, 5, 6)}[last]
    beside = {1: folder.holding(11, 12), 2: folder.holding(21, 22), 3: folder.holding(31, 32)}
    files = [*(beside[number] for number in others), stands, here]
    known = [
        rotated(3, read, 1, 2, 3),
        Generation(2, "replaced", elsewhere(here, 0), 0),
        rotated(1, before, 11, 12),
    ]
    plan = locate.find_fresh(files, 0, place(here, 0), known, most=3)

    assert (plan.how, plan.first) == expected


@pytest.mark.parametrize(
    ("start", "same", "known", "how"),
    [
        (0, False, True, How.NOTHING),
        (0, True, True, How.FRESH),
        (1, False, True, How.FRESH),
        (0, False, False, How.FRESH),
    ],
)
def test_unread_files_tell_a_gap_when_nothing_that_was_read_is_left(
    folder: Folder, start: int, how: How, *, same: bool, known: bool
) -> None:
    gone, sibling, here = folder.holding(1, 2), folder.holding(11), folder.holding(90)
    others = [Generation(1, "replaced", elsewhere(gone, size(1) if known else 0), 1)]
    plan = locate.find_fresh([sibling, here], start, place(here, 0) if same else elsewhere(here, 0), others, most=3)

    assert (plan.how, plan.first) == (how, start)


@pytest.mark.parametrize(
    ("before", "now", "moved"),
    [
        ({}, {}, False),
        ({"1": 7}, {"1": 7}, False),
        ({"1": 7}, {"1": 8}, False),  # an edit
        ({"1": 7}, {"1": 8, "2": 7}, True),  # a new name
        ({"1": 7, "2": 8}, {"1": 9, "2": 7}, True),  # the name of another
        ({"1": 7, "2": 8}, {"1": 9, "2": 10}, True),  # out of the last name, all of them
        ({"1": 7, "2": 8}, {"1": 9, "2": 8}, False),
    ],
)
def test_siblings_were_renamed_on_or_stand_where_they_stood(
    before: dict[str, int], now: dict[str, int], *, moved: bool
) -> None:
    older, newer = ({path: (1, inode, 0) for path, inode in stood.items()} for stood in (before, now))

    assert locate._moved(older, newer, most=2) is moved  # noqa: SLF001 - the cases are too many to make files for each


# -- files that repeat what was read


@pytest.mark.parametrize(("seqs", "known"), [((3, 11, 90), 8), ((3, 10, 90), 0)])
def test_a_file_that_repeats_enough_of_what_was_read_goes_on_behind_it(
    folder: Folder, seqs: tuple[int, int, int], known: int
) -> None:
    fd = folder.holding(*range(*seqs[:2]), seqs[2])
    plan = locate.find_repeated(fd, [], history(*range(1, seqs[1])))

    assert (plan.overlap.known if plan and plan.overlap else 0) == known


def test_a_copy_of_what_was_read_is_taken_up_only_where_no_later_file_overlaps(folder: Folder) -> None:
    copy, here, other = folder.holding(*range(1, 20)), folder.holding(*range(10, 30)), folder.holding(90, 91)
    past = history(*range(1, 20))

    assert locate.find_overlap([copy, here], 0, past, elsewhere(here, 0), settled=True).first == 1
    assert locate.find_overlap([copy, other], 0, past, elsewhere(other, 0), settled=True).first == 0
    assert locate.find_overlap([copy, here], 0, past, elsewhere(here, 0), settled=False).first == 1


@pytest.mark.parametrize(
    ("seqs", "known"),
    [
        ((*range(2, 12), 90), 10),  # begins where a trim left it: nothing more of what was read will come
        ((*range(1, 12), 90), How.WAIT),  # begins as it did: an editor may be writing it anew
        ((90, *range(2, 12), 91), How.WAIT),
    ],
)
def test_only_a_trim_is_believed_while_the_file_is_written(
    folder: Folder, seqs: tuple[int, ...], known: int | How
) -> None:
    found = compare.overlap_of(folder.holding(*seqs), history(*range(1, 15)), settled=False, in_place=False)

    assert (found if isinstance(found, How) else found.known) == known


@pytest.mark.parametrize(("seqs", "known"), [(range(3, 11), 8), (range(10, 0, -1), 0)])
def test_a_file_repeats_what_was_read_in_a_row_or_not_at_all(folder: Folder, seqs: range, known: int) -> None:
    plan = locate.find_repeated(folder.holding(*seqs), [], history(*range(1, 15)))

    assert (plan.overlap.known if plan and plan.overlap else 0) == known
