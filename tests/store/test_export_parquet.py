"""Parquet: typed columns, every value of every row, groups of bounded size."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from projection import Books, completed, event, started

from shipwrightd.database import open_reader
from shipwrightd.export import TABLES, Wish, columns, pour

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

ADD_PIECE = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at) VALUES ('s', ?, 3, 'not_json', ?, 'now')"""
ADD_ENTRY = "INSERT INTO cost_entries (input_tokens, model, cost_usd, ts_epoch, origin) VALUES (?, ?, ?, ?, 'x')"


@pytest.fixture
def reader(database: Path) -> Iterator[apsw.Connection]:
    db = open_reader(database)
    yield db
    db.close()


def file_of(db: apsw.Connection, table: str) -> Any:
    """Return the Parquet file that an export of the table makes."""
    from shipwrightd.export.parquet import parquet  # noqa: PLC0415 - needs pyarrow

    out = io.BytesIO()
    pour(db, Wish(table), parquet, out)
    return pq.ParquetFile(io.BytesIO(out.getvalue()))


@pytest.mark.parametrize("name", TABLES)
def test_types_are_those_of_the_schema_even_without_a_row(reader: apsw.Connection, name: str) -> None:
    types = {"INTEGER": "int64", "REAL": "double", "TEXT": "string", "BLOB": "binary"}
    expected = {
        column.name: "string" if column.name == "issue" else types[column.type] for column in columns(reader, name)
    }
    schema = file_of(reader, name).schema_arrow

    assert {field.name: str(field.type) for field in schema} == expected | {"misfit": "string"}


def test_rows_are_those_of_the_table(books: Books, reader: apsw.Connection) -> None:
    books.events(started(0), completed(60), event("x", 1, "acme/x:9", text="\u00e9 \U0001f680"), event("x", 2, None))
    found = file_of(reader, "events").read()
    rows = reader.execute("SELECT * FROM events ORDER BY id").fetchall()

    assert found.column("issue").to_pylist() == ["7", "7", "acme/x:9", None]
    assert set(found.column("misfit").to_pylist()) == {None}
    kept = [name for name in found.column_names if name not in {"issue", "misfit"}]
    names = [column.name for column in columns(reader, "events")]
    assert found.select(kept).to_pylist() == [
        {name: value for name, value in zip(names, row, strict=True) if name in kept} for row in rows
    ]


def test_value_of_another_type_is_kept_beside_its_column(database: Path, reader: apsw.Connection) -> None:
    books = Books(database)
    books.db.executemany(ADD_ENTRY, [(1.5, "opus", "much", 7), ("many", b"\xff", 0.25, None), (3, None, None, 1)])
    books.db.close()
    found = file_of(reader, "cost_entries").read()

    assert found.column("input_tokens").to_pylist() == [None, None, 3]
    assert found.column("cost_usd").to_pylist() == [None, 0.25, None]
    assert [json.loads(text or "{}") for text in found.column("misfit").to_pylist()] == [
        {"input_tokens": 1.5, "cost_usd": "much"},
        {"input_tokens": "many", "model": "/w=="},
        {},
    ]


def test_bytes_are_bytes(database: Path, reader: apsw.Connection) -> None:
    books = Books(database)
    books.db.execute(ADD_PIECE, (0, b"\xff\0"))
    books.db.close()

    assert file_of(reader, "quarantine").read().column("raw").to_pylist() == [b"\xff\0"]


def test_group_ends_by_rows_and_by_bytes(
    database: Path, reader: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipwrightd.export.parquet.GROUP_ROWS", 4)
    monkeypatch.setattr("shipwrightd.export.parquet.GROUP_BYTES", 1_000)
    books = Books(database)
    books.db.executemany(ADD_PIECE, [(at, b"x" * (600 if at >= 8 else 1)) for at in range(13)])
    books.db.close()
    file = file_of(reader, "quarantine")

    groups = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
    assert groups == [4, 4, 2, 2, 1]
    assert file.read().column("offset").to_pylist() == list(range(13))
