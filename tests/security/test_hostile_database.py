"""A database from a stranger can be looked at: what is stored in it has no power over who opens it."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest
from hostile import answers
from process import places
from world import World

from shipwrightd.daemon import catch_up
from shipwrightd.database import open_reader, open_writer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ENDLESS = """
ALTER TABLE gaps RENAME TO kept;
CREATE VIEW gaps AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)
SELECT kept.* FROM n CROSS JOIN kept WHERE x < 0"""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a home whose database is good until a test changes it."""
    world = World(tmp_path)
    world.append(3)
    assert catch_up.backfill(world.home, world.db_path).errors == []
    return world


def change(path: Path, sql: str) -> None:
    """Change the database as its author could, who has no guards."""
    with closing(apsw.Connection(str(path))) as db:
        db.execute(sql)


@pytest.mark.parametrize("opened", [open_reader, open_writer])
def test_what_a_view_or_trigger_calls_has_no_effects(world: World, opened: Callable[[Path], apsw.Connection]) -> None:
    change(world.db_path, "CREATE VIEW v AS SELECT fts5(x'00') AS x; CREATE TABLE t (x DEFAULT (fts5(x'00')))")
    with closing(opened(world.db_path)) as db:
        with pytest.raises(apsw.SQLError, match="unsafe use"):
            db.execute("SELECT x FROM v").fetchall()
        for sql in ("SELECT load_extension('x')", "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema"):
            with pytest.raises((apsw.SQLError, apsw.ReadOnlyError, apsw.AuthError)):
                db.execute(sql).fetchall()
        assert db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, -1) == 1
        assert db.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, -1) == 0
        assert db.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1) == 0


def test_a_reader_runs_no_trigger_and_writes_nothing(world: World) -> None:
    change(world.db_path, "CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM events; END")
    before = world.db_path.read_bytes()
    with closing(open_reader(world.db_path)) as db:
        assert db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, -1) == 0
    told = answers([[*command.split(), *places(world)] for command in ("status", "report runs", "export", "verify")])
    assert [answer.code for answer in told] == [0, 0, 0, 0]
    assert world.db_path.read_bytes() == before


@pytest.mark.system
def test_a_view_without_end_in_place_of_a_table_can_be_interrupted(world: World) -> None:
    change(world.db_path, ENDLESS)
    command = [sys.executable, "-m", "shipwrightd", "export", "--table", "gaps", *places(world)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


@pytest.mark.system
def test_a_database_whose_tables_are_not_ours_ends_on_one_line(world: World) -> None:
    change(world.db_path, "DROP TABLE checkpoints; CREATE VIEW checkpoints AS SELECT fts5(x'00') AS source")
    for answer in answers([["status", *places(world)], ["report", "dora", *places(world)]]):
        assert (answer.code, answer.err.count("\n")) == (65, 1), answer
