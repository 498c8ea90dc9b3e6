"""Backups: of one moment, checked before they have their name, and a database to go on from."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import apsw
import pytest
from projection import Books, event
from world import Daemon, Follower, World, doubles
from world import eventually as holds

from shipwrightd.database import open_reader
from shipwrightd.errors import DatabaseError, MissingError, PathError
from shipwrightd.export import backup
from shipwrightd.export.backup import back_up
from shipwrightd.export.files import destination

if TYPE_CHECKING:
    from pathlib import Path

COUNT = "SELECT count(*) FROM events"
LAST_TABLE = "SELECT rootpage FROM sqlite_schema WHERE name = 'events_type_epoch'"


def restore(world: World, copy: Path) -> None:
    """Put a backup in the place of a lost database."""
    for path in world.db_path.parent.glob("*"):
        path.unlink()
    shutil.copy(copy, world.db_path)


def test_backup_is_one_private_file_with_all_rows(books: Books, database: Path, tmp_path: Path) -> None:
    books.events(event("x", 0), event("x", 60))
    done = back_up(database, tmp_path / "copy.db", force=False)
    copy = open_reader(tmp_path / "copy.db")

    assert (done.events, done.schema) == (2, copy.execute("SELECT max(version) FROM schema_version").get)
    assert copy.execute("SELECT * FROM events").fetchall() == books.rows("SELECT * FROM events")
    copy.close()
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_nothing_but_the_copy_is_left_beside_it(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    back_up(database, folder / "copy.db", force=False)

    assert [path.name for path in folder.iterdir()] == ["copy.db"]


def test_rows_that_come_meanwhile_are_all_or_none_of_a_batch_in_it(
    books: Books, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy goes on page by page while others commit; it is one of the states in between."""
    monkeypatch.setattr(backup, "STEP_PAGES", 1)
    ended = threading.Event()

    def commit_more() -> None:
        other = Books(database)
        while not ended.is_set():
            other.events(*(event("x", at) for at in range(50)))
        other.db.close()

    books.events(*(event("x", at) for at in range(2_000)))
    writer = threading.Thread(target=commit_more)
    writer.start()
    before = books.rows(COUNT)[0]
    done = back_up(database, tmp_path / "copy.db", force=False)
    after = books.rows(COUNT)[0]
    ended.set()
    writer.join()
    copy = open_reader(tmp_path / "copy.db")

    assert before <= done.events == copy.execute(COUNT).get < after
    assert done.events % 50 == 0
    copy.close()


def test_database_restored_from_a_backup_goes_on_with_each_record_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(100)
    follower = Follower(world)
    follower.look()
    world.append(50)
    follower.look()
    back_up(world.db_path, tmp_path / "copy.db", force=False)
    world.append(50)
    follower.look()
    world.trim(150, late=3)
    world.append(20)
    follower.close()
    restore(world, tmp_path / "copy.db")

    again = Follower(world)
    again.settle()
    again.close()
    stored = world.stored()
    assert doubles(stored) == []
    assert sorted(set(stored) | {201, 202, 203}) == list(range(1, world.written + 1))


@pytest.mark.system
def test_backup_beside_a_writing_daemon_is_whole_and_can_be_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.append(3_000)
    with Daemon(world) as daemon:
        holds(lambda: world.count() >= 3_000)
        for number in range(5):
            world.append(500)
            done = back_up(world.db_path, tmp_path / "copy.db", force=number > 0)
            assert 3_000 <= done.events <= world.written
        daemon.kill()
    world.rotate()
    world.append(10)
    restore(world, tmp_path / "copy.db")
    with Daemon(world) as daemon:
        holds(lambda: world.count() >= world.written)
        assert daemon.stop() == 0
    assert world.stored() == list(range(1, world.written + 1))
    assert world.query("PRAGMA integrity_check") == [("ok",)]


def test_copy_of_a_damaged_database_is_refused_and_not_kept(database: Path, tmp_path: Path) -> None:
    books = Books(database)
    books.events(*(event("x", at) for at in range(200)))
    page = books.db.execute(LAST_TABLE).get
    books.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    books.db.close()
    with database.open("r+b") as file:
        file.seek((page - 1) * 8_192 + 100)
        file.write(b"\xff" * 4_000)

    with pytest.raises(DatabaseError, match="fails its check"):
        back_up(database, tmp_path / "copy.db", force=False)
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


def test_copy_that_does_not_hold_the_same_is_refused(books: Books, database: Path, tmp_path: Path) -> None:
    books.events(event("x", 0))
    done = back_up(database, tmp_path / "copy.db", force=False)

    backup.check(tmp_path / "copy.db", done, database)
    for other in (
        replace(done, events=2),
        replace(done, checkpoints=1),
        replace(done, schema=1),
    ):
        with pytest.raises(DatabaseError, match="content differs from the database"):
            backup.check(tmp_path / "copy.db", other, database)


def test_database_without_tables_has_nothing_to_back_up(tmp_path: Path) -> None:
    with apsw.Connection(str(tmp_path / "e.db")) as db:
        db.execute("PRAGMA application_id = 0x53575244")
    db.close()

    with pytest.raises(MissingError, match="no shipwrightd tables"):
        back_up(tmp_path / "e.db", tmp_path / "copy.db", force=False)


# -- where a file may go


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal", ".lock"])
@pytest.mark.parametrize("way", ["name", "symlink", "hard link"])
def test_files_of_the_database_in_use_are_never_replaced(database: Path, tmp_path: Path, end: str, way: str) -> None:
    file = database.with_name(database.name + end)
    file.touch()
    target = file if way == "name" else tmp_path / "other"
    if way == "symlink":
        target.symlink_to(file)
    elif way == "hard link":
        os.link(file, target)

    with pytest.raises(PathError, match="belongs to the database in use"):
        destination(str(target), force=True, home=tmp_path / "home", database=database)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder", "is a folder"),
        ("there", "exists - --force replaces it"),
        ("pipe", "is not a regular file"),
        ("home/events.jsonl", "is among Shipwright's files"),
        ("home/new", "is among Shipwright's files"),
        ("new/", "is not a folder"),
        ("there/new", "Not a directory"),
    ],
)
def test_place_where_no_file_may_go_is_refused(tmp_path: Path, database: Path, name: str, said: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "there").touch()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(PathError) as refused:
        destination(f"{tmp_path}/{name}", force=False, home=tmp_path / "home", database=database)
    assert said in str(refused.value)


def test_folder_of_our_own_in_the_home_may_take_a_file(tmp_path: Path, database: Path) -> None:
    target = database.with_name("copy.db")

    assert destination(str(target), force=False, home=tmp_path / "home", database=database) == target.resolve()


def test_link_is_followed_to_the_file_it_names(tmp_path: Path, database: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real.db")

    named = destination(str(tmp_path / "link"), force=False, home=tmp_path / "home", database=database)
    assert named == (tmp_path / "real.db").resolve()
