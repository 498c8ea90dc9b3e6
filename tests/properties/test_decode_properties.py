from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shipwrightd.decoding import EVENT_COLUMNS, content_of
from shipwrightd.decoding.events import JOURNAL, TEAM, Decoded, Origin, decode_lines
from shipwrightd.decoding.salvage import salvage

if TYPE_CHECKING:
    from collections.abc import Callable

modest = settings(max_examples=150, derandomize=True)

HEAD = '{"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200,"type":"t"'
GOOD = (HEAD + ',"issue":7}').encode()
COLUMN_KEYS = [name for name in EVENT_COLUMNS if name not in {"origin", "salvaged", "extra"}]
JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

characters = st.characters(exclude_categories=["Cs"])
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=20)
    | st.sampled_from(["7", "007", "1.5", "0", "", "a:b", '"', "\\", '":', "\0", "2026-01-20T10:00:00Z"])
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(characters, max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(COLUMN_KEYS) | st.text(characters, max_size=8)
objects = st.dictionaries(keys, values, max_size=8)


def decode(lines: list[bytes], *, final: bool = True) -> Decoded:
    return decode_lines(lines, origin=JOURNAL, final=final)


def is_told(column: object, value: object) -> bool:
    """Whether a column tells the value so that extra need not."""
    empty = value is None or value in ("", "0") or (value == 0 and not isinstance(value, bool))
    return column == value or (column is None and empty) or str(column) == value


@modest
@given(objects, st.sampled_from([None, (",", ":"), (",", "\t :")]), st.sampled_from([True, False]))
def test_every_field_of_a_good_object_is_in_its_row(
    obj: dict[str, Any], separators: tuple[str, str] | None, ascii_only: object
) -> None:
    line = json.dumps(obj, ensure_ascii=bool(ascii_only), separators=separators).encode()
    decoded = decode([line])
    (row,) = decoded.rows
    columns: dict[str, Any] = dict(zip(EVENT_COLUMNS, row, strict=True))
    extra = json.loads(row[-1] or "{}")

    assert (decoded.rejected, decoded.salvaged, decoded.consumed) == ([], 0, 1)
    for key, value in obj.items():
        if key in COLUMN_KEYS and key not in extra:
            assert is_told(columns[key], value)
        else:
            assert extra.pop(key) == value
    assert not extra


@modest
@given(st.lists(st.tuples(keys, scalars), max_size=8))
def test_every_repetition_of_a_key_is_in_its_row(pairs: list[tuple[str, Any]]) -> None:
    line = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}"
    (row,) = decode([line.encode()]).rows
    columns: dict[str, Any] = dict(zip(EVENT_COLUMNS, row, strict=True))
    kept = json.loads(row[-1] or "{}", object_pairs_hook=list) or []

    in_order = iter(pairs)
    assert all(pair in in_order for pair in kept)
    for key in {key for key, _ in pairs}:
        given_values = [value for name, value in pairs if name == key]
        kept_values = [value for name, value in kept if name == key]
        if kept_values != given_values:
            assert kept_values == given_values[1:]
            assert is_told(columns[key], given_values[0])


# Pieces that journals are made of, put together in every wrong way.
PIECES = [
    *(GOOD, HEAD.encode(), b'{"ts":"', b'{"type":"x","n":007}', b'","stage":"build"', b',"n":1', b'"}'),
    *(b"}", b"{", b"[", b"]", b'"', b"\\", b'\\"', b",", b":", b"\0\0", b" ", b"\r", b"\t", b"\xef\xbb\xbf"),
    *(b"\xff", b"\xc3", b"\x1b[31m", b"12345678901234567890", b"1e400", b"NaN", b"text", b'"a":"'),
    *(b"\\ud800", b'{"a":"b"}', b"\\u0000"),
]
pieces = st.sampled_from(PIECES) | st.binary(max_size=6).map(lambda raw: raw.replace(b"\n", b""))
lines_of_pieces = st.lists(st.lists(pieces, max_size=6).map(b"".join), max_size=8)


def blank(raw: bytes) -> bool:
    return not raw.replace(b"\xef\xbb\xbf", b"").strip()


@settings(modest, max_examples=500)
@given(lines_of_pieces, st.sampled_from([JOURNAL, TEAM]))
def test_any_bytes_give_rows_that_can_be_stored(lines: list[bytes], origin: Origin) -> None:
    decoded = decode_lines(lines, origin=origin, final=True)

    assert decoded.consumed == len(lines)
    assert decoded.salvaged == sum(row[10] for row in decoded.rows)
    for row in decoded.rows:
        for value in row:
            assert value is None or isinstance(value, (int, float)) or "\0" not in value
            assert not isinstance(value, str) or value.encode()
            assert not isinstance(value, int) or -(1 << 63) <= value < 1 << 63
        assert row[-1] is None or isinstance(json.loads(row[-1]), dict)


@settings(modest, max_examples=500)
@given(lines_of_pieces)
def test_every_byte_is_in_a_record_or_rejected(lines: list[bytes]) -> None:
    at = 0
    while at < len(lines):
        result = salvage(lines, at, final=True)
        assert result is not None
        text = b"\n".join(lines[at : result.next])
        done = 0
        for found in result.found:
            start = sum(len(line) + 1 for line in lines[at : found.first])
            assert blank(text[done : start + found.start])
            done = start + found.end
            assert found.count == text[start:done].count(b"\n") + 1
        assert blank(text[done:])
        at = result.next


