"""A real daemon in its ordinary life: signals, settings, a second one beside it, files that come and change."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import orjson
import pytest
from process import Running, call, source, status
from world import World, doubles

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

MANY = 400_000
SMALL_APPENDS = 1_000_000
IN_NAMESPACE = ("unshare", "--user", "--map-root-user")
NO_INOTIFY = (
    *IN_NAMESPACE, "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_instances && exec "$@"', "sh",
)  # fmt: skip


def runs(count: int) -> bytes:
    """Return that many numbered events of pipelines, which are more work than others."""
    start = b'{"ts":"2026-01-05T08:00:00Z","ts_epoch":1767600000,"issue":%d,"seq":%d,"type":"'
    end = b'","duration_s":60,"result":"success"}\n'
    texts = [
        start + b'pipeline.started","goal":"g"}\n',
        start + b'stage.started","stage":"plan"}\n',
        start + b'stage.completed","stage":"plan' + end,
        start + b"pipeline.completed" + end,
    ]
    return b"".join([texts[seq % 4] % (1 + seq // 4, seq + 1) for seq in range(count)])


def is_complete(world: World) -> bool:
    """Tell whether as many lines are stored as were written."""
    return world.count() >= world.written


def has_numbered_once(world: World) -> bool:
    """Tell whether exactly the lines 1 to the last written one are stored, in order."""
    return world.stored() == list(range(1, world.written + 1))


# -- its end


def test_signals_end_it_in_the_middle_of_a_catch_up_and_it_goes_on(world: World) -> None:
    world.events.write_bytes(runs(MANY))
    world.written = MANY
    with Running(world) as daemon:
        for number in (signal.SIGTERM, signal.SIGINT):
            before = world.count()
            daemon.wait_for(partial(world.has_more_than, before))
            _, code = daemon.end_s(number)
            assert code == 0, daemon.told()
            assert before < world.count() < MANY
            daemon.start()
        daemon.wait_for(partial(is_complete, world), within_s=60)
        assert daemon.stop() == 0
    assert has_numbered_once(world)
    assert "Traceback" not in daemon.told()
    assert len(daemon.logged("daemon_stopped")) == 3


def test_signal_ends_an_idle_daemon(world: World) -> None:
    world.append(3)
    with Running(world) as daemon:
        daemon.wait_for(partial(is_complete, world))
        _, code = daemon.end_s(signal.SIGINT)
    assert code == 0


# -- a second one


@pytest.mark.parametrize("command", ["run", "backfill", "rebuild", "migrate"])
def test_second_writer_ends_with_75_and_one_line_that_names_the_first(world: World, command: str) -> None:
    world.append(3)
    with Running(world) as daemon:
        daemon.wait_for(partial(is_complete, world))
        beside = call(world, command)
        assert beside.returncode == 75
        assert beside.stdout == ""
        assert beside.stderr.count("\n") == 1
        assert f"pid {daemon.pid})" in beside.stderr
        world.append(3)
        daemon.wait_for(partial(is_complete, world))
        assert daemon.stop() == 0


def test_lock_of_a_killed_daemon_stops_nobody(world: World) -> None:
    world.append(3)
    with Running(world) as daemon:
        daemon.wait_for(partial(is_complete, world))
        daemon.kill()
    assert str(daemon.pid) in world.db_path.with_name(world.db_path.name + ".lock").read_text()
    assert status(world)["daemon"]["alive"] is False
    assert call(world, "backfill").returncode == 0
    with Running(world) as daemon:
        world.append(3)
        daemon.wait_for(partial(is_complete, world))


# -- settings


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Return the path of a settings file; its folder is there, the file is not."""
    path = tmp_path / "config" / "shipwrightd" / "config.toml"
    path.parent.mkdir(parents=True)
    return path


def with_settings(world: World, settings: Path, *flags: str) -> Running:
    """Return a daemon that takes all its settings from the file and the flags."""
    folder = str(settings.parent.parent)
    return Running(world, flags=flags, XDG_CONFIG_HOME=folder, SHIPWRIGHTD_LOG_LEVEL="", SHIPWRIGHTD_SETTLE_S="")


def test_hangup_takes_over_changed_settings(world: World, settings: Path) -> None:
    settings.write_text('log_level = "warning"\n')
    with with_settings(world, settings) as daemon:
        world.append(1)
        daemon.wait_for(partial(is_complete, world))
        assert daemon.told() == ""
        settings.write_text('log_level = "debug"\nwatch = false\nrescan_s = 0.2\n')
        daemon.send(signal.SIGHUP)
        daemon.wait_for(lambda: daemon.logged("settings_reloaded"))
        world.append(1)
        daemon.wait_for(lambda: daemon.logged("batch_stored"))
        settings.write_text('log_level = "info"\nwatch = true\nrescan_s = 60\n')
        daemon.send(signal.SIGHUP)
        daemon.wait_for(lambda: len(daemon.logged("settings_reloaded")) == 2)
        world.append(1)
        daemon.wait_for(partial(is_complete, world))
        assert len(daemon.logged("batch_stored")) == 1
        assert daemon.stop() == 0


