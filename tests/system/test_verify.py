"""`verify` sees what anything but shipwrightd did to the database, and nothing where nothing was done."""

from __future__ import annotations

import shutil
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import orjson
import pytest
from process import Running, call
from world import World, line

from shipwrightd.journals.lines import MAX_LINE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.system

AGREES = "the database agrees with the files\n"
FAILURES = "memory/0123456789ab/failures.json"
DOUBLE = """
INSERT INTO events (ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra
FROM events WHERE id = (SELECT id FROM events WHERE origin = 'events.jsonl' ORDER BY id LIMIT 1 OFFSET 20)"""
DELETE = "DELETE FROM events WHERE id = (SELECT max(id) FROM events WHERE origin = 'events.jsonl')"
CHANGE = "UPDATE events SET {} WHERE id = (SELECT id FROM events ORDER BY id LIMIT 1 OFFSET 20)"
DELETE_COST = "DELETE FROM cost_entries WHERE id = (SELECT max(id) FROM cost_entries)"
CHANGE_COST = "UPDATE cost_entries SET cost_usd = 99 WHERE id = (SELECT max(id) FROM cost_entries)"
DELETE_MEMORY = "DELETE FROM memory_entries WHERE id = (SELECT min(id) FROM memory_entries WHERE present)"
CHANGE_MEMORY = (
    "UPDATE memory_entries SET seen_count = 77 WHERE id = (SELECT min(id) FROM memory_entries WHERE present)"
)

DAMAGES = {
    "deleted row": (DELETE, "events.jsonl", "1 times too few"),
    "doubled row": (DOUBLE, "events.jsonl", "1 times too often"),
    "changed type": (CHANGE.format("type = 'other'"), "events.jsonl", "1 times too few"),
    "changed number": (CHANGE.format("ts_epoch = ts_epoch + 1"), "events.jsonl", "1 times too few"),
    "changed rest": (CHANGE.format("extra = '{}'"), "events.jsonl", "1 times too few"),
    "lost quarantine": ("DELETE FROM quarantine", "events.jsonl", "not in quarantine"),
    "missing cost": (DELETE_COST, "costs.json", "not in the database"),
    "changed cost": (CHANGE_COST, "costs.json", "not in"),
    "changed memory": (CHANGE_MEMORY, "memory/", "differ"),
    "lost memory": (DELETE_MEMORY, "memory/", "missing"),
}


def costs(count: int) -> bytes:
    entry = {"input_tokens": 1, "output_tokens": 1, "model": "opus", "stage": "build", "issue": "42"}
    rows = [
        entry | {"cost_usd": 0.25, "ts": "2026-01-05T08:00:00Z", "ts_epoch": 1_767_600_000 + n} for n in range(count)
    ]
    return orjson.dumps({"entries": rows, "summary": {}})


