"""docs/file-formats.md names every source, and puts each field where the parsers put it."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from shipwrightd.database.migrate import migrate
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.journals import JOURNALS

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "file-formats.md").read_text()
SECTIONS = dict(re.findall(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
OURS = {"id", "extra", "present", "origin", "salvaged", "event_id", "kind", "entry_type", "repo_hash", "frequency_base"}


@pytest.fixture(scope="module")
def columns() -> dict[str, set[str]]:
    """Return the columns of each table of a fresh database."""
    db = apsw.Connection(":memory:")
    migrate(db)
    rows = db.execute("SELECT t.name, c.name FROM pragma_table_list AS t, pragma_table_info(t.name) AS c").fetchall()
    db.close()
    found: dict[str, set[str]] = {}
    for table, column in rows:
        found.setdefault(str(table), set()).add(str(column))
    return found


def told() -> dict[str, set[str]]:
    """Return the columns that the document tells of each table."""
    found: dict[str, set[str]] = {}
    for part in SECTIONS.values():
        table = ""
        for line in part.splitlines():
            if named := re.findall(r"\*\*(\w+_\w+|events|budgets|sessions|heartbeats)\*\*", line):
                table = table if table == "events" else named[0]
            elif line.startswith("| ") and not line.startswith("| field"):
                found.setdefault(table or "memory_entries", set()).update(re.findall(r"`(\w+)`", line.split("|")[2]))
    return found


def test_every_source_has_its_section() -> None:
    assert set(SECTIONS) == {kind.pattern for kind in DOCUMENTS} | {journal.name for journal in JOURNALS}
    for journal in JOURNALS:
        for sibling in journal.siblings:
            assert sibling.removeprefix(journal.name) in SECTIONS[journal.name]


def test_every_column_that_a_file_fills_is_told_and_none_else(columns: dict[str, set[str]]) -> None:
    for table, named in told().items():
        assert named == columns[table] - OURS, table


def test_every_table_of_a_document_is_told() -> None:
    tables = {part.table for kind in DOCUMENTS for part in kind.parts}
    assert tables | {"events"} == set(told())


def test_caps_are_those_of_the_parsers() -> None:
    caps = {part.name: part.cap for kind in DOCUMENTS for part in kind.parts if part.cap}
    assert f"`outcomes` (the same in all objects, capped at {caps.pop('outcomes')})" in TEXT
    for name, cap in caps.items():
        assert f"`{name}`, capped at {cap:,}" in TEXT


def test_fields_are_those_that_the_parsers_take() -> None:
    code = (ROOT / "shipwrightd" / "documents" / "kinds.py").read_text()
    taken = set(re.findall(r'(\w+)(?:=|": )f\.(?:bare_text|text|number|flag|issue|json|seconds)\b', code))
    named = set(re.findall(r"`(\w+)`", TEXT))
    assert "last_heartbeat" in taken
    assert taken - named == set()
