"""A real daemon when things go wrong: unreadable files, a full disk, a locked or missing database, moved folders."""

from __future__ import annotations

import datetime as dt
import os
import resource
import shutil
import signal
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from obstacles import assert_each_line_once, enlarge, errors, fill, has, held, small_disk
from process import Running, call, source, status
from world import World, eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.system

MEMORIES = "SELECT count(*) FROM memory_entries"
CHECKPOINTS = "SELECT source FROM checkpoints ORDER BY source"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path.resolve())


def open_files(daemon: Running) -> int:
    """Return how many descriptors a daemon has; 0 where nobody tells."""
    folder = Path(f"/proc/{daemon.pid}/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


# -- files that cannot be read


def test_unreadable_journal_is_told_and_read_when_it_can_be(world: World, modes_count: Sequence[str]) -> None:
    world.append(50)
    with Running(world, *modes_count, SHIPWRIGHTD_RESCAN_S="0.1") as daemon:
        daemon.wait_for(has(world, 50))
        world.rotate()
        world.append(5)
        daemon.wait_for(has(world, 55))
        daemon.kill()
        world.append(5)
        world.events.chmod(0)
        before = world.query(CHECKPOINTS)
        daemon.start()
        daemon.wait_for(lambda: errors(world))
        assert errors(world) == {"events.jsonl": "cannot read events.jsonl: Permission denied"}
        assert "Permission denied" in source(world)["error"]
        assert call(world, "status", "--check").returncode == 1
        descriptors = open_files(daemon)
        for number in range(5):  # each is found by a look at everything
            folder = world.home / "memory" / f"{number:012}"
            folder.mkdir(parents=True)
            (folder / "failures.json").write_text('{"failures":[{"pattern":"boom","seen_count":1}]}')
            daemon.wait_for(lambda count=number + 1: world.query(MEMORIES) == [(count,)])  # type: ignore[misc]
        assert open_files(daemon) <= descriptors + 2, "each look leaves a file open"
        assert set(before) <= set(world.query(CHECKPOINTS))
        world.events.chmod(0o644)
        daemon.wait_for(has(world, 60))
        daemon.wait_for(lambda: not errors(world))
        assert len(daemon.logged("source_failed")) == 1
        assert daemon.logged("source_recovered")
        assert daemon.stop() == 0
    assert_each_line_once(world)
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_replacement_that_cannot_be_read_loses_nothing_of_either_file(world: World, modes_count: Sequence[str]) -> None:
    world.append(50)
    with Running(world, *modes_count, SHIPWRIGHTD_RESCAN_S="0.1") as daemon:
        daemon.wait_for(has(world, 50))
        with world.events.open("ab", buffering=0) as old:
            kept = world.tail(20)
            temporary = world.events.with_name("t")
            temporary.write_bytes(kept)
            temporary.chmod(0)
            temporary.rename(world.events)
            daemon.wait_for(lambda: errors(world))
            old.write(b"".join(world.lines(5)))
            daemon.wait_for(has(world, 55))
        world.events.chmod(0o644)
        world.append(5)
        daemon.wait_for(has(world, 60))
        assert daemon.stop() == 0
    assert_each_line_once(world)


@pytest.mark.parametrize("folder", [".", "memory/0123456789ab"])
def test_folder_that_cannot_be_searched_ends_nothing(world: World, modes_count: Sequence[str], folder: str) -> None:
    world.append(5)
    memory = world.home / "memory" / "0123456789ab"
    memory.mkdir(parents=True)
    (memory / "failures.json").write_text('{"failures":[{"pattern":"boom","seen_count":1}]}')
    with Running(world, *modes_count, SHIPWRIGHTD_RESCAN_S="0.1") as daemon:
        daemon.wait_for(has(world, 5))
        before = world.query(CHECKPOINTS)
        with world.events.open("ab") as file:
            (world.home / folder).chmod(0)
            daemon.wait_for(lambda: errors(world))
            file.write(b"".join(world.lines(5)))
        (world.home / folder).chmod(0o755)
        (memory / "failures.json").write_text('{"failures":[{"pattern":"boom","seen_count":2}]}')
        daemon.wait_for(has(world, 10))
        daemon.wait_for(lambda: world.query("SELECT seen_count FROM memory_entries") == [(2,)])
        daemon.wait_for(lambda: not errors(world))
        assert set(before) <= set(world.query(CHECKPOINTS))
        assert daemon.stop() == 0
    assert_each_line_once(world)


@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device"])
def test_what_is_no_file_is_told_and_waited_out(world: World, kind: str) -> None:
    world.append(5)
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.1") as daemon:
        daemon.wait_for(has(world, 5))
        kept = world.events.with_name("kept")
        world.events.rename(kept)
        if kind == "pipe":
            os.mkfifo(world.events)
        elif kind == "folder":
            world.events.mkdir()
        else:
            world.events.symlink_to("events.jsonl" if kind == "loop" else "/dev/zero")
        daemon.wait_for(lambda: errors(world))
        assert errors(world)["events.jsonl"].startswith("cannot read events.jsonl: ")
        assert "None" not in errors(world)["events.jsonl"]
        assert call(world, "verify").returncode == 1
        assert status(world)["problems"]
        if world.events.is_dir():
            world.events.rmdir()
        kept.rename(world.events)
        world.append(5)
        daemon.wait_for(has(world, 10))
        daemon.wait_for(lambda: not errors(world))
        assert daemon.stop() == 0
    assert_each_line_once(world)


def test_document_that_becomes_a_pipe_stops_neither_daemon_nor_verify(world: World) -> None:
    world.append(5)
    costs = world.home / "costs.json"
    costs.write_text('{"entries":[{"model":"opus","cost_usd":0.5}]}')
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.1") as daemon:
        daemon.wait_for(lambda: has(world, 5)() and world.query("SELECT count(*) FROM cost_entries") == [(1,)])
        costs.unlink()
        os.mkfifo(costs)
        daemon.wait_for(lambda: "costs.json" in errors(world))
        assert call(world, "verify").returncode == 1
        world.append(5)
        daemon.wait_for(has(world, 10))
        assert daemon.stop() == 0


# -- a full disk


def test_full_disk_is_waited_out_and_all_that_came_meanwhile_is_stored_once(world: World) -> None:
    with small_disk(world.db_path.parent) as disk:
        world.append(100)
        call(world, "backfill")  # what making the tables leaves in the log would be room for more
        with Running(world, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
            daemon.wait_for(daemon.has_logged("daemon_following"))
            ballast = fill(disk)
            world.append(3000)
            daemon.wait_for(daemon.has_logged("database_waiting"))
            (world.home / "costs.json").write_text('{"entries":[{"model":"opus","cost_usd":0.5}]}')
            world.trim(500, late=20)
            world.append(50)
            world.rotate()
            world.append(50)
            daemon.wait_for(daemon.has_logged("database_waiting", 3))
            assert daemon.runs()
            assert "full" in status(world)["daemon"]["waiting"]
            assert call(world, "status", "--check").returncode == 1
            assert world.stored() == list(range(1, 101))
            assert "full" in daemon.logged("database_waiting")[0]["error"]
            ballast.unlink()
            daemon.wait_for(has(world, world.written))
            daemon.wait_for(daemon.has_logged("database_recovered"))
            assert world.query("SELECT count(*) FROM cost_entries") == [(1,)]
            daemon.wait_for(lambda: status(world)["daemon"]["waiting"] is None)
            world.append(5)
            daemon.wait_for(has(world, world.written))
            assert daemon.stop() == 0
        assert_each_line_once(world)
        assert "Traceback" not in daemon.told()
        assert world.query("PRAGMA integrity_check") == [("ok",)]


def test_many_appends_to_a_full_disk_do_not_fill_the_log(world: World) -> None:
    with small_disk(world.db_path.parent) as disk:
        world.append(10)
        call(world, "backfill")
        with Running(world) as daemon:
            daemon.wait_for(daemon.has_logged("daemon_following"))
            fill(disk)
            world.append(3000)
            daemon.wait_for(daemon.has_logged("database_waiting"))
            while len(daemon.logged("database_waiting")) < 3:
                world.append(1)
            first, *_, third = (
                dt.datetime.fromisoformat(entry["timestamp"]) for entry in daemon.logged("database_waiting")
            )
            assert (third - first).total_seconds() > 1.4
            assert [entry["level"] for entry in daemon.logged("database_waiting")].count("warning") == 1
            enlarge(disk)
            daemon.wait_for(has(world, world.written))
            assert daemon.stop() == 0
        assert_each_line_once(world)


def test_daemon_started_on_a_full_disk_ends_with_one_line(world: World) -> None:
    with small_disk(world.db_path.parent) as disk:
        world.append(10)
        ballast = fill(disk)
        done = call(world, "run")
        assert (done.returncode, done.stderr.count("\n")) == (73, 1)
        ballast.unlink()
        assert call(world, "backfill").returncode == 0
        assert_each_line_once(world)


def test_backfill_on_a_full_disk_ends_with_73_and_a_later_one_completes(world: World) -> None:
    with small_disk(world.db_path.parent) as disk:
        world.append(60_000)
        done = call(world, "backfill")
        assert done.returncode == 73
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("shipwrightd: ")
        assert "full" in done.stderr
        assert world.stored() == list(range(1, len(world.stored()) + 1))
        enlarge(disk)
        assert call(world, "backfill").returncode == 0
        assert_each_line_once(world)
        assert call(world, "verify").returncode == 0


def test_write_errors_are_waited_out(world: World) -> None:
    """A limit of file size stands for a disk with errors; it needs no rights to set and to lift."""
    world.append(100)
    call(world, "backfill")  # as above
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        limit = world.db_path.stat().st_size + 4096
        before = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (limit, before[1]))
        world.append(3000)
        daemon.wait_for(daemon.has_logged("database_waiting", 2))
        world.trim(500)
        resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, before)
        daemon.wait_for(has(world, world.written))
        assert daemon.stop() == 0
    assert_each_line_once(world)


