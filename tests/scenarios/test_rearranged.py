"""Journals whose versions rearrange each other: merged, rebased, restored, joined with another machine's.

Each record is stored as often as it stands in the one version that holds it most, and no gap is recorded where a
version shares lines with what was read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from versions import EPOCH, Rearranged, model_record
from world import Follower, World, line

from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Case = Callable[[World], Iterator[list[bytes]]]

DEFAULT_SETTLE_S = 2.0


@pytest.fixture(params=["live", "down"])
def journal(request: pytest.FixtureRequest, world: World) -> Iterator[Rearranged]:
    made = Rearranged(world, live=request.param == "live")
    yield made
    made.close()


# Each case yields the versions of the journal, as lists of records, in the order in which they replace each other.
# -- old lines behind others


def others_before_the_last_old_lines(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield world.lines(1000) + old[-10:] + world.lines(20)


def a_few_others_before_the_last_old_lines(world: World) -> Iterator[list[bytes]]:
    old = world.lines(30)
    yield old
    yield world.lines(5) + old[-10:] + world.lines(2)


def others_between_the_first_and_the_last_old_lines(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[:20] + world.lines(400) + old[-200:]


def two_machines_that_alternate(world: World) -> Iterator[list[bytes]]:
    ours = world.lines(300)
    theirs = world.lines(300)
    yield ours
    yield [text for at in range(0, 300, 50) for text in theirs[at : at + 50] + ours[at : at + 50]]


def two_machines_that_alternate_and_go_on(world: World) -> Iterator[list[bytes]]:
    ours = world.lines(300)
    theirs = world.lines(300)
    yield ours
    yield [text for at in range(0, 300, 50) for text in ours[at : at + 50] + theirs[at : at + 50]] + world.lines(30)


def others_before_old_lines_from_the_middle(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield world.lines(500) + old[100:200] + world.lines(20)


def others_before_old_lines_after_trims(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[100:]
    yield world.lines(400) + old[-50:] + world.lines(3)


def others_before_all_old_lines_twice(world: World) -> Iterator[list[bytes]]:
    old = world.lines(100)
    yield old
    second = world.lines(150) + old[-40:]
    yield second
    yield world.lines(150) + second[-60:] + world.lines(1)


# -- records of several lines


def models(world: World, count: int) -> list[bytes]:
    """Return events of which every third is of several lines, most of them like those of the others."""
    first = world.written + 1
    world.lines(count)
    return [line(seq) if seq % 3 else model_record(seq) for seq in range(first, first + count)]


def several_lines_behind_others(world: World) -> Iterator[list[bytes]]:
    old = models(world, 60)
    yield old
    yield models(world, 60) + old[-30:] + models(world, 9)


def several_lines_between_known_ones(world: World) -> Iterator[list[bytes]]:
    old = models(world, 60)
    new = models(world, 33)
    yield old
    yield old[:20] + new[:30] + old[20:] + new[30:]


def several_lines_merged_by_turns(world: World) -> Iterator[list[bytes]]:
    ours = models(world, 60)
    theirs = models(world, 60)
    yield ours
    yield [text for pair in zip(ours, theirs, strict=True) for text in pair]


def several_lines_of_another_machine(world: World) -> Iterator[list[bytes]]:
    start = models(world, 40)
    ours, theirs = models(world, 33), models(world, 33)
    yield start + ours
    yield start + theirs
    yield start + theirs[:20] + ours + theirs[20:]


def several_lines_in_the_place_of_others(world: World) -> Iterator[list[bytes]]:
    """All lines of the new record but the first are equal to those of one that left."""
    start, end = world.lines(20), world.lines(20)
    world.lines(2)
    yield [*start, model_record(41), *end]
    yield [*start, model_record(42), *end]


def several_lines_of_other_runs(world: World) -> Iterator[list[bytes]]:
    """As two versions of a real journal, at whose step ten of eleven such records broke."""
    start, ours = models(world, 30), models(world, 60)
    theirs = models(world, 45)
    yield start + ours
    yield start + theirs[:40] + ours[-3:] + theirs[40:]


# -- equal lines


def a_line_that_comes_a_second_time(world: World) -> Iterator[list[bytes]]:
    old = world.lines(30)
    yield old
    yield world.lines(40) + old[20:] + [old[25]] + world.lines(5)


def a_line_that_comes_a_second_time_among_known_ones(world: World) -> Iterator[list[bytes]]:
    old = world.lines(30)
    yield old
    yield [*old[:10], old[25], *old[10:]]


def a_line_that_comes_a_second_time_before_the_first(world: World) -> Iterator[list[bytes]]:
    old = world.lines(30)
    yield old
    yield [*world.lines(40), old[25], *world.lines(5), *old[20:]]


def two_of_three_equal_lines_among_others(world: World) -> Iterator[list[bytes]]:
    old = world.lines(60)
    equal = world.lines(1)
    new = world.lines(60)
    yield old[:30] + equal + old[30:] + equal
    yield old[:30] + equal + new[:30] + equal + old[30:] + new[30:] + equal


# -- a version that begins like one from before


def a_version_that_comes_back_with_more(world: World) -> Iterator[list[bytes]]:
    old, theirs, ours = world.lines(300), world.lines(60), world.lines(80)
    yield old
    yield old[:150] + theirs
    yield old + ours
    yield old + theirs


def two_branches_by_turns(world: World) -> Iterator[list[bytes]]:
    old = world.lines(100)
    ours, theirs = world.lines(60), world.lines(60)
    for count in range(10, 61, 10):
        yield old + ours[:count]
        yield old + theirs[:count]


def the_other_branch_behind_the_common_start(world: World) -> Iterator[list[bytes]]:
    old = world.lines(200)
    ours, theirs = world.lines(50), world.lines(50)
    yield old
    yield old[:100] + ours
    yield old[:100] + theirs
    yield old + ours + theirs


# -- a rebase


def a_rebase(world: World) -> Iterator[list[bytes]]:
    old, ours, theirs = world.lines(200), world.lines(50), world.lines(50)
    yield old + ours
    yield old + theirs
    yield old + theirs + ours


def a_rebase_that_goes_on(world: World) -> Iterator[list[bytes]]:
    old, ours, theirs = world.lines(200), world.lines(50), world.lines(50)
    yield old + ours
    yield old + theirs
    yield old + theirs + ours + world.lines(10)


def a_rebase_of_the_last_part(world: World) -> Iterator[list[bytes]]:
    old, ours, theirs = world.lines(200), world.lines(50), world.lines(50)
    yield old + ours
    yield old + theirs
    yield old + theirs + ours[30:]


def a_rebase_after_a_trim(world: World) -> Iterator[list[bytes]]:
    old, ours, theirs = world.lines(200), world.lines(50), world.lines(50)
    yield old + ours
    yield old[100:] + theirs
    yield old[150:] + theirs + ours


# -- what was right before: insertions, merges, sprinkled lines, archives, backups


def lines_inserted_in_the_middle(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[:150] + world.lines(50) + old[150:]


def one_line_inserted(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[:150] + world.lines(1) + old[150:]


def lines_inserted_before_the_last(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[:-1] + world.lines(30) + old[-1:]


def lines_inserted_twice(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[:100] + world.lines(30) + old[100:200] + world.lines(30) + old[200:] + world.lines(5)


def lines_inserted_at_the_head(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield world.lines(1) + old


def merged_by_time(world: World) -> Iterator[list[bytes]]:
    both = world.lines(400)
    yield both[::2]
    yield both


def merged_by_time_with_a_longer_one(world: World) -> Iterator[list[bytes]]:
    both = world.lines(400)
    yield both[::4]
    yield both


def merged_by_time_and_back(world: World) -> Iterator[list[bytes]]:
    both = world.lines(400)
    yield both[::2]
    yield both[1::2]
    yield both
    yield both[::2] + world.lines(3)


def merged_by_time_in_blocks(world: World) -> Iterator[list[bytes]]:
    both = world.lines(400)
    yield both[:30] + both[80:200] + both[320:]
    yield both + world.lines(10)


def sprinkled_lines(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield [text for at, known in enumerate(old) for text in ([*world.lines(1), known] if at % 7 == 0 else [known])]


def sprinkled_lines_in_each_place(world: World) -> Iterator[list[bytes]]:
    old = world.lines(100)
    yield old
    yield [text for known in old for text in (known, *world.lines(1))]


def an_archive_before_the_journal(world: World) -> Iterator[list[bytes]]:
    archive, old = world.lines(500), world.lines(300)
    yield old
    yield archive + old


def an_archive_before_what_a_trim_left(world: World) -> Iterator[list[bytes]]:
    archive, old = world.lines(500), world.lines(300)
    yield old
    yield old[-100:]
    yield archive + old + world.lines(20)


def a_backup_put_back(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old + world.lines(100)
    yield old


def a_backup_put_back_after_a_trim(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[-50:] + world.lines(100)
    yield old + world.lines(7)


def a_backup_put_back_that_goes_on(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old + world.lines(100)
    yield old
    yield old + world.lines(40)


def blocks_that_change_places(world: World) -> Iterator[list[bytes]]:
    first, second = world.lines(150), world.lines(150)
    yield first + second
    yield second + first


def blocks_that_change_places_and_go_on(world: World) -> Iterator[list[bytes]]:
    first, second, third = world.lines(100), world.lines(100), world.lines(100)
    yield first + second + third
    yield third + first + second + world.lines(9)


def the_same_lines_backwards(world: World) -> Iterator[list[bytes]]:
    old = world.lines(200)
    yield old
    yield old[::-1]


def a_block_that_leaves_and_comes_back(world: World) -> Iterator[list[bytes]]:
    old = world.lines(300)
    yield old
    yield old[:100] + old[200:]
    yield old + world.lines(3)


CASES: list[Case] = [
    others_before_the_last_old_lines,
    a_few_others_before_the_last_old_lines,
    others_between_the_first_and_the_last_old_lines,
    two_machines_that_alternate,
    two_machines_that_alternate_and_go_on,
    others_before_old_lines_from_the_middle,
    others_before_old_lines_after_trims,
    others_before_all_old_lines_twice,
    several_lines_behind_others,
    several_lines_between_known_ones,
    several_lines_merged_by_turns,
    several_lines_of_another_machine,
    several_lines_in_the_place_of_others,
    several_lines_of_other_runs,
    a_line_that_comes_a_second_time,
    a_line_that_comes_a_second_time_among_known_ones,
    a_line_that_comes_a_second_time_before_the_first,
    two_of_three_equal_lines_among_others,
    a_version_that_comes_back_with_more,
    two_branches_by_turns,
    the_other_branch_behind_the_common_start,
    a_rebase,
    a_rebase_that_goes_on,
    a_rebase_of_the_last_part,
    a_rebase_after_a_trim,
    lines_inserted_in_the_middle,
    one_line_inserted,
    lines_inserted_before_the_last,
    lines_inserted_twice,
    lines_inserted_at_the_head,
    merged_by_time,
    merged_by_time_with_a_longer_one,
    merged_by_time_and_back,
    merged_by_time_in_blocks,
    sprinkled_lines,
    sprinkled_lines_in_each_place,
    an_archive_before_the_journal,
    an_archive_before_what_a_trim_left,
    a_backup_put_back,
    a_backup_put_back_after_a_trim,
    a_backup_put_back_that_goes_on,
    blocks_that_change_places,
    blocks_that_change_places_and_go_on,
    the_same_lines_backwards,
    a_block_that_leaves_and_comes_back,
]
# Of these a version has nothing in common with the one before, and lines in between may have come and gone.
UNRELATED: dict[Case, int] = {merged_by_time_and_back: 1}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_each_record_is_stored_as_often_as_in_the_version_that_holds_it_most(journal: Rearranged, case: Case) -> None:
    for version in case(journal.world):
        journal.put(version)
    journal.check(gaps=UNRELATED.get(case, 0))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_what_is_appended_to_a_rearranged_journal_is_stored_once(world: World, case: Case) -> None:
    journal = Rearranged(world, live=True)
    for version in case(world):
        journal.put(version)
        appended = world.lines(3)
        with world.events.open("ab") as file:
            file.write(b"".join(appended))
        journal.versions[-1] = version + appended
        journal.read()
    journal.check(gaps=UNRELATED.get(case, 0))
    journal.close()


def test_a_version_with_nothing_in_common_is_read_and_a_gap_recorded(journal: Rearranged) -> None:
    journal.put(journal.world.lines(50))
    journal.put(journal.world.lines(80))
    journal.check(gaps=1)


# -- a line that is equal to the last one read, at the head of what follows

SEAMS = [b"\n", b"}\n", b'{"ts":"","type":"test.seam"}\n']


@pytest.mark.parametrize("seam", SEAMS, ids=["blank", "brace", "record"])
def test_unread_siblings_are_read_though_the_journal_begins_with_the_last_line_read(world: World, seam: bytes) -> None:
    journal = Rearranged(world, live=False)
    world.append(100)
    with world.events.open("ab") as file:
        file.write(seam)
    journal.read()
    world.append(60)
    world.trim(40)  # all that was read is gone
    world.rotate()
    with world.events.open("ab") as file:
        file.write(seam)
    world.append(5)
    journal.read()
    assert world.stored() == [*range(1, 101), *range(121, 166)]
    assert world.query("SELECT count(*) FROM gaps") == [(1,)]
    assert verify(world.home, world.db_path) == []


@pytest.mark.parametrize("seam", SEAMS, ids=["blank", "brace", "record"])
def test_a_journal_that_has_only_one_equal_line_in_common_is_a_gap(world: World, seam: bytes) -> None:
    journal = Rearranged(world, live=False)
    world.append(100)
    with world.events.open("ab") as file:
        file.write(seam)
    journal.read()
    world.lines(30)  # came and went
    world.replace(seam + b"".join(world.lines(5)))
    journal.read()
    assert world.stored() == [*range(1, 101), *range(131, 136)]
    assert world.query("SELECT count(*) FROM gaps") == [(1,)]
    assert verify(world.home, world.db_path) == []


# -- a new file that only grows


def append_until_stored(world: World, follower: Follower) -> float:
    """Append a line and poll, over and over, until the first of them is stored; return the seconds that took."""
    first = world.written + 1
    began = time.monotonic()
    while first not in world.stored():
        assert time.monotonic() - began < DEFAULT_SETTLE_S, "new lines are not stored while writers go on"
        world.append(1)
        follower.look()
    return time.monotonic() - began


@pytest.mark.parametrize("how", ["removed", "trimmed", "replaced"])
@pytest.mark.parametrize("restarted", [False, True], ids=["live", "after a start"])
def test_a_journal_that_only_grows_in_a_new_file_is_read_at_once(
    world: World, follower: Follower, how: str, *, restarted: bool
) -> None:
    world.append(100)
    follower.settle()
    if how == "removed":
        world.events.unlink()
        if not restarted:
            follower.settle()
        world.append(1)
    elif how == "trimmed":
        world.append(10)
        world.trim(5)  # all that was read is gone
    else:
        world.replace(b"".join(world.lines(5)))
    if restarted:
        follower.restart()
    follower.catch_up.set_settle(DEFAULT_SETTLE_S)
    assert append_until_stored(world, follower) < 0.5
    follower.settle()
    assert set(world.in_files()) <= set(world.stored())
    assert len(world.stored()) == len(set(world.stored()))


@pytest.mark.parametrize("how", ["removed", "emptied", "replaced"])
def test_what_a_trim_takes_from_a_new_journal_was_stored_before(world: World, follower: Follower, how: str) -> None:
    world.append(100)
    follower.settle()
    follower.catch_up.set_settle(DEFAULT_SETTLE_S)
    if how == "removed":
        world.events.unlink()
    elif how == "emptied":
        world.events.write_bytes(b"")
    else:
        world.replace(b"".join(world.lines(5)))
    for _ in range(50):
        world.append(5)
        follower.look()
    world.trim(20)
    for _ in range(10):
        world.append(5)
        follower.look()
    follower.catch_up.set_settle(0.05)
    follower.settle()
    assert sorted(world.stored()) == list(range(1, world.written + 1))


# -- equal lines, written over in place or trimmed from between two files


def tick(seq: int) -> bytes:
    """Return a line of which several are equal."""
    return line(seq, note="equal")


@pytest.mark.parametrize("paused", [False, True], ids=["at once", "with a pause"])
def test_a_race_with_a_trim_in_place_whose_line_equals_the_last_and_the_first_kept(
    world: World, follower: Follower, *, paused: bool
) -> None:
    """`tail > t; cat t > f`, and between the two halves of `cat` a writer's line lands where the kept ones go."""
    equal = tick(0)
    world.events.write_bytes(b"".join([*world.lines(52), equal, *world.lines(46), equal]))
    follower.settle()
    kept = world.tail(48)
    assert kept.startswith(equal)
    world.events.write_bytes(equal)
    if paused:
        follower.settle()
    else:
        follower.look()
    with world.events.open("r+b") as file:
        file.write(kept)
    follower.settle()
    world.append(3)
    follower.settle()
    stored = world.stored()
    assert sorted(filter(None, stored)) == list(range(1, 102))
    assert stored.count(0) in {2, 3}, "two are in the file, the third was written over"
    assert verify(world.home, world.db_path) == []


