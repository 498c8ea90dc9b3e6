"""What is said to a supervisor, and that nothing said can hold the daemon up; over real datagram sockets."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest

from shipwrightd.config import Settings
from shipwrightd.daemon import Batch, Listener, Listeners, PassReport, Phase, SettingsApplied
from shipwrightd.daemon.systemd import Supervisor, status, supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BATCH = Batch("events.jsonl", 10, 2_048, 0.1)


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notify"


@pytest.fixture
def inbox(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(path))
        bound.settimeout(0)
        yield bound


def heard(inbox: socket.socket) -> list[str]:
    """Return all messages that wait."""
    messages = []
    try:
        while True:
            messages.append(inbox.recv(4_096).decode())
    except BlockingIOError:
        return messages


def fill_up(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                other.sendto(b"x", str(path))


def test_without_a_supervisor_there_is_nobody_to_tell() -> None:
    assert supervisor({}) is None
    assert supervisor({"NOTIFY_SOCKET": ""}) is None
    assert supervisor({"NOTIFY_SOCKET": "vsock:2:9999"}) is None


def test_programs_that_the_daemon_starts_do_not_inherit_the_supervisor() -> None:
    env = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "PATH": "/bin"}

    supervisor(env)

    assert env == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("usec", "pid", "pulse_s"),
    [
        ("8000000", "", 2.0),
        ("8000000", "ours", 2.0),
        ("8000000", "1", Listener.pulse_s),
        ("", "", Listener.pulse_s),
        ("0", "", Listener.pulse_s),
        ("soon", "", Listener.pulse_s),
        ("-5", "", Listener.pulse_s),
    ],
)
def test_the_watchdog_is_fed_four_times_in_its_interval_and_only_when_it_is_ours(
    usec: str, pid: str, pulse_s: float
) -> None:
    pid = str(os.getpid()) if pid == "ours" else pid
    made = supervisor({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid})

    assert made is not None
    assert made.pulse_s == pulse_s


def test_several_listeners_pulse_as_the_fastest_asks(path: Path) -> None:
    slow, fast = (Supervisor(str(path), seconds) for seconds in (40.0, 20.0))

    assert Listeners([Listener(), slow, fast]).pulse_s == 5.0
    assert Listeners([]).pulse_s == Listener.pulse_s


def test_it_is_ready_when_the_catch_up_begins_and_batches_keep_it_alive(path: Path, inbox: socket.socket) -> None:
    clock = Clock()
    told = Supervisor(str(path), 4.0, clock)

    told.notify(SettingsApplied(Settings()))
    told.notify(BATCH)
    told.notify(BATCH)
    assert heard(inbox) == ["READY=1\nSTATUS=catching up", "WATCHDOG=1\nSTATUS=catching up: 10 records, 2.0 KiB read"]

    clock.now += 1.0
    told.notify(BATCH)
    assert heard(inbox) == ["WATCHDOG=1"]
    clock.now += 4.0
    told.notify(BATCH)
    assert heard(inbox) == ["WATCHDOG=1\nSTATUS=catching up: 40 records, 8.0 KiB read"]


def test_recovery_at_a_start_takes_more_time_than_a_start_is_given(path: Path, inbox: socket.socket) -> None:
    clock = Clock()
    told = Supervisor(str(path), None, clock)
    for _ in range(3):
        told.notify(Phase.RECOVERING)
        clock.now += 20.0
    more = "EXTEND_TIMEOUT_USEC=300000000"
    assert heard(inbox) == [more, "STATUS=recovering a damaged database", more]


def test_status_is_said_at_once_after_the_catch_up_then_at_most_every_five_seconds(
    path: Path, inbox: socket.socket
) -> None:
    clock = Clock()
    told = Supervisor(str(path), None, clock)

    told.notify(BATCH)
    told.notify(Phase.FOLLOWING)
    for records in (10, 11, 12):
        told.notify(PassReport(records))
    clock.now += 5.0
    told.notify(PassReport(13))
    told.notify(PassReport(13))
    assert heard(inbox) == [
        "STATUS=catching up: 10 records, 2.0 KiB read",
        "STATUS=following: 10 records since the start, 0 B behind",
        "STATUS=following: 13 records since the start, 0 B behind",
    ]


def test_ready_that_found_no_room_is_said_again(path: Path, inbox: socket.socket) -> None:
    told = Supervisor(str(path), None, Clock())
    fill_up(path)

    told.notify(SettingsApplied(Settings()))
    assert not [text for text in heard(inbox) if "READY" in text]
    told.notify(PassReport(1))
    told.notify(PassReport(1))

    assert heard(inbox) == ["READY=1\nSTATUS=following: 1 records since the start, 0 B behind"]


def test_a_supervisor_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    for address in (tmp_path / "nobody", "@" + "x" * 200):
        told = Supervisor(str(address), 1.0, Clock())
        told.notify(SettingsApplied(Settings()))
        told.notify(PassReport(1))
        told.notify(Phase.RELOADING)
        told.notify(SettingsApplied(Settings(), reloaded=True))
        told.notify(Phase.STOPPING)


def test_status_is_one_line_of_lag_totals_and_what_is_wrong() -> None:
    report = PassReport(
        1_234_567,
        {"events.jsonl": 3 << 20, "team-events.jsonl": 1 << 19},
        {f"file{number}": f"cannot read file{number}: \x1b[2J\n" for number in range(5)},
        ("the watch limit is reached",),
        "database or disk is full",
    )

    assert status(report) == (
        "following: 1,234,567 records since the start, 3.5 MiB behind; "
        "waiting for the database: database or disk is full; "
        "cannot read file0: \\x1b[2J\\n; cannot read file1: \\x1b[2J\\n; cannot read file2: \\x1b[2J\\n; "
        "2 more sources in trouble; watching is degraded"
    )
