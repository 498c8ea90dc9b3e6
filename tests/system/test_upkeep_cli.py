"""`import` and `prune` as processes: what they say, their exit codes, and a kill in the middle."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from process import Running, call, places
from world import World, line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

NOW = ("--now", "2026-01-10T00:00:00Z")
LINES = 40_000  # of a second each, from 2026-01-05T08:00:00Z on: the 6th begins with line 57,600


def stored(world: World) -> tuple[object, ...]:
    """Return what both commands change, in short."""
    return world.query(
        """SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM pipeline_runs),
            (SELECT count(*) FROM pruned)"""
    )[0]


def kill_in_the_middle(world: World, after_s: float, *command: str) -> None:
    """Begin a command and kill it; it may have ended before."""
    process = subprocess.Popen(
        [sys.executable, "-m", "shipwrightd", *command, *places(world)],
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    )
    time.sleep(after_s)  # the moment of the kill, not a wait for something
    process.kill()
    process.wait()


def test_import_says_what_came_of_the_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl"
    file.write_bytes(line(1) + b"no record\n")
    first, second = call(world, "import", str(file)), call(world, "import", str(file))

    assert (first.returncode, first.stdout) == (0, "2 lines: 1 new (0 salvaged), 0 known, 1 quarantined\n")
    assert second.stdout == "2 lines: 0 new (0 salvaged), 2 known, 0 quarantined\n"
    assert call(world, "verify").stdout == "the database agrees with the files\n"
    assert call(world, "backfill").returncode == 0
    assert world.count() == 1


def test_import_reads_what_is_piped_into_it(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "shipwrightd", "import", "-", *places(world)],
        input=line(1) + line(2),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, b"2 lines: 2 new (0 salvaged), 0 known, 0 quarantined\n")
    assert world.count() == 2


def test_an_export_brings_a_lost_database_back(world: World, tmp_path: Path) -> None:
    world.append(20)
    (world.home / "team-events.jsonl").write_bytes(
        b'{"ts":"2026-01-05T08:00:00Z","type":"x","from_developer":"ada","from_machine":"m"}\n' * 3
    )
    call(world, "backfill")
    world.trim(keep=5)
    call(world, "backfill")
    query = "SELECT ts, type, origin, salvaged, extra FROM events ORDER BY origin, ts, extra"
    rows = world.query(query)
    (tmp_path / "all.jsonl").write_text(call(world, "export").stdout)
    for file in world.db_path.parent.iterdir():
        file.unlink()

    assert "15 new" in call(world, "import", str(tmp_path / "all.jsonl")).stdout
    assert world.query(query) == rows


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("import", "nowhere.jsonl"), 66, "no file nowhere.jsonl"),
        (("import", "/"), 73, "Is a directory"),
        (("import", "x", "--machine", "../y"), 2, "'--machine'"),
        (("import",), 2, "Missing argument"),
        (("prune",), 2, "Missing option '--older-than'"),
        (("prune", "--older-than", "180"), 2, "'180' is no age"),
        (("prune", "--older-than", "23h"), 2, "less than a day"),
        (("prune", "--older-than", "9999w"), 2, "is no age"),
        (("prune", "--older-than", "2d", "--now", "soon"), 2, "--now"),
        (("prune", "--older-than", "2d"), 66, "no database at"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    world: World, command: tuple[str, ...], code: int, said: str
) -> None:
    done = call(world, *command)

    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_running_daemon_stands_in_the_way_of_both(world: World, tmp_path: Path) -> None:
    world.append(3)
    (tmp_path / "file.jsonl").write_bytes(line(9))
    with Running(world) as daemon:
        daemon.wait_for(lambda: world.count() == 3)
        refused = [
            call(world, "import", str(tmp_path / "file.jsonl")),
            call(world, "prune", "--older-than", "1d", *NOW),
        ]
        preview = call(world, "prune", "--older-than", "1d", "--dry-run", *NOW)

    assert [done.returncode for done in refused] == [75, 75]
    assert all("another shipwrightd is ingesting" in done.stderr for done in refused)
    assert preview.stdout == (
        "events before 2026-01-09T00:00:00Z\n"
        "  events.jsonl: 0 would be deleted, 2 kept because a file still holds them\n"
    )
    assert world.count() == 3


def test_prune_says_what_went_and_how_small_the_database_is_now(world: World) -> None:
    world.append(1_000)
    call(world, "backfill")
    world.trim(keep=10)
    call(world, "backfill")
    done = call(world, "prune", "--older-than", "2d", *NOW)

    assert done.returncode == 0
    first, second, third = done.stdout.splitlines()
    assert (first, third.split(":")[0]) == ("events before 2026-01-08T00:00:00Z", "database")
    assert second == "  events.jsonl: 990 deleted, 9 kept because a file still holds them"
    assert call(world, "verify").stdout == "the database agrees with the files\n"


def test_a_kill_leaves_all_of_an_import_or_nothing(world: World, tmp_path: Path) -> None:
    file = tmp_path / "file.jsonl"
    file.write_bytes(b"".join(world.lines(LINES)))
    call(world, "backfill")
    for _ in range(4):
        kill_in_the_middle(world, random.uniform(0.2, 1.5), "import", str(file))
        assert world.count() in {0, LINES}

    assert call(world, "import", str(file)).returncode == 0
    assert world.count() == LINES


def test_a_kill_leaves_all_of_a_prune_or_nothing(world: World) -> None:
    world.append(LINES)
    call(world, "backfill")
    world.replace(b"")
    call(world, "backfill")
    for _ in range(4):
        kill_in_the_middle(world, random.uniform(0.2, 1.0), "prune", "--older-than", "2d", *NOW)
        assert stored(world) in {(LINES, 0, 0), (1, 0, 1)}
        assert world.query("PRAGMA integrity_check") == [("ok",)]

    assert call(world, "prune", "--older-than", "2d", *NOW).returncode == 0
    assert stored(world) == (1, 0, 1)
    assert world.db_path.stat().st_size < 1 << 20
