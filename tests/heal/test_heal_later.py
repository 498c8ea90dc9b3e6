"""What happens after damage, or beside it, while a new database is made: nothing is lost, doubled or kept silent."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from damage import PAGE, Past, garbage
from projection import EVERYTHING, started
from world import line

from shipwrightd import projections
from shipwrightd.daemon.catch_up import backfill
from shipwrightd.database import open_writer, transaction
from shipwrightd.maintenance.import_events import import_events
from shipwrightd.maintenance.prune import prune
from shipwrightd.projections import runs
from shipwrightd.recovery import open_database, swap
from shipwrightd.recovery.rebuild import RecoveryOptions

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINTS = ("checkpoints", "generations", "line_hashes")
COSTS = "SELECT input_tokens FROM cost_entries WHERE origin = 'costs.json' ORDER BY id"
IMPORTED = "SELECT count(*) FROM events WHERE origin = 'import/other'"
LOST = "SELECT source FROM gaps WHERE reason = 'lost_in_damaged_database'"
DAY_9 = 1_767_614_400


def healed(past: Past) -> None:
    """Heal, and go no further: as if killed before the first look at the files."""
    db, lock = open_database(past.path, past.world.home, options=RecoveryOptions())
    db.close()
    lock.release()


def with_imported(past: Past, folder: Path, events: int) -> None:
    old = folder / "old.jsonl"
    old.write_bytes(b"".join(line(-n) for n in range(1, events + 1)))
    assert import_events(past.world.home, past.path, old, "other").new == events


def test_list_that_is_trimmed_right_after_healing_keeps_what_it_had(past: Past) -> None:
    past.write(past.pages("cost_entries")[0], garbage(PAGE))
    healed(past)
    past.document("costs.json", {"entries": past.costs[350:]})  # the cap went on meanwhile
    backfill(past.world.home, past.path)
    assert set(range(200, 400)) <= {tokens for (tokens,) in past.rows(COSTS)}


def test_document_that_was_away_when_its_checkpoint_was_lost_brings_nothing_twice(past: Past) -> None:
    before = past.rows(COSTS)
    costs = past.world.home / "costs.json"
    content = costs.read_bytes()
    costs.unlink()
    for name in CHECKPOINTS:
        past.write(past.pages(name)[0], garbage(PAGE))
    past.heal()
    costs.write_bytes(content)
    backfill(past.world.home, past.path)
    assert sorted(past.rows(COSTS)) == sorted(before)


def test_ids_of_events_that_were_lost_are_not_given_again(past: Past) -> None:
    """Their runs stay, under the ids that they have."""
    past.tell([started(5_000 + n * 10, 100 + n) for n in range(300)])
    backfill(past.world.home, past.path)
    past.world.events.write_bytes(b"")  # no file holds them any more
    backfill(past.world.home, past.path)
    past.write(past.pages("events")[-1], garbage(PAGE))
    past.heal()
    past.tell([started(9_000 + n * 10, 500 + n) for n in range(50)])
    backfill(past.world.home, past.path)
    before = [past.rows(sql) for sql in EVERYTHING]
    with closing(open_writer(past.path)) as db, transaction(db):
        projections.rebuild(db)
    assert [past.rows(sql) for sql in EVERYTHING] == before


def prune_as_earlier_releases(past: Past) -> None:
    """Delete events of runs, whose rows are kept as migration 11 keeps them; one run continues afterwards."""
    stage = {"ts": "2026-01-05T12:00:00Z", "issue": 7, "stage": "plan"}
    past.tell(
        [stage | {"ts_epoch": DAY_9 + n, "type": f"stage.{what}"} for n, what in ((0, "started"), (5, "completed"))]
    )
    backfill(past.world.home, past.path)
    past.world.trim(10)
    backfill(past.world.home, past.path)
    with closing(open_writer(past.path)) as db, transaction(db):
        last: int = db.execute("SELECT max(id) FROM events").get
        runs.keep(db, last)
        db.execute("DELETE FROM events WHERE id < ? - 20 AND id % 3 > 0", (last,))
        db.execute("INSERT INTO pruned VALUES ('events.jsonl', 0, ?, '2026-01-06T00:00:00Z')", (db.changes(),))
    past.tell([started(60_000, 59), started(60_010, 1_000)])
    backfill(past.world.home, past.path)


def test_kept_runs_that_were_lost_are_kept_again(past: Past) -> None:
    prune_as_earlier_releases(past)
    before = [past.rows(sql) for sql in EVERYTHING]
    assert past.rows("SELECT count(*) FROM kept_stages") != [(0,)]
    for page in past.pages("kept_runs"):
        past.write(page, garbage(PAGE))
    past.heal()
    assert [past.rows(sql) for sql in EVERYTHING] == before
    past.assert_consistent()


def test_runs_whose_events_an_earlier_release_pruned_are_kept_though_its_schema_was_not_migrated(past: Past) -> None:
    prune_as_earlier_releases(past)
    before = [past.rows(sql) for sql in EVERYTHING]
    with closing(open_writer(past.path)) as db:
        db.execute("DROP TABLE kept_range; DROP TABLE kept_runs; DROP TABLE kept_stages")
    past.heal(met="a page is damaged")
    assert [past.rows(sql) for sql in EVERYTHING] == before
    past.assert_consistent()


def test_import_while_a_new_database_waits_goes_into_that_one(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Between the two renames."""

    def sync(_folder: Path) -> None:
        if not past.path.exists():
            raise Killed

    past.write(past.pages("events")[3], garbage(PAGE))
    with monkeypatch.context() as patched:
        patched.setattr(swap, "fsync_folder", sync)
        patched.setattr(swap, "note_unfinished", lambda _path: None)
        with pytest.raises(Killed):
            healed(past)
    assert swap.complete(past.path).exists()
    with_imported(past, tmp_path, 19)
    backfill(past.world.home, past.path)
    assert past.rows(IMPORTED) == [(19,)]


