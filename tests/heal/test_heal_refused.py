"""When a database is not rebuilt, or not yet: it is left as it was, and what to do is said."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest
from damage import PAGE, Past, garbage
from obstacles import enlarge, small_disk
from process import Running, status

from shipwrightd.database import migrate
from shipwrightd.errors import DatabaseError, MissingError, PathError
from shipwrightd.recovery import detect

if TYPE_CHECKING:
    from pathlib import Path


def break_derived(past: Past) -> None:
    past.write(past.pages("events_type")[0], garbage(PAGE))


def break_checkpoints(past: Past) -> None:
    for name in ("checkpoints", "generations", "line_hashes"):
        past.write(past.pages(name)[0], garbage(PAGE))


def test_fourth_recovery_within_an_hour_is_refused_because_something_else_is_broken(past: Past) -> None:
    for _ in range(3):
        break_derived(past)
        assert past.heal()["lost"] == 0
    break_derived(past)
    content = past.path.read_bytes()
    with pytest.raises(DatabaseError, match=r"damaged again, after 3 recoveries within an hour.*check disk and memory"):
        past.heal()
    assert past.path.read_bytes() == content
    assert len(past.set_aside()) == 3


def test_damaged_database_of_a_newer_release_is_left_to_that(past: Past) -> None:
    newer = migrate.known()[-1].version + 1
    with closing(apsw.Connection(str(past.path))) as db:
        db.execute(
            "INSERT INTO schema_version SELECT ?, 'newer', checksum, applied_at FROM schema_version LIMIT 1", (newer,)
        )
    past.write(1, bytes(100))
    content = past.path.read_bytes()
    with pytest.raises(DatabaseError, match=f"schema version {newer}.*install the newer"):
        past.heal()
    assert past.path.read_bytes() == content
    assert past.set_aside() == []


def test_journal_that_is_needed_and_gone_is_asked_for(past: Past) -> None:
    """Without checkpoints only the journal shows which of its lines were stored."""
    break_checkpoints(past)
    content = past.path.read_bytes()
    past.world.events.unlink()
    with pytest.raises(MissingError, match=r"events\.jsonl is needed.*create an empty file"):
        past.heal()
    assert past.path.read_bytes() == content
    past.world.events.touch()
    assert past.heal()["lost"] == 0
    past.assert_whole()


def test_journal_that_cannot_be_read_puts_it_off(past: Past) -> None:
    break_derived(past)
    content = past.path.read_bytes()
    away = past.world.events.rename(past.world.home / "away")
    past.world.events.mkdir()
    with pytest.raises(PathError, match=r"cannot be rebuilt: .*events\.jsonl: is not a regular file - fix that first"):
        past.heal()
    assert past.path.read_bytes() == content
    past.world.events.rmdir()
    away.rename(past.world.events)
    assert past.heal()["lost"] == 0
    past.assert_whole()


def test_daemon_waits_for_what_healing_needs_and_ends_when_asked_to(past: Past) -> None:
    away = past.world.home / "away"
    with Running(past.world, SHIPWRIGHTD_RESCAN_S="0.2") as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        past.world.events.rename(away)
        past.world.events.mkdir()
        for name in ("events_type", "cost_entries", "cost_outcomes", "checkpoints"):
            for page in past.pages(name):
                past.write(page, garbage(PAGE))
        past.document("costs.json", {"entries": past.costs})
        daemon.wait_for(daemon.has_logged("recovery_waiting"))
        assert "events.jsonl" in str(daemon.logged("recovery_waiting")[0]["error"])
        assert daemon.stop() == 0
    past.world.events.rmdir()
    away.rename(past.world.events)
    assert "Traceback" not in daemon.told()
    past.heal()
    past.assert_consistent()
    assert past.rows("SELECT * FROM events ORDER BY id") == past.events
    assert status(past.world)["recoveries"]


def test_file_that_never_was_a_database_is_refused_and_left_alone(past: Past) -> None:
    """The lock beside it says that we worked here, so it is looked at closely."""
    past.path.write_bytes(b"notes of somebody else\n" * 1_000)
    content = past.path.read_bytes()
    with pytest.raises(DatabaseError, match="is not a shipwrightd database"):
        past.heal()
    assert past.path.read_bytes() == content
    assert past.set_aside() == []


def test_empty_file_becomes_a_database_without_a_word_of_damage(past: Past) -> None:
    past.path.write_bytes(b"")
    assert past.heal() == {}
    assert past.rows("SELECT count(*) > 300 FROM events") == [(1,)]
    assert past.set_aside() == []


def test_table_that_somebody_dropped_is_damage_and_comes_back(past: Past) -> None:
    with closing(apsw.Connection(str(past.path))) as db:
        db.execute("DROP TABLE daemon_titles")
    recovery = past.heal()
    assert recovery["reason"] == "tables are missing: daemon_titles"
    past.assert_whole()


def test_long_list_of_free_pages_is_looked_at_as_far_as_a_start_has_time_for(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    with closing(apsw.Connection(str(path))) as db:
        db.execute("PRAGMA page_size = 512; CREATE TABLE kept (x); CREATE TABLE dropped (x)")
        db.execute("INSERT INTO dropped VALUES (zeroblob(?))", (512 * 126 * (detect.TRUNKS + 2),))
        db.execute("DROP TABLE dropped")
    assert detect.free_list_damage(path) is None
    trunk = int.from_bytes(path.read_bytes()[32:36])
    with path.open("r+b") as file:
        file.seek((trunk - 1) * 512)
        file.write(b"\xff" * 8)
    assert detect.free_list_damage(path) == f"the list of free pages is damaged at page {trunk}"


def test_disk_that_is_full_puts_it_off_until_there_is_space(origin: Past, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        past = origin.copy_to(disk / "copy")
        break_derived(past)
        content = past.path.read_bytes()
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 100_000))
        with pytest.raises(
            PathError, match=r"cannot be rebuilt: .* - it needs as much free space as the database takes"
        ):
            past.heal()
        assert past.path.read_bytes() == content
        (disk / "ballast").unlink()
        enlarge(disk)
        assert past.heal()["lost"] == 0
        past.assert_whole()
