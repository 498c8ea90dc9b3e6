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
    from collections.abc import Sequence

    from shipwrightd.export import Column, Row

GROUP_ROWS: Final = 65_536
GROUP_BYTES: Final = 32 << 20  # of text and bytes; only a single longer row takes more
MISFIT: Final = "misfit"
ARROW: Final = {"INTEGER": pa.int64(), "REAL": pa.float64(), "TEXT": pa.string(), "BLOB": pa.binary()}
PYTHON: Final[dict[str, type]] = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}


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


class Parquet:
    """Row groups of bounded size, one table."""

    def __init__(self, out: BinaryIO, _table: str, columns: Sequence[Column]) -> None:
        """Write the file header."""
        self._names = [column.name for column in columns]
        self._types = ["TEXT" if column.name == "issue" else column.type for column in columns]
        fields = [pa.field(name, ARROW[kind]) for name, kind in zip(self._names, self._types, strict=True)]
        self._schema = pa.schema([*fields, pa.field(MISFIT, pa.string())])
        self._out = out
        self._writer = pq.ParquetWriter(_Sink(out), self._schema, compression="zstd")
        self._rows: list[Row] = []
        self._size = 0

    def row(self, row: Row) -> None:
        """Buffer a row; write the buffered rows when they fill a row group."""
        self._rows.append(row)
        self._size += sum([len(value) for value in row if value.__class__ is str or value.__class__ is bytes])
        if self._size >= GROUP_BYTES or len(self._rows) >= GROUP_ROWS:
            self._write()

    def end(self) -> None:
        """Write what is buffered, and the footer."""
        self._write()
        self._writer.close()
        self._out.flush()

    def _write(self) -> None:
        if not self._rows:
            return
        misfits: list[dict[str, Any]] = [{} for _ in self._rows]
        arrays = []
        for at, values in enumerate(zip(*self._rows, strict=True)):
            fitting = self._fit(at, list(values), misfits)
            arrays.append(pa.array(fitting, self._schema.field(at).type))
        text = [orjson.dumps(misfit).decode() if misfit else None for misfit in misfits]
        self._writer.write_table(pa.Table.from_arrays([*arrays, pa.array(text, pa.string())], schema=self._schema))
        self._rows.clear()
        self._size = 0

    def _fit(self, at: int, values: list[Any], misfits: list[dict[str, Any]]) -> list[Any]:
        """Return the values of a column; move those of another type into `misfits`."""
        name, kind = self._names[at], PYTHON[self._types[at]]
        if set(map(type, values)) <= {kind, type(None)}:
            return values
        if name == "issue":
            return [value if value is None or isinstance(value, str) else _name(value) for value in values]
        for number, value in enumerate(values):
            if value is not None and value.__class__ is not kind:
                misfits[number][name] = plain(value)
                values[number] = None
        return values


def _name(issue: object) -> str:
    """Return an issue as text that SQLite compares equal to it."""
    return issue.decode(errors="backslashreplace") if isinstance(issue, bytes) else str(issue)