# -- a database that others hold, remove or replace


def test_locked_database_is_waited_for_beyond_the_busy_timeout(world: World) -> None:
    world.append(10)
    with Running(world) as daemon:
        daemon.wait_for(has(world, 10))
        with held(world):
            world.append(10)
            daemon.wait_for(daemon.has_logged("database_waiting"))
            assert call(world, "status").returncode == 0
        daemon.wait_for(has(world, 20))
        daemon.wait_for(daemon.has_logged("database_recovered"))
        assert daemon.stop() == 0
    assert_each_line_once(world)


def test_waiting_for_a_locked_database_does_not_delay_the_end(world: World) -> None:
    world.append(10)
    with Running(world) as daemon:
        daemon.wait_for(has(world, 10))
        with held(world):
            world.append(10)
            daemon.wait_for(daemon.has_logged("database_waiting"))
            daemon.send(signal.SIGTERM)
            eventually(lambda: not daemon.runs(), within_s=4.5)  # SQLite alone would wait for five seconds


def test_backfill_beside_a_locked_database_ends_with_75_and_one_line(world: World) -> None:
    world.append(10)
    assert call(world, "backfill").returncode == 0
    world.append(10)
    with held(world):
        done = call(world, "backfill")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (75, "", 1)
    assert call(world, "backfill").returncode == 0
    assert_each_line_once(world)


