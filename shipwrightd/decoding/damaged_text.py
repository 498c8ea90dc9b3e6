"""What the text between two quotes meant, by the habits of the emitter that wrote it.

Three kinds of emitter exist. v3.0.0 escapes what matters; versions before it escape only the quote;
fallback copies escape nothing. A record comes from one emitter: what all its values show counts for each.
"""

import enum
import json
import re
from collections.abc import Iterable
from typing import Final

from shipwrightd.decoding.exact_json import Scalar, real, storable, whole

ESCAPED_BODY: Final = re.compile(r'[^"\\\n\t]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\n\t]*+)*+')
BARE_QUOTE: Final = re.compile(r'(?<!\\)"')
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_JSON_INTEGER: Final = re.compile(r"-?[0-9]+")
_STRINGS: Final = json.JSONDecoder(strict=False)
_CONSTANTS: Final[dict[str, Scalar]] = {"": None, "null": None, "true": True, "false": False}


class Escaping(enum.Enum):
    """How an emitter wrote a string."""

    FULL = enum.auto()  # JSON escapes
    QUOTES = enum.auto()  # \" is a quote, every other backslash is itself
    NONE = enum.auto()  # every character is itself


def escaping_of(bodies: Iterable[str]) -> Escaping:
    """Judge by raw newlines and tabs, impossible escapes and bare quotes; without these, JSON escapes."""
    bodies = list(bodies)
    if all(ESCAPED_BODY.fullmatch(body) for body in bodies):
        return Escaping.FULL
    return Escaping.NONE if any(map(BARE_QUOTE.search, bodies)) else Escaping.QUOTES


def unescape(body: str, escaping: Escaping) -> str:
    """Return the text that was meant."""
    if escaping is Escaping.FULL:
        return storable(_STRINGS.decode(f'"{body}"'))
    return body.replace('\\"', '"') if escaping is Escaping.QUOTES else body


def bare_value(token: str) -> Scalar:
    """Read what stood outside quotes: a number, a constant, nothing, or text to keep (007, 85.)."""
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    if not _JSON_NUMBER.fullmatch(token):
        return token
    return whole(token) if _JSON_INTEGER.fullmatch(token) else real(token)
