"""Keeps the write-ahead log from growing without end while somebody always reads.

SQLite copies the log into the database by itself, but lets the log start over only in a moment in which nobody
reads from it. With readers that overlap there is no such moment, and the log grows for as long as they do. Here the
writer makes that moment: it waits, writing nothing, until those who read now are done, which leaves newcomers
with the database alone. It waits the longer the larger the log is, and seldom, so that a reader that takes minutes
costs a little delay and never stops the ingesting.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shipwrightd.database.connection import FOLLOW_WAL_PAGES, PAGE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

MIB = 1 << 20
# From this size of the log on, wait up to so many seconds for readers.
PATIENCE_S = ((4 * FOLLOW_WAL_PAGES * PAGE_BYTES, 0.1), (64 * MIB, 1.5), (256 * MIB, 4.0), (1024 * MIB, 15.0))
SHARE = 10  # of the time, at most a tenth is spent on waiting


class Log:
    """The write-ahead log of a database that this process writes."""

    def __init__(self, db: apsw.Connection, database: Path) -> None:
        self._db = db
        self._path = database.with_name(database.name + "-wal")
        self._not_before = 0.0  # monotonic seconds
        self.patience_s: float | None = None  # of the busy handler, while a wait for readers goes on

    def keep_short(self, now: float) -> None:
        """Have the log start over if it has grown; `now` is in monotonic seconds. Raises what SQLite raises."""
        if now < self._not_before:
            return
        patience_s = patience(self.size())
        if not patience_s:
            return
        self.patience_s = patience_s
        try:
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()[0]
        finally:
            self.patience_s = None
        self._not_before = now + (SHARE * patience_s if busy else 0.0)

    def size(self) -> int:
        """Return the bytes of the log's file, 0 when there is none."""
        try:
            return os.stat(self._path).st_size  # noqa: PTH116 - asked after each batch
        except OSError:
            return 0


def patience(size: int) -> float:
    """Return how many seconds a log of so many bytes is worth waiting for readers; 0: none."""
    return max((wait_s for least, wait_s in PATIENCE_S if size >= least), default=0.0)
