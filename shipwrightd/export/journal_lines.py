r"""Event rows as lines of a journal that decode to the same rows. Pure.

A line has the columns first, then `extra` exactly as it is stored, never parsed and written again. If `extra` has the
key of a column too, it holds the file's original value, or its second one; a decoder takes the first value of a key
for the column and all others for `extra`. So the column goes before it, null if it is NULL, unless the value in
`extra` alone gives that column.

A journal has no `origin` and `salvaged`. If they differ from those of a plain line of events.jsonl, the line ends with
"shipwrightd":{"origin":...,"salvaged":1}, with only what differs. A row with a key "shipwrightd" of its own always gets
this suffix, empty if need be: of several, the last is ours.
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from shipwrightd.export import Row

ORIGIN: Final = "events.jsonl"
MARK: Final = "shipwrightd"
KEYS: Final = ("ts", "ts_epoch", "type", "issue", "stage", "result", "duration_s", "cost_usd", "model")
WHOLE: Final = 1 << 53  # from here on a double is always whole

_OWN_KEY: Final = re.compile(f'"(?:{"|".join([*KEYS, MARK])})":')
_INTEGER: Final = re.compile("-?[0-9]+")
_INTEGER_DIGITS: Final = 20  # a decoder takes no longer text as an integer
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def line(row: Row) -> bytes:
    """Return the line of a row of events, without its newline."""
    origin, salvaged, extra = row[10:13]
    alone = extra is None or not _OWN_KEY.search(extra)
    first: dict[str, Any] | None = {} if alone else _first_values(extra)
    head = orjson.dumps(_head(row, first))
    suffix = export_suffix(origin, salvaged)
    own = first is None or MARK in first
    parts = [head[1:-1], _body(extra)]
    if suffix or own:
        parts.append(orjson.dumps({MARK: suffix})[1:-1])
    return b"{" + b",".join(filter(None, parts)) + b"}"


def plain(value: object) -> object:
    """Return a value that JSON can represent: bytes as base64, infinity as text that SQLite reads as such.

    Not by orjson's `default`: an interrupt within that would become a TypeError.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _as_text(value) if isinstance(value, float) and math.isinf(value) else value


def _body(extra: str | None) -> bytes:
    """Return the text between the braces of a JSON object."""
    if extra is None:
        return b""
    if not (extra.startswith("{") and extra.endswith("}")):  # another program wrote it
        return orjson.dumps({"extra": extra})[1:-1]
    return extra[1:-1].encode()


def _head(row: Row, first: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns to write; `first` has the first value of their keys in extra, None if it cannot be parsed."""
    head = {}
    for key, column in zip(KEYS, row[1:10], strict=True):
        if first is None or (not _gives(key, first[key], column) if key in first else column is not None):
            head[key] = _written(key, column)
    return head


def _written(key: str, column: object) -> object:
    """Return the value that decodes to this column and adds nothing to extra."""
    if key == "issue" and (column == 0 or isinstance(column, float)):
        return _as_text(column)  # it was text that the database converted to a number
    if isinstance(column, float) and abs(column) < WHOLE and column == int(column):
        return int(column)
    return column if isinstance(column, (str, int)) else plain(column)


def _as_text(number: object) -> str:
    """Return text that SQLite reads as this number, and a decoder does not read as an integer."""
    if isinstance(number, float) and math.isinf(number):
        return "1e999" if number > 0 else "-1e999"
    return repr(float(str(number)))


def export_suffix(origin: str, salvaged: int) -> dict[str, object]:
    """Return what a line has to add for its row to be the same again; nothing for a plain line of events.jsonl."""
    suffix: dict[str, object] = {} if origin == ORIGIN else {"origin": origin}
    return {**suffix, "salvaged": salvaged} if salvaged else suffix


def _first_values(extra: str) -> dict[str, Any] | None:
    """Return the first value of each key of a column or suffix; None if the text cannot be parsed."""
    try:
        pairs = json.loads(extra, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return None
    first: dict[str, Any] = {}
    for key, value in pairs if isinstance(pairs, tuple) else ():
        if key in KEYS or key == MARK:
            first.setdefault(key, value)
    return first


def _gives(key: str, value: object, column: object) -> bool:
    """Tell whether this value, first of its key, decodes to the column and stays in extra too.

    True only if that is certain: False costs a repeated key, a wrong True would cost the row.
    """
    if isinstance(value, (bool, list, tuple)):
        return column is None
    if key in ("duration_s", "cost_usd"):
        number = isinstance(value, str) and _DECIMAL.fullmatch(value)
        return float(str(value)) == column if number else column is None and isinstance(value, str)
    if key in ("ts_epoch", "issue"):
        return _gives_integer(key, value, column)
    digits = key != "ts" and isinstance(value, (int, float)) and str(value) == column
    return digits or _replaced(value, column)


def _gives_integer(key: str, value: object, column: object) -> bool:
    if not isinstance(column, int) or (key == "issue" and column == 0):
        return False
    if isinstance(value, float) and key == "ts_epoch" and math.isfinite(value):
        return math.floor(value) == column != value
    if not isinstance(value, str) or len(value) > _INTEGER_DIGITS or not _INTEGER.fullmatch(value):
        return False
    return int(value) == column and str(column) != value


def _replaced(value: object, column: object) -> bool:
    """Tell whether the column is this text with its NUL characters replaced by visible ones."""
    return isinstance(value, str) and "\0" in value and value.replace("\0", "\u2400") == column
