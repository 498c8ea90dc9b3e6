"""The database file: who may read it, who may write it, and what a transaction leaves."""

from __future__ import annotations

import os
import stat
import struct
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from shipwrightd import database
from shipwrightd.database import APPLICATION_ID, open_builder, open_reader, open_writer, seal, transaction
from shipwrightd.database.lock import WriterLock, lock_is_held, lock_path, read_holder
from shipwrightd.errors import DatabaseError, LockedError, MissingError, PathError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Eventually

HOLDER = """
import sys
from pathlib import Path
from shipwrightd.database.lock import WriterLock
lock = WriterLock(Path(sys.argv[1]))
lock.acquire({"pid": 4711})
print("held", flush=True)
sys.stdin.read()
"""

ASKER = """
import sys
from pathlib import Path
from shipwrightd.database.lock import lock_is_held
print("asking", flush=True)
while True:
    lock_is_held(Path(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "shipwright.db"


@pytest.fixture
def db(path: Path) -> Iterator[apsw.Connection]:
    with closing(open_writer(path)) as db:
        db.execute("CREATE TABLE t (x INTEGER PRIMARY KEY)")
        yield db


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def holder(lock: Path) -> subprocess.Popen[str]:
    """Start a process that holds the lock until its standard input ends."""
    command = [sys.executable, "-c", HOLDER, str(lock)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


# -- the files


@pytest.mark.usefixtures("no_umask")
def test_folder_database_and_all_beside_it_are_their_owners_alone(path: Path) -> None:
    lock = WriterLock(lock_path(path))
    with closing(open_writer(path)) as db:
        lock.acquire({})
        db.execute("CREATE TABLE t (x)")
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == [f"shipwright.db{end}" for end in ("", "-shm", "-wal", ".lock")]
        assert {mode(file) for file in files} == {0o600}
        assert mode(path.parent) == 0o700
        lock.release()


@pytest.mark.parametrize("content", [b"", None])
def test_database_others_could_read_is_made_private(path: Path, content: bytes | None) -> None:
    if content is None:
        open_writer(path).close()
    else:
        path.parent.mkdir()
        path.write_bytes(content)
    path.chmod(0o644)
    with closing(open_writer(path)) as db:
        db.execute("CREATE TABLE t (x)")
        assert mode(path) == 0o600


def test_the_settings_of_the_file_and_of_the_connection_are_those_promised(db: apsw.Connection) -> None:
    names = ("application_id", "page_size", "journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    found = {name: db.pragma(name) for name in names}
    assert found == {
        "application_id": APPLICATION_ID,
        "page_size": 8192,
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 5000,
    }


def test_a_database_whose_making_was_interrupted_is_made_again(path: Path) -> None:
    """By a kill between its first write and the end of that transaction: SQLite undoes it, and leaves nothing."""
    database.open_writer(path).close()
    journal = struct.pack(">8s5I", bytes.fromhex("d9d505f920a163d7"), 0, 1, 0, 512, database.PAGE_BYTES)
    path.with_name(path.name + "-journal").write_bytes(journal.ljust(512, b"\0"))
    with closing(database.open_writer(path)) as db:
        assert db.execute("PRAGMA application_id").get == APPLICATION_ID
        assert db.execute("PRAGMA page_size").get == database.PAGE_BYTES


def test_what_is_durable_is_committed_whatever_becomes_of_the_setting(db: apsw.Connection) -> None:
    def fail(_cursor: object, sql: str, _values: object) -> bool:
        if sql == "PRAGMA synchronous = NORMAL":
            raise apsw.IOError
        return True

    db.execute("CREATE TABLE kept (id INTEGER)")
    db.exec_trace = fail
    with database.durable(db), transaction(db):
        db.execute("INSERT INTO kept VALUES (1)")
    db.exec_trace = None
    assert db.execute("SELECT count(*) FROM kept").get == 1


def test_the_folder_may_not_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PathError, match="cannot create the folder"):
        open_writer(tmp_path / "file" / "shipwright.db")


def foreign(path: Path, kind: str) -> None:
    """Make a file that is not ours."""
    path.parent.mkdir(exist_ok=True)
    if kind == "text":
        path.write_bytes(b"somebody's notes\n" * 100)
    elif kind == "short":
        path.write_bytes(b"SQLite format 3\0")
    else:
        with closing(apsw.Connection(str(path))) as db:
            db.execute("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
            if kind == "wal":
                db.execute("PRAGMA journal_mode = WAL")


@pytest.mark.parametrize("kind", ["text", "short", "rollback", "wal"])
def test_file_of_somebody_else_is_refused_by_reader_and_writer_and_stays_as_it_is(path: Path, kind: str) -> None:
    foreign(path, kind)
    before = path.read_bytes(), path.stat().st_mtime_ns, mode(path)
    for opened in (open_writer, open_reader):
        with pytest.raises(DatabaseError, match="is not a shipwrightd database"):
            opened(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns, mode(path)) == before
    assert list(path.parent.iterdir()) == [path]


def test_which_file_stands_at_a_path_is_told_through_replacement_and_absence(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.touch()
    other.touch()
    before = database.identity(one)
    assert before == database.identity(one) != database.identity(other)
    other.rename(one)
    assert before != database.identity(one)
    assert database.identity(other) is None
    assert database.identity(one / "below") is None


# -- reading


def test_reader_makes_nothing(path: Path) -> None:
    with pytest.raises(MissingError, match="no database at"):
        open_reader(path)
    assert not path.parent.exists()


@pytest.mark.parametrize(
    "sql", ["INSERT INTO t VALUES (2)", "DELETE FROM t", "CREATE TABLE u (x)", "PRAGMA user_version = 3", "VACUUM"]
)
def test_reader_can_write_by_no_way(db: apsw.Connection, path: Path, sql: str) -> None:
    db.execute("INSERT INTO t VALUES (1)")
    with closing(open_reader(path)) as reader:
        with pytest.raises(apsw.ReadOnlyError):
            reader.execute(sql)
        reader.execute("PRAGMA query_only = OFF")  # the file itself is open for reading only
        with pytest.raises(apsw.ReadOnlyError):
            reader.execute(sql)
        assert list(reader.execute("SELECT x FROM t")) == [(1,)]


def test_readers_neither_wait_for_a_writer_nor_see_what_it_has_not_committed(db: apsw.Connection, path: Path) -> None:
    db.execute("INSERT INTO t VALUES (1)")
    with closing(open_reader(path)) as reader:
        with transaction(db):
            db.execute("INSERT INTO t VALUES (2)")
            began = time.monotonic()
            assert list(reader.execute("SELECT x FROM t")) == [(1,)]
            assert time.monotonic() - began < 1
        assert list(reader.execute("SELECT x FROM t")) == [(1,), (2,)]


# -- transactions


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_transaction_that_is_left_by_an_exception_leaves_nothing(
    db: apsw.Connection, error: type[BaseException]
) -> None:
    with pytest.raises(error), transaction(db):  # noqa: PT012 - what came before the exception is the point
        db.execute("INSERT INTO t VALUES (1)")
        raise error
    assert not db.in_transaction
    assert db.execute("SELECT count(*) FROM t").get == 0
    with transaction(db):
        db.execute("INSERT INTO t VALUES (1)")
    assert db.execute("SELECT count(*) FROM t").get == 1


def test_commit_that_fails_leaves_nothing_and_no_open_transaction(db: apsw.Connection) -> None:
    db.execute("CREATE TABLE child (x REFERENCES t DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(apsw.ConstraintError), transaction(db):
        db.execute("INSERT INTO child VALUES (99)")
    assert not db.in_transaction
    assert db.execute("SELECT count(*) FROM child").get == 0


def test_transaction_that_sqlite_ended_itself_raises_what_ended_it(db: apsw.Connection) -> None:
    with pytest.raises(apsw.ConstraintError), transaction(db):  # noqa: PT012 - likewise
        db.execute("INSERT INTO t VALUES (1)")
        db.execute("INSERT OR ROLLBACK INTO t VALUES (1)")
    assert not db.in_transaction
    assert db.execute("SELECT count(*) FROM t").get == 0


def test_second_writer_waits_for_the_first_and_then_gives_up(db: apsw.Connection, path: Path) -> None:
    with closing(open_writer(path)) as second:
        second.set_busy_timeout(50)
        with transaction(db):
            with pytest.raises(apsw.BusyError), transaction(second):
                pass
            assert not second.in_transaction
        with transaction(second):
            second.execute("INSERT INTO t VALUES (1)")


# -- the lock


def test_lock_lets_one_in_and_tells_the_other_who_it_is(path: Path) -> None:
    database.prepare_folder(path)
    first, second = WriterLock(lock_path(path)), WriterLock(lock_path(path))
    first.acquire({"pid": 4711, "command": "run"})
    assert lock_is_held(lock_path(path))
    with pytest.raises(LockedError, match=r"another shipwrightd is ingesting \(pid 4711\)"):
        second.acquire({"pid": 1})
    assert read_holder(lock_path(path)) == {"pid": 4711, "command": "run"}
    first.release()
    assert not lock_is_held(lock_path(path))
    assert read_holder(lock_path(path)) == {}
    second.acquire({"pid": 1})
    second.release()
    second.release()


def test_lock_of_another_process_holds_until_that_ends_however_it_ends(path: Path) -> None:
    database.prepare_folder(path)
    lock = WriterLock(lock_path(path))
    with holder(lock_path(path)) as process:
        assert lock_is_held(lock_path(path))
        with pytest.raises(LockedError, match="4711"):
            lock.acquire({})
        process.kill()
    assert read_holder(lock_path(path)) == {"pid": 4711}
    assert not lock_is_held(lock_path(path))
    lock.acquire({"pid": 1})
    lock.release()


def test_asking_whether_it_is_held_keeps_nobody_out(path: Path) -> None:
    database.prepare_folder(path)
    lock_path(path).touch()
    lock = WriterLock(lock_path(path))
    with subprocess.Popen([sys.executable, "-c", ASKER, str(lock_path(path))], stdout=subprocess.PIPE) as asker:
        assert asker.stdout is not None
        assert asker.stdout.readline() == b"asking\n"
        for _ in range(200):
            lock.acquire({})
            lock.release()
        assert asker.poll() is None
        asker.kill()


def test_lock_that_is_a_symlink_is_refused(path: Path) -> None:
    database.prepare_folder(path)
    target = path.with_name("target")
    target.write_text("precious")
    lock_path(path).symlink_to(target)
    with pytest.raises(PathError, match="is a symbolic link"):
        WriterLock(lock_path(path)).acquire({})
    assert target.read_text() == "precious"
    assert not lock_is_held(lock_path(path))


def test_no_child_process_inherits_the_lock(path: Path, eventually: Eventually) -> None:
    database.prepare_folder(path)
    lock = WriterLock(lock_path(path))
    lock.acquire({})
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        lock.release()
        eventually(lambda: not lock_is_held(lock_path(path)))  # exec wakes us before it has closed all
        assert child.poll() is None
        child.communicate(b"\n")


def test_a_builder_keeps_no_log_until_it_is_sealed(tmp_path: Path) -> None:
    """A log would be as large as the database, and slow."""
    db = open_builder(tmp_path / "new.db")
    assert db.execute("PRAGMA journal_mode").get == "off"
    db.execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
    seal(db)
    assert db.execute("PRAGMA journal_mode").get == "wal"
    db.close()
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]
