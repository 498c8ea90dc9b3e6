"""Prune: old events go, unless projections derive from them or a file still holds them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import orjson
import pytest
from projection import NOON, Books, completed, event, spent, stage, started
from world import Follower, World, line

from shipwrightd.database import transaction
from shipwrightd.errors import LockedError, MissingError, PathError
from shipwrightd.maintenance.import_events import import_events
from shipwrightd.maintenance.prune import Old, Pruned, create_staging, delete, need_space, preview, prune
from shipwrightd.maintenance.verify import verify
from shipwrightd.recovery import open_database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EPOCH = 1_767_600_000  # of the line with sequence number 0
SEQS = "SELECT json_extract(extra, '$.seq') FROM events ORDER BY id"
DAY_S = 86_400


@pytest.fixture
def ran(world: World) -> Iterator[Callable[..., None]]:
    """Return a function that appends events to the journal and stores them."""

    def run(*events: dict[str, object]) -> None:
        with world.events.open("ab") as file:
            file.write(b"".join(orjson.dumps(event) + b"\n" for event in events))
        follow(world)

    yield run
    assert verify(world.home, world.db_path) == [], "whatever was pruned, files and database agree"


def follow(world: World) -> None:
    follower = Follower(world)
    follower.settle()
    follower.close()


def forget_files(world: World) -> None:
    """Empty the files, as rotations do."""
    world.events.write_bytes(b"")
    follow(world)


def before(world: World, epoch: int) -> Pruned:
    """Prune; a preview must return the same and change nothing."""
    held = world.query("SELECT * FROM events")
    said = preview(world.home, world.db_path, epoch)
    assert world.query("SELECT * FROM events") == held
    done = prune(world.home, world.db_path, epoch)
    assert said.origins == done.origins
    return done


def figures(world: World) -> list[list[object]]:
    """Return all projections; a rebuild must make the same."""
    books = Books(world.db_path)
    found = books.everything()
    books.rebuild()
    assert books.everything() == found
    books.db.close()
    return found


def a_run(second: int, issue: int) -> list[dict[str, object]]:
    return [
        started(second, issue),
        stage(second + 5, "build", "started", issue),
        stage(second + 40, "build", "completed", issue),
        completed(second + 60, issue, input_tokens=second + 1),
        spent(second + 61, name="pipeline", input_tokens=second + 1),
        event("daemon.poll", second + 70, None),
    ]


def test_old_events_go_and_young_ones_stay(world: World) -> None:
    world.append(10)
    follow(world)
    forget_files(world)

    assert before(world, EPOCH + 6).origins == [Old("events.jsonl", 5, 0)]
    assert [seq for (seq,) in world.query(SEQS)] == [6, 7, 8, 9, 10]
    assert before(world, EPOCH + 6).origins == []


def test_what_a_file_still_holds_stays(world: World) -> None:
    world.append(10)
    follow(world)
    world.trim(keep=7)
    follow(world)

    assert before(world, EPOCH + 9).origins == [Old("events.jsonl", 3, 5)]
    assert [seq for (seq,) in world.query(SEQS)] == [4, 5, 6, 7, 8, 9, 10]
    assert verify(world.home, world.db_path) == []


def test_what_a_rotated_sibling_holds_stays(world: World) -> None:
    world.append(5)
    follow(world)
    world.rotate()
    world.append(5)
    follow(world)

    assert before(world, EPOCH + 100).origins == [Old("events.jsonl", 0, 9)]


def test_nothing_that_was_pruned_is_read_again(world: World) -> None:
    world.append(10)
    follow(world)
    world.trim(keep=4)
    follow(world)
    before(world, EPOCH + 100)
    world.append(2)
    follow(world)

    assert [seq for (seq,) in world.query(SEQS)] == [7, 8, 9, 10, 11, 12]
    assert verify(world.home, world.db_path) == []


def test_a_sibling_that_reappears_brings_nothing_back(world: World, tmp_path: Path) -> None:
    world.append(10)
    follow(world)
    world.rotate()
    world.append(2)
    follow(world)
    sibling = world.home / "events.jsonl.1"
    sibling.rename(tmp_path / "aside")
    before(world, EPOCH + 100)
    (tmp_path / "aside").rename(sibling)
    world.append(1)
    follow(world)

    assert [seq for (seq,) in world.query(SEQS)] == [11, 12, 13]


def test_the_last_event_stays_so_that_its_id_is_not_given_again(world: World) -> None:
    world.append(3)
    follow(world)
    forget_files(world)
    before(world, EPOCH + 100)
    world.append(1)
    follow(world)

    assert [seq for (seq,) in world.query(SEQS)] == [3, 4]
    assert world.query("SELECT max(id) FROM events") == [(4,)]


def test_runs_costs_and_figures_stay(world: World, ran: Callable[..., None]) -> None:
    ran(*a_run(0, 7), *a_run(1_000, 8), *a_run(2 * DAY_S, 7))
    forget_files(world)
    kept = figures(world)
    done = before(world, NOON + DAY_S)

    assert done.origins == [Old("events.jsonl", 2, 0)]
    assert figures(world) == kept
    assert world.query("SELECT type, count(*) FROM events GROUP BY type ORDER BY type") == [
        ("cost.record", 3),
        ("daemon.poll", 1),
        ("pipeline.completed", 3),
        ("pipeline.started", 3),
        ("stage.completed", 3),
        ("stage.started", 3),
    ]


def test_a_run_across_the_boundary_goes_on(world: World, ran: Callable[..., None]) -> None:
    ran(started(0), stage(10, "build", "started"), event("daemon.poll", 20, None))
    forget_files(world)
    before(world, NOON + DAY_S)
    ran(stage(2 * DAY_S, "build", "completed"), completed(2 * DAY_S + 5))
    figures(world)

    assert world.query("SELECT status, start_seen FROM pipeline_runs") == [("success", 1)]
    assert world.query("SELECT status, attempt FROM pipeline_stages") == [("success", 1)]


def test_a_wrong_clock_changes_no_run(world: World, ran: Callable[..., None]) -> None:
    """One event is dated far back and comes after many young ones."""
    ran(*a_run(0, 7), *a_run(5 * DAY_S, 8), *a_run(5 * DAY_S + 500, 9), stage(-(10**8), "build", issue=9))
    forget_files(world)
    kept = figures(world)
    before(world, NOON + DAY_S)

    assert figures(world) == kept


def test_the_latest_event_stays_because_runs_age_by_its_time(world: World, ran: Callable[..., None]) -> None:
    ran(started(0), event("daemon.poll", 3 * DAY_S, None), event("daemon.poll", 100, None))
    forget_files(world)
    kept = figures(world)
    before(world, NOON + 9 * DAY_S)

    assert world.query("SELECT status FROM pipeline_runs") == [("abandoned",)]
    assert figures(world) == kept


def test_lifecycle_events_of_other_machines_go(world: World) -> None:
    team = b'{"ts":"2026-01-05T08:00:00Z","type":"%s","from_developer":"ada","from_machine":"m"}\n'
    (world.home / "team-events.jsonl").write_bytes(team % b"pipeline.started" + team % b"cost.record" + team % b"x")
    world.append(1)
    follow(world)
    (world.home / "team-events.jsonl").write_bytes(b"")
    follow(world)

    assert before(world, EPOCH + DAY_S).origins == [Old("team-events.jsonl/ada@m", 2, 0)]


def test_an_event_without_a_time_goes_with_those_before_it(world: World) -> None:
    untimed = b'{"type":"x","seq":%d}\n'
    world.events.write_bytes(untimed % 1 + line(2) + untimed % 3 + line(4) + untimed % 5 + line(6))
    follow(world)
    forget_files(world)
    before(world, EPOCH + 4)

    assert [seq for (seq,) in world.query(SEQS)] == [4, 5, 6]


def test_imported_and_team_events_are_pruned_as_well(world: World, tmp_path: Path) -> None:
    world.append(3)
    team = b'{"ts":"2026-01-05T08:00:00Z","type":"x","from_developer":"ada","from_machine":"m","n":%d}\n'
    (world.home / "team-events.jsonl").write_bytes(team % 1 + team % 2)
    follow(world)
    (world.home / "team-events.jsonl").write_bytes(team % 2)
    follow(world)
    (tmp_path / "bee.jsonl").write_bytes(line(1) + line(2))
    import_events(world.home, world.db_path, tmp_path / "bee.jsonl", "bee")

    assert before(world, EPOCH + DAY_S).origins == [
        Old("events.jsonl", 0, 2),
        Old("import/bee", 2, 0),
        Old("team-events.jsonl/ada@m", 1, 0),
    ]


def test_what_was_pruned_is_left_out_of_an_import(world: World, tmp_path: Path) -> None:
    world.append(10)
    follow(world)
    shutil.copy(world.events, tmp_path / "all.jsonl")
    forget_files(world)
    before(world, EPOCH + 6)
    again = import_events(world.home, world.db_path, tmp_path / "all.jsonl", None)
    apart = import_events(world.home, world.db_path, tmp_path / "all.jsonl", "bee")

    assert (again.new, again.known, again.left_out) == (0, 5, 5)
    assert (apart.new, apart.left_out) == (10, 0)


def test_runs_imported_after_a_prune_precede_the_others(world: World, tmp_path: Path, ran: Callable[..., None]) -> None:
    ran(*a_run(0, 7), *a_run(2 * DAY_S, 8))
    forget_files(world)
    before(world, NOON + DAY_S)
    (tmp_path / "bee.jsonl").write_bytes(orjson.dumps(started(-500, 7)) + b"\n")
    import_events(world.home, world.db_path, tmp_path / "bee.jsonl", "bee")
    figures(world)

    assert world.query("SELECT id, next_run_id, status FROM pipeline_runs WHERE issue = 7 ORDER BY id") == [
        (0, 1, "abandoned"),
        (1, None, "success"),
    ]


def test_the_file_gets_smaller(world: World) -> None:
    world.append(20_000)
    follow(world)
    forget_files(world)
    done = before(world, EPOCH + 19_000)

    assert done.bytes_after < done.bytes_before / 3
    assert world.query("PRAGMA integrity_check") == [("ok",)]


def test_a_file_that_cannot_be_read_stops_it(world: World) -> None:
    world.append(10)
    follow(world)
    world.events.unlink()
    world.events.mkdir()

    with pytest.raises(PathError, match=r"cannot read events\.jsonl"):
        prune(world.home, world.db_path, EPOCH + 6)
    assert world.count() == 10


def test_a_home_that_is_not_there_stops_it(world: World) -> None:
    world.append(10)
    follow(world)
    world.home.rename(world.home.with_name("elsewhere"))

    with pytest.raises(MissingError, match="no Shipwright home"):
        prune(world.home, world.db_path, EPOCH + 6)
    with pytest.raises(MissingError, match=r"no Shipwright home.*prune must read its files"):
        preview(world.home, world.db_path, EPOCH + 6)
    assert world.count() == 10


@pytest.mark.parametrize("act", [prune, preview])
def test_nothing_is_pruned_while_the_home_is_an_empty_mount_point(
    world: World, act: Callable[[Path, Path, int], Pruned]
) -> None:
    world.append(10)
    follow(world)
    away = world.home.with_name("away")
    world.home.rename(away)
    world.home.mkdir()

    with pytest.raises(MissingError, match=r"does not hold events\.jsonl.*mount or name its folder"):
        act(world.home, world.db_path, EPOCH + 6)
    assert world.count() == 10
    world.events.touch()  # it is gone for good
    assert act(world.home, world.db_path, EPOCH + 6).origins == [Old("events.jsonl", 5, 0)]


def test_nothing_is_pruned_while_another_ingests(world: World) -> None:
    world.append(10)
    follow(world)
    follower = Follower(world)
    with pytest.raises(LockedError, match="another shipwrightd is ingesting"):
        prune(world.home, world.db_path, EPOCH + 6)
    assert preview(world.home, world.db_path, EPOCH + 6).origins == [Old("events.jsonl", 0, 5)]
    follower.close()


def test_a_prune_that_ended_before_it_shrank_is_finished_by_the_next(world: World) -> None:
    world.append(5_000)
    follow(world)
    forget_files(world)
    db, lock = open_database(world.db_path, world.home, "prune")
    create_staging(db)
    with transaction(db):
        delete(db, EPOCH + 4_000)
    db.close()
    lock.release()
    done = prune(world.home, world.db_path, EPOCH + 4_000)

    assert not any(old.going for old in done.origins)
    assert done.bytes_after < done.bytes_before * 0.6
    assert world.query("PRAGMA freelist_count") == [(0,)]


def test_a_disk_that_is_too_full_is_reported_beforehand(tmp_path: Path) -> None:
    with pytest.raises(PathError, match=r"pruning needs .* free in"):
        need_space(tmp_path / "shipwright.db", 1 << 60)
