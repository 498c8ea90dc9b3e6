"""Rows as text: JSON lines, a JSON array, CSV, written in chunks of bounded size.

JSON: NULL is null, columns of JSON are nested, bytes are base64, events are journal lines. CSV (RFC 4180, but with
Unix newlines): NULL is an empty field, an empty text is "".
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson

from shipwrightd.export import EVENTS, journal_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipwrightd.export import Column, Row

BUFFER_BYTES: Final = 1 << 18
JSON_COLUMNS: Final = frozenset({"extra", "detail", "config", "active_jobs", "queued"})
ODD: Final = frozenset({float, bytes})  # types with values that JSON cannot represent
_QUOTED: Final = re.compile('[",\r\n]')


class _Buffered:
    """Collects pieces until they are worth a write."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._pieces: list[bytes] = []
        self._size = 0

    def put(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        self._out.write(b"".join(self._pieces))
        self._out.flush()
        self._pieces.clear()
        self._size = 0


class JsonLines:
    """One JSON object a line."""

    def __init__(self, out: BinaryIO, table: str, columns: Sequence[Column]) -> None:
        """Write rows of these columns."""
        self._out = _Buffered(out)
        self._encode = encoder(table, columns)
        self._before = b""

    def row(self, row: Row) -> None:
        """Write a row."""
        self._out.put(self._encode(row) + b"\n")

    def end(self) -> None:
        """Write what is buffered."""
        self._out.flush()


class JsonArray(JsonLines):
    """One JSON array, an object a line."""

    def row(self, row: Row) -> None:
        """Write a row."""
        self._out.put((self._before or b"[\n") + self._encode(row))
        self._before = b",\n"

    def end(self) -> None:
        """Close the array."""
        self._out.put(b"\n]\n" if self._before else b"[]\n")
        super().end()


class Csv(JsonLines):
    """A header line, then one line a row; text with line ends takes several."""

    def __init__(self, out: BinaryIO, table: str, columns: Sequence[Column]) -> None:
        """Write the header."""
        super().__init__(out, table, columns)
        self._encode = _csv_line
        self.row(tuple(name_of(column) for column in columns))


def _csv_line(row: Row) -> bytes:
    return ",".join([_field(value) for value in row]).encode()


def name_of(column: Column) -> str:
    """Return the name of a column in a text format: with a suffix if its bytes become base64."""
    return f"{column.name}_base64" if column.type == "BLOB" else column.name


def _field(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"' if not value or _QUOTED.search(value) else value
    return repr(value)


def encoder(table: str, columns: Sequence[Column]) -> Callable[[Row], bytes]:
    """Return the function that encodes a row of this table as a JSON object."""
    if table == EVENTS:
        return journal_lines.line
    names = [name_of(column) for column in columns]
    nested = [at for at, column in enumerate(columns) if column.name in JSON_COLUMNS]

    def encode(row: Row) -> bytes:
        values: list[Any] = list(row)
        for at in nested:
            values[at] = _nested(values[at])
        for at, value in enumerate(values):
            if value.__class__ in ODD:
                values[at] = journal_lines.plain(value)
        return orjson.dumps(dict(zip(names, values, strict=True)))

    return encode


def _nested(text: object) -> object:
    """Return JSON text as a fragment that is written unchanged, any other value as it is."""
    if not isinstance(text, str):
        return text
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return orjson.Fragment(text)