@pytest.mark.parametrize("what", ["database", "all of it", "folder"])
def test_removed_database_ends_the_daemon_and_the_next_one_begins_anew(world: World, what: str) -> None:
    """Rows stored in a file that has no name any more would be lost without a word."""
    world.append(10)
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        daemon.wait_for(has(world, 10))
        if what == "folder":
            shutil.rmtree(world.db_path.parent)
        elif what == "database":
            world.db_path.unlink()
        else:
            for path in world.db_path.parent.glob("*.db*"):
                path.unlink()
        world.append(10)
        assert daemon.exit_code() == 66
        assert f"shipwrightd: the database {world.db_path} was removed - " in daemon.told()
        assert "Traceback" not in daemon.told()
        daemon.start()
        daemon.wait_for(has(world, 20))
        assert daemon.stop() == 0
    assert_each_line_once(world)


def test_replaced_database_ends_the_daemon_and_is_left_as_it_is(world: World) -> None:
    world.append(10)
    assert call(world, "backfill").returncode == 0
    backup = world.db_path.with_name("backup.db")
    with closing(apsw.Connection(str(world.db_path))) as db:
        db.execute("VACUUM INTO ?", (str(backup),))
    content = backup.read_bytes()
    world.append(10)
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        daemon.wait_for(has(world, 20))
        backup.rename(world.db_path)
        assert daemon.exit_code() == 75
        assert "another file has taken the place of the database" in daemon.told()
        assert world.db_path.read_bytes() == content
    for leftover in world.db_path.parent.glob("*.db-*"):  # of the database that was moved away
        leftover.unlink()
    assert call(world, "backfill").returncode == 0
    assert_each_line_once(world)
    assert call(world, "verify").returncode == 0


