"""Appended files: whole lines come out once, half lines wait, long lines are bounded, a changed file is noticed."""

from __future__ import annotations

import errno
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from process import call, places, source
from world import Follower, World, doubles, line

from shipwrightd.journals import follow
from shipwrightd.journals import lines as module
from shipwrightd.journals.lines import (
    ANCHOR_BYTES,
    GIANT_HEAD_BYTES,
    MAX_LINE_BYTES,
    READ_BYTES,
    ROTATIONS,
    START,
    SURE_ANCHOR_BYTES,
    ChangedError,
    Giant,
    NotAFileError,
    Place,
    Position,
    Reader,
    anchor_hash,
    begun_before,
    hidden_by,
    line_hashes,
    open_files,
    open_journal,
    resume_at,
    scan,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

MEMORY_KIB = 150 << 10
SHORT = b'{"ts":"2026-01-05T08:00:00Z","ts_epoch":1767600000,"type":"a","seq":%d}\n'


class File:
    """A file that grows, and a reader of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self.fd = open_journal(path)
        self.reader = Reader(self.fd, START)

    def append(self, content: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(content)

    def read_all(self) -> list[bytes | Giant]:
        """Return all that can be had now."""
        found: list[bytes | Giant] = []
        while (got := self.reader.read()) is not None:
            found += [got] if isinstance(got, Giant) else got
        return found

    def place(self) -> Place:
        """Return where the reader stands, as a checkpoint keeps it."""
        info = os.fstat(self.fd)
        end = self.reader.end
        return Place(info.st_dev, info.st_ino, end.offset, anchor_hash(end.before), len(end.before))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    file = File(tmp_path / "events.jsonl")
    yield file
    os.close(file.fd)


# -- lines


def test_half_a_line_waits_for_its_end_however_often_somebody_looks(file: File) -> None:
    file.append(b"one\ntw")
    assert file.read_all() == [b"one"]
    assert [file.read_all() for _ in range(50)] == [[]] * 50
    assert (file.reader.unfinished(), file.reader.unfinished_bytes) == (b"tw", 2)
    file.append(b"o\nthree\n")
    assert file.read_all() == [b"two", b"three"]
    assert file.reader.unfinished_bytes == 0


def test_blank_lines_carriage_returns_and_any_bytes_are_lines_like_others(file: File) -> None:
    lines = [b"", b"\r", b"\x00\xff", b"", b"x" * (READ_BYTES - 3), b"y" * (READ_BYTES + 1), b"\xe2\x9b\xbd"]
    file.append(b"\n".join(lines) + b"\n")
    assert file.read_all() == lines


@given(st.lists(st.binary(max_size=30).map(lambda part: part.replace(b"0", b"\n")), max_size=30), st.data())
def test_whatever_way_it_is_written_and_read_the_lines_are_those_of_the_file(
    parts: list[bytes], data: st.DataObject
) -> None:
    before = module.READ_BYTES
    module.READ_BYTES = data.draw(st.integers(1, 20))  # so that blocks end everywhere
    try:
        with tempfile.TemporaryDirectory() as folder:
            file = File(Path(folder) / "events.jsonl")
            found = []
            for part in parts:
                file.append(part)
                found += file.read_all()
            os.close(file.fd)
    finally:
        module.READ_BYTES = before
    assert found == b"".join(parts).split(b"\n")[:-1]


@pytest.mark.parametrize("shift", [0, 1, 1000, READ_BYTES - 1])
def test_which_line_is_too_long_depends_on_its_length_alone(file: File, shift: int) -> None:
    """Not on where the blocks end in which it is read, or two readings of a file would differ."""
    longest = b"a" * MAX_LINE_BYTES
    file.append(b"." * shift + b"\n" + longest + b"\nshort\n" + longest + b"b\nnext\n")
    _, fits, short, giant, following = file.read_all()
    assert (fits, short) == (longest, b"short")
    assert giant == Giant(b"a" * GIANT_HEAD_BYTES, MAX_LINE_BYTES + 1, line_hashes([longest + b"b"]))
    assert following == b"next"


def test_a_long_line_that_comes_in_pieces_is_told_when_its_end_comes(file: File) -> None:
    piece = b"z" * (5 << 20)
    for _ in range(6):
        file.append(piece)
        assert file.read_all() == []
    assert file.reader.unfinished() == b"z" * GIANT_HEAD_BYTES
    assert file.reader.unfinished_bytes == 6 * len(piece)
    file.append(b"\nshort\n")
    assert file.read_all() == [
        Giant(b"z" * GIANT_HEAD_BYTES, 6 * len(piece), line_hashes([piece * 6])),
        b"short",
    ]


def test_scan_returns_hash_and_size_of_each_complete_line(file: File) -> None:
    lines = [b"first", b"", b"g" * (MAX_LINE_BYTES + 9), b"last"]
    file.append(b"\n".join(lines) + b"\nhalf")
    blocks = list(scan(file.fd))
    assert b"".join(block.hashes.tobytes() for block in blocks) == line_hashes(lines)
    assert [size for block in blocks for size in block.sizes] == [len(text) + 1 for text in lines]


@pytest.mark.parametrize("stop", [0, 1, 4, 5, 9, 13, 14, 100])
@pytest.mark.parametrize("final", [False, True])
def test_nothing_from_the_stop_on_is_read_and_what_is_before_it_is_a_line_only_when_final(
    file: File, stop: int, *, final: bool
) -> None:
    content = b"one\ntwo\nthree"
    file.append(content)
    file.reader = Reader(file.fd, START, stop)
    file.reader.final = final
    *whole, half = content[:stop].split(b"\n")
    assert file.read_all() == whole + [half] * (final and half != b"")
    assert file.reader.end.offset == min(stop, len(content))
    assert file.read_all() == []


def test_a_line_without_newline_over_the_bound_is_a_giant_when_final(file: File) -> None:
    text = b"g" * (MAX_LINE_BYTES + 1)
    file.append(b"first\n" + text)
    file.reader.final = True
    assert file.read_all() == [b"first", Giant(text[:GIANT_HEAD_BYTES], len(text), line_hashes([text]))]
    assert file.reader.unfinished_bytes == 0


@pytest.mark.parametrize("size", [0, 1, 50, ANCHOR_BYTES, 3 * ANCHOR_BYTES])
@pytest.mark.parametrize("first", [b"", line(1)])
def test_what_a_line_begins_with_is_read_whatever_its_length(file: File, size: int, first: bytes) -> None:
    content = first + b"x" * size
    file.append(content)
    assert begun_before(file.fd, Position(len(content), content[-ANCHOR_BYTES:])) == b"x" * size


# -- the file itself


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_refused_at_once_and_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "events.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/null")
    with pytest.raises(NotAFileError, match="is not a regular file") as caught:
        open_journal(path)
    error = caught.value
    assert (error.errno, error.strerror, error.filename) == (errno.EINVAL, "is not a regular file", str(path))


def test_a_file_cut_or_written_over_before_the_position_is_noticed(file: File) -> None:
    file.append(b"one\ntwo\nthree\n")
    file.read_all()
    os.truncate(file.path, 5)
    with pytest.raises(ChangedError):
        file.reader.read()
    file.path.write_bytes(b"one\ntwo\nthrEE\nfour\n")
    with pytest.raises(ChangedError):
        file.reader.read()


def test_a_file_that_shrinks_between_two_blocks_is_noticed(file: File) -> None:
    file.append(b"".join(b"%08d\n" % number for number in range(3 * READ_BYTES // 9)))
    first = file.reader.read()
    assert isinstance(first, list)
    os.truncate(file.path, READ_BYTES // 2)
    with pytest.raises(ChangedError):
        file.reader.read()


def test_a_checkpoint_is_valid_where_the_bytes_before_it_stand(file: File) -> None:
    file.append(b"".join(line(seq) for seq in range(1, 200)))
    file.read_all()
    place = file.place()
    file.append(line(200))
    assert resume_at(file.fd, place) == file.reader.end
    copy = File(file.path.with_name("copy"))
    copy.append(file.path.read_bytes())
    assert resume_at(copy.fd, place) == file.reader.end, "a copy holds the same bytes"
    with file.path.open("r+b") as writer:
        writer.seek(place.offset - 10)
        writer.write(b"#")
    assert resume_at(file.fd, place) is None
    os.truncate(copy.path, place.offset - 1)
    assert resume_at(copy.fd, place) is None
    os.close(copy.fd)


def test_a_few_bytes_prove_nothing_of_another_file(file: File) -> None:
    file.append(b"a\n")
    file.read_all()
    copy = File(file.path.with_name("copy"))
    copy.append(b"a\n")
    assert resume_at(file.fd, file.place()) == file.reader.end
    assert resume_at(copy.fd, file.place()) is None
    os.close(copy.fd)


@pytest.mark.parametrize(("size", "proves"), [(SURE_ANCHOR_BYTES - 1, False), (SURE_ANCHOR_BYTES, True)])
def test_so_many_bytes_prove_that_a_copy_is_the_file(file: File, size: int, proves: object) -> None:
    file.append(b"a" * (size - 1) + b"\n")
    file.read_all()
    copy = File(file.path.with_name("copy"))
    copy.append(b"a" * (size - 1) + b"\n")
    assert (resume_at(copy.fd, file.place()) is not None) is proves
    os.close(copy.fd)


def test_hashes_that_earlier_releases_stored_stay_valid() -> None:
    assert anchor_hash(b"line\n").hex() == "defcada85ca922c7094942bb5c9ad5fe"
    assert line_hashes([b"line", b""]).hex() == "36093ea6e992cef0e4a6a0577479b2b4"


# -- all files of a journal


@pytest.fixture
def names(tmp_path: Path) -> list[Path]:
    """Return the paths of a journal, the oldest first; none exists."""
    return [tmp_path / name for name in ("events.jsonl.2", "events.jsonl.1", "events.jsonl")]


def contents(paths: Sequence[Path]) -> tuple[dict[str, bytes], dict[str, int | None]]:
    """Open the files; return what is in them, and the numbers of the errors of the others."""
    files, refused = open_files(paths)
    held = {path.name: os.pread(fd, 1000, 0) for path, fd in files.items()}
    for fd in files.values():
        os.close(fd)
    return held, {path.name: error.errno for path, error in refused.items()}


def test_files_are_opened_in_order_and_absent_ones_left_out(names: list[Path], tmp_path: Path) -> None:
    names[2].write_bytes(b"new")
    names[0].write_bytes(b"old")
    below_a_file = names[2] / "below"
    held, refused = contents([tmp_path / "gone", below_a_file, *names])
    assert list(held.items()) == [("events.jsonl.2", b"old"), ("events.jsonl", b"new")]
    assert refused == {}


def test_a_file_that_cannot_be_opened_is_refused_and_the_others_are_read(names: list[Path]) -> None:
    names[0].mkdir()
    names[1].symlink_to(names[1])
    names[2].write_bytes(b"new")
    assert contents(names) == (
        {"events.jsonl": b"new"},
        {"events.jsonl.2": errno.EINVAL, "events.jsonl.1": errno.ELOOP},
    )


def test_two_names_of_one_file_count_as_the_last(names: list[Path]) -> None:
    names[2].write_bytes(b"new")
    names[0].hardlink_to(names[2])
    names[1].symlink_to(names[2])
    assert contents(names) == (
        {"events.jsonl": b"new"},
        {"events.jsonl.2": errno.EEXIST, "events.jsonl.1": errno.EEXIST},
    )


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_out_of_resources_is_an_error_that_leaves_nothing_open(
    names: list[Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    names[1].touch()
    names[2].touch()
    whole = os.open
    free = os.dup(0)
    os.close(free)
    calls = iter([None, OSError(number, "out of something")])

    def fail_later(path: Path, flags: int) -> int:
        if (error := next(calls)) is not None:
            raise error
        return whole(path, flags)

    monkeypatch.setattr(os, "open", fail_later)
    with pytest.raises(OSError, match="out of something") as caught:
        open_files(names)
    assert caught.value.errno == number
    again = os.dup(0)
    os.close(again)
    assert again == free, "a descriptor stayed open"


def rotate(names: Sequence[Path]) -> None:
    """Rename each file to the next older name and begin a new one."""
    names[1].rename(names[0])
    names[2].rename(names[1])
    names[2].write_bytes(b"new")


def test_files_that_are_rotated_while_they_are_opened_are_each_seen_once(names: list[Path]) -> None:
    names[1].write_bytes(line(1))
    names[2].write_bytes(line(2))
    rotated: list[FrameType] = []

    def rotate_behind_the_first(frame: FrameType, event: str, _: object) -> None:
        if event == "return" and frame.f_code is open_journal.__code__ and not rotated:
            rotated.append(frame)
            rotate(names)

    sys.setprofile(rotate_behind_the_first)
    try:
        held, _ = contents(names)
    finally:
        sys.setprofile(None)
    assert rotated
    assert held == {"events.jsonl.2": line(1), "events.jsonl.1": line(2), "events.jsonl": b"new"}


def test_files_that_are_rotated_again_and_again_are_an_error(
    names: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    names[1].write_bytes(line(1))
    names[2].write_bytes(line(2))
    opened = []

    def open_and_rotate(path: Path) -> int:
        fd = open_journal(path)
        opened.append(path)
        if path == names[2]:
            rotate(names)
        return fd

    monkeypatch.setattr(module, "open_journal", open_and_rotate)
    with pytest.raises(InterruptedError, match="rotated again and again"):
        open_files(names)
    assert opened.count(names[2]) == ROTATIONS


@pytest.mark.parametrize(
    ("error", "hides"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), True),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.ELOOP, "Too many levels of symbolic links"), True),
        (NotAFileError(errno.EINVAL, "is not a regular file"), False),
        (OSError(errno.EEXIST, "is the same file as events.jsonl"), False),
    ],
)
def test_only_a_file_that_cannot_be_read_hides_lines(names: list[Path], error: OSError, *, hides: bool) -> None:
    assert hidden_by({}) is None
    assert hidden_by({names[0]: error}) is (error if hides else None)
    other = PermissionError(errno.EACCES, "Permission denied")
    assert hidden_by({names[0]: error, names[1]: other}) is (error if hides else other)


# -- as the daemon reads


def test_half_a_line_stays_out_of_the_database_over_restarts_until_it_is_finished(
    world: World, follower: Follower
) -> None:
    world.append(3)
    whole = line(4, note="日本語")
    cut = whole.index("本".encode()) + 1
    with world.events.open("ab", buffering=0) as file:
        file.write(whole[:cut])
        for _ in range(3):
            follower.settle()
            assert world.stored() == [1, 2, 3]
            follower.restart()
        assert world.query("SELECT count(*) FROM quarantine") == [(0,)]
        file.write(whole[cut:])
    follower.settle()
    assert world.stored() == [1, 2, 3, 4]
    assert world.query("SELECT json_extract(extra, '$.note') FROM events WHERE id = 4") == [("日本語",)]


def test_half_a_line_of_a_file_that_left_is_kept_once_over_all_restarts(
    world: World, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "GRACE_S", 0.0)  # ten minutes in real life
    world.append(3)
    with world.events.open("ab") as file:
        file.write(b'{"type":"cut off')
    follower.settle()
    for _ in range(4):  # three rotated names, then none
        world.rotate()
        world.append(1)
        follower.settle()
        follower.settle()
        kept = [("unterminated", 16, b'{"type":"cut off')]
        assert world.query("SELECT reason, length, raw FROM quarantine") == kept
        follower.restart()
        follower.settle()
    assert world.query("SELECT count(*) FROM quarantine") == [(1,)]
    assert world.stored() == [1, 2, 3, 4, 5, 6, 7]


def test_lines_written_late_into_a_file_that_left_are_read_before_it_is_closed(
    world: World, follower: Follower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MAX_NAMELESS", 1)
    world.append(100)
    follower.settle()
    late = [world.events.open("ab", buffering=0)]
    for _ in range(3):
        world.trim(50)
        world.append(5)
        late.append(world.events.open("ab", buffering=0))
    follower.look()
    late[0].write(b"".join(world.lines(2)))
    world.trim(50)
    world.append(1)
    follower.settle()
    for file in late:
        file.close()
    assert doubles(world.stored()) == []
    assert set(world.stored()) == set(range(1, world.written + 1))


def cut_while_read(world: World, follower: Follower, seed: int) -> None:
    """Cut the file in place to a part of its lines at some moment of a catch-up."""
    rng = random.Random(seed)
    looks = rng.randrange(1, 4)
    done = 0

    def stop() -> bool:
        nonlocal done
        done += 1
        return done > looks

    follower.catch_up.poll(stop=stop)
    kept = world.tail(rng.randrange(1, 3000))
    with world.events.open("r+b") as file:
        file.truncate(0)
        file.write(kept)


@pytest.mark.parametrize("seed", range(6))
def test_a_file_cut_in_place_during_a_catch_up_loses_nothing_it_still_holds(
    world: World, follower: Follower, seed: int
) -> None:
    for _ in range(3):
        world.append(60_000)
        cut_while_read(world, follower, seed)
        world.append(10)
        follower.settle()
    stored = world.stored()
    assert doubles(stored) == []
    assert set(world.in_files()) <= set(stored)
    assert stored == sorted(stored)


# -- bounds


def backfill_measured(world: World) -> tuple[int, int]:
    """Run a backfill by itself; return its exit code and the most memory it had, in KiB (0 where Linux does not tell).

    Its ru_maxrss would not do: that counts what the test runner had when it was forked.
    """
    code = (
        "import pathlib, re, sys; from shipwrightd.__main__ import guarded; code = guarded(sys.argv[1:]); "
        "status = pathlib.Path('/proc/self/status').read_text() if sys.platform == 'linux' else ''; "
        "peak = re.search(r'VmHWM:\\s*(\\d+)', status); "
        "print(peak[1] if peak else 0, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "backfill", *places(world)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    return done.returncode, int(done.stderr.splitlines()[-1])


@pytest.mark.system
def test_a_line_of_100_mb_is_kept_by_its_beginning_and_memory_stays_bounded(world: World) -> None:
    world.append(2)
    offset = world.events.stat().st_size
    with world.events.open("ab") as file:
        file.write(b'{"type":"')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n')
    world.append(2)
    code, peak_kib = backfill_measured(world)
    assert code == 0
    assert peak_kib < MEMORY_KIB
    assert world.stored() == [1, 2, 3, 4]
    kept = world.query("SELECT offset, length, reason, raw FROM quarantine")
    head = (b'{"type":"' + b"x" * GIANT_HEAD_BYTES)[:GIANT_HEAD_BYTES]
    assert kept == [(offset, 100_000_011, "line_too_long", head)]
    assert source(world)["quarantined"] == 1
    assert call(world, "verify").returncode == 0
    world.append(1)
    assert call(world, "backfill").returncode == 0
    assert world.stored() == [1, 2, 3, 4, 5]


@pytest.mark.system
def test_a_million_short_lines_are_rows_and_memory_stays_bounded(world: World) -> None:
    with world.events.open("wb") as file:
        for first in range(1, 1_000_001, 10_000):
            file.write(b"".join([SHORT % seq for seq in range(first, first + 10_000)]))
    code, peak_kib = backfill_measured(world)
    assert code == 0
    assert peak_kib < MEMORY_KIB
    assert world.stored() == list(range(1, 1_000_001))


@pytest.mark.system
def test_blank_lines_cost_no_memory_and_leave_no_row(world: World) -> None:
    world.events.write_bytes(b"\n" * 200_000)
    world.append(1)
    code, peak_kib = backfill_measured(world)
    assert code == 0
    assert peak_kib < MEMORY_KIB
    assert world.query("SELECT count(*) FROM events") == [(1,)]
    assert world.query("SELECT count(*) FROM quarantine") == [(0,)]


def test_a_read_that_gives_less_than_was_asked_for_is_no_end_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of a file behind another inode was not found again, and the file read a second time."""
    path = tmp_path / "file"
    path.write_bytes(b"a line\n" * 100)
    fd = open_journal(path)
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, offset: whole(fd, max(1, size // 2), offset))
    before = b"a line\n" * 50
    place = Place(0, 0, 350, anchor_hash(before), 350)
    position = resume_at(fd, place)
    assert position == Position(350, before)
    lines = []
    reader = Reader(fd, position)
    while (got := reader.read()) is not None:
        assert isinstance(got, list)
        lines += got
    os.close(fd)
    assert lines == [b"a line"] * 50
