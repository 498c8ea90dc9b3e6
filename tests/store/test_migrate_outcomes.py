"""What a later migration derives is what the ingesting side would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from projection import Books, completed, entry, reaped, spent, started

from shipwrightd.database.migrate import migrate

if TYPE_CHECKING:
    import apsw

DAY = 86_400
# All that came after the third migration.
LATER = """
SELECT type, name FROM sqlite_schema
WHERE type IN ('view', 'trigger') OR name IN ('run_outcomes', 'memory_search', 'pruned', 'kept_range', 'kept_runs',
    'kept_stages', 'line_hashes', 'recoveries', 'daemon_jobs_present', 'daemon_queue_present')
ORDER BY type = 'table'"""


def back_to_version_3(db: apsw.Connection) -> None:
    for kind, name in db.execute(LATER).fetchall():
        db.execute(f"DROP {kind} {name}")
    # What the tenth migration replaced and added.
    db.execute("CREATE TABLE history (source TEXT, first INTEGER, hashes BLOB)")
    db.execute("ALTER TABLE generations DROP COLUMN settled")
    db.execute("ALTER TABLE checkpoints DROP COLUMN rearranged_after")
    db.execute("DROP INDEX events_stage; DROP INDEX events_model; DROP INDEX events_team")
    db.execute("DROP INDEX pipeline_stages_stage; CREATE INDEX pipeline_stages_stage ON pipeline_stages (stage)")
    db.execute("DELETE FROM metrics WHERE dimension LIKE 'issue:%'; DELETE FROM schema_version WHERE version > 3")


def test_an_older_database_gets_the_outcomes_and_figures_of_its_runs(books: Books) -> None:
    books.one_by_one(started(0), reaped(100, result="failure"), started(200), completed(700))
    books.one_by_one(started(800, 8), completed(900, 8), started(1000, None), completed(1100, None), started(1200))
    books.entries(entry(300), entry(400, 0.5, issue=None), entry(DAY, 1.5, issue="x"))
    books.events(spent(450, 0.75))
    before = books.everything()
    assert any("issue:7" in row for row in before[2])
    assert len(before[3]) == 4

    back_to_version_3(books.db)
    migrate(books.db)

    assert books.everything() == before
