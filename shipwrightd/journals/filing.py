"""What one transaction adds of a journal: rows, quarantine, gaps, and the totals they come to.

Made inside the transaction and finished before it commits; nothing of it outlives a rollback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.decoding.events import decode_lines
from shipwrightd.journals import store
from shipwrightd.journals.lines import read_at
from shipwrightd.journals.records import quarantined
from shipwrightd.journals.store import Counts, Quarantined
from shipwrightd.projections import Batch, project_batch, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.decoding.rows import EventRow
    from shipwrightd.journals.records import Stream
    from shipwrightd.journals.sources import JournalSource

HAS_IMPORTED = "SELECT coalesce(min(id), 1) <= 0 FROM events"
# Of the imported rows that equal events ?1 to ?2, just read from a file, as many as those are.
DROP_IMPORTED_TWINS = """
DELETE FROM events WHERE id IN (
    SELECT id FROM (
        SELECT id,
            row_number() OVER (
                PARTITION BY ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra,
                    id > 0
                ORDER BY id DESC) AS nth,
            count(*) FILTER (WHERE id > 0) OVER (
                PARTITION BY ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, extra)
                AS again
        FROM (
            SELECT * FROM events WHERE id BETWEEN ?1 AND ?2
            UNION ALL
            SELECT * FROM events
            WHERE id <= 0 AND ts_epoch IN (SELECT ts_epoch FROM events WHERE id BETWEEN ?1 AND ?2)
            UNION ALL
            SELECT * FROM events
            WHERE id <= 0 AND ts_epoch IS NULL
                AND EXISTS (SELECT 1 FROM events WHERE id BETWEEN ?1 AND ?2 AND +ts_epoch IS NULL)))
    WHERE id <= 0 AND nth <= again)"""


class Filing:
    """Collects what a transaction stores of one source."""

    def __init__(self, db: apsw.Connection, source: JournalSource, now: Now) -> None:
        self._db = db
        self._source = source
        self._now = now
        self._next_id = store.last_id(db) + 1
        self._batch = Batch(self._next_id, self._next_id - 1)
        self.counts = Counts()

    def add_rows(self, rows: Sequence[EventRow], salvaged: int) -> None:
        """Store rows in order."""
        store.add_events(self._db, rows, self._next_id)
        self._batch.add(rows, self._next_id)
        self._next_id += len(rows)
        self.counts.records += len(rows)
        self.counts.salvaged += salvaged

    def add_lines(self, lines: list[bytes], offset: int) -> None:
        """Store lines that stand outside the order of reading, near an offset."""
        decoded = decode_lines(lines, origin=self._source.origin, final=True)
        self.add_rows(decoded.rows, decoded.salvaged)
        self.quarantine(None, quarantined(decoded, lines, offset))

    def quarantine(self, generation: int | None, found: Sequence[Quarantined]) -> None:
        """Keep bytes that could not become rows."""
        if found:
            store.add_quarantine(self._db, self._source.name, generation, found, self._now.text)
            self.counts.quarantined += len(found)

    def rescue(self, old: Stream, new: Stream) -> None:
        """Store what was read of the old file and not decided, unless it stands in the new one."""
        left = old.leftover()
        if not left or read_at(new.fd, len(left), new.position.offset) == left:
            return
        whole, _, half = left.rpartition(b"\n")
        if whole:
            self.add_lines(whole.split(b"\n"), old.position.offset)
        if half.strip():
            offset = old.position.offset + len(left) - len(half)
            self.quarantine(old.generation, [Quarantined(offset, len(half), "unterminated", half)])

    def gap(self, reason: str, detail: dict[str, int]) -> None:
        """Record that a stretch passed unseen."""
        store.add_gap(self._db, self._source.name, reason, detail, self._now.text)
        self.counts.gaps += 1

    def finish(self, generation: int | None = None) -> None:
        """Bring projections and totals up to what was added; `generation` is the new current one, if any."""
        self.counts.newest_epoch = self._batch.newest_epoch
        dropped = self.counts.records and drop_imported_twins(self._db, self._batch.first_id, self._batch.last_id)
        if dropped and self._source.projected:
            rebuild(self._db)
        elif self.counts.records and self._source.projected:
            project_batch(self._db, self._batch)
        store.move_checkpoint(self._db, self._source.name, generation, self.counts, self._now.text)


def drop_imported_twins(db: apsw.Connection, first_id: int, last_id: int) -> int:
    """Delete imported rows that were now read from a file as well; return how many.

    Needed when a file comes back after its export, or a copy of it, was imported.
    """
    if not db.execute(HAS_IMPORTED).get:
        return 0
    db.execute(DROP_IMPORTED_TWINS, (first_id, last_id))
    return db.changes()
