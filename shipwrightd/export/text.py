"""Rows as text: JSON lines, a JSON array, CSV.

JSON: NULL is null, columns of JSON are nested, bytes are base64, events are journal lines. CSV (RFC 4180, but with
Unix newlines): NULL is an empty field, an empty text is "".
"""

from __future__ import annotations

import base64
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import orjson

from shipwrightd.export import EVENTS, journal_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shipwrightd.export import Column, Row

JSON_COLUMNS: Final = frozenset({"extra", "detail", "config", "active_jobs", "queued"})
ODD: Final = frozenset({float, bytes})  # types with values that JSON cannot represent
_QUOTED: Final = re.compile('[",\r\n]')


def json_lines(rows: Iterable[Row], out: BinaryIO, table: str, columns: Sequence[Column]) -> None:
    """Write one JSON object a line."""
    encode = encoder(table, columns)
    for row in rows:  # noqa: FURB122 - what writes to a terminal has no writelines
        out.write(encode(row) + b"\n")


def json_array(rows: Iterable[Row], out: BinaryIO, table: str, columns: Sequence[Column]) -> None:
    """Write one JSON array, an object a line."""
    encode = encoder(table, columns)
    before = b""
    for row in rows:
        out.write((before or b"[\n") + encode(row))
        before = b",\n"
    out.write(b"\n]\n" if before else b"[]\n")


def csv(rows: Iterable[Row], out: BinaryIO, _table: str, columns: Sequence[Column]) -> None:
    """Write a header line, then one line a row; text with line ends takes several."""
    for row in chain([[name_of(column) for column in columns]], rows):  # noqa: FURB122
        out.write(",".join([_field(value) for value in row]).encode() + b"\n")


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
