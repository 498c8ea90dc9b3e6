"""Numbers, times and JSON as columns can hold them, for journals and documents alike. Pure."""

import contextlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Final

import orjson

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

INT64_MIN: Final = -(1 << 63)
INT64_MAX: Final = (1 << 63) - 1
HASH_BYTES: Final = 8
BOM: Final = b"\xef\xbb\xbf"
MOST_FRAGMENTS: Final = 1_000  # each costs a search through all that follows
_INT64_DIGITS: Final = 20  # longest text an INT64 can have, with its sign
_SHORT_DIGITS: Final = 18  # of which any number fits 64 bits
_EXACT_DIGITS: Final = 15  # a double holds that many, whatever they are
_EXACT: Final = 1 << 53  # below this a float is the integer it looks like
_NOT_ZERO: Final = re.compile("-?[0.]*[1-9]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NUMBER: Final = re.compile(r"-?\d{1,300}(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)  # jq lets 007 and 1. through, too
_DURATION: Final = re.compile(
    r"\s*+(?:(\d{1,9})d)?\s*+(?:(\d{1,9})h)?\s*+(?:(\d{1,9})m)?\s*+(?:(\d{1,9})s)?\s*+", re.ASCII
)
_LONG_INTEGER: Final = re.compile(rb"[0-9]{19}")
_VALUE_START: Final = re.compile(r"^(?=\{)", re.MULTILINE)  # jq indents all but the outermost brace
_SPACE: Final = re.compile(r"\s*")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def integer(digits: str) -> int | str:
    """Return the integer that the digits of a JSON number spell, or the digits if 64 bits cannot hold it."""
    if len(digits) > _INT64_DIGITS:
        return digits
    value = int(digits)
    return value if INT64_MIN <= value <= INT64_MAX else digits


def real(digits: str) -> float | str:
    """Return the double that a JSON number spells, or its text if the double would be another number."""
    value = float(digits)
    if math.isinf(value):
        return digits
    if value == 0:
        return digits if _NOT_ZERO.match(digits) else value
    return value if len(digits) <= _EXACT_DIGITS or Decimal(repr(value)) == Decimal(digits) else digits


def number_of(value: Json) -> int | float | None:
    """Return the number that a value is or spells, None if it is not one that SQLite can hold."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        digits = value.lstrip("-").isdigit()
        value = int(value) if digits and len(value) <= _SHORT_DIGITS else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) <= INT64_MAX:
        return int(value)
    if abs(value) == float("inf") or (isinstance(value, int) and not INT64_MIN <= value <= INT64_MAX):
        return None
    return value


def looks_numeric(text: str) -> bool:
    """Return whether SQLite might convert the text to a number in an INTEGER column; errs towards true.

    SQLite reads a text up to its first NUL and takes a number before that for the value.
    """
    try:
        float(text.partition("\0")[0])
    except ValueError:
        return False
    return True


def epoch_of(ts: str | None) -> int | None:
    """Return the seconds since 1970 of an ISO 8601 text, UTC if it names no offset; None if it is not one."""
    if not ts:
        return None
    try:
        moment = datetime.fromisoformat(ts)
    except ValueError:
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // timedelta(seconds=1)


def seconds_of(text: str | None) -> int | None:
    """Return the seconds of a duration such as "1d 2h 15m 36s", None if the text is not one."""
    match = _DURATION.fullmatch(text) if text else None
    if match is None or match.lastindex is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds


def storable(text: str) -> str:
    """Write halves of surrogate pairs as their escape: they are not characters, and SQLite refuses them."""
    if text.isascii():
        return text
    return _SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", text)


def compact(value: Json) -> str:
    """Return the value as compact JSON text, fields in the order of the file."""
    return orjson.dumps(value).decode()


def entry_hash(value: Json) -> bytes:
    """Return the hash of a value's content; the order of fields, white space, and 0.30 or 0.3 make no difference.

    jq 1.6 and 1.7 write the same number differently, and each write rewrites all entries.
    """
    canonical = orjson.dumps(_plain_numbers(value), option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=HASH_BYTES).digest()


def _plain_numbers(value: Json) -> Json:
    """Return the value with floats that are integers as integers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value


class DocumentError(ValueError):
    """The bytes are not a JSON document: the file is half written or broken."""


def parse_json(raw: bytes) -> Json:
    """Return the JSON value of a document. Raises DocumentError.

    Accepts what strict JSON forbids but a reader understands: a byte order mark, invalid
    UTF-8 (as U+FFFD, like jq), raw control characters, NaN and Infinity (as text).
    """
    body = _body(raw)
    if not _LONG_INTEGER.search(body):  # the fast parser rounds it, the other one keeps its text
        with contextlib.suppress(orjson.JSONDecodeError):
            value: Json = orjson.loads(body)
            return value
    try:
        return _without_surrogates(_LENIENT.decode(body.decode("utf-8", "replace")))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON: {error}") from error


def parse_sequence(raw: bytes) -> list[dict[str, Json] | str]:
    """Return the JSON objects that follow each other in a document, and the text between them. Raises DocumentError.

    A piece that is not an object is kept as text if an object follows at the start of a line.
    At the end it is an error unless it is JSON: a writer may not have finished it.
    """
    text = _body(raw).decode("utf-8", "replace")
    pieces: list[dict[str, Json] | str] = []
    fragments = 0
    at = _skip_space(text, 0)
    while at < len(text):
        try:
            value, end = _LENIENT.raw_decode(text, at)
            value = _without_surrogates(value)
        except (ValueError, RecursionError) as error:
            value, end = error, len(text)
        if isinstance(value, dict):
            pieces.append(value)
        else:
            following = _VALUE_START.search(text, at + 1)
            if following is None and isinstance(value, Exception):
                raise DocumentError(f"not JSON: {value}") from value
            end = following.start() if following else len(text)
            pieces.append(text[at:end].rstrip())
            fragments += 1
            if fragments > MOST_FRAGMENTS:
                raise DocumentError(f"more than {MOST_FRAGMENTS} pieces of it are not JSON objects")
        at = _skip_space(text, end)
    return pieces


def _body(raw: bytes) -> bytes:
    body = raw.removeprefix(BOM)
    if not body.strip():
        raise DocumentError("the file is empty")
    return body


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _decimal(digits: str) -> float | str:
    """Return the number, or its text if a double cannot hold it; rounds as the fast parser does."""
    value = float(digits)
    return digits if math.isinf(value) else value


_LENIENT: Final = json.JSONDecoder(strict=False, parse_int=integer, parse_float=_decimal, parse_constant=str)


def _without_surrogates(value: Json) -> Json:
    """Return the value with halves of surrogate pairs as U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {str(_without_surrogates(key)): _without_surrogates(item) for key, item in value.items()}
    return value
