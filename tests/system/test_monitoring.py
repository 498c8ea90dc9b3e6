"""A real daemon as monitors and operators meet it: its figures over HTTP, and its hook."""

from __future__ import annotations

import json
import shlex
import signal
import socket
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest
from process import Running, places
from scrape import Scraped, get

from shipwrightd.status import collect

if TYPE_CHECKING:
    from pathlib import Path

    from world import World

pytestmark = pytest.mark.system

ANYWHERE = "0.0.0.0"  # noqa: S104 - to see that it is warned of
KEEP = 'printf "%s\\n" "$(cat)" >>"$0"'


def port_of(daemon: Running, times: int = 1) -> int:
    """Return the port at which it serves, after so many openings."""
    daemon.wait_for(daemon.has_logged("metrics_served", times))
    port: int = daemon.logged("metrics_served")[-1]["port"]
    return port


def scrape(port: int) -> Scraped:
    status, text = get(port)
    assert status == 200
    return Scraped(text)


def shows(port: int, name: str, least: float) -> bool:
    return scrape(port).value(name) >= least


def refused(world: World, address: str) -> subprocess.CompletedProcess[str]:
    """Run a daemon that does not come to run."""
    command = [sys.executable, "-W", "error", "-m", "shipwrightd", "run", "--metrics", address, *places(world)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_figures_follow_what_the_daemon_does(world: World) -> None:
    world.append(3)
    with Running(world, SHIPWRIGHTD_METRICS="127.0.0.1:0") as daemon:
        port = port_of(daemon)
        daemon.wait_for(partial(shows, port, "shipwrightd_first_catchup_done", 1))
        world.append(4)
        records = partial(shows, port, "shipwrightd_batch_records_sum", 7)
        daemon.wait_for(records)
        daemon.wait_for(lambda: scrape(port).value("shipwrightd_source_records_total", source="events.jsonl") == 7)
        found = scrape(port)
        asked = collect(world.home, world.db_path, ["events.jsonl"], 0.0)

        assert found.value("shipwrightd_up") == 1
        assert found.value("shipwrightd_source_read_bytes_total") == world.events.stat().st_size
        assert found.value("shipwrightd_batch_duration_seconds_count") >= 2
        assert found.value("shipwrightd_commit_duration_seconds_sum") > 0
        assert found.value("shipwrightd_commit_duration_seconds_sum") < found.value(
            "shipwrightd_batch_duration_seconds_sum"
        )
        assert found.value("shipwrightd_passes_total", reason="hint") >= 1
        assert found.value("shipwrightd_passes_total", reason="scan") >= 1
        assert found.value("shipwrightd_watch_starts_total") == 1
        assert found.value("shipwrightd_database_readable") == 1
        assert found.value("shipwrightd_database_wal_size_bytes") == asked.database.wal_bytes > 0
        assert found.value("process_open_fds") > 3
        assert found.value("process_cpu_seconds_total") > 0
        assert get(port, "/healthz") == (200, "ok\n")


def test_a_source_in_the_way_is_counted_and_makes_it_unwell(world: World) -> None:
    world.events.unlink(missing_ok=True)
    world.events.mkdir()
    with Running(world, SHIPWRIGHTD_METRICS="127.0.0.1:0") as daemon:
        port = port_of(daemon)
        daemon.wait_for(lambda: get(port, "/healthz")[0] == 503)
        assert get(port, "/healthz")[1] == "events.jsonl cannot be read\n"
        assert scrape(port).value("shipwrightd_source_failures_total", source="events.jsonl") == 1
        world.events.rmdir()
        daemon.wait_for(lambda: get(port, "/healthz")[0] == 200)


def test_it_ends_whoever_is_connected(world: World) -> None:
    with Running(world, SHIPWRIGHTD_METRICS="127.0.0.1:0") as daemon:
        port = port_of(daemon)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET /metrics")
            daemon.wait_for(lambda: get(port)[0] == 200)
            _, code = daemon.end_s(signal.SIGTERM)
    assert code == 0
    assert "Traceback" not in daemon.told()


def test_it_listens_on_ipv6(world: World) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with Running(world, SHIPWRIGHTD_METRICS="[::1]:0") as daemon:
        assert get(port_of(daemon), host="[::1]")[0] == 200


def test_an_address_that_others_reach_is_warned_of(world: World) -> None:
    with Running(world, SHIPWRIGHTD_METRICS=f"{ANYWHERE}:0") as daemon:
        assert get(port_of(daemon))[0] == 200
        daemon.wait_for(daemon.has_logged("metrics_open"))
    with Running(world, SHIPWRIGHTD_METRICS="127.0.0.1:0") as daemon:
        port_of(daemon, 2)
        assert len(daemon.logged("metrics_open")) == 1


@pytest.mark.parametrize(
    ("address", "code"), [("192.0.2.1:9100", 78), ("no-such-host.invalid:9100", 78), ("9100", 78), (":9100", 78)]
)
def test_a_wrong_address_is_one_line_and_78(world: World, address: str, code: int) -> None:
    done = refused(world, address)

    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith("shipwrightd: ")
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_line_and_73_and_frees_the_database(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(world, f"127.0.0.1:{taken.getsockname()[1]}")

    assert (done.returncode, "cannot listen" in done.stderr.splitlines()[-1]) == (73, True)
    with Running(world) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))


