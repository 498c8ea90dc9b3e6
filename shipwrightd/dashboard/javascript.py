"""JavaScript's operations on values and text, as far as the dashboard's figures depend on them. Pure.

Values are those of JSON. NaN is what undefined becomes in sums; it is written as null.
"""

from __future__ import annotations

import math
import re
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAN: Final = math.nan
EXACT: Final = 1 << 53
_LEADING: Final = re.compile(r"\s*([+-]?)(?:0[xX]([0-9a-fA-F]*)|([0-9]*))")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")


def parse_int(text: str) -> float:
    """Return parseInt(text): the leading digits as a number, NaN without any."""
    match = _LEADING.match(text)
    sign, sixteen, ten = match.groups() if match else ("", None, "")
    digits, base = (sixteen, 16) if sixteen is not None else (ten or "", 10)
    if not digits:
        return NAN
    value = int(digits, base) if len(digits) < 400 else math.inf  # noqa: PLR2004 - beyond any double
    if abs(value) > EXACT:
        value = float(value) if value < 1 << 1023 else math.inf
    return -value if sign == "-" else value


def truthy(value: object) -> bool:
    """Tell whether a value is truthy; empty lists and objects are."""
    if isinstance(value, float) and math.isnan(value):
        return False
    return isinstance(value, list | dict) or bool(value)


def number(value: object) -> float:
    """Return Number(value), NaN if it is not a number."""
    if value is None:
        return 0
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        text = value.strip()
        return float(text) if _NUMBER.fullmatch(text) else NAN if text else 0
    return NAN


def text(value: object) -> str:
    """Return a value as text, as it becomes the key of an object."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return str(int(value)) if value.is_integer() and abs(value) < EXACT else repr(value)
    if isinstance(value, list):
        return ",".join("" if item is None else text(item) for item in value)
    return "[object Object]" if isinstance(value, dict) else str(value)


def plus(left: Any, right: Any) -> Any:  # noqa: ANN401 - numbers, or text when one is text
    """Return left + right: a sum, or both texts joined as soon as one is not a number."""
    if isinstance(left, str | list | dict) or isinstance(right, str | list | dict):
        return text(left) + text(right)
    return number(left) + number(right)


def total(values: Iterable[object]) -> Any:  # noqa: ANN401 - see plus
    """Return the sum from left to right, starting at 0."""
    return reduce(plus, values, 0)


def rounded(value: object) -> float:
    """Return Math.round: to the nearest integer, halves up."""
    real = number(value)
    if math.isnan(real) or math.isinf(real):
        return real
    below = math.floor(real)
    return below if real - below < 0.5 else below + 1  # noqa: PLR2004 - one half


def cents(value: object) -> float:
    """Return Math.round(value * 100) / 100."""
    return rounded(number(value) * 100) / 100


def entries(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return Object.entries: keys that are whole numbers first, in order, then the others as they were added."""
    whole = sorted((key for key in mapping if _INDEX.fullmatch(key)), key=int)
    return [(key, mapping[key]) for key in [*whole, *(key for key in mapping if not _INDEX.fullmatch(key))]]


def bounds(start: float, end: float, length: int) -> tuple[int, int]:
    """Return the bounds of slice(start, end) in a list of this length."""
    places = (0 if math.isnan(value) else int(max(min(value, length), -length)) for value in (start, end))
    first, last, _ = slice(*places).indices(length)
    return first, max(first, last)


def as_json(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """Return a value as JSON.stringify writes it: NaN and infinities as null, whole doubles without a point."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() and abs(value) < EXACT else value
    return value
