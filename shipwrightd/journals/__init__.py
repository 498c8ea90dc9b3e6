"""The files that are read: adding one is one entry here, its mapping to rows, and a migration if it needs a table.

Documents (JSON that is replaced whole) are declared in documents.DOCUMENTS,
journals (JSON lines that are appended) below. Paths are relative to the home.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.decoding.events import JOURNAL, TEAM

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.decoding.events import Origin


@dataclass(frozen=True, slots=True)
class JournalSource:
    """An append-only file, the names it is rotated to (newest first), and how its lines become rows."""

    name: str
    origin: Origin
    siblings: tuple[str, ...] = ()
    projected: bool = False  # its events are runs of this machine

    def files(self, home: Path) -> list[Path]:
        """Return all its paths, the oldest sibling first and the file itself last."""
        return [home / name for name in (*reversed(self.siblings), self.name)]


JOURNALS = (
    JournalSource(
        "events.jsonl",
        JOURNAL,
        siblings=("events.jsonl.1", "events.jsonl.2", "events.jsonl.3"),
        projected=True,
    ),
    JournalSource("team-events.jsonl", TEAM),
)
