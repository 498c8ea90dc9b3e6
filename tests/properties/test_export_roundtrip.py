"""Whatever a journal holds: its rows, written out as lines and read again, are the same rows."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties.test_decode_properties import (
    emit,
    escape_v1,
    escape_v3,
    fields,
    keys,
    lines_of_pieces,
    objects,
    scalars,
    values,
)

from shipwrightd.database import open_writer, transaction
from shipwrightd.database.migrate import migrate
from shipwrightd.decoding.events import JOURNAL, TEAM, Origin, decode_lines
from shipwrightd.export.journal_lines import line
from shipwrightd.journals.store import add_events

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

ROWS = "SELECT * FROM events ORDER BY id"
MARKS = b'"shipwrightd":'
ORIGINS = st.sampled_from([JOURNAL, TEAM])
modest = settings(max_examples=300, derandomize=True)

# What the columns make of odd values, and the database of the columns.
ODD = [
    *('"007"', '"0"', "0", '"000"', '"1.5"', "1.5", '"1e3"', '"-0.0"', '"1e400"', '" 12 "', '"9223372036854775808"'),
    *("9223372036854775808", "-9223372036854775808", "1e400", "1e22", "60.0", "-0", "0.1", "12345678901234567890"),
    *('"a\\u0000b"', '"5\\u0000"', '"\\ud800"', '"\u2400"', "true", "null", "[1]", '{"ts":1}', '""', "1767603600.75"),
    *('"5s"', '"2026-01-20T10:00:00Z"', '"+5"', '"5."', '"-00000000000000000005"', '{"origin":"x"}', '"1.50"'),
]
odd_keys = st.sampled_from(["ts", "ts_epoch", "type", "issue", "stage", "duration_s", "cost_usd", "model"])
own_keys = odd_keys | st.sampled_from(["shipwrightd", "from_developer", "from_machine", "origin", "extra"])
odd_pairs = st.lists(st.tuples(own_keys, st.sampled_from(ODD)), max_size=6)


@pytest.fixture(scope="module")
def db() -> Iterator[apsw.Connection]:
    with tempfile.TemporaryDirectory() as folder:
        made = open_writer(Path(folder) / "shipwright.db")
        migrate(made)
        yield made
        made.close()


def stored(db: apsw.Connection, rows: Sequence[Any]) -> list[Any]:
    """Return the rows as the database gives them back."""
    with transaction(db):
        add_events(db, rows)
        found = db.execute(ROWS).fetchall()
        db.execute("DELETE FROM events")
    return found


def restored(row: Sequence[Any]) -> tuple[Any, ...]:
    """Return the row of an exported line with what its end says of origin and salvage, which is no field."""
    *columns, origin, salvaged, extra = row
    if extra is None or MARKS.decode() not in extra:
        return tuple(row)
    body, _, mark = extra.removesuffix("}").rpartition(MARKS.decode())
    said = json.loads(mark)
    kept = body.removesuffix(",") + "}"
    return *columns, said.get("origin", origin), said.get("salvaged", salvaged), None if kept == "{}" else kept


def assert_same_again(db: apsw.Connection, lines: list[bytes], origin: Origin) -> None:
    before = stored(db, decode_lines(lines, origin=origin, final=True).rows)
    exported = [line(row) for row in before]
    again = decode_lines(exported, origin=JOURNAL, final=True)

    assert not again.rejected
    assert [row[1:] for row in stored(db, [restored(row) for row in again.rows])] == [row[1:] for row in before]
    for text in exported:
        orjson.loads(text)


@settings(modest, max_examples=1000)
@given(lines_of_pieces, ORIGINS)
def test_any_bytes(db: apsw.Connection, lines: list[bytes], origin: Origin) -> None:
    assert_same_again(db, lines, origin)


@settings(modest, max_examples=2000)
@given(odd_pairs, ORIGINS)
def test_odd_values_in_columns_and_keys_that_repeat(
    db: apsw.Connection, pairs: list[tuple[str, str]], origin: Origin
) -> None:
    text = "{" + ",".join(f'"{key}":{value}' for key, value in pairs) + "}"
    assert_same_again(db, [text.encode()], origin)


@modest
@given(st.lists(objects, max_size=4), ORIGINS, st.booleans())
def test_good_objects(db: apsw.Connection, found: list[dict[str, Any]], origin: Origin, ascii_only: object) -> None:
    assert_same_again(db, [json.dumps(value, ensure_ascii=bool(ascii_only)).encode() for value in found], origin)


@modest
@given(st.lists(st.tuples(keys | own_keys, scalars | values), max_size=8), ORIGINS)
def test_objects_with_repeated_keys(db: apsw.Connection, pairs: list[tuple[str, Any]], origin: Origin) -> None:
    text = "{" + ",".join(f"{json.dumps(key)}:{json.dumps(value)}" for key, value in pairs) + "}"
    assert_same_again(db, [text.encode()], origin)


@modest
@given(fields, st.sampled_from([escape_v1, escape_v3]))
def test_what_the_emitters_write(db: apsw.Connection, pairs: list[tuple[str, str]], escape: Any) -> None:
    assert_same_again(db, emit(pairs, escape).split(b"\n"), JOURNAL)


@modest
@given(lines_of_pieces, ORIGINS)
def test_lines_exported_once_are_the_same_when_exported_twice(
    db: apsw.Connection, lines: list[bytes], origin: Origin
) -> None:
    before = stored(db, decode_lines(lines, origin=origin, final=True).rows)
    exported = [line(row) for row in before]
    again = decode_lines(exported, origin=JOURNAL, final=True)

    assert [line(row) for row in stored(db, [restored(row) for row in again.rows])] == exported


@modest
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_issue_that_the_database_takes_for_a_number(db: apsw.Connection, number: float) -> None:
    assert_same_again(db, [json.dumps({"issue": repr(number)}).encode(), b'{"issue":%d}' % int(number)], JOURNAL)
