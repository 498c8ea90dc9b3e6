"""A real daemon that has to wait: rights, folders and file systems that go away and come back, sleep, a clock set."""

from __future__ import annotations

import os
import shutil
import signal
from typing import TYPE_CHECKING

import orjson
import pytest
from obstacles import assert_each_line_once, has, mounted, unmount
from process import Running, call, status
from world import World, line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.system

SET_CLOCK = """
import os, time
real = time.time
def read():
    with open(os.environ["TEST_CLOCK"]) as file:
        return real() + float(file.read() or 0)
time.time = read
"""
AWAY = "database is not in its place: its folder was moved or unmounted"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path.resolve())


@pytest.fixture
def inside(world: World) -> World:
    """Return a world whose database is in the home, as it is by default."""
    world.db_path = world.home / "shipwrightd" / "shipwright.db"
    return world


def following(world: World, *prefix: str, **environment: str) -> Running:
    """Return a daemon that looks often, with its log outside of all that goes away."""
    daemon = Running(world, *prefix, SHIPWRIGHTD_RESCAN_S="0.1", **environment)
    daemon.log = world.home.with_name("daemon.log")
    return daemon


def check(world: World, prefix: Sequence[str] = ()) -> int:
    return call(world, "status", "--check", prefix=prefix).returncode


def warned(daemon: Running, event: str) -> int:
    """Return how often it warned of that."""
    return [entry["level"] for entry in daemon.logged(event)].count("warning")


def goes_on(world: World, daemon: Running) -> None:
    """Have it store a few more lines, end, and hold each line once."""
    world.append(5)
    daemon.wait_for(has(world, world.written))
    daemon.wait_for(lambda: check(world) == 0)
    assert daemon.stop() == 0
    assert_each_line_once(world)
    assert "Traceback" not in daemon.told()


# -- rights that are lost and given back


@pytest.mark.parametrize("what", ["folder", "file", "log"])
def test_database_that_cannot_be_opened_any_more_is_written_on(
    world: World, modes_count: Sequence[str], what: str
) -> None:
    """What is open stays open; only who opens it anew, as `status` does, is refused."""
    world.append(10)
    with following(world, *modes_count) as daemon:
        daemon.wait_for(has(world, 10))
        log = world.db_path.with_name("shipwright.db-wal")
        path = {"folder": world.db_path.parent, "file": world.db_path, "log": log}[what]
        before = path.stat().st_mode
        path.chmod(0)
        done = call(world, "status", "--check", prefix=modes_count)
        assert (done.returncode, done.stderr.count("\n")) == (73, 1), done
        world.append(10)
        world.trim(5)
        daemon.wait_for(has(world, 20))
        path.chmod(before)
        goes_on(world, daemon)


@pytest.mark.parametrize("what", ["folder", "file"])
def test_start_without_rights_to_the_database_ends_with_73_which_is_tried_again(
    world: World, modes_count: Sequence[str], what: str
) -> None:
    world.append(10)
    assert call(world, "backfill", prefix=modes_count).returncode == 0
    path = world.db_path.parent if what == "folder" else world.db_path
    before = path.stat().st_mode
    path.chmod(0)
    done = call(world, "run", prefix=modes_count)
    assert (done.returncode, done.stderr.count("\n")) == (73, 1), done
    path.chmod(before)
    with following(world, *modes_count) as daemon:
        goes_on(world, daemon)


