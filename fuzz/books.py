"""A migrated database in memory, the same for each input: what an input writes is taken back."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def _database() -> apsw.Connection:
    db = apsw.Connection(":memory:")
    migrate(db)
    return db


@contextmanager
def taken_back() -> Iterator[apsw.Connection]:
    """Give an empty database in a transaction that does not commit."""
    db = _database()
    db.execute("BEGIN")
    try:
        yield db
    finally:
        db.execute("ROLLBACK")
