"""JSON read so that nothing in it is lost: repeated keys, long numbers, odd escapes.

The fast parser keeps the last of two equal keys and rounds long numbers; this one is slower and does neither.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from shipwrightd.decoding.values import integer, real, storable


class JsonText(str):
    """A list or object, as compact JSON text."""

    __slots__ = ()


class Pairs(tuple[tuple[str, Any], ...]):
    """An object as its pairs in file order, repeated keys included."""

    __slots__ = ()


Scalar = str | int | float | None  # bool is an int
Fields = list[tuple[str, Scalar]]  # a value that is a list or object is JsonText


def render(value: object) -> str:
    """Write the value as compact JSON text."""
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
    """Write the pairs as one JSON object; a repeated key comes as often as it came."""
    return "{" + ",".join([f"{render(key)}:{render(value)}" for key, value in pairs]) + "}"


def _refuse(constant: str) -> str:
    msg = f"{constant} is no JSON"
    raise ValueError(msg)


def _decoder(*, strict: bool, constant: Callable[[str], str] = str) -> json.JSONDecoder:
    return json.JSONDecoder(
        strict=strict, object_pairs_hook=Pairs, parse_int=integer, parse_float=real, parse_constant=constant
    )


_STANDARD: Final = _decoder(strict=True, constant=_refuse)
_STRICT: Final = _decoder(strict=True)
_LENIENT: Final = _decoder(strict=False)
_LARGE_NUMBER: Final = re.compile(rb"[0-9]{300}|[0-9][eE]\+?[0-9]{3}")


def prefix(text: str, start: int, *, strict: bool = False) -> tuple[Any, int]:
    """Read the JSON value that begins at start, and where it ends; an end of -1 when none does.

    Raw control characters inside strings are taken as they are unless strict.
    """
    try:
        value, end = (_STRICT if strict else _LENIENT).raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, -1
    return value, end


def flatten(pairs: Iterable[tuple[str, Any]]) -> Fields | None:
    """Make the pairs ready for a row, None when they are nested too deep to be written."""
    try:
        return [
            (storable(key), JsonText(render(value)) if isinstance(value, (list, tuple)) else _scalar(value))
            for key, value in pairs
        ]
    except RecursionError:
        return None


def _scalar(value: Any) -> Scalar:  # noqa: ANN401 - whatever the JSON decoder made
    return storable(value) if isinstance(value, str) else value


def exact_fields(text: str) -> Fields | None:
    """Read the fields of a JSON object, None when the text is not exactly one.

    Raw control characters in strings are understood, but newline and tab are not: an emitter that escapes
    backslashes escapes both, so one that did not meant its backslashes as such (see salvage_text).
    """
    value, end = prefix(text, 0, strict="\n" in text or "\t" in text)
    return flatten(value) if end == len(text) and isinstance(value, Pairs) else None


def standard_fields(line: bytes) -> Fields | None:
    """Read a valid JSON object whose only fault is a number too large for the fast parser; else None."""
    if not (_LARGE_NUMBER.search(line) and line.endswith(b"}")) or b"\\ud" in line.lower():
        return None
    try:
        value, end = _STANDARD.raw_decode(text := line.decode())
        return flatten(value) if end == len(text) and isinstance(value, Pairs) else None
    except (ValueError, RecursionError):
        return None
