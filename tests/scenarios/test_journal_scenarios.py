"""The ways a journal changes under its reader, each live, while nobody reads, and with a killed daemon.

The oracle: every line has a number; afterwards each number that a reader could
have seen is in the database once.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from world import SETTLE_S, Follower, World, doubles, line

from shipwrightd.journals.lines import scan

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Scenario = Callable[[World, Callable[[], None]], None]


# Each scenario writes, calls `look` where a reader may look, and changes the file.


def head_trim(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    world.trim(300)
    look()
    world.append(50)


def head_trim_with_unread_lines(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    world.append(90)
    world.trim(300)
    world.append(50)


def trim_with_lines_between_tail_and_mv(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    kept = world.tail(300)
    world.append(20)
    look()
    world.replace(kept)
    world.append(30)
    look()
    world.append(5)


def two_trims_that_bring_the_inode_back(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    world.trim(300)
    world.append(10)
    world.trim(290)
    world.append(1600)


def three_trims_in_a_row(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    for _ in range(3):
        world.append(100)
        world.trim(500)
    world.append(7)


def trim_in_place(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    kept = world.tail(300)
    with world.events.open("r+b") as file:
        file.truncate(0)
        look()
        file.write(kept[: len(kept) // 2])
        file.flush()
        look()
        file.write(kept[len(kept) // 2 :])
    look()
    world.append(50)


def truncate_and_refill_beyond(world: World, look: Callable[[], None]) -> None:
    world.append(500)
    look()
    world.events.write_bytes(b"".join(world.lines(900)))
    world.append(3)


def full_copy_and_mv(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    world.replace(world.events.read_bytes() + b"".join(world.lines(20)))
    world.append(30)


def delete_old_lines(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    kept = world.events.read_bytes().splitlines(keepends=True)
    world.replace(b"".join(kept[:400] + kept[501:]))
    world.append(30)


def late_writer(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    with world.events.open("ab", buffering=0) as old:
        world.trim(300)
        look()
        old.write(b"".join(world.lines(40)))
        look()
        world.append(10)


def late_writer_after_a_rename(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    with world.events.open("ab", buffering=0) as old:
        world.rotate()
        look()
        world.append(10)
        old.write(b"".join(world.lines(40)))
        look()
    world.append(10)


def rename_chain(world: World, look: Callable[[], None]) -> None:
    world.append(300)
    look()
    world.append(20)
    world.rotate()
    world.append(200)
    look()
    world.rotate()
    world.append(5)


def two_rotations_between_looks(world: World, look: Callable[[], None]) -> None:
    world.append(300)
    look()
    world.append(20)
    world.rotate()
    world.append(200)
    world.rotate()
    world.append(100)


def trim_then_rename(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    look()
    world.append(60)
    world.trim(500)
    world.append(70)
    world.rotate()
    world.append(80)


def delete_and_recreate(world: World, look: Callable[[], None]) -> None:
    world.append(500)
    look()
    world.events.unlink()
    look()
    world.append(900)


def half_a_line_across_a_trim(world: World, look: Callable[[], None]) -> None:
    world.append(1000)
    whole = world.lines(1)[0]
    with world.events.open("ab") as file:
        file.write(whole[:40])
    look()
    world.replace(world.tail(301))
    look()
    with world.events.open("ab") as file:
        file.write(whole[40:])
    look()
    world.append(3)


def half_a_line_inside_a_character(world: World, look: Callable[[], None]) -> None:
    world.append(3)
    whole = line(world.written + 1, note="日本語")
    world.written += 1
    cut = whole.index("本".encode()) + 1
    with world.events.open("ab", buffering=0) as file:
        file.write(whole[:cut])
        look()
        file.write(whole[cut:])


def crlf_and_bom(world: World, look: Callable[[], None]) -> None:
    world.events.write_bytes(b"\xef\xbb\xbf" + b"".join(world.lines(3)))
    look()
    with world.events.open("ab") as file:
        file.write(b"".join(text.replace(b"\n", b"\r\n") for text in world.lines(5)))


def replaced_by_itself(world: World, look: Callable[[], None]) -> None:
    world.append(400)
    look()
    copy = world.events.with_name("copy")
    shutil.copy2(world.events, copy)
    copy.rename(world.events)
    look()
    world.append(5)


def symlinked_to_another_file(world: World, look: Callable[[], None]) -> None:
    world.append(300)
    look()
    target = world.events.with_name("elsewhere")
    shutil.copy(world.events, target)
    world.events.unlink()
    world.events.symlink_to(target)
    look()
    world.append(20)


SCENARIOS = [
    head_trim,
    head_trim_with_unread_lines,
    trim_with_lines_between_tail_and_mv,
    two_trims_that_bring_the_inode_back,
    three_trims_in_a_row,
    trim_in_place,
    truncate_and_refill_beyond,
    full_copy_and_mv,
    delete_old_lines,
    late_writer,
    late_writer_after_a_rename,
    rename_chain,
    two_rotations_between_looks,
    trim_then_rename,
    delete_and_recreate,
    half_a_line_across_a_trim,
    half_a_line_inside_a_character,
    crlf_and_bom,
    replaced_by_itself,
    symlinked_to_another_file,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_live_every_written_line_is_stored_once(world: World, follower: Follower, scenario: Scenario) -> None:
    scenario(world, follower.look)
    follower.settle()
    stored = world.stored()
    assert doubles(stored) == []
    assert set(range(1, world.written + 1)) - set(stored) == set()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_after_being_down_every_line_still_there_is_stored_once(world: World, scenario: Scenario) -> None:
    looks = 0

    def look_once() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            follower = Follower(world)
            follower.settle()
            follower.close()

    scenario(world, look_once)
    before = set(world.stored())
    follower = Follower(world)
    follower.settle()
    follower.close()
    stored = world.stored()
    assert doubles(stored) == []
    assert set(stored) == before | set(world.in_files())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_with_a_restart_at_every_look_nothing_is_doubled_or_lost(world: World, scenario: Scenario) -> None:
    follower = Follower(world)

    def look_and_restart() -> None:
        follower.look()
        follower.restart()

    scenario(world, look_and_restart)
    before = set(world.stored())
    follower.settle()
    follower.close()
    stored = world.stored()
    assert doubles(stored) == []
    assert set(stored) >= before | set(world.in_files())


def test_an_edit_that_keeps_the_length_stores_only_the_edited_line(world: World, follower: Follower) -> None:
    world.append(1000)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    lines[400] = lines[400].replace(b"test.tick", b"test.tock")
    world.replace(b"".join(lines))
    follower.settle()
    assert len(world.stored()) == 1001
    assert world.query("SELECT count(*) FROM events WHERE type = 'test.tock'") == [(1,)]


def test_siblings_stay_known_however_many_trims_follow(world: World, follower: Follower) -> None:
    for _ in range(3):
        world.append(500)
        world.rotate()
        follower.look()
    for _ in range(40):
        world.append(100)
        follower.look()
        world.trim(50)
        follower.look()
    world.events.write_bytes(b"".join(world.lines(20)))
    follower.settle()
    assert doubles(world.stored()) == []
    assert len(world.stored()) == world.written


def test_after_so_many_rotations_while_down_that_nothing_known_is_left_all_is_read_and_a_gap_says_so(
    world: World,
) -> None:
    world.append(3)
    first = Follower(world)
    first.settle()
    first.close()
    for _ in range(4):
        world.rotate()
        world.append(3)
    world.rotate()  # the file at the path is empty, what came before stands in the siblings
    second = Follower(world)
    second.settle()
    second.close()
    assert world.stored() == [1, 2, 3, *world.in_files()]
    assert world.query("SELECT reason FROM gaps") == [("no_overlap",)]


def test_a_file_that_took_the_place_of_a_deleted_one_is_read_though_it_was_rotated_since(world: World) -> None:
    world.append(3)
    first = Follower(world)
    first.settle()
    first.close()
    world.events.unlink()
    world.append(3)
    world.rotate()
    second = Follower(world)
    second.settle()
    second.close()
    assert world.stored() == [1, 2, 3, 4, 5, 6]


def test_a_second_trim_soon_after_the_first_is_known(world: World, follower: Follower) -> None:
    """It keeps more lines than were written since: the history goes on over a change of file."""
    world.append(100)
    follower.settle()
    world.trim(80)
    follower.settle()
    world.append(5)
    follower.settle()
    world.trim(60)
    world.append(1)
    follower.settle()
    assert world.stored() == list(range(1, 107))


def test_an_edit_of_another_length_stores_only_the_edited_line(world: World, follower: Follower) -> None:
    world.append(1000)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    lines[400] = lines[400].replace(b"test.tick", b"edited.by.hand")
    world.replace(b"".join(lines))
    follower.settle()
    assert len(world.stored()) == 1001
    assert world.query("SELECT count(*) FROM events WHERE type = 'edited.by.hand'") == [(1,)]


@pytest.mark.parametrize("at", [0, 3, 60, 980])
def test_lines_that_an_edit_loses_to_a_race_are_kept_and_the_others_known(
    world: World, follower: Follower, at: int
) -> None:
    """As `sed -i` does: it copies, and whoever appends meanwhile writes to the file that is about to go."""
    world.append(1000)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    lines[at] = lines[at].replace(b"test.tick", b"edited.by.hand")
    world.append(3)
    world.replace(b"".join(lines))
    world.append(5)
    follower.settle()
    assert len(world.stored()) == 1009
    assert set(world.stored()) == set(range(1, 1009))
    assert world.query("SELECT count(*) FROM events WHERE type = 'edited.by.hand'") == [(1,)]
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_a_file_written_over_in_place_with_an_edit_is_waited_for(world: World, follower: Follower) -> None:
    world.append(100)
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    lines[40] = lines[40].replace(b"test.tick", b"edited.by.hand")
    follower.catch_up.set_settle(60.0)  # however long this process is kept waiting
    world.events.write_bytes(b"".join(lines[20:41]))  # half of it is there
    follower.look()
    follower.catch_up.set_settle(SETTLE_S)
    with world.events.open("ab") as file:
        file.write(b"".join(lines[41:]))
    follower.settle()
    assert len(world.stored()) == 101


@pytest.mark.parametrize("left", [2, 3, 7])
def test_a_short_file_that_lost_its_end_and_was_written_on_is_known(
    world: World, follower: Follower, left: int
) -> None:
    """As the power may leave it; what replaces a file by name needs more lines to be known by."""
    world.append(9)
    follower.settle()
    os.truncate(world.events, len(b"".join(world.events.read_bytes().splitlines(keepends=True)[:left])))
    world.append(2)
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 12))
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_an_unread_file_that_is_copied_and_emptied_is_read_from_its_copy(world: World, follower: Follower) -> None:
    world.events.touch()
    follower.look()
    world.append(30)
    world.copy_and_truncate()
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 36))


def test_an_unread_file_that_is_copied_emptied_filled_and_trimmed_is_read_whole(
    world: World, follower: Follower
) -> None:
    world.events.touch()
    follower.look()
    world.append(30)
    world.copy_and_truncate()
    world.append(40)
    world.trim(20, late=3)
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 79))


@pytest.mark.parametrize("restart", [False, True])
def test_an_unread_file_is_read_from_its_copy_when_nothing_read_before_is_left(
    world: World, follower: Follower, *, restart: bool
) -> None:
    world.append(5)
    follower.settle()
    for _ in range(4):
        world.rotate()
    follower.settle()
    world.append(30)
    world.copy_and_truncate()
    world.append(5)
    if restart:
        follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 41))


def test_an_unread_file_that_is_copied_and_looked_at_before_it_is_emptied_is_read_once(
    world: World, follower: Follower
) -> None:
    world.events.touch()
    follower.look()
    world.append(30)
    world.copy()
    follower.look()
    os.truncate(world.events, 0)
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 36))


def test_copies_that_pushed_all_siblings_out_between_two_looks_are_read(world: World, follower: Follower) -> None:
    for _ in range(3):
        world.append(5)
        world.rotate()
        follower.settle()
    for _ in range(3):
        world.append(4)
        world.copy_and_truncate()
    world.append(1)
    follower.settle()
    assert world.stored() == list(range(1, 29))


def test_what_was_made_from_an_unread_file_since_is_read_once(world: World, follower: Follower) -> None:
    world.events.touch()
    follower.look()
    world.append(40)
    world.trim(25, late=2)
    world.append(3)
    world.rotate()
    world.append(4)
    world.replace(world.events.read_bytes() + b"".join(world.lines(2)))
    world.rotate()
    world.append(1)
    follower.settle()
    assert sorted(world.stored()) == list(range(1, 53))


def test_an_unread_file_that_is_replaced_by_a_longer_copy_is_read_once(world: World, follower: Follower) -> None:
    world.events.touch()
    follower.look()
    world.append(2)
    world.replace(world.events.read_bytes() + b"".join(world.lines(3)))
    world.copy_and_truncate()
    world.append(5)
    follower.settle()
    assert sorted(world.stored()) == list(range(1, 11))


@pytest.mark.parametrize("restart", [False, True])
def test_every_edited_line_of_a_sibling_is_stored_once_more(  # nobody can tell which line it was made of
    world: World, follower: Follower, *, restart: bool
) -> None:
    world.append(30)
    world.rotate()
    follower.settle()
    sibling = world.events.with_name("events.jsonl.1")
    scrubbed = sibling.with_name("scrubbed")
    scrubbed.write_bytes(sibling.read_bytes().replace(b"test.tick", b"test.tock"))
    scrubbed.rename(sibling)
    world.append(2)
    if restart:
        follower.restart()
    follower.settle()
    assert sorted(world.stored()) == sorted([*range(1, 31), *range(1, 31), 31, 32])


def test_the_first_line_of_a_file_that_left_the_path_empty_is_read_after_a_restart(
    world: World, follower: Follower
) -> None:
    world.append(5)
    world.rotate()
    follower.settle()
    with world.events.open("ab", buffering=0) as old:
        world.rotate()
        world.append(3)
        follower.settle()
        follower.restart()
        old.write(b"".join(world.lines(1)))
    follower.settle()
    follower.restart()
    follower.settle()
    assert world.stored() == list(range(1, 10))


def test_an_emptied_journal_whose_siblings_were_removed_while_nobody_read_is_a_gap(
    world: World, follower: Follower
) -> None:
    world.append(9)
    world.rotate()
    follower.settle()
    follower.restart()
    world.append(4)
    world.rotate()
    for number in (1, 2):
        world.events.with_name(f"events.jsonl.{number}").unlink()
    world.append(3)
    follower.restart()
    follower.settle()
    assert world.stored() == [*range(1, 10), *range(14, 17)]
    assert world.query("SELECT reason FROM gaps") == [("no_overlap",)]


def test_an_open_record_that_a_trim_drops_is_in_quarantine(world: World, follower: Follower) -> None:
    world.append(20)
    follower.settle()
    kept = world.tail(10)
    with world.events.open("ab") as file:  # between tail and mv
        file.write(b'{"ts":"2026-01-20T10:00:00Z","type":"t","goal":"one\nhalf')
    follower.look()
    world.replace(kept)
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 26))
    assert world.query("SELECT reason, raw FROM quarantine ORDER BY id") == [
        ("cut_record", b'{"ts":"2026-01-20T10:00:00Z","type":"t","goal":"one'),
        ("unterminated", b"half"),
    ]


def test_a_file_moved_away_and_back_is_known(world: World, follower: Follower) -> None:
    world.append(1000)
    follower.settle()
    away = world.events.with_name("away")
    world.events.rename(away)
    world.append(10)
    follower.settle()
    away.rename(world.events)
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 1016))


def test_a_file_that_is_cut_while_it_is_compared_is_looked_at_again(world: World, follower: Follower) -> None:
    world.append(60_000)
    follower.settle()
    away = world.events.with_name("away")
    world.events.rename(away)
    world.append(10)
    follower.settle()
    away.rename(world.events)
    world.append(5)
    follower.restart()
    blocks = []

    def cut_at_the_second_block(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is scan.__code__:
            blocks.append(frame)
            if len(blocks) == 2:
                os.truncate(world.events, 0)

    sys.setprofile(cut_at_the_second_block)
    try:
        follower.look()
    finally:
        sys.setprofile(None)
    assert len(blocks) >= 2
    world.append(7)
    follower.settle()
    assert doubles(world.stored()) == []
    assert set(world.in_files()) <= set(world.stored())


def test_an_older_backup_and_then_the_newer_file_again_are_both_known(world: World, follower: Follower) -> None:
    world.append(1000)
    follower.settle()
    newer = world.events.read_bytes()
    world.replace(b"".join(newer.splitlines(keepends=True)[:500]))
    follower.settle()
    world.replace(newer)
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 1006))


def test_an_edit_of_a_copied_file_is_known_as_far_as_the_copy_was_read(world: World, follower: Follower) -> None:
    """The edited file also begins as the one that was copied, which was read less far."""
    world.append(37)
    follower.settle()
    world.replace(world.events.read_bytes() + b"".join(world.lines(12)))
    follower.settle()
    lines = world.events.read_bytes().splitlines(keepends=True)
    lines[37] = line(99, edited=True)
    world.replace(b"".join(lines))

    follower.settle()

    assert doubles(world.stored()) == []
    assert set(world.in_files()) <= set(world.stored())


def test_an_open_record_seen_before_does_not_hurry_a_trim_in_place(world: World, follower: Follower) -> None:
    world.append(1000)
    with world.events.open("ab") as file:
        file.write(b'{"ts":"2026-01-05T09:00:00Z","type":"test.split","note":"first\n')
    follower.look()
    with world.events.open("ab") as file:
        file.write(b'second"}\n')
    follower.settle()
    kept = world.tail(300)
    with world.events.open("r+b", buffering=0) as file:
        file.truncate(0)
        file.write(kept[: len(kept) // 2])
        follower.look()
        file.write(kept[len(kept) // 2 :])
    world.append(5)
    follower.settle()
    assert world.stored() == list(range(1, 1006))


def test_a_writer_of_a_copied_file_is_still_heard(world: World, follower: Follower) -> None:
    world.append(100)
    follower.settle()
    with world.events.open("ab", buffering=0) as old:
        world.replace(world.events.read_bytes())
        follower.look()
        old.write(b"".join(world.lines(5)))
        world.append(5)
        follower.settle()
    assert sorted(world.stored()) == list(range(1, 111))


def test_equal_lines_rotated_while_down_are_counted_by_their_file(world: World) -> None:
    same = line(1)
    world.events.write_bytes(same * 200)
    first = Follower(world)
    first.settle()
    first.close()
    with world.events.open("ab") as file:
        file.write(same * 50)
    world.rotate()
    world.events.write_bytes(same * 400)
    second = Follower(world)
    second.settle()
    second.close()
    assert len(world.stored()) == 650


def test_rewriting_a_file_of_equal_lines_takes_linear_time(world: World, follower: Follower) -> None:
    """Sixty thousand equal lines took minutes when each place was judged in full."""
    same = line(1)
    world.events.write_bytes(line(0, edited=1) + same * 60_000)
    follower.settle()
    world.replace(line(0, edited=20) + same * 60_000)
    follower.settle()
    assert len(world.stored()) == 60_002


def test_a_copied_and_rotated_file_is_not_read_again_after_a_restart(world: World) -> None:
    world.append(1)
    follower = Follower(world)
    follower.look()
    world.replace(world.events.read_bytes() + b"".join(world.lines(3)))
    world.rotate()
    follower.look()
    follower.restart()
    follower.settle()
    follower.close()
    assert world.stored() == [1, 2, 3, 4]