def test_another_database_in_its_place_is_set_aside(past: Past) -> None:
    past.write(past.pages("events")[3], garbage(PAGE))
    healed(past)
    ((old,),) = past.rows("SELECT set_aside FROM recoveries")
    before = past.rows("SELECT * FROM events")
    past.path.rename(swap.complete(past.path))
    past.path.write_bytes(b"somebody's")
    swap.finish(past.path)
    assert not swap.complete(past.path).exists()
    assert past.path.with_name(f"{old}.2").read_bytes() == b"somebody's"
    assert past.rows("SELECT * FROM events") == before


@pytest.mark.parametrize("moved", [False, True])
def test_new_database_that_is_damaged_itself_gives_up_its_claim(past: Past, *, moved: bool) -> None:
    swap.complete(past.path).write_bytes(garbage(50_000))
    if moved:
        past.path.rename(past.path.with_name("shipwright.db.corrupt-20260105T080000Z"))
    past.heal()
    past.assert_whole()
    assert past.path.with_name("shipwright.db.corrupt-new").exists()


def test_odd_heartbeat_is_nothing_to_healing(past: Past) -> None:
    (past.world.home / "heartbeats" / "odd.json").symlink_to(past.world.home)
    past.write(past.pages("events_type")[0], garbage(PAGE))
    healed(past)
    assert past.rows("SELECT * FROM events ORDER BY id") == past.events


# -- losses are reported


def test_events_lost_after_imported_ones_were_pruned_are_told(past: Past, tmp_path: Path) -> None:
    with_imported(past, tmp_path, 190)
    prune(past.world.home, past.path, 1_767_600_000 - 1)
    ((before,),) = past.rows("SELECT count(*) FROM events")
    past.write(past.pages("events")[3], garbage(PAGE))
    recovery = past.heal()
    assert past.rows("SELECT count(*) FROM events") == [(before - recovery["lost"],)]
    assert past.rows(LOST) == [("events.jsonl",)]


@pytest.mark.parametrize("leaf", [0, 1])
def test_imported_events_that_are_lost_are_told(past: Past, tmp_path: Path, leaf: int) -> None:
    """How many went at their end, where ids are the lowest, nobody knows: one at least."""
    with_imported(past, tmp_path, 599)
    past.write(past.pages("events")[leaf], garbage(PAGE))
    recovery = past.heal()
    ((left,),) = past.rows(IMPORTED)
    assert left < 599
    assert recovery["lost"] == (1 if leaf == 0 else 599 - left)
    assert len(past.rows(LOST)) == 1


def test_rows_of_a_list_that_only_the_database_had_are_told(past: Past) -> None:
    before = len(past.rows(COSTS))
    past.write(past.pages("cost_entries")[0], garbage(PAGE))
    recovery = past.heal()
    assert recovery["lost"] == before - len(past.rows(COSTS)) > 0
    assert past.rows(LOST) == [("costs.json",)]


def test_documents_that_are_read_again_are_counted_once(past: Past) -> None:
    """Else the next recovery would miss the rows that were counted twice."""
    counted = "SELECT source, records FROM checkpoints WHERE kind = 'document' ORDER BY source"
    before = dict(past.rows(counted))
    for table in ("cost_entries", "sessions", "memory_entries"):
        past.write(past.pages(table)[0], garbage(PAGE))
    past.heal()
    backfill(past.world.home, past.path)
    assert dict(past.rows(counted)) == before | {"costs.json": len(past.rows(COSTS))}

    past.write(1, bytes(PAGE))
    assert past.heal()["lost"] == 0