def test_a_second_daemon_is_refused_for_the_first_and_not_of_the_port(world: World) -> None:
    with Running(world, SHIPWRIGHTD_METRICS="127.0.0.1:0") as daemon:
        done = refused(world, f"127.0.0.1:{port_of(daemon)}")

    assert done.returncode == 75


def test_settings_read_again_move_it_and_what_cannot_be_had_leaves_it(world: World, tmp_path: Path) -> None:
    file = tmp_path / "config" / "shipwrightd" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("")

    def set_to(address: str) -> None:
        reloads = len(daemon.logged("settings_reloaded"))
        file.write_text(f'metrics = "{address}"')
        daemon.send(signal.SIGHUP)
        daemon.wait_for(daemon.has_logged("settings_reloaded", reloads + 1))

    with Running(world, XDG_CONFIG_HOME=str(tmp_path / "config")) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        set_to("127.0.0.1:0")
        first = port_of(daemon)
        set_to("[::ffff:192.0.2.1]:1")
        daemon.wait_for(daemon.has_logged("metrics_refused"))
        assert get(first)[0] == 200
        set_to("localhost:0")
        assert get(port_of(daemon, 2), host="localhost")[0] == 200
        set_to("")
        daemon.wait_for(partial(is_closed, first))


def is_closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def test_a_hook_is_notified_of_an_error_and_of_its_end(world: World, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    world.events.unlink(missing_ok=True)
    world.events.mkdir()
    hook = {"SHIPWRIGHTD_HOOK_COMMAND": shlex.join(["sh", "-c", KEEP, str(kept)]), "SHIPWRIGHTD_HOOK_AFTER_S": "0"}
    with Running(world, **hook) as daemon:
        daemon.wait_for(daemon.has_logged("hook_done"))
        world.events.rmdir()
        daemon.wait_for(daemon.has_logged("hook_done", 2))
    told = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [(each["event"], each["state"], each["source"]) for each in told] == [
        ("raised", "source_error", "events.jsonl"),
        ("resolved", "source_error", "events.jsonl"),
    ]


def test_it_ends_with_a_hook_under_way(world: World, tmp_path: Path) -> None:
    started = tmp_path / "started"
    world.events.unlink(missing_ok=True)
    world.events.mkdir()
    command = shlex.join(["sh", "-c", 'echo >"$0"; exec sleep 60', str(started)])
    with Running(world, SHIPWRIGHTD_HOOK_COMMAND=command, SHIPWRIGHTD_HOOK_AFTER_S="0") as daemon:
        daemon.wait_for(started.exists)
        _, code = daemon.end_s(signal.SIGTERM)
    assert code == 0
    assert len(daemon.logged("hook_dropped")) == 1
