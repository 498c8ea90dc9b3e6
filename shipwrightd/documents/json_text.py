"""Bytes to JSON values, forgivingly, and JSON values to one canonical form. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import blake2b

import orjson

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

HASH_BYTES = 8
BOM = b"\xef\xbb\xbf"
LONG_DIGITS = 4_000  # beyond 4,300 digits int() itself refuses
MOST_FRAGMENTS = 1_000  # each costs a look at all before it
EXACT = 1 << 53  # up to here a float is the integer it looks like
SIGNED_64 = 1 << 63
VALUE_START = re.compile(r"^(?=\{)", re.MULTILINE)  # jq indents all but the outermost brace
LONG_INTEGER = re.compile(rb"[0-9]{19}")
SPACE = re.compile(r"\s*")


class DocumentError(ValueError):
    """The bytes are no JSON document: torn, or broken for good. Time tells which."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """JSON objects one after the other, and the pieces between them that are none."""

    values: tuple[dict[str, Json], ...]
    fragments: tuple[str, ...]


def decode(raw: bytes) -> Json:
    """Return the JSON value the bytes hold. Raises DocumentError.

    What strict JSON forbids but a reader understands is accepted: a byte order mark, invalid
    UTF-8 (as U+FFFD, like jq), raw control characters, NaN and Infinity (as text).
    """
    body = raw.removeprefix(BOM)
    if not body.strip():
        raise DocumentError("the file is empty")
    if LONG_INTEGER.search(body):  # the fast parser rounds it, the other one keeps its text
        return decode_leniently(body)
    try:
        value: Json = orjson.loads(body)
    except orjson.JSONDecodeError:
        return decode_leniently(body)
    return value


def decode_leniently(body: bytes) -> Json:
    """Do what decode promises for bytes that are not strict JSON."""
    text = body.decode("utf-8", "replace")
    try:
        return mended(LENIENT.decode(text))
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"not JSON: {error}") from error


def decode_sequence(raw: bytes) -> Sequence:
    """Return the JSON objects that follow each other in the bytes. Raises DocumentError.

    A piece that is none is skipped when an object follows it at the start of a line.
    At the end it is an error unless it is JSON: a writer may be at work on it.
    """
    body = raw.removeprefix(BOM)
    if not body.strip():
        raise DocumentError("the file is empty")
    text = body.decode("utf-8", "replace")
    values: list[dict[str, Json]] = []
    fragments: list[str] = []
    at = skip_space(text, 0)
    while at < len(text):
        try:
            value, end = LENIENT.raw_decode(text, at)
            value = mended(value)
        except (ValueError, RecursionError) as error:
            value, end = error, len(text)
        if isinstance(value, dict):
            values.append(value)
        else:
            following = VALUE_START.search(text, at + 1)
            if following is None and isinstance(value, Exception):
                raise DocumentError(f"not JSON: {value}") from value
            end = following.start() if following else len(text)
            fragments.append(text[at:end].rstrip())
            if len(fragments) > MOST_FRAGMENTS:
                raise DocumentError(f"more than {MOST_FRAGMENTS} pieces of it are no JSON objects")
        at = skip_space(text, end)
    return Sequence(tuple(values), tuple(fragments))


def skip_space(text: str, at: int) -> int:
    """Return the index of the next character that is no white space."""
    match = SPACE.match(text, at)
    return match.end() if match else at


def _integer(digits: str) -> int | str:
    """Return the number, or its text when 64 bits do not hold it."""
    if len(digits) > LONG_DIGITS:
        return digits
    number = int(digits)
    return number if -SIGNED_64 <= number < SIGNED_64 else digits


def _decimal(digits: str) -> float | str:
    """Return the number, or its text when it is beyond what a float holds."""
    number = float(digits)
    return digits if number in (float("inf"), float("-inf")) else number


LENIENT = json.JSONDecoder(strict=False, parse_int=_integer, parse_float=_decimal, parse_constant=str)


def mended(value: Json) -> Json:
    """Return the value with lone surrogates, which no UTF-8 can hold, as U+FFFD."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(item) for item in value]
    if isinstance(value, dict):
        return {str(mended(key)): mended(item) for key, item in value.items()}
    return value


def compact(value: Json) -> str:
    """Return the value as compact JSON text, fields in the order of the file."""
    return orjson.dumps(value).decode()


def entry_hash(value: Json) -> bytes:
    """Return the hash of a value's content: order of fields, white space and 0.30 or 0.3 do not matter.

    jq 1.6 and 1.7 write the same number differently, and each write rewrites all entries.
    """
    canonical = orjson.dumps(plain_numbers(value), option=orjson.OPT_SORT_KEYS)
    return blake2b(canonical, digest_size=HASH_BYTES).digest()


def plain_numbers(value: Json) -> Json:
    """Return the value with floats that are integers as integers."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < EXACT else value
    if isinstance(value, list):
        return [plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: plain_numbers(item) for key, item in value.items()}
    return value
