"""A real daemon and a supervisor's real datagram socket: what is said, when, and what is not."""

from __future__ import annotations

import contextlib
import itertools
import re
import signal
import socket
import time
from typing import TYPE_CHECKING, Self

import pytest
from process import Running
from world import DEADLINE_S, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.system

MANY = 150_000
RARELY = {"SHIPWRIGHTD_RESCAN_S": "60", "SHIPWRIGHTD_WATCH": "false"}  # the loop has no reason of its own to turn


class Inbox:
    """What a supervisor hears, each message with the monotonic time in seconds at which it came."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.messages: list[tuple[float, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def next(self, within_s: float = DEADLINE_S) -> str:
        """Wait for one message. TimeoutError when none comes."""
        self._socket.settimeout(within_s)
        text = self._socket.recv(4_096).decode()
        self.messages.append((time.monotonic(), text))
        return text

    def until(self, condition: Callable[[str], object]) -> str:
        """Read on to the first message for which the condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition(text := self.next()):
            assert time.monotonic() < deadline, f"only heard {self.messages}"
        return text

    def drain(self) -> None:
        """Read what is there."""
        try:
            while True:
                self.next(0.001)
        except TimeoutError:
            return

    def fill_up(self) -> None:
        """Leave no room for another message."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, contextlib.suppress(BlockingIOError):
            other.settimeout(0)
            while True:
                other.sendto(b"full", self.address)

    def count(self, sign: str) -> int:
        """Return how many messages so far say that."""
        return sum(sign in text for _, text in self.messages)


def under(inbox: Inbox, world: World, watchdog_s: float | None = None, **environment: str) -> Running:
    """Return a daemon that this supervisor would start."""
    watchdog = {"WATCHDOG_USEC": str(int(watchdog_s * 1e6))} if watchdog_s else {}
    return Running(world, NOTIFY_SOCKET=inbox.address, **watchdog, **environment)


def is_following(text: str) -> bool:
    return "STATUS=following" in text


@pytest.mark.parametrize("abstract", [False, True])
def test_a_supervisor_hears_ready_status_reloading_and_stopping(
    world: World, tmp_path: Path, *, abstract: bool
) -> None:
    world.append(3)
    address = f"@{tmp_path}" if abstract else str(tmp_path / "notify")
    with Inbox(address) as inbox, under(inbox, world) as daemon:
        assert inbox.next() == "READY=1\nSTATUS=catching up"
        inbox.until(lambda text: "STATUS=following: 3 records since the start, 0 B behind" in text)

        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        daemon.send(signal.SIGHUP)
        reloading = inbox.until(lambda text: "RELOADING=1" in text)
        told = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", reloading)
        assert told
        assert before <= int(told[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000
        assert inbox.until(lambda text: "READY=1" in text) == "READY=1"

        assert daemon.stop() == 0
        assert inbox.until(lambda text: "STOPPING=1" in text) == "STOPPING=1\nSTATUS=stopping"
        assert inbox.count("WATCHDOG") == 0, "nobody asked for it"


def test_settings_that_are_refused_end_the_reload_as_well(world: World, tmp_path: Path) -> None:
    settings = tmp_path / "shipwrightd" / "config.toml"
    settings.parent.mkdir()
    with Inbox(str(tmp_path / "notify")) as inbox, under(inbox, world, XDG_CONFIG_HOME=str(tmp_path)) as daemon:
        inbox.until(is_following)
        settings.write_text("rescan_s = 'often'")
        daemon.send(signal.SIGHUP)
        inbox.until(lambda text: "RELOADING=1" in text)
        assert inbox.until(lambda text: "READY=1" in text) == "READY=1"
        daemon.wait_for(daemon.has_logged("settings_refused"))


def test_the_watchdog_is_fed_though_the_loop_looks_seldom(world: World, tmp_path: Path) -> None:
    watchdog_s = 4.0
    with Inbox(str(tmp_path / "notify")) as inbox, under(inbox, world, watchdog_s, **RARELY):
        inbox.until(is_following)
        while inbox.count("WATCHDOG=1") < 4:
            inbox.next()
    pings = [when for when, text in inbox.messages if "WATCHDOG=1" in text]
    assert max(after - before for before, after in itertools.pairwise(pings)) <= watchdog_s / 2


def test_the_watchdog_is_fed_batch_by_batch_through_a_long_catch_up(world: World, tmp_path: Path) -> None:
    world.append(MANY)
    with Inbox(str(tmp_path / "notify")) as inbox, under(inbox, world, 0.2, **RARELY):
        assert inbox.next().startswith("READY=1"), "not only when it has caught up"
        inbox.until(is_following)
    assert inbox.count("WATCHDOG=1") >= 3
    assert inbox.count("STATUS=catching up: ") >= 1


def test_a_daemon_that_stands_still_feeds_no_watchdog(world: World, tmp_path: Path) -> None:
    with Inbox(str(tmp_path / "notify")) as inbox, under(inbox, world, 0.8, **RARELY) as daemon:
        inbox.until(is_following)
        inbox.until(lambda text: "WATCHDOG=1" in text)
        daemon.send(signal.SIGSTOP)
        daemon.wait_for(lambda: stopped(daemon.pid))
        inbox.drain()
        with pytest.raises(TimeoutError):
            inbox.next(1.6)
        daemon.send(signal.SIGCONT)
        assert "WATCHDOG=1" in inbox.next()


def stopped(pid: int) -> bool:
    """Tell whether a process is stopped by a signal."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - no file of ours
        return stat.read().rpartition(")")[2].split()[0] == "T"


def test_a_watchdog_that_is_meant_for_another_process_is_not_fed(world: World, tmp_path: Path) -> None:
    world.append(1)
    with Inbox(str(tmp_path / "notify")) as inbox, under(inbox, world, 0.1, WATCHDOG_PID="1") as daemon:
        inbox.until(is_following)
        daemon.stop()
        inbox.until(lambda text: "STOPPING=1" in text)
    assert inbox.count("WATCHDOG") == 0


def test_a_supervisor_that_does_not_read_or_is_gone_holds_nothing_up(world: World, tmp_path: Path) -> None:
    with Inbox(str(tmp_path / "notify")) as inbox, under(inbox, world, 0.004) as daemon:
        inbox.until(is_following)
        inbox.fill_up()
        for _ in range(3):
            world.append(20)
            daemon.wait_for(lambda: world.count() == world.written)
        (tmp_path / "notify").unlink()
        world.append(20)
        daemon.wait_for(lambda: world.count() == world.written)
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.told()
