"""What another user could have prepared for us is refused: links, pipes, files and folders of theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hostile import answers
from process import places
from world import World

from shipwrightd import config
from shipwrightd.config import files
from shipwrightd.database import open_reader, open_writer, prepare_folder
from shipwrightd.database.lock import WriterLock, lock_is_held, lock_path, read_holder
from shipwrightd.errors import ConfigError, DatabaseError, PathError
from shipwrightd.export.files import destination

if TYPE_CHECKING:
    from pathlib import Path

SOMEBODY = 65_533
ENDS = ("", "-wal", "-shm", "-journal", ".lock")
TAKE_ALL = """
import fcntl, sys
with open(sys.argv[1], "rb+") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 510, 0x40000002)  # the bytes that whoever uses a database shares
"""
READING = ("status", "report runs", "verify")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the place of a database in a folder of our own; what stands in it next is the attack."""
    prepare_folder(tmp_path / "folder" / "shipwright.db")
    return tmp_path / "folder" / "shipwright.db"


def give(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)


def beside(path: Path, end: str) -> Path:
    return path.with_name(path.name + end)


# -- in place of a file


@pytest.mark.parametrize("end", ENDS)
def test_a_symbolic_link_in_place_of_a_file_is_refused_and_its_target_untouched(path: Path, end: str) -> None:
    target = path.parent.parent / "precious"
    target.touch()
    beside(path, end).symlink_to(target)
    with pytest.raises(PathError, match="is a symbolic link"):
        open_writer(path)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("end", ENDS)
def test_a_symbolic_link_to_nothing_makes_no_file_elsewhere(path: Path, end: str) -> None:
    target = path.parent.parent / "made"
    beside(path, end).symlink_to(target)
    with pytest.raises(PathError, match="is a symbolic link"):
        open_writer(path)
    assert not target.exists()


@pytest.mark.parametrize("end", ENDS)
def test_a_second_name_of_another_file_is_refused_and_that_file_untouched(path: Path, end: str) -> None:
    target = path.parent.parent / "precious"
    target.touch()
    beside(path, end).hardlink_to(target)
    with pytest.raises(PathError, match="has a second name"):
        open_writer(path)
    assert target.read_bytes() == b""


@pytest.mark.parametrize("end", ENDS)
def test_a_pipe_in_place_of_a_file_stops_nobody(path: Path, end: str) -> None:
    os.mkfifo(beside(path, end))
    with pytest.raises((PathError, DatabaseError), match=r"is not a regular file|is not a shipwrightd database"):
        open_writer(path)


@needs_root
@pytest.mark.parametrize("end", ENDS)
def test_a_file_of_another_user_is_refused(path: Path, end: str) -> None:
    beside(path, end).touch()
    give(beside(path, end))
    with pytest.raises(PathError, match=f"belongs to user {SOMEBODY}"):
        open_writer(path)


def test_a_lock_that_is_a_pipe_stops_neither_who_asks_nor_who_takes_it(path: Path) -> None:
    os.mkfifo(lock_path(path))
    assert not lock_is_held(lock_path(path))
    assert read_holder(lock_path(path)) == {}
    with pytest.raises(PathError, match="is not a regular file"):
        WriterLock(lock_path(path)).acquire({})


@pytest.mark.parametrize("content", [b"[" * 4_000, b"x" * (1 << 20), b"[]", b"\xff\xfe"], ids=lambda raw: raw[:1])
def test_a_lock_with_any_content_tells_nothing_and_harms_nobody(path: Path, content: bytes) -> None:
    lock_path(path).write_bytes(content)
    assert read_holder(lock_path(path)) == {}


def test_a_database_that_is_a_pipe_stops_no_reader(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(PathError, match="is not a regular file"):
        open_reader(path)


# -- the folder, and the way there


@needs_root
def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    give(path.parent)
    with pytest.raises(PathError, match=r"the folder .* belongs to"):
        open_writer(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770], ids=oct)
def test_a_folder_where_others_can_put_files_is_refused(path: Path, mode: int) -> None:
    (path.parent / "theirs").touch()
    os.chown(path.parent, -1, SOMEBODY)
    path.parent.chmod(mode)
    with pytest.raises(PathError, match="other users can write to the folder"):
        open_writer(path)
    assert not path.exists()


@needs_root
def test_a_link_of_another_user_on_the_way_is_refused(path: Path) -> None:
    way = path.parent.parent / "way"
    way.symlink_to(path.parent)
    open_writer(way / path.name).close()
    os.chown(way, SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(PathError, match=f"the symbolic link .*way belongs to user {SOMEBODY}"):
        open_writer(way / path.name)


def test_links_that_lead_in_a_circle_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(PathError):
        open_writer(tmp_path / "a" / "shipwright.db")


@needs_root
def test_nothing_is_written_out_through_a_link_of_another_user(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    os.chown(tmp_path / "out", SOMEBODY, SOMEBODY, follow_symlinks=False)
    with pytest.raises(PathError, match=r"the symbolic link .* belongs to"):
        destination(str(tmp_path / "out"), force=True, home=tmp_path / "home", database=tmp_path / "db")


# -- settings


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = files.paths({"XDG_CONFIG_HOME": str(tmp_path)})[0]
    file.parent.mkdir()
    file.write_text('log_level = "debug"\n')
    return file


def read(settings: Path) -> str:
    return config.load(None, {"XDG_CONFIG_HOME": str(settings.parent.parent)}).log_level


@needs_root
def test_settings_of_another_user_are_refused(settings: Path) -> None:
    assert read(settings) == "debug"
    give(settings)
    with pytest.raises(ConfigError, match="belongs to another user"):
        read(settings)


def test_settings_that_others_can_change_are_refused(settings: Path) -> None:
    settings.chmod(0o666)
    with pytest.raises(ConfigError, match="other users can write to"):
        read(settings)


def test_settings_that_are_a_pipe_stop_nobody(settings: Path) -> None:
    settings.unlink()
    os.mkfifo(settings)
    with pytest.raises(ConfigError, match="not a regular file"):
        read(settings)


# -- all of the program


@pytest.mark.system
@pytest.mark.parametrize("end", ["", ".lock", "-wal"])
def test_every_command_ends_on_one_line_where_a_pipe_takes_the_place_of_a_file(tmp_path: Path, end: str) -> None:
    world = World(tmp_path)
    world.append(2)
    assert answers([["backfill", *places(world)]])[0].code == 0
    beside(world.db_path, end).unlink(missing_ok=True)
    os.mkfifo(beside(world.db_path, end))
    for answer in answers([[command, *places(world)] for command in ("backfill", "run", "migrate")], within_s=20):
        assert (answer.code in {65, 73}, answer.err.count("\n")) == (True, 1), answer
    for answer in answers([[*command.split(), *places(world)] for command in READING], within_s=20):
        assert isinstance(answer.code, int), answer.code


def test_locks_of_a_writer_outlive_a_reader_in_the_same_process(path: Path) -> None:
    """POSIX takes a process's locks on a file when it closes any descriptor of it: SQLite would write unprotected."""
    lock = WriterLock(lock_path(path))
    lock.acquire({})
    with closing(open_writer(path)) as db:
        db.execute("CREATE TABLE t (x)")
        open_reader(path).close()
        other = subprocess.run([sys.executable, "-c", TAKE_ALL, str(path)], capture_output=True, text=True, check=False)
        assert "BlockingIOError" in other.stderr
        lock.release()
