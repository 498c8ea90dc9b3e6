"""Read a record that is not valid JSON by the shape in which its writers write it.

The shape is flat and compact: {"key":value,"key":value}. Values may hold bare quotes, so a quote alone does not
end a string, what follows it does. If a text inside a string looks exactly like that, the earliest end counts:

    a string ends at the first quote followed by  ,"key":  or by the closing braces that end the record.

A record whose strings all keep to JSON's escapes, as v3.0.0 writes them, needs no guess: each quote is what it
says. Elsewhere two exceptions keep quoted JSON complete: an object of valid JSON inside a string is skipped, and
a string beginning with an unescaped object or list ends only behind a closing bracket.

What the text between two quotes means depends on the emitter. v3.0.0 escapes what matters; versions before it
escape only the quote; fallback copies escape nothing. A record comes from one emitter, so the values of a record
together show which.
"""

import enum
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from shipwrightd.decoding.exact_json import Fields, JsonText, Pairs, Scalar, flatten, prefix, render_pairs
from shipwrightd.decoding.values import integer, real, storable

# Keys are identifiers, possibly with stray quotes; any other text counts as a key only if a value follows it.
_KEY_TEXT: Final = r'"(?P<key>[\w.\-"]{1,64}(?=":)|(?:[^"\\\x00-\x09\x0b-\x1f]|\\["\\]){0,200}(?=":["\-0-9{\[,}tfn]))":'
_KEY: Final = re.compile(_KEY_TEXT)
_NEXT_KEY: Final = re.compile("," + _KEY_TEXT)
_QUOTE: Final = re.compile(r'"(?=[,}])')
_BARE_END: Final = re.compile(r"[,}]")
_JSON_OPENS: Final = re.compile(r'[{\[]\s*["{\[]')
_MAX_DEPTH: Final = 16  # writers nest two deep
_DECODE_TRIES: Final = 16  # keeps the time linear in the length
_ESCAPED_BODY: Final = re.compile(r'[^"\\\n\t]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\n\t]*+)*+')
_BARE_QUOTE: Final = re.compile(r'(?<!\\)"')
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_JSON_INTEGER: Final = re.compile(r"-?[0-9]+")
_STRINGS: Final = json.JSONDecoder(strict=False)
_CONSTANTS: Final[dict[str, Scalar]] = {"": None, "null": None, "true": True, "false": False}


class Escaping(enum.Enum):
    """How an emitter escapes a string."""

    FULL = enum.auto()  # JSON escapes
    QUOTES = enum.auto()  # \" is a quote, every other backslash is itself
    NONE = enum.auto()  # every character is itself


def escaping_of(bodies: Iterable[str]) -> Escaping:
    """Return the escaping of a record's strings, by raw newlines and tabs, impossible escapes and bare quotes."""
    bodies = list(bodies)
    if all(_ESCAPED_BODY.fullmatch(body) for body in bodies):
        return Escaping.FULL
    return Escaping.NONE if any(map(_BARE_QUOTE.search, bodies)) else Escaping.QUOTES


def unescape(body: str, escaping: Escaping) -> str:
    """Return the text that a string means."""
    if escaping is Escaping.FULL:
        return storable(_STRINGS.decode(f'"{body}"'))
    return body.replace('\\"', '"') if escaping is Escaping.QUOTES else body


def bare_value(token: str) -> Scalar:
    """Return the value of a token outside quotes: a number, a constant, None if empty, or text to keep (007, 85.)."""
    if token in _CONSTANTS:
        return _CONSTANTS[token]
    if not _JSON_NUMBER.fullmatch(token):
        return token
    return integer(token) if _JSON_INTEGER.fullmatch(token) else real(token)


@dataclass(frozen=True, slots=True)
class _Body:
    """A string's text as written; its meaning is decided when all of the record is known."""

    text: str


_Found = list[tuple[str, "Scalar | _Body | _Found"]]


def scan_fields(text: str, *, lax: bool = False) -> Fields | None:
    """Return the fields of the record that fills the text, None if the record does not end with the text.

    lax lets a string end where an unfinished one could look the same: in a backslash at the end of the record,
    or before a list or object inside it is complete.
    """
    if not text.startswith("{"):
        return None
    found = _Scan(text, escaped=True).fields() or _Scan(text, lax=lax).fields()
    if found is None:
        return None
    kind = next((pair for pair in found if pair[0] == "type"), None)  # no version ever escaped it
    escaping = escaping_of(_bodies([pair for pair in found if pair is not kind]))
    fields: Fields = []
    for pair in found:
        own = pair is kind and isinstance(pair[1], _Body)
        fields += _settle([pair], escaping_of(_bodies([pair])) if own else escaping)
    return fields


