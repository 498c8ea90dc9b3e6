"""Salvage: what a writer meant comes back when it is on one line; around damage, every byte is accounted for."""

from __future__ import annotations

import json
import re
from typing import Any

from fuzz.feed import Feed
from fuzz.targets.decoding import HEAD, STARTED, account_for
from fuzz.targets.decoding import WORDS as WORDS_OF_LINES
from shipwrightd.decoding import content_of
from shipwrightd.decoding.damaged_record import Escaping, escaping_of, scan_fields, unescape
from shipwrightd.decoding.events import JOURNAL, decode_lines
from shipwrightd.decoding.exact_json import JsonText, exact_fields
from shipwrightd.decoding.salvage import JOIN_LINES, Record, is_event, read_record, salvage

INSTRUMENTED = (
    "shipwrightd.decoding.salvage",
    "shipwrightd.decoding.exact_json",
    "shipwrightd.decoding.damaged_record",
    "shipwrightd.decoding.values",
)
GOOD = HEAD + b't","issue":7}'
LONGEST = 384
SEEDS = (
    b"\x00" + HEAD + b'x","goal":"a\\nb","n":007,"m":"\x1b[0m","payload":"{"a":1,"b":[2]}","last":"x"}',
    b"\x00" + HEAD + b'x","goal":"one\n\ttwo "three"\nfour","last":"C:\\"}\n' + GOOD,
    b"\x00" + HEAD + b'x","a":{"b":{"c":"d"e","f":1.},"g":[1,2]},"h":"}}"}\nrubbish' + GOOD + b"}}\x00\x00{",
    b'\x01a\xffsay "hi"\xffb\xff007\xffc\xff\\n\xffd\xff{"x":[1]}',
    b'\x02\x20a\xfftext, "b":\xffb\xff1.50',
    b"\x03\x30\x02goal\xff\x1b[31m",
)
WORDS = (*WORDS_OF_LINES, b'"payload":"{', b'}"', b"[{", b'\\"}', b'":,', b"\n\t", b'"":"', b"007", b"85.")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
BARE = re.compile(r"-?[0-9]+(\.[0-9]*)?")
KEY = re.compile(r"[a-z_.]{1,12}")
OF_COLUMNS = frozenset(("ts", "ts_epoch", "type", "issue", "stage", "result", "duration_s", "cost_usd", "model"))
PLAIN_DIGITS = 15  # a longer number may be kept as its text


def check(data: bytes) -> None:
    """Read any bytes as damaged lines, or the pairs of a call as each writer would emit them."""
    feed = Feed(data)
    kind = feed.upto(3)
    if kind == 0:
        _any(feed.rest())
    elif kind == 1:
        _on_one_line(_pairs(feed.rest()))
    elif kind == 2:  # noqa: PLR2004
        size = feed.byte()
        _glued(_pairs(feed.rest()), size)
    else:
        size, nuls = feed.byte(), 1 + feed.upto(15)
        _behind_nuls(_pairs(feed.rest()), size, nuls)


def _any(content: bytes) -> None:
    lines = content.split(b"\n")
    at = 0
    while at < len(lines):
        result = salvage(lines, at, final=True)
        assert result is not None
        assert at < result.next <= len(lines)
        account_for(lines[at : result.next], at, result.found)
        for found in result.found:
            if isinstance(found, Record):
                assert is_event(found.fields)
                _storable(found.fields)
        waiting = salvage(lines, at, final=False)
        assert waiting == result or (waiting is None and result.next == len(lines) < at + JOIN_LINES)
        at = result.next
    for lax in (False, True):
        _storable(read_record(content, lax=lax) or [])
    text = content.decode(errors="replace")
    exact = exact_fields(text)
    _storable(exact or [])
    bodies = [text, text[::-1]]
    how = escaping_of(bodies)
    assert how is Escaping.FULL or unescape(text, how).count("\\") <= text.count("\\")
    if how is Escaping.FULL:
        _storable([("", unescape(text, how))])
    _storable(scan_fields(text) or [])


def _storable(fields: list[tuple[str, Any]]) -> None:
    for key, value in fields:
        assert key.encode() is not None
        if isinstance(value, JsonText):
            json.loads(value)
        elif isinstance(value, str):
            assert value.encode() is not None
        elif isinstance(value, int):
            assert -(1 << 63) <= value < 1 << 63


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    """Read key and value in turn, between bytes 0xFF; as a shell can hold them: text without NUL."""
    texts = [part.decode(errors="replace").replace("\0", "") for part in raw.split(b"\xff")]
    pairs = dict(zip(texts[::2], texts[1::2], strict=False))
    return [(key, value) for key, value in pairs.items() if KEY.fullmatch(key) and key not in OF_COLUMNS]


def _emit(pairs: list[tuple[str, str]]) -> bytes:
    """Format a line as v3.0.0 does."""
    line = HEAD.decode() + 't"'
    for key, value in pairs:
        text = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        line += f',"{key}":{value}' if BARE.fullmatch(value) else f',"{key}":"{text}"'
    return (line + "}").encode()


def _on_one_line(pairs: list[tuple[str, str]]) -> None:
    decoded = decode_lines([_emit(pairs)], origin=JOURNAL, final=True)
    assert not decoded.rejected
    (row,) = decoded.rows
    kept = json.loads(row[-1] or "{}")
    assert list(kept) == [key for key, _ in pairs]
    for key, value in pairs:
        if not NUMBER.fullmatch(value):
            assert kept[key] == value
        elif len(value) <= PLAIN_DIGITS:
            assert kept[key] == json.loads(value)
        else:
            assert kept[key] in (value, json.loads(value))


def _glued(pairs: list[tuple[str, str]], size: int) -> None:
    """Cut a line, as a writer that is killed does; the next whole line is glued to it."""
    cut = _emit(pairs)[: 1 + size]
    if cut.endswith(b"}"):
        return
    decoded = decode_lines([cut + STARTED], origin=JOURNAL, final=True)
    (alone,) = decode_lines([STARTED], origin=JOURNAL, final=True).rows
    assert [content_of(row) for row in decoded.rows] == [content_of(alone)]
    assert [(gone.start, gone.end) for gone in decoded.rejected] == [(0, len(cut))]


def _behind_nuls(pairs: list[tuple[str, str]], size: int, nuls: int) -> None:
    """Cut a line, as a power loss does; NUL bytes follow, and what was written later."""
    cut = _emit(pairs)[: 1 + size]
    if cut.endswith(b"}"):
        return
    decoded = decode_lines([cut + bytes(nuls) + GOOD], origin=JOURNAL, final=True)
    assert [row[3] for row in decoded.rows] == [7]
    assert [gone.end - gone.start for gone in decoded.rejected] == [len(cut), nuls]