# -- folders and symlinks


def test_home_moved_away_and_back_is_followed_again(world: World) -> None:
    world.append(10)
    away = world.home.with_name("away")
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.1") as daemon:
        daemon.wait_for(has(world, 10))
        world.home.rename(away)
        daemon.wait_for(lambda: status(world)["problems"] == [f"there is no folder {world.home}"])
        world.append(5, path=away / "events.jsonl")
        daemon.wait_for(has(world, 15))  # the descriptor is held
        away.rename(world.home)
        world.append(5)
        daemon.wait_for(has(world, 20))
        assert daemon.stop() == 0
    assert_each_line_once(world)
    assert world.query("SELECT count(*) FROM generations") == [(1,)]


def test_home_moved_away_with_its_database_is_waited_for(tmp_path: Path) -> None:
    world = World(tmp_path.resolve())
    world.db_path = world.home / "shipwrightd" / "shipwright.db"
    world.append(10)
    away = world.home.with_name("away")
    daemon = Running(world, SHIPWRIGHTD_RESCAN_S="0.1")
    daemon.log = tmp_path / "daemon.log"
    with daemon:
        daemon.wait_for(has(world, 10))
        world.home.rename(away)
        daemon.wait_for(daemon.has_logged("database_waiting", 2))
        away.rename(world.home)
        world.append(5)
        daemon.wait_for(has(world, 15))
        assert daemon.stop() == 0
    assert_each_line_once(world)


def test_home_behind_a_symlink_is_heard_and_its_switch_to_another_folder_followed(tmp_path: Path) -> None:
    world = World(tmp_path.resolve())
    first, second = world.home.with_name("first"), world.home.with_name("second")
    world.home.rename(first)
    second.mkdir()
    world.home.symlink_to(first)
    world.append(100)
    with Running(world, SHIPWRIGHTD_RESCAN_S="6") as daemon:
        daemon.wait_for(has(world, 100))
        world.append(10)
        daemon.wait_for(has(world, 110), within_s=5)  # sooner than the next look at everything
        world.append(10, path=second / "events.jsonl")
        link = world.home.with_name("link")
        link.symlink_to(second)
        link.rename(world.home)
        daemon.wait_for(has(world, 120))
        assert world.query("SELECT reason FROM gaps") == [("no_overlap",)]
        world.append(10)
        daemon.wait_for(has(world, 130), within_s=5)
        (second / "costs.json").write_text('{"entries":[{"model":"opus","cost_usd":0.5}]}')
        daemon.wait_for(lambda: world.query("SELECT count(*) FROM cost_entries") == [(1,)])
        assert daemon.stop() == 0
    assert_each_line_once(world)


def test_journal_that_is_a_symlink_is_followed_to_where_it_points(world: World) -> None:
    elsewhere = world.home.with_name("elsewhere")
    elsewhere.mkdir()
    world.events.symlink_to(elsewhere / "a.jsonl")
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.3") as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        world.append(100)
        daemon.wait_for(has(world, 100))
        shutil.copy(elsewhere / "a.jsonl", elsewhere / "b.jsonl")
        world.append(5)
        link = world.home / "link"
        link.symlink_to(elsewhere / "b.jsonl")
        link.rename(world.events)
        world.append(5)
        daemon.wait_for(has(world, 110))
        assert daemon.stop() == 0
    assert_each_line_once(world)
