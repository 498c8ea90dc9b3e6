"""Damage of the kinds that are easily forgotten, and healing after what else may have happened to a database."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest
from damage import PAGE, Past, garbage
from process import Running, call
from projection import EVERYTHING, completed, started
from world import doubles, line

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.daemon.loop import StoppedError
from shipwrightd.database import migrate
from shipwrightd.maintenance.import_events import import_events
from shipwrightd.maintenance.prune import prune
from shipwrightd.recovery import detect, store, swap
from shipwrightd.recovery.rebuild import RecoveryOptions

if TYPE_CHECKING:
    from pathlib import Path

# Tables that need no copy: created by the migrations, or derived from what is copied.
NOT_COPIED = {"schema_version", "projection_state", "metrics", "run_outcomes", "source_errors", "memory_search"}


def test_every_table_of_the_schema_is_either_copied_or_derived_again() -> None:
    """A migration that adds a table has to decide about it here."""
    with closing(apsw.Connection(":memory:")) as db:
        migrate.migrate(db)
        names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        columns = {
            name: db.execute("SELECT count(*) FROM pragma_table_xinfo(?) WHERE hidden = 0", (name,)).get
            for name in store.RESTORE
        }
    ours = {name for name in names if not name.startswith(("sqlite_", "memory_search_"))}
    assert ours - store.RESTORE.keys() == NOT_COPIED
    assert store.RESTORE.keys() <= ours
    assert {name: sql.count("?") for name, sql in store.RESTORE.items()} == columns


# -- the list of free pages


def with_free_pages(past: Past, count: int = 40) -> int:
    """Leave so many free pages behind; return the first page of their list."""
    with closing(apsw.Connection(str(past.path))) as db:
        db.execute("CREATE TABLE ballast (x)")
        db.executemany("INSERT INTO ballast VALUES (?)", [(garbage(PAGE - 400),)] * count)
        db.execute("DROP TABLE ballast")
        assert db.execute("PRAGMA freelist_count").get >= count
    return int.from_bytes(past.path.read_bytes()[32:36])


@pytest.mark.parametrize("damage", ["list", "leaf", "header", "cycle"])
def test_damaged_list_of_free_pages_costs_nothing(past: Past, damage: str) -> None:
    trunk = with_free_pages(past)
    with closing(apsw.Connection(str(past.path))) as db:
        used: int = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").get
    if damage == "list":
        past.write(trunk, garbage(PAGE))
    elif damage == "leaf":
        past.write(trunk, (1 << 30).to_bytes(4), at=8)
    elif damage == "header":
        past.write(1, used.to_bytes(4), at=32)
    else:
        past.write(trunk, trunk.to_bytes(4))
    recovery = past.heal()
    assert "free pages" in recovery["reason"]
    assert recovery["lost"] == recovery["refilled"] == 0
    past.assert_whole()


def test_whole_list_of_free_pages_is_no_damage(past: Past) -> None:
    with_free_pages(past, 3000)  # more than one page of the list holds
    assert detect.free_list_damage(past.path) is None
    assert past.heal() == {}
    past.assert_whole()


# -- the log


def killed_with_a_log(past: Past) -> Path:
    """Have a daemon killed that stored 40 lines; return its log."""
    with Running(past.world) as daemon:
        past.world.append(40)
        daemon.wait_for(lambda: past.world.count() == len(past.events) + 40)
        daemon.kill()
    return past.path.with_name("shipwright.db-wal")


def assert_all_there_once(past: Past) -> None:
    past.assert_consistent()
    found = past.rows("SELECT * FROM events ORDER BY id")
    assert found[: len(past.events)] == past.events
    assert len(found) == len(past.events) + 40
    assert doubles(past.world.stored()) == []


@pytest.mark.parametrize("damage", ["garbage", "header", "frame", "cut", "missing", "empty"])
def test_log_that_is_damaged_or_gone_loses_nothing_that_the_files_hold(past: Past, damage: str) -> None:
    """What it held that was not yet in the database is read from the files again, in its place."""
    log = killed_with_a_log(past)
    content = log.read_bytes()
    changed = {
        "garbage": garbage(len(content)),
        "header": garbage(32) + content[32:],
        "frame": content[: len(content) // 2] + garbage(100) + content[len(content) // 2 + 100 :],
        "cut": content[: len(content) // 3],
        "empty": b"",
    }
    if damage == "missing":
        log.unlink()
        log.with_name("shipwright.db-shm").unlink(missing_ok=True)
    else:
        log.write_bytes(changed[damage])
    past.heal()
    assert_all_there_once(past)


# -- after a prune, after an import


def test_healing_after_a_prune_derives_the_same_runs_again(past: Past) -> None:
    epochs = [row[2] for row in past.events]
    runs = "SELECT * FROM pipeline_runs ORDER BY id"
    before = past.rows(runs)
    prune(past.world.home, past.path, sorted(epochs)[len(epochs) // 2])
    everything = [past.rows(sql) for sql in EVERYTHING]
    events = past.rows("SELECT * FROM events ORDER BY id")
    assert len(events) < len(past.events)
    past.write(past.pages("pipeline_runs")[0], garbage(PAGE))
    past.write(past.pages("events_type")[0], garbage(PAGE))
    recovery = past.heal()
    assert (recovery["lost"], recovery["refilled"]) == (0, 0)
    assert past.rows("SELECT * FROM events ORDER BY id") == events
    assert past.rows(runs) == before
    assert [past.rows(sql) for sql in EVERYTHING] == everything
    past.assert_consistent()


def test_healing_after_an_import_doubles_nothing(past: Past, tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    mine = past.pages("events")[-1]
    events = [event(90_000 + n, n * 10 - 1000) for n in range(40) for event in (started, completed)]
    ticks = [line(-n) for n in range(1, 200)]
    old.write_bytes(b"".join(ticks) + b"".join(json.dumps(event).encode() + b"\n" for event in events))
    done = import_events(past.world.home, past.path, old, None)
    assert done.new > 200
    stored = past.rows("SELECT * FROM events ORDER BY id")
    everything = [past.rows(sql) for sql in EVERYTHING]
    past.write(past.pages("events_type")[0], garbage(PAGE))
    past.write(mine, garbage(PAGE))  # what the journal still holds
    recovery = past.heal()
    assert recovery["lost"] == 0
    assert recovery["refilled"] > 20
    found = past.rows("SELECT * FROM events ORDER BY id")
    kept = [row for row in found if row[0] <= stored[-1][0]]
    assert set(kept) < set(stored)
    assert len(found) - len(kept) == recovery["refilled"]
    assert Counter(row[1:] for row in found) == Counter(row[1:] for row in stored)
    assert [past.rows(sql) for sql in EVERYTHING] == everything
    past.assert_consistent()
    assert import_events(past.world.home, past.path, old, None).new == 0


# -- asked for, and asked to end


def test_recover_finds_damage_in_an_index_of_a_large_database_by_itself(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page is broken, so only the thorough look can tell that the index is not that of its table."""
    with closing(apsw.Connection(str(past.path))) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, '(type)', '(stage)') WHERE name = 'events_type'")
    monkeypatch.setattr(detect, "CHECKED_BYTES", 0)
    backfill(past.world.home, past.path)
    assert past.set_aside() == []
    done = call(past.world, "recover")
    assert done.returncode == 0, done
    assert done.stdout.startswith("damaged: ")
    past.assert_whole()


def test_end_that_is_asked_for_while_it_heals_comes_soon_and_the_next_start_goes_on(past: Past) -> None:
    past.write(past.pages("events")[-1], garbage(PAGE))
    with Running(past.world) as daemon:
        daemon.wait_for(lambda: swap.building(past.path).exists() or past.set_aside())
        assert daemon.stop() == 0
    assert "Traceback" not in daemon.told()
    past.heal()
    past.assert_whole()
    assert len(past.set_aside()) == 1


@pytest.mark.parametrize("nth", [1, 2, 5])
def test_healing_that_is_ended_anywhere_is_begun_again(past: Past, nth: int) -> None:
    """It looks often whether it is to end, also while runs are derived."""
    past.write(past.pages("events")[-1], garbage(PAGE))
    calls = 0

    def alive() -> None:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise StoppedError

    with pytest.raises(StoppedError):
        backfill(past.world.home, past.path, options=RecoveryOptions(alive=alive))
    assert past.set_aside() == []
    past.heal()
    past.assert_whole()