@dataclass(slots=True)
class _Scan:
    text: str
    lax: bool = False
    escaped: bool = False  # only for records whose strings all keep to JSON's escapes
    tries: int = field(default=_DECODE_TRIES)

    def fields(self) -> _Found | None:
        """Return all fields in order, None if the record does not close at the end of the text."""
        stack: list[_Found] = [[]]
        position = 1
        while key := _KEY.match(self.text, position):
            name, start = key["key"], key.end()
            if self._nests(start, len(stack)):
                inner: _Found = []
                stack[-1].append((name, inner))
                stack.append(inner)
                position = start + 1
                continue
            value, stop = self._value(start, len(stack))
            if stop < 0:
                return None
            stack[-1].append((name, value))
            after = self._after_braces(stop, len(stack))
            if after == len(self.text):
                return stack[0]
            del stack[len(stack) - (after - stop) :]
            position = after + 1
        return None

    def _nests(self, start: int, depth: int) -> bool:
        """Return whether a damaged object begins here, to be read field by field."""
        if not self.text.startswith("{", start) or depth >= _MAX_DEPTH or not _KEY.match(self.text, start + 1):
            return False
        return self._decode(start)[1] < 0

    def _value(self, start: int, depth: int) -> tuple[Scalar | _Body, int]:
        """Return the value that begins at start and the position behind it, -1 if it does not end."""
        if self.text.startswith('"', start):
            return self._string(start + 1, depth)
        if self.text.startswith(("{", "["), start):
            value, end = self._decode(start)
            flat = flatten([("", value)]) if end >= 0 and self._is_end(end, depth) else None
            if flat:
                return flat[0][1], end
        for mark in _BARE_END.finditer(self.text, start):
            stop = mark.start()
            if self._is_end(stop, depth):
                token = self.text[start:stop]
                surplus = token.count("}") - token.count("{")  # of a record that ended before, or continues
                refused = surplus > 0 or (surplus < 0 and not self.lax)
                return (None, -1) if refused else (bare_value(storable(token)), stop)
        return None, -1

    def _string(self, start: int, depth: int) -> tuple[Scalar | _Body, int]:
        if self.escaped:
            body = _ESCAPED_BODY.match(self.text, start)
            stop = body.end() if body else -1
            ends = self.text.startswith('"', stop) and self._is_end(stop + 1, depth)
            return (_Body(self.text[start:stop]), stop + 1) if ends else (None, -1)
        quotes_json = _JSON_OPENS.match(self.text, start) is not None and not self._ends_at_once(start, depth)
        stop = self._decode(start)[1] if quotes_json else -1
        if not (stop >= 0 and self.text.startswith('"', stop) and self._ends_string(stop, depth)):
            quotes_json = quotes_json and (self.tries > 0 or not self.lax)  # a vain search goes to the end
            stop = self._string_end(start, depth, behind="}]" if quotes_json else "")
        if stop < 0 and quotes_json and self.lax:
            stop = self._string_end(start, depth)
        return (None, -1) if stop < 0 else (_Body(self.text[start:stop]), stop + 1)

    def _ends_at_once(self, start: int, depth: int) -> bool:
        """Return whether the first bare quote ends the string: in quoted JSON it would begin one."""
        quote = _BARE_QUOTE.search(self.text, start)
        return quote is not None and self._ends_string(quote.start(), depth)

    def _string_end(self, start: int, depth: int, *, behind: str = "") -> int:
        """Return the quote that ends the string, only `behind` one of these characters; -1 for none."""
        seen, passed = start, -1
        mark = _QUOTE.search(self.text, start)
        while mark:
            quote = mark.start()
            if (not behind or self.text[quote - 1] in behind) and self._ends_string(quote, depth):
                past = self._past_object(seen, quote)
                if past < 0:
                    return quote
                seen = past
                passed = quote if passed < 0 else passed
            mark = _QUOTE.search(self.text, max(quote + 1, seen))
        return passed if self.lax else -1

    def _ends_string(self, quote: int, depth: int) -> bool:
        if not self._is_end(quote + 1, depth):
            return False
        closes_record = self._after_braces(quote + 1, depth) == len(self.text)
        return self.lax or not closes_record or not _is_escaped(self.text, quote)

    def _past_object(self, start: int, quote: int) -> int:
        """Return the end of an object inside this string that the quote is part of; -1 for none."""
        opening = self.text.find('{"', start, quote)
        while opening >= 0:
            _, end = self._decode(opening)
            if end > quote:
                return end
            self.tries += end >= 0  # skipping costs its length, no more
            opening = self.text.find('{"', max(end, opening + 1), quote)
        return -1

    def _decode(self, start: int) -> tuple[Pairs | list[object] | None, int]:
        self.tries -= 1
        return prefix(self.text, start) if self.tries >= 0 else (None, -1)

    def _is_end(self, position: int, depth: int) -> bool:
        """Return whether a value may end here: the next key follows, or the end of the record."""
        after = self._after_braces(position, depth)
        closed = after - position
        if after == len(self.text):
            return closed == depth
        return closed < depth and _NEXT_KEY.match(self.text, after) is not None

    def _after_braces(self, position: int, depth: int) -> int:
        last = position + depth
        while position < last and self.text.startswith("}", position):
            position += 1
        return position


def _is_escaped(text: str, quote: int) -> bool:
    before = quote
    while before > 0 and text[before - 1] == "\\":
        before -= 1
    return (quote - before) % 2 == 1


def _bodies(found: _Found) -> Iterator[str]:
    """Yield the strings of a record as they are written."""
    for _, value in found:
        if isinstance(value, _Body):
            yield value.text
        elif isinstance(value, list):
            yield from _bodies(value)


def _settle(found: _Found, escaping: Escaping) -> Fields:
    """Return the fields with every string unescaped and nested objects as JSON text."""
    fields: Fields = []
    for key, value in found:
        if isinstance(value, list):
            fields.append((storable(key), JsonText(render_pairs(_settle(value, escaping)))))
        elif isinstance(value, _Body):
            fields.append((storable(key), unescape(value.text, escaping)))
        else:
            fields.append((storable(key), value))
    return fields