@pytest.mark.parametrize("equal", [1, 3])
def test_equal_lines_trimmed_from_between_two_files_are_no_difference(
    world: World, follower: Follower, equal: int
) -> None:
    world.append(10)
    with world.events.open("ab") as file:
        file.write(tick(5))
    follower.settle()
    world.rotate()
    with world.events.open("ab") as file:
        file.write(tick(5) * equal)
    world.append(10)
    follower.settle()
    world.trim(10)
    follower.settle()
    assert len(world.stored()) == 21 + equal
    assert verify(world.home, world.db_path) == []


def test_a_record_that_is_stored_too_often_is_still_a_difference(world: World, follower: Follower) -> None:
    world.append(10)
    follower.settle()
    follower.db.execute(
        "INSERT INTO events (ts, ts_epoch, type, origin, salvaged, extra)"
        " SELECT ts, ts_epoch, type, origin, salvaged, extra FROM events WHERE ts_epoch = ?",
        (EPOCH + 6,),
    )
    assert len(verify(world.home, world.db_path)) == 1


def test_a_record_that_an_older_version_held_more_often_is_no_difference(journal: Rearranged) -> None:
    old = journal.world.lines(60)
    journal.put([*old, *old[20:30]])
    journal.put([*old, *journal.world.lines(5)])
    journal.check()
    journal.put([*old[:40], *journal.world.lines(5), *old[40:]])
    journal.check()


def test_what_is_stored_twice_after_lines_were_moved_is_still_a_difference(world: World, follower: Follower) -> None:
    old = world.lines(60)
    world.replace(b"".join([*old, *old[20:30]]))
    follower.settle()
    world.replace(b"".join(old))
    follower.settle()
    world.append(10)
    follower.settle()
    follower.db.execute(
        "INSERT INTO events (ts, ts_epoch, type, origin, salvaged, extra)"
        " SELECT ts, ts_epoch, type, origin, salvaged, extra FROM events WHERE id = (SELECT max(id) - 3 FROM events)"
    )
    assert len(verify(world.home, world.db_path)) == 1
