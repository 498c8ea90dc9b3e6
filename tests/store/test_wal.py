"""The write-ahead log stays short, whoever reads."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import apsw
import pytest

from shipwrightd.database import open_reader, open_writer
from shipwrightd.database.wal import MIB, PATIENCE_S, Log, patience

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILLER = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
INSERT INTO filler SELECT zeroblob(1048576) FROM n"""
LARGE = PATIENCE_S[0][0]


class Written:
    """A database whose log has grown: a reader keeps it from starting over."""

    def __init__(self, path: Path) -> None:
        self.db = open_writer(path)
        self.log = Log(self.db, path)
        self.waited = 0
        self.db.set_busy_handler(self._wait)
        self.db.execute("CREATE TABLE filler (bytes BLOB)")
        self.reader = open_reader(path)
        self.reader.execute("BEGIN")
        assert self.reader.execute("SELECT count(*) FROM filler").get == 0
        self.db.execute(FILLER)

    def _wait(self, tried: int) -> bool:
        self.waited += 1
        assert self.log.patience_s is not None
        return tried < 3

    def start_over(self) -> int:
        """Write one more row, as the next batch does, and return the size of the log's file then."""
        self.db.execute("INSERT INTO filler VALUES (1)")
        return self.log.size()


@pytest.fixture
def written(database: Path) -> Iterator[Written]:
    made = Written(database)
    with contextlib.closing(made.db), contextlib.closing(made.reader):
        yield made


def test_a_larger_log_is_worth_a_longer_wait() -> None:
    assert [patience(size) for size in (0, LARGE - 1, LARGE, 64 * MIB, 300 * MIB, 5_000 * MIB)] == [
        0.0,
        0.0,
        0.1,
        1.5,
        4.0,
        15.0,
    ]


def test_a_log_that_no_reader_needs_starts_over(written: Written) -> None:
    assert written.log.size() > LARGE
    written.reader.execute("COMMIT")

    written.log.keep_short(100.0)

    assert written.start_over() < LARGE


def test_a_reader_is_waited_for_and_then_left_in_peace(written: Written) -> None:
    written.log.keep_short(100.0)

    assert written.waited == 4
    assert written.log.patience_s is None
    assert written.reader.execute("SELECT count(*) FROM filler").get == 0, "it still sees what it began with"
    assert written.start_over() > LARGE, "writing goes on"


def test_waiting_takes_a_small_share_of_the_time(written: Written) -> None:
    written.log.keep_short(100.0)
    waited = written.waited

    written.log.keep_short(100.9)
    assert written.waited == waited

    written.log.keep_short(101.1)
    assert written.waited == waited + 4


def test_a_short_log_is_left_alone(database: Path) -> None:
    with contextlib.closing(open_writer(database)) as db, contextlib.closing(apsw.Connection(str(database))) as other:
        other.execute("BEGIN IMMEDIATE")

        Log(db, database).keep_short(100.0)
