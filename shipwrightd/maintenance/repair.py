"""Repair what is stored: records that verify finds missing, projections, quarantined bytes that decode now."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from shipwrightd import clock, projections
from shipwrightd.daemon.catch_up import CatchUp
from shipwrightd.database import transaction
from shipwrightd.decoding import row_hash
from shipwrightd.decoding.events import decode_lines
from shipwrightd.journals import JOURNALS, store
from shipwrightd.journals.lines import open_files
from shipwrightd.maintenance.verify import Stored, compare, stored_chunks, stored_up_to
from shipwrightd.recovery import writer

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from shipwrightd.journals import JournalSource


COUNTS = {
    "pipeline_runs": "SELECT count(*) FROM pipeline_runs",
    "pipeline_stages": "SELECT count(*) FROM pipeline_stages",
    "metrics": "SELECT count(*) FROM metrics",
}


def repair(home: Path, path: Path) -> tuple[int, int]:
    """Store what the files hold and the database lacks; return records and pieces in quarantine that were added.

    Reads new lines first, as backfill does. Rows that the database has too often stay. Raises LockedError while a
    daemon runs, MissingError, DatabaseError, and ChangedError when a file is written over meanwhile.
    """
    records = pieces = 0
    with writer(path, home, "verify --repair") as db:
        CatchUp(db, home).poll_until_settled()
        for source in JOURNALS:
            counts = _repair_journal(db, home, source)
            records, pieces = records + counts.records, pieces + counts.quarantined
    return records, pieces


def _repair_journal(db: apsw.Connection, home: Path, source: JournalSource) -> store.Counts:
    with ExitStack() as opened:
        files, _ = open_files(source.files(home))
        for fd in files.values():
            opened.callback(os.close, fd)
        remembered = store.generations(db, source.name)
        stored = [Stored(fd, stored_up_to(fd, remembered)) for fd in files.values()]
        lacking = compare(db, source, stored, store.last_event_id(db))
        with transaction(db):
            batch = store.BatchWriter(db, source, clock.now())
            for file in stored if lacking.missing or lacking.pieces else ():
                for chunk, rejected in stored_chunks(source, file):
                    for row in chunk.rows:
                        if lacking.missing.get(number := row_hash(row), 0) > 0:
                            lacking.missing[number] -= 1
                            batch.add_rows([row], row[10])
                    for piece in rejected:
                        if hash(piece.raw) in lacking.pieces:
                            lacking.pieces.remove(hash(piece.raw))
                            batch.quarantine(None, [piece])
            batch.finish()
            return batch.counts


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
    batch = store.BatchWriter(db, source, clock.now())
    batch.add_rows(decoded.rows, decoded.salvaged)
    batch.finish()
    store.mark_recovered(db, number)
    return True
