"""Whether the database lacks what the journal holds already: a report then says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.status.lag import Stored, measure

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

ALLOWED_S = 10.0  # younger than that is what a daemon is just about to store
JOURNAL = "events.jsonl"
CHECKPOINT = """
SELECT g.device, g.inode, g.offset FROM checkpoints AS c LEFT JOIN generations AS g ON g.id = c.generation
WHERE c.source = ?"""


def behind(db: apsw.Connection, home: Path, now: float) -> int:
    """Return how many bytes of the journal have been unread for longer than they should; 0 where none can be told."""
    row = db.execute(CHECKPOINT, (JOURNAL,)).fetchone()
    stored = Stored(kind="journal") if row is None else Stored("journal", (row[0], row[1]), row[2] or 0)
    try:
        lag = measure(home / JOURNAL, stored, now)
    except OSError:
        return 0
    return lag.behind if lag.seconds > ALLOWED_S else 0
