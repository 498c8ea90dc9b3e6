"""The real Shipwright writes, the real daemon reads: only where a checkout is given.

SHIPWRIGHT_CHECKOUT is a checkout of Shipwright; `make real CHECKOUT=DIR` runs this. The dashboard's part
needs Bun, on PATH or named by BUN.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest
from process import call
from world import Daemon, World, doubles, eventually, line

from shipwrightd.errors import ShipwrightdError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(os.environ.get("SHIPWRIGHT_CHECKOUT", "/nowhere"))
DRIVER = Path(__file__).with_name("real_shipwright.sh")
BUN = os.environ.get("BUN") or shutil.which("bun")
WRITERS, KILLS = 4, 5
LEAST = 150  # events of each writer
APART = 10_000  # numbers from one writer to the next
PREFILLED = 9_950
LONG = 60_000  # bytes; 900 such lines are more than the daemon's 50 MiB
SEQS = """
SELECT CAST(json_extract(extra, '$.seq') AS INTEGER) FROM events  -- some emitters quote every value
WHERE json_extract(extra, '$.seq') IS NOT NULL ORDER BY id"""

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not (CHECKOUT / "scripts").is_dir(), reason="needs SHIPWRIGHT_CHECKOUT, a checkout of Shipwright"
    ),
    pytest.mark.skipif(shutil.which("jq") is None, reason="Shipwright's scripts need jq"),
]


class Shipwright:
    """A scratch home of a user, with a repository, in which real functions run."""

    def __init__(self, folder: Path) -> None:
        self.user = folder
        self.repository = folder / "rocket"
        self.repository.mkdir()
        for command in (["init", "-q"], ["remote", "add", "origin", "https://example.com/acme/rocket.git"]):
            subprocess.run(["git", "-C", str(self.repository), *command], check=True)

    def start(self, command: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Begin to run a function."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVENTS_", "SHIPWRIGHT"))}
        return subprocess.Popen(
            ["bash", str(DRIVER), str(CHECKOUT), command, *map(str, arguments)],
            env={**kept, "HOME": str(self.user)},
            cwd=self.repository,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, command: str, *arguments: object) -> None:
        """Run a function to its end."""
        with self.start(command, *arguments) as process:
            _, told = process.communicate(timeout=300)
        assert process.returncode == 0, f"{command}: {told.decode(errors='replace')}"


@pytest.fixture
def shipwright(tmp_path: Path) -> tuple[World, Shipwright]:
    world = World(tmp_path)
    user = tmp_path / "user"
    user.mkdir()
    world.home.rmdir()
    world.home = user / ".shipwright"
    world.home.mkdir()
    world.events = world.home / "events.jsonl"
    return world, Shipwright(user)


@contextmanager
def numbers(shipwright: Shipwright, first: int) -> Iterator[set[int]]:
    """Have four real processes emit numbered events as long as the block takes; the set has them all behind it."""
    written: set[int] = set()
    end = shipwright.user / f"end-{first}"
    starts = [first + n * APART for n in range(WRITERS)]
    writers = [shipwright.start("emit", start, LEAST, end) for start in starts]
    try:
        yield written
    finally:
        end.touch()
        told = [writer.communicate(timeout=300) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * WRITERS, told
    for start, (last, _) in zip(starts, told, strict=True):
        written |= set(range(start, int(last) + 1))


def asked(world: World, question: str) -> list[tuple[object, ...]]:
    """Return the answer to a query, an empty one while there is no database or no such table."""
    try:
        return world.query(question)
    except (ShipwrightdError, apsw.SQLError):
        return []


def all_stored(world: World, wanted: set[int]) -> bool:
    """Tell whether each number is in the database."""
    return wanted <= {seq for (seq,) in asked(world, SEQS)}


def test_what_real_functions_write_is_stored_once(shipwright: tuple[World, Shipwright]) -> None:
    world, real = shipwright
    rng = random.Random(20260105)
    wanted = set(range(1, PREFILLED + 1))
    world.events.write_bytes(b"".join(line(seq) for seq in sorted(wanted)))  # ten thousand calls would take minutes
    with Daemon(world) as daemon:
        eventually(lambda: all_stored(world, wanted))
        with numbers(real, 100_001) as written:
            eventually(lambda: world.events.read_bytes().count(b"\n") > 10_000, within_s=60)
            real.run("trim")
        wanted |= written
        assert world.events.read_bytes().count(b"\n") < 10_000, "it was trimmed"
        with numbers(real, 200_001) as written:
            for _ in range(KILLS):
                before = world.count()
                eventually(lambda before=before: world.has_more_than(before + rng.randrange(20)))  # type: ignore[misc]
                daemon.kill()
                daemon.start()
        wanted |= written
        padded = range(300_001, 300_901)
        with world.events.open("ab") as file:
            file.writelines(line(seq, text="x" * LONG) for seq in padded)
        with numbers(real, 400_001) as written:
            real.run("rotate")
        wanted |= {*padded, *written, *range(500_001, 500_051)}
        assert (world.home / "events.jsonl.1").stat().st_size > 50 << 20, "it was rotated"
        real.run("fallback", 500_001, 500_050)
        real.run("publish", "real.published")
        eventually(lambda: all_stored(world, wanted), within_s=60, what="events are missing")
        documents(world, real)
        verified = call(world, "verify")
    stored: list[int] = [seq for (seq,) in world.query(SEQS)]  # type: ignore[misc]
    assert doubles(stored) == []
    assert set(stored) == wanted
    assert world.query("SELECT count(*) FROM events WHERE type = 'daemon.log_rotated'") == [(1,)]
    assert world.query("SELECT count(*) FROM events WHERE type = 'real.published'") == [(1,)]
    assert (verified.returncode, verified.stdout) == (0, "the database agrees with the files\n")
    assert world.query("SELECT count(*) FROM quarantine") == [(0,)]


def documents(world: World, real: Shipwright) -> None:
    """Have the real functions write what is no journal, and wait until the database has it."""
    real.run("costs", 12)
    real.run("budget", "7.5")
    real.run("failures", 4)
    real.run("decisions", 3)
    real.run("metric", "build_duration_s", 120)
    real.run("heartbeat", "standard", 42)
    answers: dict[str, object] = {
        "SELECT count(*), count(DISTINCT issue) FROM cost_entries WHERE origin = 'costs.json'": (12, 12),
        "SELECT daily_budget_usd FROM budgets": (7.5,),
        "SELECT count(*), sum(seen_count) FROM memory_entries WHERE entry_type = 'failure'": (4, 5),
        "SELECT count(*) FROM memory_entries WHERE entry_type = 'decision'": (3,),
        "SELECT count(*) FROM memory_entries WHERE entry_type = 'baseline'": (1,),
    }
    for question, answer in answers.items():
        eventually(lambda q=question, a=answer: asked(world, q) == [a], what=question)  # type: ignore[misc]


@pytest.mark.skipif(BUN is None, reason="needs Bun, on PATH or named by BUN")
def test_what_the_real_dashboard_writes_is_stored(shipwright: tuple[World, Shipwright]) -> None:
    world, real = shipwright
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "DASHBOARD_"))}
    server = subprocess.Popen(
        [str(BUN), str(CHECKOUT / "dashboard" / "server.ts"), str(port)],
        env={**kept, "HOME": str(real.user)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    event = {"ts": "2026-01-05T08:00:00Z", "ts_epoch": 1_767_600_000, "type": "stage.started", "issue": 7}
    try:
        with Daemon(world):
            for name in ("ada", "bob"):
                body = {"developer_id": name, "machine_name": "buildbox-1", "daemon_running": True, "events": [event]}
                eventually(lambda body=body: posted(port, body), what="the dashboard does not answer")  # type: ignore[misc]
            eventually(lambda: asked(world, "SELECT count(*) FROM sessions") == [(2,)])
            eventually(lambda: asked(world, "SELECT count(*) FROM events WHERE origin LIKE 'team-events%'") == [(2,)])
            assert call(world, "verify").returncode == 0
    finally:
        server.terminate()
        server.wait(10)


def posted(port: int, body: object) -> bool:
    """Tell whether the dashboard took a developer's heartbeat."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/connect/heartbeat",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return bool(response.status == 200)
    except OSError:
        return False