@pytest.mark.parametrize("content", ["rescan_s = 'soon'\n", "rescan_s = \n", "unheard_of = 1\n"])
def test_bad_settings_are_refused_and_the_daemon_goes_on_with_the_old_ones(
    world: World, settings: Path, content: str
) -> None:
    settings.write_text("rescan_s = 0.3\n")
    with with_settings(world, settings) as daemon:
        world.append(1)
        daemon.wait_for(partial(is_complete, world))
        settings.write_text(content)
        daemon.send(signal.SIGHUP)
        daemon.wait_for(lambda: daemon.logged("settings_refused"))
        assert str(settings) in daemon.logged("settings_refused")[0]["error"]
        world.append(1)
        daemon.wait_for(partial(is_complete, world))
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.told()


def test_hangup_keeps_what_the_command_line_said(world: World, settings: Path) -> None:
    settings.write_text('log_level = "error"\nsettle_s = 0.2\n')
    daemon = with_settings(world, settings, "--log-level", "info", "--no-watch", "--rescan", "0.2")
    with daemon:
        daemon.wait_for(lambda: daemon.logged("daemon_following"))
        settings.write_text('log_level = "error"\nwatch = true\nrescan_s = 60\n')
        daemon.send(signal.SIGHUP)
        daemon.wait_for(lambda: daemon.logged("settings_reloaded"))
        world.append(1)
        daemon.wait_for(partial(is_complete, world))
        assert daemon.stop() == 0


def test_wrong_flags_are_all_told_before_anything_is_made(world: World) -> None:
    done = call(world, "run", "--rescan", "soon", "--metrics", "9100", "--log-level", "loud")

    assert done.returncode == 78
    assert done.stderr.count("\n") == 1
    for text in ('--rescan is "soon"', '--metrics is "9100"', '--log-level is "loud"'):
        assert f"{text}, allowed: " in done.stderr
    assert not world.db_path.parent.exists()


# -- watching


def live_and_rotated(world: World, daemon: Running) -> None:
    """Append, trim, rotate by size, replace a document, and wait for each to be stored."""
    world.append(1000)
    daemon.wait_for(partial(is_complete, world))
    world.trim(300)
    world.append(10)
    daemon.wait_for(partial(is_complete, world))
    world.rotate()
    world.append(10)
    daemon.wait_for(partial(is_complete, world))
    entry = {"input_tokens": 1, "output_tokens": 1, "model": "opus", "cost_usd": 0.25, "ts_epoch": 1_767_600_000}
    (world.home / "costs.json").write_bytes(orjson.dumps({"entries": [entry]}))
    daemon.wait_for(lambda: world.query("SELECT count(*) FROM cost_entries") == [(1,)])


