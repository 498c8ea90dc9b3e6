"""Does the database say what a document says, both ways? Reads only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.documents.json_text import DocumentError
from shipwrightd.documents.kinds import changes, parse_document, without_document
from shipwrightd.documents.parts import Bad
from shipwrightd.documents.statements import KEYED_TABLES, LIST_TABLES
from shipwrightd.documents.store import load_keyed

if TYPE_CHECKING:
    import apsw

    from shipwrightd.documents.parts import Keyed, List


def verify_document(db: apsw.Connection, path: str, raw: bytes | None) -> list[str]:
    """Return in what the tables and a document differ; `raw` is None when it is gone.

    Keyed entries that are present must be the document's, value by value. A list must be
    the last rows of its table in order, because what fell off its head stays. A list that was
    edited by hand differs until its cap has moved past the edit.
    """
    try:
        parsed = without_document(path) if raw is None else parse_document(path, raw)
    except DocumentError as error:
        return [f"{path}: {error}"]
    found = [line for part in parsed.lists for line in verify_list(db, part)]
    found += [line for keyed in parsed.keyed for line in verify_keyed(db, keyed)]
    return [f"{path}: {line}" for line in found]


def verify_list(db: apsw.Connection, part: List) -> list[str]:
    """Compare a list with the end of its table."""
    stored = list(db.execute(LIST_TABLES[part.scope.table].load, part.scope.values))
    wanted = [entry.row for entry in part.entries if not isinstance(entry.row, Bad)]
    if stored[len(stored) - len(wanted) :] == wanted:
        return []
    missing = (Counter(wanted) - Counter(stored)).total()
    if missing:
        return [f"{part.name}: {missing} of {len(wanted)} entries are not in the database"]
    return [f"{part.name}: all {len(wanted)} entries are in the database, but not as its last rows"]


def verify_keyed(db: apsw.Connection, keyed: Keyed) -> list[str]:
    """Compare keyed entries with the rows that are present."""
    plan = changes(load_keyed(db, keyed.scope), keyed.rows, KEYED_TABLES[keyed.scope.table].follow)
    where = " ".join((keyed.scope.table, *keyed.scope.values))
    says = (
        (len(plan.insert), "missing from the database"),
        (len(plan.update), "differ from the database"),
        (len(plan.gone), "are in the database only"),
    )
    return [f"{where}: {number} entries {text}" for number, text in says if number]
