"""A damaged database is set aside and rebuilt; each readable row and each line of the files is there once."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING

import apsw
import pytest
from damage import PAGE, Past, garbage
from process import Running, call, status

from shipwrightd.errors import DatabaseError
from shipwrightd.recovery import rebuild, swap

if TYPE_CHECKING:
    from collections.abc import Callable


GAPS = "SELECT detail FROM gaps WHERE reason = 'lost_in_damaged_database'"


def test_a_whole_database_is_left_alone(past: Past) -> None:
    before = past.path.stat().st_ino
    assert past.heal() == {}
    past.assert_whole()
    assert past.path.stat().st_ino == before
    assert past.set_aside() == []


DERIVED = ("events_type", "events_ts_epoch", "pipeline_runs", "pipeline_stages", "metrics", "run_outcomes",
           "memory_search_data", "cost_entries_ts_epoch")  # fmt: skip


@pytest.mark.parametrize("name", DERIVED)
def test_damage_to_what_is_derived_costs_nothing(past: Past, name: str) -> None:
    page = past.pages(name)[0]
    past.write(page, garbage(PAGE))
    content = past.path.read_bytes()
    recovery = past.heal()
    past.assert_whole()
    assert recovery["lost"] == recovery["refilled"] == 0
    (aside,) = past.set_aside()
    assert aside.name == recovery["set_aside"]
    assert aside.read_bytes() == content


def test_events_that_the_files_hold_come_back(past: Past) -> None:
    last = past.pages("events")[-1]
    past.write(last, garbage(PAGE))
    recovery = past.heal()
    past.assert_whole()
    assert recovery["refilled"] > 20
    assert recovery["lost"] == 0


def test_events_that_nobody_holds_any_more_are_a_gap_and_their_runs_stay(past: Past) -> None:
    runs = past.rows("SELECT * FROM pipeline_runs ORDER BY id")
    past.write(past.pages("events")[3], garbage(PAGE))
    recovery = past.heal()
    (detail,) = (json.loads(text) for (text,) in past.rows(GAPS))
    there = {number for (number,) in past.rows("SELECT id FROM events")}
    ids = [row[0] for row in past.events if row[0] not in there]
    assert recovery["lost"] == len(ids) == detail["rows"] > 20
    past.assert_whole(range(ids[0], ids[-1] + 1))
    assert past.rows("SELECT * FROM pipeline_runs ORDER BY id") == runs


def zero_header(past: Past) -> None:
    past.write(1, bytes(100))


def zero_first_page(past: Past) -> None:
    past.write(1, bytes(PAGE))


def break_schema(past: Past) -> None:
    past.write(1, garbage(3000), at=PAGE - 3000)


def break_root(past: Past) -> None:
    (root,) = past.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
    past.write(root[0], garbage(PAGE))


def break_checkpoints(past: Past) -> None:
    for name in ("checkpoints", "generations", "line_hashes"):
        past.write(past.pages(name)[0], garbage(PAGE))


def break_costs(past: Past) -> None:
    past.write(past.pages("cost_entries")[-1], garbage(PAGE))


@pytest.mark.parametrize(
    "damage", [zero_header, zero_first_page, break_schema, break_root, break_checkpoints, break_costs]
)
def test_what_only_leads_to_the_rows_may_be_gone(past: Past, damage: Callable[[Past], None]) -> None:
    damage(past)
    past.heal()
    past.assert_whole()
    assert len(past.set_aside()) == 1


def test_truncated_file_keeps_what_is_left_of_it(past: Past) -> None:
    size = past.path.stat().st_size
    with past.path.open("r+b") as file:
        file.truncate(size * 2 // 3)
    past.heal()
    past.assert_consistent()


@pytest.mark.parametrize("seed", range(8))
def test_garbage_anywhere_costs_only_what_stood_there(past: Past, seed: int) -> None:
    """Each event is unchanged, counted as lost, or changed where no file holds it."""
    rng = random.Random(seed)
    pages = past.path.stat().st_size // PAGE
    for _ in range(rng.randint(1, 3)):
        size = rng.choice([1, 16, PAGE])
        past.write(rng.randint(2, pages), garbage(size, seed), at=rng.randrange(PAGE - size + 1))
    recovery = past.heal()
    try:
        past.assert_consistent()
    except apsw.CorruptError as error:  # where SQLite's own check finds nothing; whoever writes there meets it
        recovery = past.heal(met=str(error))
        past.assert_consistent()
    before = Counter(row[1:] for row in past.events)
    after = Counter(row[1:] for row in past.rows("SELECT * FROM events"))
    changed = (after - before).total()
    lost = sum(detail["rows"] for (text,) in past.rows(GAPS) if "table" not in (detail := json.loads(text)))
    assert (before - after).total() - changed == lost <= recovery.get("lost", 0)
    assert changed <= 2


def test_log_of_a_killed_daemon_is_salvaged_too(past: Past) -> None:
    with Running(past.world) as daemon:
        past.world.append(40)
        daemon.wait_for(lambda: past.world.count() == len(past.events) + 40)
        daemon.kill()
    past.world.trim(10)
    past.write(1, bytes(100))
    log = past.path.with_name("shipwright.db-wal").read_bytes()
    assert past.heal()["lost"] == 0
    past.assert_consistent()
    assert len(past.rows("SELECT id FROM events")) == len(past.events) + 40
    assert past.path.with_name(past.set_aside()[0].name + "-wal").read_bytes() == log


# -- interrupted


def damaged(past: Past) -> None:
    past.write(past.pages("events")[-1], garbage(PAGE))


def built(past: Past) -> None:
    """Bring healing up to where the new database is complete and not in its place."""
    rebuild.build(past.path, past.world.home, "test", "2026-01-05T08:00:00Z", bool)
    swap.declare_complete(past.path)


def test_unfinished_database_is_built_again(past: Past) -> None:
    damaged(past)
    swap.building(past.path).write_bytes(garbage(50_000))
    past.heal()
    past.assert_whole()


@pytest.mark.parametrize("step", ["complete", "renamed", "log left"])
def test_complete_database_takes_its_place_at_the_next_start(past: Past, step: str) -> None:
    log = past.path.with_name("shipwright.db-wal")
    damaged(past)
    log.write_bytes(b"log")
    built(past)
    content = past.path.read_bytes()
    aside = past.path.with_name("shipwright.db.corrupt-20260105T080000Z")
    if step != "complete":
        past.path.rename(aside)
    if step == "renamed":
        log.rename(aside.with_name(aside.name + "-wal"))
    past.heal()
    past.assert_whole()
    assert past.set_aside() == [aside]
    assert aside.read_bytes() == content
    assert aside.with_name(aside.name + "-wal").read_bytes() == b"log"


def test_kills_while_it_heals_lose_and_double_nothing(past: Past) -> None:
    damaged(past)
    for _ in range(3):
        with Running(past.world) as daemon:
            daemon.wait_for(lambda: swap.building(past.path).exists() or past.set_aside())
            daemon.kill()
    past.heal()
    past.assert_whole()
    assert len(past.set_aside()) == 1


# -- while it runs, and asked for


def test_running_daemon_that_meets_damage_heals_and_goes_on(past: Past) -> None:
    with Running(past.world, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        for page in (*past.pages("events"), *past.pages("events_type")):
            past.write(page, garbage(PAGE, page))
        past.world.append(3000)
        daemon.wait_for(daemon.has_logged("database_recovered_from_damage"))
        daemon.wait_for(daemon.has_logged("daemon_following", 2))
        past.world.append(5)
        daemon.wait_for(lambda: past.world.stored()[-1:] == [past.world.written])
        (recovery,) = status(past.world)["recoveries"]
        assert recovery["set_aside"] == str(past.set_aside()[0])
        assert "recovered" in call(past.world, "status").stdout
        assert daemon.stop() == 0
    past.assert_consistent()


def test_recover_finds_what_no_start_looks_at(past: Past) -> None:
    assert call(past.world, "recover").stdout == "no damage found\n"
    past.write(past.pages("events_issue")[0], b"\xff\xfe", at=PAGE - 2)
    done = call(past.world, "recover", "--force")
    assert done.returncode == 0
    assert "kept" in done.stdout
    past.assert_whole()


def test_header_of_somebody_else_is_refused_and_left_alone(past: Past) -> None:
    past.write(1, b"\0\0\0\7", at=68)
    content = past.path.read_bytes()
    with pytest.raises(DatabaseError, match="is not a shipwrightd database"):
        past.heal()
    assert past.path.read_bytes() == content
    assert past.set_aside() == []
