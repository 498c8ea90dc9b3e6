"""Appended lists of documents after damage: rows that the document still holds give way, and come from it anew.

A list is stored in its order behind what fell off it. Where rows or what was
remembered of the list are lost, that order can only be had by taking the
list anew, and what it says must not count twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd import clock
from shipwrightd.decoding.values import DocumentError
from shipwrightd.documents.fields import Bad
from shipwrightd.documents.follow import Documents
from shipwrightd.documents.kinds import kind_of, parse_document
from shipwrightd.documents.snapshot import Document, Torn, read_document
from shipwrightd.documents.statements import LIST_TABLES
from shipwrightd.documents.store import ingest_document
from shipwrightd.recovery import store
from shipwrightd.recovery.align import NONE, pair_up
from shipwrightd.recovery.old_lines import ChangedError

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from shipwrightd.documents.fields import List, Parsed
    from shipwrightd.recovery.tables import Salvaged


SOURCES = {  # of the lists, where there are several: their folder
    "cost_entries": "costs.json",
    "cost_outcomes": "cost-outcomes.json",
    "daemon_completed": "daemon-state.json",
    "daemon_failures": "daemon-state.json",
    "memory_entries": "memory",
}


def take_anew(db: apsw.Connection, home: Path, salvaged: Salvaged) -> int:
    """Take the lists anew whose rows were lost; return how many are gone, as far as it can be told.

    Expects the caller's transaction.

    Raises OSError, and ChangedError when one changes meanwhile.
    """
    store.set_stale(db)
    if salvaged.is_whole({*LIST_TABLES, "checkpoints"}):
        return 0
    now = clock.now().text
    for name in Documents(home).names(db):
        kind = kind_of(name)
        if kind is None or not kind.lists:
            continue
        seen = read_document(home / name, None, now_ns=0)
        if isinstance(seen, Torn):
            raise ChangedError
        if not isinstance(seen, Document):
            continue
        try:
            parsed = parse_document(name, seen.raw)
        except DocumentError:
            continue  # torn, or broken for good: what is stored of it stays
        tables = {part.scope.table for part in parsed.lists}
        if tables and not salvaged.is_whole({*tables, "checkpoints"}):
            _drop(db, name, parsed)
            ingest_document(db, name, seen.raw, now=now)
    lost = 0
    for table in LIST_TABLES:
        if not salvaged.is_whole({table}) and (gone := store.lost_rows(db, table)):
            store.add_row_gap(db, SOURCES[table], table, gone, now)
            lost += gone
    return lost


def _drop(db: apsw.Connection, name: str, parsed: Parsed) -> None:
    rows = [(part.scope.table, number) for part in parsed.lists for number in _stored(db, part)]
    store.drop_list(db, name, rows)
    bad = [entry.row for part in parsed.lists for entry in part.entries if isinstance(entry.row, Bad)]
    store.drop_quarantined(db, name, [piece.raw for piece in (*bad, *parsed.bad)])


def _stored(db: apsw.Connection, part: List) -> list[int]:
    """Return the ids of the rows that the entries of a list became."""
    table = part.scope.table
    rows = list(db.execute(LIST_TABLES[table].load, part.scope.values))
    ids = [number for (number,) in db.execute(store.LIST_IDS[table], part.scope.values)]
    entries = [entry.row for entry in part.entries if not isinstance(entry.row, Bad)]
    marks: dict[object, int] = {}
    stored = [marks.setdefault(row, len(marks)) for row in rows]
    found = [marks.setdefault(row, len(marks)) for row in entries]
    return [ids[i] for i in pair_up(stored, found) if i != NONE]