@settings(modest, max_examples=500)
@given(lines_of_pieces)
def test_good_line_is_a_row_whatever_stands_around_it(lines: list[bytes]) -> None:
    decoded = decode(lines)

    assert decoded.rows or decoded.rejected or all(blank(line) for line in lines)
    assert len(decoded.rows) >= sum(line == GOOD for line in lines)


@settings(modest, max_examples=500)
@given(lines_of_pieces, st.lists(st.integers(0, 8), max_size=4))
def test_lines_fed_in_parts_give_the_same_rows(lines: list[bytes], cuts: list[int]) -> None:
    whole = decode(lines)
    rows, rejected, at = [], [], 0
    for stop in (*sorted(min(cut, len(lines)) for cut in cuts), len(lines), None):
        part = decode(lines[at:stop], final=stop is None)
        rows += part.rows
        rejected += [replace(gone, first=gone.first + at) for gone in part.rejected]
        at += part.consumed

    assert (rows, rejected) == (whole.rows, whole.rejected)


# The emitters, as they format a line.


def bare(value: str) -> bool:
    return re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", value) is not None


def emit(pairs: list[tuple[str, str]], escape: Callable[[str], str]) -> bytes:
    written = [(key, value if bare(value) else f'"{escape(value)}"') for key, value in pairs]
    return (HEAD + "".join(f',"{key}":{value}' for key, value in written) + "}").encode()


def escape_v3(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


def escape_v1(value: str) -> str:
    return value.replace('"', '\\"')


def meant(value: str) -> Any:
    return json.loads(value, parse_int=int) if JSON_NUMBER.fullmatch(value) else value


texts = st.text(
    st.sampled_from('ab 1:,{}[]"\\/\n\t\r\x1b\x07nu\u2028\u00e9\U0001f680') | characters,
    max_size=12,
).map(lambda text: text.replace("\0", ""))
fields = st.lists(
    st.tuples(
        st.sampled_from(["a", "b_c", "d.e", "f-g", "stage_id"]),
        texts | st.from_regex(r"\A-?[0-9]{1,9}\.?[0-9]{0,6}\Z"),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda pair: pair[0],
)


@settings(modest, max_examples=400)
@given(fields)
def test_whatever_v3_emits_on_one_line_is_read_exactly(pairs: list[tuple[str, str]]) -> None:
    decoded = decode([emit(pairs, escape_v3)])

    assert not decoded.rejected
    assert json.loads(decoded.rows[0][-1] or "") == {key: meant(value) for key, value in pairs}


@settings(modest, max_examples=400)
@given(fields, texts)
def test_what_v1_emits_is_read_exactly_when_a_newline_gives_it_away(pairs: list[tuple[str, str]], text: str) -> None:
    assume(not any('\\"}' in value for _, value in pairs) and '\\"}' not in text)
    pairs = [*pairs, ("goal", f"first\n{text}."), ("last", "x")]
    decoded = decode([*emit(pairs, escape_v1).split(b"\n"), GOOD])

    assert not decoded.rejected
    assert len(decoded.rows) == 2
    assert json.loads(decoded.rows[0][-1] or "") == {key: meant(value) for key, value in pairs}


@settings(modest, max_examples=400)
@given(fields)
def test_what_a_fallback_copy_emits_is_read_exactly_when_a_quote_gives_it_away(
    pairs: list[tuple[str, str]],
) -> None:
    """Where no text holds what ends a text: a quote before a comma or brace, or JSON in JSON."""
    pairs = [(key, re.sub(r"[{}\[\],]", ".", value)) for key, value in pairs if not bare(value)]
    pairs = [*pairs, ("goal", 'say "hi" now')]
    body = "".join(f',"{key}":"{value}"' for key, value in pairs)
    decoded = decode([*(HEAD + body + "}").encode().split(b"\n"), GOOD])

    assert not decoded.rejected
    assert len(decoded.rows) == 2
    assert json.loads(decoded.rows[0][-1] or "") == dict(pairs)


@modest
@given(fields, fields, st.integers(1, 400))
def test_record_glued_to_a_cut_one_is_recovered(
    first: list[tuple[str, str]], second: list[tuple[str, str]], size: int
) -> None:
    whole = emit(first, escape_v3)
    cut = whole[: min(size, len(whole) - 1)]
    (alone,) = decode([emit(second, escape_v3)]).rows
    decoded = decode([cut + emit(second, escape_v3)])

    assert [content_of(row) for row in decoded.rows] == [content_of(alone)]
    assert [(gone.start, gone.end) for gone in decoded.rejected] == [(0, len(cut))]


@modest
@given(fields, st.integers(1, 400), st.integers(1, 50))
def test_record_behind_nul_bytes_is_recovered(pairs: list[tuple[str, str]], size: int, nuls: int) -> None:
    whole = emit(pairs, escape_v3)
    cut = whole[: min(size, len(whole) - 1)]
    decoded = decode([cut + b"\0" * nuls + GOOD])

    assert [row[3] for row in decoded.rows] == [7]
    assert [gone.end - gone.start for gone in decoded.rejected] == [len(cut), nuls]
