"""Repair what is stored: records that verify finds missing, projections, quarantined bytes that decode now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd import clock, projections
from shipwrightd.daemon.catch_up import CatchUp
from shipwrightd.database import transaction
from shipwrightd.decoding.events import decode_lines
from shipwrightd.errors import path_errors
from shipwrightd.journals import JOURNALS, store
from shipwrightd.recovery import writer
from shipwrightd.recovery.rebuild import JournalRestore
from shipwrightd.recovery.store import create_staging

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

COUNTS = {
    "pipeline_runs": "SELECT count(*) FROM pipeline_runs",
    "pipeline_stages": "SELECT count(*) FROM pipeline_stages",
    "metrics": "SELECT count(*) FROM metrics",
}


def repair(home: Path, path: Path) -> tuple[int, int]:
    """Store what the files hold and the database lacks; return records and pieces in quarantine that were added.

    Reads new lines first, as backfill does. Rows that the database has too often stay. Raises LockedError while a
    daemon runs, MissingError, DatabaseError, PathError for a file that cannot be read, and ChangedError when a file is
    written over meanwhile.
    """
    records = pieces = 0
    with writer(path, home, "verify --repair") as db:
        CatchUp(db, home).poll_until_settled()
        create_staging(db)
        with transaction(db):
            for source in JOURNALS:
                restore = JournalRestore(db, source, intact=True, skip_torn=True)
                with path_errors(f"cannot read {source.name}", hint="fix that first"):
                    restore.run(home)
                last = store.last_event_id(db)
                store.drop_imported_twins(db, last - restore.counts.records + 1, last)
                store.move_checkpoint(db, source.name, None, restore.counts, clock.now().text)
                records, pieces = records + restore.counts.records, pieces + restore.counts.quarantined
            if records:
                projections.rebuild(db)
    return records, pieces


def rebuild(path: Path) -> dict[str, int]:
    """Derive runs, stages and metrics again; return their numbers of rows. Raises LockedError while a daemon runs."""
    with writer(path, None, "maintenance") as db:
        with transaction(db):
            projections.rebuild(db)
        return {table: db.execute(sql).get for table, sql in COUNTS.items()}


def retry_quarantine(path: Path, ids: list[int] | None) -> tuple[int, int]:
    """Decode quarantined bytes of journals again, all or those in `ids`; return (recovered, still in quarantine).

    Bytes that now decode become new events, and stay, marked as recovered. Raises LockedError while a daemon runs.
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
    batch = store.BatchWriter(db, source, clock.now())
    batch.add_rows(decoded.rows, decoded.salvaged)
    batch.finish()
    store.mark_recovered(db, number)
    return True
