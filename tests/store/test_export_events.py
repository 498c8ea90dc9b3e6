"""Lines of events: as Shipwright would have written them, and of real journals all of them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import apsw
import pytest
from projection import Books

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.database import open_reader, open_writer
from shipwrightd.export import Wish, pour
from shipwrightd.export.journal_lines import line
from shipwrightd.export.text import json_lines

if TYPE_CHECKING:
    from pathlib import Path

ROWS = "SELECT * FROM events ORDER BY id"
# Of a line that ends with what no field said, the row without it.
RESTORED = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model,
    coalesce(extra ->> '$.shipwrightd.origin', origin), coalesce(extra ->> '$.shipwrightd.salvaged', salvaged),
    nullif(json_remove(extra, '$.shipwrightd'), '{}')
FROM events ORDER BY id"""
AS_STORED = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, json(extra)
FROM events ORDER BY id"""
HEAD = '{"ts":"2026-01-05T08:30:00Z","ts_epoch":1767601800,"type":"stage.completed"'


def lines_of(path: Path) -> list[str]:
    """Return the line of each event."""
    db = open_reader(path)
    found = [line(row).decode() for row in db.execute(ROWS)]
    db.close()
    return found


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"late","seq":2,"ts_epoch":1767601800.75}',
        HEAD + ',"issue":0.5,"seq":1}',
        HEAD + ',"stage":"","cost_usd":60.0}',
        HEAD + ',"seq":1,"duration_s":1e22,"issue":"1e400"}',
    ],
)
def test_line_of_an_odd_one_says_the_same_again(database: Path, text: str) -> None:
    books = Books(database)
    books.lines([text.encode()])
    books.lines([text.encode() for text in lines_of(database)])
    books.db.close()

    first, second = lines_of(database)
    assert first == second


def test_plain_lines_come_out_byte_for_byte(books: Books, database: Path) -> None:
    lines = [
        HEAD + "}",
        HEAD + ',"issue":7,"stage":"build","result":"success","duration_s":60,"cost_usd":0.25,"model":"opus"}',
        HEAD + ',"goal":"say \\"hi\\"","nested":{"issue":1},"text":"\u00e9 \\u0000"}',
        HEAD + ',"duration_s":"12.50","cost_usd":"n/a","stage":true}',
        HEAD + ',"issue":"007","model":[1]}',
        HEAD + ',"type":"project","seq":1}',
    ]
    books.lines([text.encode() for text in lines])

    assert lines_of(database) == lines


def test_what_a_journal_cannot_say_stands_at_the_end(books: Books, database: Path) -> None:
    books.lines([HEAD.encode() + b',"n":007}'])
    books.lines([HEAD.encode() + b',"from_developer":"ada","from_machine":"m1"}'], team=True)
    books.lines([HEAD.encode() + b',"shipwrightd":{"origin":"mine"}}'])

    assert lines_of(database) == [
        HEAD + ',"n":"007","shipwrightd":{"salvaged":1}}',
        HEAD + ',"from_developer":"ada","from_machine":"m1","shipwrightd":{"origin":"team-events.jsonl/ada@m1"}}',
        HEAD + ',"shipwrightd":{"origin":"mine"},"shipwrightd":{}}',
    ]


def test_column_of_a_first_value_is_not_taken_from_a_later_one(books: Books, database: Path) -> None:
    books.lines(
        [b'{"issue":"0.0","issue":"000"}', b'{"model":"a\\u0000","model":"b\\u0000"}', b'{"model":null,"model":"b"}']
    )
    first = books.rows("SELECT issue, model FROM events ORDER BY id")
    books.lines([text.encode() for text in lines_of(database)])

    assert books.rows("SELECT issue, model FROM events ORDER BY id")[3:] == first


def test_row_that_somebody_else_wrote_is_still_a_line(books: Books, database: Path) -> None:
    with books.db:
        books.db.execute(
            "INSERT INTO events (ts, type, duration_s, origin, salvaged, extra) VALUES (?, ?, ?, ?, ?, ?)",
            (b"\xff", "x", float("inf"), "events.jsonl", 0, "[no object"),
        )

    assert lines_of(database) == ['{"ts":"/w==","type":"x","duration_s":"1e999","extra":"[no object"}']
    books.clear()


def exported_again(path: Path, folder: Path) -> Path:
    """Export the events of a database into a home of its own and import that; return its database."""
    home = folder / "again"
    home.mkdir()
    db = open_reader(path)
    with (home / "events.jsonl").open("wb") as file:
        pour(db, Wish("events"), json_lines, file)
    db.close()
    backfill(home, home / "again.db")
    return home / "again.db"


def rows(path: Path, query: str) -> list[Any]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    found = db.execute(query).fetchall()
    db.close()
    return found


@pytest.mark.parametrize("corpus", ["small", "large", "malformed"])
def test_export_of_a_real_home_is_imported_as_the_same_events(fixtures_dir: Path, home: Path, corpus: str) -> None:
    source = fixtures_dir / corpus
    if corpus == "small":
        source = source / "dot-shipwright"
    for name in ("events.jsonl", "events.jsonl.gz", "team-events.jsonl"):
        if (source / name).is_file():
            raw = (source / name).read_bytes()
            (home / name.removesuffix(".gz")).write_bytes(gzip.decompress(raw) if name.endswith(".gz") else raw)
    if not (home / "events.jsonl").is_file():
        pytest.skip(f"no journal in {source}")
    database = home / "shipwrightd" / "shipwright.db"
    open_writer(database).close()
    backfill(home, database)

    before = rows(database, AS_STORED)
    assert before
    assert rows(exported_again(database, home), RESTORED) == before
