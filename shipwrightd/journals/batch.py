"""Collects the rows, quarantined bytes and gaps of one transaction and updates projections and totals.

Made inside the transaction and finished before it commits; nothing of it outlives a rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.journals import store
from shipwrightd.projections import Batch, project_batch, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.decoding import EventRow, Quarantined
    from shipwrightd.journals import JournalSource


class BatchWriter:
    """Writes one transaction of one source."""

    def __init__(self, db: apsw.Connection, source: JournalSource, now: Now) -> None:
        self._db = db
        self._source = source
        self._now = now
        self._next_id = store.last_id(db) + 1
        self._batch = Batch(self._next_id, self._next_id - 1)
        self.counts = store.Counts()

    def add_rows(self, rows: Sequence[EventRow], salvaged: int) -> None:
        """Store rows in order."""
        store.add_events(self._db, rows, self._next_id)
        self._batch.add(rows, self._next_id)
        self._next_id += len(rows)
        self.counts.records += len(rows)
        self.counts.salvaged += salvaged

    def quarantine(self, generation: int | None, rejected: Sequence[Quarantined]) -> None:
        """Keep bytes that could not become rows."""
        if rejected:
            store.add_quarantine(self._db, self._source.name, generation, rejected, self._now.text)
            self.counts.quarantined += len(rejected)

    def gap(self, reason: str, detail: dict[str, int]) -> None:
        """Record that a stretch passed unseen."""
        store.add_gap(self._db, self._source.name, reason, detail, self._now.text)
        self.counts.gaps += 1

    def finish(self, generation: int | None = None) -> None:
        """Update projections and totals; `generation` is the new current one, if any."""
        self.counts.newest_epoch = self._batch.newest_epoch
        dropped = self.counts.records and store.drop_imported_twins(self._db, self._batch.first_id, self._batch.last_id)
        if dropped and self._source.projected:
            rebuild(self._db)
        elif self.counts.records and self._source.projected:
            project_batch(self._db, self._batch)
        store.move_checkpoint(self._db, self._source.name, generation, self.counts, self._now.text)
