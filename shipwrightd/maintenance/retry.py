"""Rebuilds the projections, and decodes quarantined bytes again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd import clock, projections
from shipwrightd.database.connection import transaction
from shipwrightd.decoding.events import decode_lines
from shipwrightd.journals import store
from shipwrightd.journals.batch import BatchWriter
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.recovery.open import writer

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

COUNTS = {
    "pipeline_runs": "SELECT count(*) FROM pipeline_runs",
    "pipeline_stages": "SELECT count(*) FROM pipeline_stages",
    "metrics": "SELECT count(*) FROM metrics",
}


def rebuild(path: Path) -> dict[str, int]:
    """Derive runs, stages and metrics again in one transaction; return the number of rows of each table.

    Raises LockedError while a daemon runs.
    """
    with writer(path, None, "maintenance") as db:
        with transaction(db):
            projections.rebuild(db)
        return {table: db.execute(sql).get for table, sql in COUNTS.items()}


def retry_quarantine(path: Path, ids: list[int] | None) -> tuple[int, int]:
    """Decode quarantined bytes of journals again, all or those in `ids`; return (recovered, still in quarantine).

    Bytes that now decode are stored as new events and marked as recovered, but
    not deleted. Raises LockedError while a daemon runs.
    """
    recovered = still = 0
    with writer(path, None, "maintenance") as db, transaction(db):
        for number, source, raw, length in store.kept_in_quarantine(db):
            if ids is not None and number not in ids:
                continue
            if len(raw) == length and _retry(db, number, source, raw):
                recovered += 1
            else:
                still += 1
    return recovered, still


def _retry(db: apsw.Connection, number: int, name: str, raw: bytes) -> bool:
    source = next((journal for journal in JOURNALS if journal.name == name), None)
    if source is None:
        return False
    decoded = decode_lines(raw.split(b"\n"), origin=source.origin, final=True)
    if not decoded.rows or decoded.rejected:
        return False
    batch = BatchWriter(db, source, clock.now())
    batch.add_rows(decoded.rows, decoded.salvaged)
    batch.finish()
    store.mark_recovered(db, number)
    return True
