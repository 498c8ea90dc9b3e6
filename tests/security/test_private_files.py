"""Nobody but the owner reads what is stored: folder, database, all beside it and all that is written out."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from process import Running, call
from world import World

from shipwrightd.database import open_writer, prepare_folder
from shipwrightd.database.lock import WriterLock, lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENDS = ("", "-shm", "-wal", ".lock")


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o777], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Create all files by this umask; the last one takes everything from everybody."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def modes_of(folder: Path) -> dict[str, int]:
    return {file.name: mode(file) for file in folder.iterdir()}


def at_work(path: Path) -> dict[str, int]:
    """Return the modes of all that stands in the database's folder while it is written to."""
    prepare_folder(path)
    lock = WriterLock(lock_path(path))
    lock.acquire({})
    with closing(open_writer(path)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS t (x)")
        found = modes_of(path.parent)
        lock.release()
    return found


@pytest.mark.usefixtures("umask")
def test_all_that_is_made_is_private_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "above" / "folder" / "shipwright.db"
    assert at_work(path) == dict.fromkeys([f"shipwright.db{end}" for end in ENDS], 0o600)
    assert {mode(path.parent), mode(path.parent.parent)} == {0o700}


@pytest.mark.parametrize("wide", [0o755, 0o777, 0o1777], ids=oct)
def test_a_folder_of_ours_that_others_could_enter_is_closed_to_them(tmp_path: Path, wide: int) -> None:
    path = tmp_path / "folder" / "shipwright.db"
    at_work(path)
    path.parent.chmod(wide)
    at_work(path)
    assert mode(path.parent) == 0o700


def test_a_folder_that_holds_other_things_keeps_its_mode_if_only_we_can_write_there(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    tmp_path.chmod(0o755)
    assert at_work(tmp_path / "shipwright.db")["shipwright.db"] == 0o600
    assert mode(tmp_path) == 0o755


@pytest.mark.parametrize("end", ENDS)
def test_a_file_that_others_could_read_is_closed_to_them_when_it_is_used_again(tmp_path: Path, end: str) -> None:
    path = tmp_path / "folder" / "shipwright.db"
    with closing(open_writer(path)) as db:
        db.execute("CREATE TABLE IF NOT EXISTS t (x)")
        beside = path.with_name(path.name + end)
        beside.touch()
        beside.chmod(0o666)
        assert set(at_work(path).values()) == {0o600}


@pytest.mark.system
@pytest.mark.parametrize("mask", ["000", "077"])
def test_what_every_command_writes_is_private_whatever_the_umask(tmp_path: Path, mask: str) -> None:
    world = World(tmp_path)
    world.append(3)
    out = tmp_path / "out"
    out.mkdir()
    prefix = ("sh", "-c", f'umask {mask}; exec "$@"', "sh")
    with Running(world, *prefix) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        for command in (
            ("backup", str(out / "copy.db")),
            ("export", "--out", str(out / "events.jsonl")),
            ("export", "--table", "metrics", "--format", "csv", "--out", str(out / "metrics.csv")),
        ):
            told = call(world, *command, prefix=prefix)
            assert told.returncode == 0, told.stderr
        assert len(list(out.iterdir())) == 3
        assert set(modes_of(out).values()) | set(modes_of(world.db_path.parent).values()) == {0o600}
        assert mode(world.db_path.parent) == 0o700
