"""Decoding: every byte is a row, in quarantine or blank, and a row is the same when it is exported and read again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson

from fuzz import books
from fuzz.feed import Feed
from shipwrightd.decoding import EVENT_COLUMNS, REJECTED_NOT_AN_OBJECT, Rejected
from shipwrightd.decoding.events import JOURNAL, TEAM, Decoded, Origin, decode_lines
from shipwrightd.decoding.exact_json import standard_fields
from shipwrightd.decoding.salvage import BLANK, Record, salvage
from shipwrightd.decoding.values import BOM
from shipwrightd.export.journal_lines import line as exported
from shipwrightd.journals.store import add_events

if TYPE_CHECKING:
    from collections.abc import Sequence

INSTRUMENTED = (
    "shipwrightd.decoding.events",
    "shipwrightd.decoding.salvage",
    "shipwrightd.decoding.exact_json",
    "shipwrightd.decoding.damaged_record",
    "shipwrightd.decoding.values",
    "shipwrightd.export.journal_lines",
)
HEAD = b'{"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200,"type":"'
STARTED = HEAD + b'pipeline.started","issue":42,"template":"fast","goal":"say \\"hi\\"","model":"opus"}'
LONGEST = 320
SEEDS = (
    b"\x00\x00" + STARTED + b"\n\n" + HEAD + b'stage.completed","issue":42,"stage":"build","duration_s":85}',
    b"\x00\x01\x80" + HEAD + b'daemon.triage","issue":"7","score":007,"ratio":85.,"type":5}\n[1]\n12',
    b"\x00\x00" + HEAD + b'x","issue":12345678901234567890,"cost_usd":0.1234567890123456789,"type":"y","n":1e400}',
    b"\x00\x00" + HEAD + b'x","a":"\x1b[31m red","b":"\xe2\x82","c":"C:\\new","d":"one\ntwo","e":"say "hi""}',
    b"\x00\x00"
    + HEAD
    + b'stage.failed","issue":1,"er'
    + STARTED
    + b"\n\x00\x00\x00"
    + STARTED
    + b'\n{"ts":"","ts_epoch":,',
    b"\x01\x00" + b'{"type":"a","ts":"2026-01-20T10:00:00+02:00","from_developer":"ada","from_machine":"m\\u0000"}',
    b"\x00\x00"
    + HEAD
    + b'model_ab","recommended":"{\n  "model": "opus",\n  "stage": "plan"\n}","applied":"x"}\n'
    + STARTED,
    b"\x00\x00" + HEAD + b'x","a" \t:1,"a":2}',
    b'\x00\x00{"issue":" 12 ","duration_s":"1.5","cost_usd":1e999,"ts_epoch":"5\\u0000","type":"\\ud800","stage":7}',
)
WORDS = (
    *(HEAD, STARTED, b'"issue":', b'"ts_epoch":', b'"duration_s":', b'"cost_usd":', b'"shipwrightd":{"origin":"x"}'),
    *(
        b"\\u0000",
        b"\\ud800",
        b"1e400",
        b"-0.0",
        b"9223372036854775808",
        b'","',
        b'"}',
        b'":"',
        b"\xef\xbb\xbf",
        b"\xff",
    ),
    *(b'"type":"', b'"extra":', b'"stage":', b"null", b"true", b"NaN", b"\n", b"\x00", b'\\"', b"{\n", b'":{"'),
)
INT64 = 1 << 63
ROWS = "SELECT * FROM events ORDER BY id"
MARK = '"shipwrightd":'


def check(data: bytes) -> None:
    """Decode the bytes as a journal, whole and in parts, store the rows, export them and read them again."""
    feed = Feed(data)
    origin = TEAM if feed.byte() & 1 else JOURNAL
    cuts = feed.cuts(255, 2)
    lines = feed.rest().split(b"\n")
    decoded = decode_lines(lines, origin=origin, final=True)
    assert decoded.consumed == len(lines)
    assert decoded.salvaged == sum(row[10] for row in decoded.rows)
    _account(lines, decoded)
    _in_parts(lines, [cut * len(lines) // 255 for cut in cuts], origin, decoded)
    _store(decoded.rows)


def _account(lines: list[bytes], decoded: Decoded) -> None:
    """Walk over the lines: each is blank, one row, or taken apart by salvage without a byte left over."""
    rows = at = 0
    rejected: list[Rejected] = []
    while at < len(lines):
        text = lines[at].strip(BLANK).removeprefix(BOM).strip(BLANK)
        if not text:
            at += 1
            continue
        try:
            is_object = isinstance(orjson.loads(text), dict)
        except orjson.JSONDecodeError:
            if standard_fields(text) is None:
                result = salvage(lines, at, final=True)
                assert result is not None
                account_for(lines[at : result.next], at, result.found)
                rows += sum(isinstance(found, Record) for found in result.found)
                rejected += [found for found in result.found if isinstance(found, Rejected)]
                at = result.next
                continue
            is_object = True
        if is_object:
            _complete(text, decoded.rows[rows])
            rows += 1
        else:
            rejected.append(Rejected(at, 1, 0, len(lines[at]), REJECTED_NOT_AN_OBJECT))
        at += 1
    assert len(decoded.rows) == rows
    assert decoded.rejected == rejected


def _complete(text: bytes, row: Sequence[Any]) -> None:
    """Assert that each field of a valid object is there, also of a key that repeats."""
    try:
        written = Counter(key for key, _ in json.loads(text, object_pairs_hook=tuple))
    except RecursionError:
        return
    kept = Counter(key for key, _ in json.loads(row[-1] or "{}", object_pairs_hook=tuple) or ())
    for key, times in written.items():
        if row[10]:  # nested too deeply to be written as JSON: kept as text
            continue
        assert times - (key in EVENT_COLUMNS[:9]) <= kept[key] <= times, key
    assert kept.keys() <= written.keys()


def account_for(lines: Sequence[bytes], first: int, found: Sequence[Record | Rejected]) -> None:
    """Assert that what was found covers the lines in order, but for what is blank."""
    text = b"\n".join(lines)
    done = 0
    for piece in found:
        start = sum(len(line) + 1 for line in lines[: piece.first - first])
        assert piece.start < piece.end
        assert is_blank(text[done : start + piece.start])
        done = start + piece.end
        assert piece.count == text[start:done].count(b"\n") + 1
    assert is_blank(text[done:])


def is_blank(raw: bytes) -> bool:
    """Tell whether bytes say nothing."""
    return not raw.replace(BOM, b"").strip(BLANK)


def _in_parts(lines: list[bytes], cuts: list[int], origin: Origin, whole: Decoded) -> None:
    rows, rejected, at = [], [], 0
    for stop in (*cuts, len(lines), None):
        part = decode_lines(lines[at:stop], origin=origin, final=stop is None)
        rows += part.rows
        rejected += [replace(gone, first=gone.first + at) for gone in part.rejected]
        at += part.consumed
    assert rows == whole.rows
    assert rejected == whole.rejected


def _store(rows: list[Any]) -> None:
    """Put rows into the database; exported and decoded, they are the same rows."""
    if not rows:
        return
    for row in rows:
        for value in row:
            assert value is None or isinstance(value, int | float) or "\0" not in value
            assert not isinstance(value, int) or -INT64 <= value < INT64
        assert row[-1] is None or isinstance(json.loads(row[-1]), dict)
    before = _stored(rows)
    lines = [exported(row) for row in before]
    again = decode_lines(lines, origin=JOURNAL, final=True)
    assert not again.rejected
    assert [row[1:] for row in _stored([restored(row) for row in again.rows])] == [row[1:] for row in before]


def _stored(rows: Sequence[Any]) -> list[Any]:
    with books.taken_back() as db:
        add_events(db, rows)
        return list(db.execute(ROWS))


def restored(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the row of an exported line with what its end says of origin and salvage, which is no field."""
    *columns, origin, salvaged, extra = row
    if extra is None or MARK not in extra:
        return tuple(row)
    body, _, mark = extra.removesuffix("}").rpartition(MARK)
    said = json.loads(mark)
    kept = body.removesuffix(",") + "}"
    return *columns, said.get("origin", origin), said.get("salvaged", salvaged), None if kept == "{}" else kept
