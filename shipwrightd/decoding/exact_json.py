"""Read JSON without losing repeated keys, long numbers or odd escapes.

The fast parser keeps the last of two equal keys and rounds long numbers; this one is slower and does neither.
"""

import json
import re
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import orjson

from shipwrightd.decoding.values import integer, real, storable


class JsonText(str):
    """A list or object, as compact JSON text."""

    __slots__ = ()


class Pairs(tuple[tuple[str, Any], ...]):
    """The pairs of an object in file order, repeated keys included."""

    __slots__ = ()


Scalar = str | int | float | None  # bool is an int
Fields = list[tuple[str, Scalar]]  # a value that is a list or object is JsonText


def render(value: object) -> str:
    """Return the value as compact JSON text."""
    match value:
        case JsonText():
            return value
        case str():
            return orjson.dumps(storable(value)).decode()
        case Pairs():
            return render_pairs(value)
        case list():
            return "[" + ",".join([render(item) for item in value]) + "]"
        case _:
            return orjson.dumps(value).decode()


def render_pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    """Return the pairs as the text of one JSON object, repeated keys included."""
    return "{" + ",".join([f"{render(key)}:{render(value)}" for key, value in pairs]) + "}"


_decoder = partial(json.JSONDecoder, object_pairs_hook=Pairs, parse_int=integer, parse_float=real)
_NO_CONSTANTS: Final[dict[str, Any]] = {}
_STANDARD: Final = _decoder(parse_constant=_NO_CONSTANTS.__getitem__)  # refuses NaN and Infinity by a KeyError
_STRICT: Final = _decoder(parse_constant=str)
_LENIENT: Final = _decoder(parse_constant=str, strict=False)
_LARGE_NUMBER: Final = re.compile(rb"[0-9]{300}|[0-9][eE]\+?[0-9]{3}")


def prefix(text: str, start: int, *, strict: bool = False) -> tuple[Any, int]:
    """Return the JSON value that begins at start, and its end, -1 if there is none.

    Raw control characters inside strings are accepted unless strict.
    """
    try:
        value, end = (_STRICT if strict else _LENIENT).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, -1
    return value, end


def flatten(pairs: Iterable[tuple[str, Any]]) -> Fields | None:
    """Return the pairs as fields of a row, None if they are nested too deep to be written."""
    try:
        return [(storable(key), _scalar(value)) for key, value in pairs]
    except RecursionError:
        return None


def _scalar(value: Any) -> Scalar:  # noqa: ANN401 - any value that the JSON decoder returns
    if isinstance(value, list | tuple):
        return JsonText(render(value))
    return storable(value) if isinstance(value, str) else value


def exact_fields(text: str) -> Fields | None:
    """Return the fields of a JSON object, None if the text is not exactly one.

    Raw control characters in strings are accepted, newline and tab are not: an emitter that escapes
    backslashes escapes both, so the backslashes of one that did not are meant literally (see damaged_record).
    """
    value, end = prefix(text, 0, strict="\n" in text or "\t" in text)
    return flatten(value) if end == len(text) and isinstance(value, Pairs) else None


def standard_fields(line: bytes) -> Fields | None:
    """Return the fields of a valid JSON object with a number too large for the fast parser, None for any other line."""
    if not (_LARGE_NUMBER.search(line) and line.endswith(b"}")) or b"\\ud" in line.lower():
        return None
    try:
        value, end = _STANDARD.raw_decode(text := line.decode())
        return flatten(value) if end == len(text) and isinstance(value, Pairs) else None
    except (ValueError, KeyError, RecursionError):
        return None