def test_with_watching_off_everything_is_found_by_looking(world: World) -> None:
    with Running(world, SHIPWRIGHTD_WATCH="false", SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        live_and_rotated(world, daemon)
        assert status(world)["daemon"]["watching_degraded"] is None
        assert daemon.stop() == 0
    assert has_numbered_once(world)


def test_without_inotify_everything_is_found_by_looking_and_status_says_so(world: World) -> None:
    """The limit is that of a user namespace of our own: nobody else meets it."""
    if (
        not shutil.which("unshare")
        or subprocess.run([*NO_INOTIFY, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no user namespace with a limit of its own can be made here")
    with Running(world, *NO_INOTIFY, SHIPWRIGHTD_RESCAN_S="60") as daemon:
        live_and_rotated(world, daemon)
        assert "inotify" in status(world)["daemon"]["watching_degraded"]
        assert daemon.logged("watching_degraded")
        assert daemon.stop() == 0
    assert has_numbered_once(world)


def test_inotify_that_comes_back_is_used_and_status_says_no_more(world: World) -> None:
    if (
        not shutil.which("unshare")
        or not shutil.which("nsenter")
        or subprocess.run([*NO_INOTIFY, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no user namespace with a limit of its own can be made here")
    world.append(5)
    with Running(world, *NO_INOTIFY, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        daemon.wait_for(daemon.has_logged("watching_degraded"))
        daemon.wait_for(lambda: status(world)["daemon"]["watching_degraded"])
        own = ("nsenter", "--user", "--preserve-credentials", "--target", str(daemon.pid))
        raise_limit = "echo 100 > /proc/sys/user/max_inotify_instances"
        subprocess.run([*own, "sh", "-c", raise_limit], check=True)
        daemon.wait_for(daemon.has_logged("watching_restored"))
        assert status(world)["daemon"]["watching_degraded"] is None
        world.append(5)
        daemon.wait_for(lambda: world.count() == 10)
        assert daemon.stop() == 0


# -- files that come later


def test_sources_that_appear_while_it_runs_are_followed(world: World) -> None:
    with Running(world, SHIPWRIGHTD_RESCAN_S="0.5") as daemon:
        daemon.wait_for(lambda: daemon.logged("daemon_following"))
        assert call(world, "status", "--check").returncode == 0
        world.append(3)
        daemon.wait_for(partial(is_complete, world))
        (world.home / "team-events.jsonl").write_bytes(
            b'{"ts":"2026-01-05T08:00:00Z","type":"x","from_developer":"ada","from_machine":"m"}\n'
        )
        daemon.wait_for(lambda: world.count() == 4)
        folder = world.home / "memory" / "0123456789ab"
        folder.mkdir(parents=True)
        (folder / "failures.json").write_text('{"failures":[{"pattern":"boom","seen_count":1}]}')
        daemon.wait_for(lambda: world.query("SELECT pattern FROM memory_entries") == [("boom",)])
        (world.home / "heartbeats").mkdir()
        (world.home / "heartbeats" / "job-1.json").write_text(
            '{"pid":1,"stage":"build","updated_at":"2026-01-05T08:00:00Z"}'
        )
        daemon.wait_for(lambda: world.query("SELECT count(*) FROM heartbeats") == [(1,)])
        (folder / "failures.json").write_text('{"failures":[{"pattern":"boom","seen_count":2}]}')
        daemon.wait_for(lambda: world.query("SELECT seen_count FROM memory_entries") == [(2,)])
        assert daemon.stop() == 0


# -- changes as shells make them


def shell(world: World, script: str) -> None:
    subprocess.run(["bash", "-ec", script], cwd=world.home, check=True)


def test_trims_in_place_are_no_new_lines(world: World) -> None:
    with Running(world) as daemon:
        for _ in range(5):
            world.append(400)
            daemon.wait_for(partial(is_complete, world))
            shell(world, "tail -n 300 events.jsonl > t; cat t > events.jsonl; rm t")
            world.append(7)
            daemon.wait_for(partial(is_complete, world))
        assert daemon.stop() == 0
    assert has_numbered_once(world)
    assert world.query("SELECT count(*) FROM gaps") == [(0,)]


def test_edit_by_sed_adds_the_edited_line_and_nothing_else(world: World) -> None:
    with Running(world) as daemon:
        world.append(1000)
        daemon.wait_for(partial(is_complete, world))
        shell(world, r"""sed -i '500s/test\.tick/test.edited/' events.jsonl""")
        daemon.wait_for(lambda: world.count() == 1001)
        world.append(5)
        daemon.wait_for(lambda: world.count() == 1006)
        assert daemon.stop() == 0
    assert doubles(world.stored()) == [500]
    assert world.query("SELECT count(*) FROM events WHERE type = 'test.edited'") == [(1,)]


APPENDER = """
import sys
sys.path.insert(0, sys.argv[2])
import os
path, total, burst = sys.argv[1], int(sys.argv[3]), 50
text = b'{"ts":"2026-01-05T08:00:00Z","ts_epoch":1767600000,"type":"test.tick","seq":%d}\\n'
for first in range(1, total + 1, burst):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, b"".join([text % seq for seq in range(first, first + burst)]))
    os.close(fd)
"""


def test_a_million_small_appends_raise_no_false_alarm(world: World) -> None:
    with Running(world, SHIPWRIGHTD_LOG_LEVEL="info") as daemon:
        daemon.wait_for(lambda: daemon.logged("daemon_following"))
        writer = [sys.executable, "-c", APPENDER, str(world.events), "", str(SMALL_APPENDS)]
        subprocess.run(writer, check=True)
        world.written = SMALL_APPENDS
        daemon.wait_for(partial(is_complete, world), within_s=60)
        found = source(world)
        assert daemon.stop() == 0
    assert (found["records"], found["gaps"], found["quarantined"], found["error"]) == (SMALL_APPENDS, 0, 0, None)
    assert world.query("SELECT count(*) FROM generations") == [(1,)]
    assert has_numbered_once(world)
    assert [entry["how"] for entry in daemon.logged("file_switched")] == ["new"]
