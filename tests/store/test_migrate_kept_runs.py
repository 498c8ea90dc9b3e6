"""What an earlier release pruned the events of is kept by the migration, and a rebuild starts from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from old_prune import delete_settled, fresh_at_schema_9, settle
from projection import completed, entry, event, spent, stage, started

from shipwrightd.database import transaction
from shipwrightd.database.migrate import migrate
from shipwrightd.decoding.events import Origin, decode_lines
from shipwrightd.maintenance import import_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from projection import Books

RUNS = "SELECT id, status, start_seen, next_run_id, cost_usd FROM pipeline_runs ORDER BY id"
A_RUN = (started(0), spent(30, 0.5), stage(10, "build", "started"), stage(40, "build"), completed(60))


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Books]:
    """Return an empty database of schema 9."""
    books = fresh_at_schema_9(str(tmp_path), "old.db")
    yield books
    books.db.close()


def rebuilt(books: Books) -> list[tuple[object, ...]]:
    """Return the runs; a rebuild must change nothing."""
    before = books.everything()
    books.rebuild()
    assert books.everything() == before
    return books.rows(RUNS)


def test_runs_without_events_stay(old: Books) -> None:
    old.events(*A_RUN)
    old.entries(entry(50, 0.125))
    settle(old)
    delete_settled(old)
    kept = old.everything()
    assert old.rows("SELECT type FROM events ORDER BY id") == ["stage.started", "pipeline.completed"]

    migrate(old.db)
    assert old.everything() == kept
    assert rebuilt(old) == [(1, "success", 1, None, 0.125)]
    assert old.metric("deploys") == 1
    assert old.metric("cost_usd") == 0.625


def test_a_run_that_continued_after_the_prune_gets_its_later_events_once(old: Books) -> None:
    old.events(started(0), stage(10, "build", "started"), event("daemon.poll", 20, None))
    settle(old)
    old.events(stage(40, "build"), completed(60))
    delete_settled(old)
    migrate(old.db)

    assert rebuilt(old) == [(1, "success", 1, None, 0.5)]
    assert old.stages() == [("build", 1, "success")]
    old.events(started(900))
    assert [row[1:4] for row in rebuilt(old)] == [("success", 1, 6), ("running", 1, None)]


def test_the_time_to_which_runs_aged_stays(old: Books) -> None:
    old.events(started(0), event("daemon.poll", 300_000, None), event("daemon.poll", 100, None))
    settle(old)
    delete_settled(old)
    migrate(old.db)
    old.db.execute("DELETE FROM events WHERE id = 2")

    assert old.statuses() == ["abandoned"]
    rebuilt(old)


def test_runs_imported_later_precede_the_kept_ones(old: Books) -> None:
    old.events(*A_RUN)
    old.entries(entry(50, 0.125))
    settle(old)
    delete_settled(old)
    migrate(old.db)
    import_events.create_staging(old.db)
    with transaction(old.db):
        lines = [json.dumps(started(-500)).encode()]
        import_events.stage_rows(old.db, decode_lines(lines, origin=Origin("import/bee"), final=True).rows, None)
        import_events.store_new(old.db)

    assert rebuilt(old) == [(0, "abandoned", 1, 1, None), (1, "success", 1, None, 0.125)]


def test_a_database_that_was_never_pruned_keeps_nothing_apart(old: Books) -> None:
    old.events(*A_RUN)
    migrate(old.db)

    assert old.rows("SELECT id FROM kept_range UNION SELECT id FROM kept_runs UNION SELECT id FROM kept_stages") == []
    assert len(rebuilt(old)) == 1