@pytest.mark.parametrize("where", ["beside", "inside"])
def test_home_that_cannot_be_searched_is_told_and_read_again_when_it_can(
    world: World, modes_count: Sequence[str], where: str
) -> None:
    if where == "inside":
        world.db_path = world.home / "shipwrightd" / "shipwright.db"
    world.append(10)
    with following(world, *modes_count) as daemon:
        daemon.wait_for(has(world, 10))
        with world.events.open("ab") as writer:
            world.home.chmod(0)
            if where == "beside":
                daemon.wait_for(daemon.has_logged("source_failed"))
                problems = status(world)["problems"]
                assert "events.jsonl: cannot read events.jsonl: Permission denied" in problems
            writer.write(b"".join(world.lines(5)))
            assert check(world, modes_count) == (1 if where == "beside" else 73)
        world.home.chmod(0o755)
        goes_on(world, daemon)
        assert warned(daemon, "source_failed") == len({entry["source"] for entry in daemon.logged("source_failed")})


# -- folders and file systems that go away and come back


def test_database_folder_that_is_moved_away_is_waited_for_until_it_is_back(world: World) -> None:
    world.append(10)
    away = world.db_path.parent.with_name("away")
    with following(world) as daemon:
        daemon.wait_for(has(world, 10))
        world.db_path.parent.rename(away)
        daemon.wait_for(daemon.has_logged("database_waiting", 3))
        assert AWAY in daemon.logged("database_waiting")[0]["error"]
        assert AWAY in (away / "shipwright.db.lock").read_text()
        assert status(world)["problems"][0] == f"there is no folder {away.with_name('db')}"
        assert check(world) == 1
        world.append(10)
        world.trim(5)
        world.append(10)
        away.rename(world.db_path.parent)
        daemon.wait_for(has(world, 30))
        daemon.wait_for(daemon.has_logged("database_recovered"))
        goes_on(world, daemon)
        assert warned(daemon, "database_waiting") == 1


def test_home_that_is_unmounted_is_told_and_followed_when_it_is_mounted_again(world: World) -> None:
    device = world.home.with_name("device")
    device.mkdir()
    with mounted(world.home, "--bind", str(device)):
        world.append(10)
        with following(world) as daemon:
            daemon.wait_for(has(world, 10))
            unmount(world.home)
            daemon.wait_for(daemon.has_logged("home_is_another_folder"))
            problem = f"none of the journals that were read is in {world.home}: is a file system not mounted?"
            assert status(world)["problems"] == [problem]
            assert check(world) == 1
            world.append(10, path=device / "events.jsonl")
            with mounted(world.home, "--bind", str(device)):
                daemon.wait_for(daemon.has_logged("home_is_back"))
                goes_on(world, daemon)
            assert warned(daemon, "home_is_another_folder") == 1
            assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_home_that_is_unmounted_with_its_database_is_waited_for(inside: World) -> None:
    """The bare folder below is there: to begin anew in it would hide the database behind the next mount."""
    world = inside
    device = world.home.with_name("device")
    device.mkdir()
    with mounted(world.home, "--bind", str(device)):
        world.append(10)
        with following(world) as daemon:
            daemon.wait_for(has(world, 10))
            unmount(world.home)
            daemon.wait_for(daemon.has_logged("database_waiting", 4))  # longer than a removed one is waited for
            assert AWAY in daemon.logged("database_waiting")[0]["error"]
            assert list(world.home.iterdir()) == []
            assert status(world)["problems"][0] == f"there is no folder {world.db_path.parent}"
            assert check(world) == 1
            world.append(10, path=device / "events.jsonl")
            with mounted(world.home, "--bind", str(device)):
                daemon.wait_for(daemon.has_logged("database_recovered"))
                goes_on(world, daemon)
            assert warned(daemon, "database_waiting") == 1


def test_another_device_at_the_home_is_followed_and_the_first_one_again_when_it_is_back(world: World) -> None:
    world.append(10)
    with following(world) as daemon:
        daemon.wait_for(has(world, 10))
        with mounted(world.home, "-t", "tmpfs", "tmpfs"):
            daemon.wait_for(daemon.has_logged("home_is_another_folder"))
            world.append(20)
            daemon.wait_for(has(world, 30))
            assert check(world) == 0
        daemon.wait_for(daemon.has_logged("home_is_back"))
        goes_on(world, daemon)
    assert world.query("SELECT reason FROM gaps") == [("no_overlap",)]


