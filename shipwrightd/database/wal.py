"""Keep the write-ahead log from growing without bound while there is always a reader.

SQLite copies the log into the database automatically, but the log restarts only while nobody reads from it. With
overlapping readers that never happens, and the log grows. So the writer waits, without writing, until the current
readers are done; new readers then read from the database alone. The larger the log, the longer it waits, and it
waits rarely, so a reader that takes minutes delays ingestion a little and never stops it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shipwrightd.database import FOLLOW_WAL_PAGES, PAGE_BYTES

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

MIB = 1 << 20
# (least size of the log in bytes, seconds to wait for readers)
PATIENCE_S = ((4 * FOLLOW_WAL_PAGES * PAGE_BYTES, 0.1), (64 * MIB, 1.5), (256 * MIB, 4.0), (1024 * MIB, 15.0))
SHARE = 10  # at most a tenth of the time is spent waiting


class Log:
    """The write-ahead log of a database that this process writes."""

    def __init__(self, db: apsw.Connection, database: Path) -> None:
        self._db = db
        self._path = database.with_name(database.name + "-wal")
        self._not_before = 0.0  # monotonic seconds
        self.patience_s: float | None = None  # time-out of the busy handler during a wait for readers

    def keep_short(self, now: float) -> None:
        """Restart the log if it has grown; `now` is in monotonic seconds. Raises apsw errors."""
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
        """Return the size of the log in bytes, 0 if there is none."""
        try:
            return os.stat(self._path).st_size  # noqa: PTH116 - called after each batch
        except OSError:
            return 0


def patience(size: int) -> float:
    """Return how many seconds to wait for readers, given the size of the log in bytes."""
    return max((wait_s for least, wait_s in PATIENCE_S if size >= least), default=0.0)
