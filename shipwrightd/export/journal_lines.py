r"""An event row back to a line of a journal: what decodes to the same row again. Pure.

A line has the columns first, then `extra` exactly as it is stored, so that nothing in it is read and written
anew. Where `extra` has a column's key as well, it holds what the file said there, or what the file said a second
time; a decoder takes the first value of a key for the column and puts all others into `extra`. So the column
goes before it, null where it is NULL, unless the value in `extra` alone gives that column.

`origin` and `salvaged` do not stand in a journal. Where they are not those of a plain line of events.jsonl, the
line ends with "shipwrightd":{"origin":...,"salvaged":1}, of which only what differs is there. A row that has a key
"shipwrightd" of its own gets such an end in any case, an empty one if need be: of several, the last is ours.
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from shipwrightd.export.tables import Row

ORIGIN: Final = "events.jsonl"
MARK: Final = "shipwrightd"
KEYS: Final = ("ts", "ts_epoch", "type", "issue", "stage", "result", "duration_s", "cost_usd", "model")
WHOLE: Final = 1 << 53  # from here on a double is always whole

_OWN_KEY: Final = re.compile(f'"(?:{"|".join([*KEYS, MARK])})":')
_INTEGER: Final = re.compile("-?[0-9]+")
_INTEGER_DIGITS: Final = 20  # a longer text is none to a decoder
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def line(row: Row) -> bytes:
    """Return the line of a row of events, without its newline."""
    origin, salvaged, extra = row[10:13]
    alone = extra is None or not _OWN_KEY.search(extra)
    told: dict[str, Any] | None = {} if alone else _first_values(extra)
    head = orjson.dumps(_head(row, told))
    mark = _mark(origin, salvaged)
    own = told is None or MARK in told
    parts = [head[1:-1], _body(extra)]
    if mark or own:
        parts.append(orjson.dumps({MARK: mark})[1:-1])
    return b"{" + b",".join(filter(None, parts)) + b"}"


def plain(value: object) -> object:
    """Return a value as JSON can hold it: bytes as base64, infinity as text that SQLite takes for it.

    Done here and not by orjson's `default`: an interrupt inside of that would come out as a TypeError.
    """
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _as_text(value) if isinstance(value, float) and math.isinf(value) else value


def _body(extra: str | None) -> bytes:
    """Return what stands between the braces of a JSON object."""
    if extra is None:
        return b""
    if not (extra.startswith("{") and extra.endswith("}")):  # somebody else wrote it
        return orjson.dumps({"extra": extra})[1:-1]
    return extra[1:-1].encode()


def _head(row: Row, told: dict[str, Any] | None) -> dict[str, Any]:
    """Return the columns to write; `told` is what extra says first under their keys, None if that is not known."""
    head = {}
    for key, column in zip(KEYS, row[1:10], strict=True):
        if told is None:
            head[key] = _written(key, column)
        elif key not in told:
            if column is not None:
                head[key] = _written(key, column)
        elif not _gives(key, told[key], column):
            head[key] = _written(key, column)
    return head


def _written(key: str, column: object) -> object:
    """Return the value that becomes this column and leaves nothing to extra."""
    if key == "issue" and (column == 0 or isinstance(column, float)):
        return _as_text(column)  # it was text; the database made a number of it
    if isinstance(column, float) and abs(column) < WHOLE and column == int(column):
        return int(column)
    return column if isinstance(column, (str, int)) else plain(column)


def _as_text(number: object) -> str:
    """Return text that is this number to SQLite, and no whole number to a decoder."""
    if isinstance(number, float) and math.isinf(number):
        return "1e999" if number > 0 else "-1e999"
    return repr(float(str(number)))


def _mark(origin: str, salvaged: int) -> dict[str, object]:
    mark: dict[str, object] = {} if origin == ORIGIN else {"origin": origin}
    if salvaged:
        mark["salvaged"] = salvaged
    return mark


def _first_values(extra: str) -> dict[str, Any] | None:
    """Return the first value of each key that is ours, None when the text cannot be read here."""
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
    """Tell whether this value, as the first of its key, becomes the column and is kept in extra too.

    Only where that is certain; a "no" costs a key that stands twice, a wrong "yes" would cost the row.
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
    """Tell whether the column is this text with its NUL characters made visible."""
    return isinstance(value, str) and "\0" in value and value.replace("\0", "\u2400") == column