def test_another_device_over_home_and_database_is_left_alone_until_it_is_gone(inside: World) -> None:
    world = inside
    world.append(10)
    with following(world) as daemon:
        daemon.wait_for(has(world, 10))
        with mounted(world.home, "-t", "tmpfs", "tmpfs"):
            world.events.write_bytes(line(999))
            daemon.wait_for(daemon.has_logged("database_waiting", 4))
            assert [path.name for path in world.home.iterdir()] == ["events.jsonl"]
            assert check(world) == 1
        daemon.wait_for(daemon.has_logged("database_recovered"))
        goes_on(world, daemon)
        assert warned(daemon, "database_waiting") == 1


def test_another_device_with_a_database_of_its_own_ends_it_with_75_and_the_next_start_takes_that(
    inside: World, tmp_path: Path
) -> None:
    world = inside
    world.append(10)
    with following(world) as daemon:
        daemon.wait_for(has(world, 10))
        with mounted(tmp_path / "home", "-t", "tmpfs", "tmpfs"):
            world.events.write_bytes(line(999))
            world.db_path.parent.mkdir()
            shutil.copy(call_made(world), world.db_path)
            assert daemon.exit_code() == 75
            assert "another file has taken the place of the database" in daemon.told()
            assert call(world, "backfill").returncode == 0
            assert world.stored() == [999]
        assert call(world, "backfill").returncode == 0
        assert_each_line_once(world)


def call_made(world: World) -> Path:
    """Return a database without a row, made elsewhere."""
    other = world.home.with_name("other")
    (other / "home").mkdir(parents=True)
    elsewhere = object.__new__(World)
    elsewhere.home, elsewhere.db_path = other / "home", other / "shipwright.db"
    assert call(elsewhere, "backfill").returncode == 0
    return elsewhere.db_path


# -- sleep, and a clock that is set


def test_what_happened_while_it_was_stopped_is_stored_once(world: World) -> None:
    world.append(50)
    with following(world) as daemon:
        daemon.wait_for(has(world, 50))
        daemon.send(signal.SIGSTOP)
        world.append(100)
        world.trim(60)
        world.append(20)
        world.rotate()
        world.append(20)
        (world.home / "costs.json").write_text('{"entries":[{"model":"opus","cost_usd":0.5}]}')
        assert status(world)["sources"][0]["behind_bytes"] > 0
        daemon.send(signal.SIGCONT)
        daemon.wait_for(lambda: world.query("SELECT count(*) FROM cost_entries") == [(1,)])
        # Of the first hundred lines forty were trimmed unseen, from a file that is held open and read to its end.
        daemon.wait_for(has(world, world.written))
        goes_on(world, daemon)


@pytest.mark.parametrize("set_to", ["-259200", "259200"])
def test_clock_that_is_set_changes_nothing(world: World, tmp_path: Path, set_to: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    costs: list[dict[str, object]] = []
    (tmp_path / "sitecustomize.py").write_text(SET_CLOCK)
    world.append(50)
    with following(world, PYTHONPATH=str(tmp_path), TEST_CLOCK=str(clock)) as daemon:
        daemon.wait_for(has(world, 50))
        clock.write_text(set_to)
        for _ in range(2):
            world.append(50)
            world.trim(30, late=5)
            world.append(10)
            world.rotate()
            world.append(10)
            daemon.wait_for(has(world, world.written))
            costs.append({"model": "opus", "cost_usd": float(world.written)})
            (world.home / "costs.json").write_bytes(orjson.dumps({"entries": costs}))
            daemon.wait_for(lambda: world.query("SELECT count(*) FROM cost_entries") == [(len(costs),)])
            os.utime(world.events)
            clock.write_text("0")
        assert world.query("SELECT reason, detail FROM gaps") == []
        goes_on(world, daemon)
