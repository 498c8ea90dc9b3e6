"""Rows as Parquet. The only module that imports pyarrow, an optional dependency; see docs/decisions/0007-parquet.md.

A column has the type that the schema declares. SQLite does not enforce it: a value of another type is null in its
column and is stored under the column's name in the JSON object of the last column, `misfit`. Issues are text, because
they are numbers or names.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from shipwrightd.export.journal_lines import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipwrightd.export import Column, Row

GROUP_ROWS: Final = 65_536
GROUP_BYTES: Final = 32 << 20  # of text and bytes; only a single longer row takes more
MISFIT: Final = "misfit"
ARROW: Final = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string(), "BLOB": pa.binary()}
PYTHON: Final = dict(zip(ARROW.values(), (int, float, str, bytes), strict=True))


class _Sink(io.RawIOBase):
    """A write-only file that counts its position, because a pipe has none. Closing it does not close `out`."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._at = 0

    def write(self, data: Any) -> int:  # noqa: ANN401 - any buffer
        self._out.write(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def writable(self) -> bool:
        return True


def parquet(rows: Iterable[Row], out: BinaryIO, _table: str, columns: Sequence[Column]) -> None:
    """Write one table in row groups of bounded size."""
    types = [(column.name, "TEXT" if column.name == "issue" else column.type) for column in columns]
    schema = pa.schema([*(pa.field(name, ARROW[kind]) for name, kind in types), pa.field(MISFIT, pa.string())])
    writer = pq.ParquetWriter(_Sink(out), schema, compression="zstd")
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum([len(value) for value in row if value.__class__ is str or value.__class__ is bytes])
        if size >= GROUP_BYTES or len(group) >= GROUP_ROWS:
            writer.write_table(_arrow_table(group, schema))
            group.clear()
            size = 0
    if group:
        writer.write_table(_arrow_table(group, schema))
    writer.close()


def _arrow_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    misfits: list[dict[str, Any]] = [{} for _ in rows]
    arrays = []
    for values, field in zip(zip(*rows, strict=True), schema, strict=False):  # the last field is MISFIT
        arrays.append(pa.array(_fit(field, list(values), misfits), field.type))
    text = [orjson.dumps(misfit).decode() if misfit else None for misfit in misfits]
    return pa.Table.from_arrays([*arrays, pa.array(text, pa.string())], schema=schema)


def _fit(field: pa.Field, values: list[Any], misfits: list[dict[str, Any]]) -> list[Any]:
    """Return the values of a column; move those of another type into `misfits`."""
    kind = PYTHON[field.type]
    if set(map(type, values)) <= {kind, type(None)}:
        return values
    if field.name == "issue":
        return [value if value is None or isinstance(value, str) else _name(value) for value in values]
    for number, value in enumerate(values):
        if value is not None and value.__class__ is not kind:
            misfits[number][field.name] = plain(value)
            values[number] = None
    return values


def _name(issue: object) -> str:
    """Return an issue as text that SQLite compares equal to it."""
    return issue.decode(errors="backslashreplace") if isinstance(issue, bytes) else str(issue)