def furnished(folder: Path) -> World:
    """Make a home with something of each kind in it, the bad lines too."""
    world = World(folder)
    world.append(40)
    with world.events.open("ab") as file:
        file.write(b"no record\n" + line(41) * 3 + b"\n" + line(42, raw="\x01").replace(b"\\u0001", b"\x01"))
    world.append(10)
    (world.home / "costs.json").write_bytes(costs(20))
    (world.home / "memory" / "0123456789ab").mkdir(parents=True)
    (world.home / FAILURES).write_text(
        '{"failures":[{"pattern":"boom","seen_count":1},{"pattern":"bang","seen_count":2}]}'
    )
    (world.home / "team-events.jsonl").write_bytes(
        b'{"ts":"2026-01-05T08:00:00Z","type":"x","from_developer":"ada","from_machine":"m"}\n' * 3
    )
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return furnished(tmp_path)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Import such a home once; tests take copies."""
    world = furnished(tmp_path_factory.mktemp("imported"))
    assert call(world, "backfill").returncode == 0
    return world


@pytest.fixture
def stored(imported: World, tmp_path: Path) -> World:
    """Return a copy of an imported home and its database."""
    world = World(tmp_path)
    shutil.copytree(imported.home, world.home, dirs_exist_ok=True)
    shutil.copytree(imported.db_path.parent, world.db_path.parent)
    world.written = imported.written
    return world


def tamper(world: World, sql: str) -> None:
    with closing(apsw.Connection(str(world.db_path))) as db:
        db.execute(sql)
        assert db.changes() > 0, "the damage hit nothing"


def test_nothing_is_said_of_what_was_imported_and_nothing_is_changed(stored: World) -> None:
    before = stored.db_path.read_bytes()
    done = call(stored, "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, AGREES, "")
    assert stored.db_path.read_bytes() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(stored: World, damage: str) -> None:
    sql, source, text = DAMAGES[damage]
    tamper(stored, sql)
    done = call(stored, "verify")
    assert done.returncode == 1
    assert source in done.stdout
    assert text in done.stdout


def test_lines_that_nobody_read_yet_are_counted(stored: World) -> None:
    stored.append(7)
    done = call(stored, "verify")
    assert done.returncode == 1
    assert "events.jsonl: 7 complete lines are not stored yet" in done.stdout
    assert call(stored, "backfill").returncode == 0
    assert call(stored, "verify").stdout == AGREES


def test_lines_that_are_too_long_are_counted_until_they_are_in_quarantine(stored: World) -> None:
    with stored.events.open("ab") as file:
        file.write(b"{" + b"x" * MAX_LINE_BYTES + b"\n" + line(1_000_001))
    assert "events.jsonl: 2 complete lines are not stored yet" in call(stored, "verify").stdout
    assert call(stored, "backfill").returncode == 0
    assert call(stored, "verify").stdout == AGREES
    tamper(stored, "DELETE FROM quarantine WHERE reason = 'line_too_long'")
    assert "not in quarantine" in call(stored, "verify").stdout


@pytest.mark.parametrize("change", [lambda world: world.trim(20), World.rotate, lambda world: world.events.unlink()])
def test_keeping_more_than_the_files_hold_is_no_difference(stored: World, change: Callable[[World], None]) -> None:
    change(stored)
    assert call(stored, "backfill").returncode == 0
    assert call(stored, "verify").stdout == AGREES


def test_every_real_file_agrees_and_damage_to_it_is_found(fixtures_dir: Path, tmp_path: Path) -> None:
    world = World(tmp_path)
    shutil.copytree(fixtures_dir / "small" / "dot-shipwright", world.home, dirs_exist_ok=True)
    assert call(world, "backfill").returncode == 0
    assert call(world, "verify").stdout == AGREES
    for damage in ("deleted row", "changed type", "missing cost", "changed memory"):
        tamper(world, DAMAGES[damage][0])
    found = call(world, "verify")
    assert found.returncode == 1
    named = {text.partition(":")[0].partition("/")[0] for text in found.stdout.splitlines()}
    assert {"events.jsonl", "costs.json", "memory"} <= named


def test_beside_a_daemon_and_a_busy_writer_there_is_no_false_alarm(world: World) -> None:
    stop = threading.Event()

    def write() -> None:
        """Append, twenty times two lines alike; replace a document; trim."""
        rounds = 0
        while not stop.wait(0.005):
            rounds += 1
            with world.events.open("ab") as file:
                file.write(line(1_000_000 + rounds // 20) * 2)
            world.append(2)
            if rounds % 10 == 0:
                temporary = world.home / "costs.json.tmp"
                temporary.write_bytes(costs(20 + rounds))
                temporary.rename(world.home / "costs.json")
            if rounds % 40 == 0:
                world.trim(60)

    with Running(world) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        writer = threading.Thread(target=write)
        writer.start()
        try:
            said = [call(world, "verify").stdout for _ in range(5)]
        finally:
            stop.set()
            writer.join()
        assert said == [AGREES] * 5
        assert daemon.stop() == 0
    assert call(world, "backfill").returncode == 0
    assert call(world, "verify").stdout == AGREES


def test_beside_a_daemon_that_waits_for_a_file_to_settle_there_is_no_false_alarm(world: World) -> None:
    settings = ("env", "SHIPWRIGHTD_SETTLE_S=6")  # longer than `verify` has patience with any daemon
    with Running(world, *settings) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        world.events.write_bytes(b"".join(world.lines(50)))  # in place, with nothing of what was read
        assert call(world, "verify", prefix=settings).stdout == AGREES
        assert daemon.stop() == 0


def equal_lines_without_a_time(world: World) -> None:
    for _ in range(20):
        with world.events.open("ab") as file:
            file.write(b'{"type":"tick"}\n')
        world.append(1)


def twins_of_one_second_around_another(world: World) -> None:
    world.append(10)
    with world.events.open("ab") as file:
        file.write(line(100) + line(101) + line(100) + line(102))


@pytest.mark.parametrize(("write", "keep"), [(equal_lines_without_a_time, 20), (twins_of_one_second_around_another, 3)])
def test_lines_whose_twins_were_trimmed_are_no_difference(
    tmp_path: Path, write: Callable[[World], None], keep: int
) -> None:
    world = World(tmp_path)
    write(world)
    assert call(world, "backfill").returncode == 0
    world.trim(keep)
    assert call(world, "backfill").returncode == 0
    assert call(world, "verify").stdout == AGREES
    tamper(world, DELETE)
    assert "1 times too few" in call(world, "verify").stdout
