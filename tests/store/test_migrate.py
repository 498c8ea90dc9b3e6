"""Migrations: each file once, whole or not at all, and nothing that is not ours or not known."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from shipwrightd.database import open_reader, open_writer
from shipwrightd.database.migrate import known, migrate, migrations_folder, pending, version
from shipwrightd.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROMISED_TABLES = {
    "schema_version", "events", "pipeline_runs", "pipeline_stages",
    "sessions", "cost_entries", "metrics", "memory_entries",
}  # fmt: skip
PROMISED_INDEXES = {
    "events": {"type", "ts_epoch", "issue", "type,ts_epoch"},
    "pipeline_runs": {"status", "issue", "started_epoch"},
    "pipeline_stages": {"run_id", "stage"},
    "cost_entries": {"ts_epoch", "model", "issue"},
    "metrics": {"name,period,period_start"},
    "memory_entries": {"repo_hash,entry_type", "pattern"},
}
SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name"
INDEXED = """
SELECT group_concat(i.name) FROM pragma_index_list(?) AS l, pragma_index_info(l.name) AS i GROUP BY l.name"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db" / "shipwright.db"


@pytest.fixture
def db(path: Path) -> Iterator[apsw.Connection]:
    with closing(open_writer(path)) as db:
        yield db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the migrations that a test may change."""
    shutil.copytree(migrations_folder(), tmp_path / "migrations")
    return tmp_path / "migrations"


def add(folder: Path, sql: str, number: int | None = None) -> None:
    """Add the next file, or one with another number."""
    number = number or len(list(folder.iterdir())) + 1
    (folder / f"{number:03}_more.sql").write_text(sql)


def test_fresh_database_gets_every_file_in_order_and_keeps_a_record_of_each(db: apsw.Connection) -> None:
    applied = migrate(db)
    assert [migration.version for migration in applied] == list(range(1, len(known()) + 1))
    assert version(db) == len(known())
    recorded = list(db.execute("SELECT version, name, checksum, applied_at FROM schema_version ORDER BY version"))
    assert [row[:3] for row in recorded] == [(m.version, m.name, m.checksum) for m in applied]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[3]) for row in recorded)
    assert migrate(db) == []


def test_tables_and_indexes_that_are_promised_are_there(db: apsw.Connection) -> None:
    migrate(db)
    assert {name for kind, name, *_ in db.execute(SCHEMA) if kind == "table"} >= PROMISED_TABLES
    for table, wanted in PROMISED_INDEXES.items():
        found = [f"{columns}," for (columns,) in db.execute(INDEXED, (table,))]
        missing = {columns for columns in wanted if not any(index.startswith(f"{columns},") for index in found)}
        assert not missing, table


@pytest.mark.parametrize("first", range(1, len(known())))
def test_database_of_an_earlier_release_arrives_at_the_schema_of_a_fresh_one(
    db: apsw.Connection, folder: Path, tmp_path: Path, first: int
) -> None:
    early = tmp_path / "early"
    early.mkdir()
    for migration in known()[:first]:
        shutil.copy(folder / migration.name, early)
    migrate(db, early)
    assert version(db) == first
    assert [m.version for m in pending(db, known())] == list(range(first + 1, len(known()) + 1))
    migrate(db)
    with closing(open_writer(tmp_path / "fresh" / "shipwright.db")) as fresh:
        migrate(fresh)
        assert list(db.execute(SCHEMA)) == list(fresh.execute(SCHEMA))


def test_file_that_was_altered_after_it_was_applied_is_refused(db: apsw.Connection, folder: Path) -> None:
    migrate(db, folder)
    add(folder, "CREATE TABLE later (x);")
    first = folder / known()[0].name
    first.write_text(first.read_text() + "-- a word more\n")
    with pytest.raises(DatabaseError, match=r"migration 1 \(.*\) differs from the one that was applied") as caught:
        migrate(db, folder)
    assert caught.value.exit_code == 65
    assert version(db) == len(known())


def test_database_of_a_later_release_is_refused_and_left_as_it_is(db: apsw.Connection, folder: Path) -> None:
    add(folder, "CREATE TABLE later (x);")
    migrate(db, folder)
    before = list(db.execute(SCHEMA))
    with pytest.raises(DatabaseError, match=r"is at schema version \d+, this release knows \d+") as caught:
        migrate(db)
    assert (caught.value.exit_code, list(db.execute(SCHEMA))) == (65, before)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE half (x); CREATE TABLE half (x);",
        "CREATE TABLE half (x); INSERT INTO half VALUES (1); this is no SQL;",
        "CREATE TABLE half (x); DROP TABLE events; SELECT * FROM events;",
    ],
)
def test_file_that_fails_leaves_nothing_of_itself_and_those_before_it_stay(
    db: apsw.Connection, folder: Path, sql: str
) -> None:
    add(folder, "CREATE TABLE whole (x);")
    add(folder, sql)
    with pytest.raises(apsw.SQLError):
        migrate(db, folder)
    assert not db.in_transaction
    assert version(db) == len(known()) + 1
    names = {name for _, name, *_ in db.execute(SCHEMA)}
    assert (names & {"whole", "half", "events"}) == {"whole", "events"}
    (folder / f"{len(known()) + 2:03}_more.sql").write_text("CREATE TABLE half (x);")
    assert [migration.version for migration in migrate(db, folder)] == [len(known()) + 2]


@pytest.mark.parametrize("number", [1, 2, 99])
def test_files_with_a_hole_or_a_number_twice_are_refused(db: apsw.Connection, folder: Path, number: int) -> None:
    add(folder, "CREATE TABLE more (x);", number)
    with pytest.raises(DatabaseError, match="the migration files of this installation are incomplete"):
        migrate(db, folder)
    assert list(db.execute(SCHEMA)) == []


def test_installation_without_files_is_refused(db: apsw.Connection, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(DatabaseError, match="incomplete"):
        migrate(db, tmp_path / "none")


def test_reader_in_the_middle_of_an_answer_is_not_disturbed(db: apsw.Connection, path: Path, folder: Path) -> None:
    migrate(db)
    db.execute("INSERT INTO events (type, origin, salvaged) VALUES ('a', 'x', 0), ('b', 'x', 0), ('c', 'x', 0)")
    add(folder, "ALTER TABLE events ADD COLUMN more TEXT; UPDATE events SET more = type; DROP TABLE sessions;")
    with closing(open_reader(path)) as reader:
        rows = reader.execute("SELECT * FROM events ORDER BY id")
        first = next(rows)
        migrate(db, folder)
        assert [row[3] for row in (first, *rows)] == ["a", "b", "c"]
        assert list(reader.execute("SELECT more FROM events ORDER BY id")) == [("a",), ("b",), ("c",)]
        assert version(reader) == len(known()) + 1


def test_what_a_program_killed_in_the_middle_left_is_finished_by_the_next(
    db: apsw.Connection, path: Path, folder: Path
) -> None:
    migrate(db)
    add(folder, "CREATE TABLE more (x);")
    db.execute("BEGIN IMMEDIATE; CREATE TABLE more (x); INSERT INTO more VALUES (1)")
    db.close()  # as the end of the process does: nothing was committed
    with closing(open_writer(path)) as again:
        assert [migration.version for migration in migrate(again, folder)] == [len(known()) + 1]
        assert again.execute("SELECT count(*) FROM more").get == 0
