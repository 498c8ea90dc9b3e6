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
from shipwrightd.maintenance.store import give_way
from shipwrightd.projections import Batch, project_batch, rebuild

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.decoding.rows import EventRow
    from shipwrightd.journals.records import Stream
    from shipwrightd.journals.sources import JournalSource


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
        gave_way = self.counts.records and give_way(self._db, self._batch.first_id, self._batch.last_id)
        if gave_way and self._source.projected:
            rebuild(self._db)
        elif self.counts.records and self._source.projected:
            project_batch(self._db, self._batch)
        store.move_checkpoint(self._db, self._source.name, generation, self.counts, self._now.text)
