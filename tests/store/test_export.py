"""Tables written out: every table, every format, everything that is in them, in little memory."""

from __future__ import annotations

import base64
import csv
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from projection import Books, completed, entry, event, spent, started

from shipwrightd.database import open_reader, transaction
from shipwrightd.export import TABLES, TIMED, Form, Wish, columns, pour, text
from shipwrightd.export.text import json_array, json_lines
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.export import Write

# What only the program itself has a use for.
INTERNAL = {
    *("schema_version", "checkpoints", "generations", "line_hashes", "source_errors", "projection_state"),
    *("kept_range", "kept_runs", "kept_stages", "recoveries"),
}
ALL_TABLES = """
SELECT name FROM sqlite_schema
WHERE type = 'table' AND name NOT LIKE 'memory_search%' AND name NOT LIKE 'sqlite_%'"""
ADD_PIECE = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at)
VALUES ('events.jsonl', 0, 3, 'not_json', ?, '2026-01-05T12:00:00Z')"""
ADD_GAP = "INSERT INTO gaps (source, reason, detected_at, detail) VALUES ('events.jsonl', ?, '2026-01-05T12:00:00Z', ?)"
ENCODED: dict[Form, Write] = {Form.JSONL: json_lines, Form.JSON: json_array, Form.CSV: text.csv}


@pytest.fixture
def reader(database: Path) -> Iterator[apsw.Connection]:
    db = open_reader(database)
    yield db
    db.close()


def export(db: apsw.Connection, form: Form, wish: Wish) -> bytes:
    """Return what an export writes."""
    out = io.BytesIO()
    count = pour(db, wish, ENCODED[form], out)
    assert count == len(list(pour_rows(db, wish)))
    return out.getvalue()


def pour_rows(db: apsw.Connection, wish: Wish) -> list[Any]:
    """Return the rows themselves, through a writer that keeps them."""
    kept: list[Any] = []
    pour(db, wish, lambda rows, *_: kept.extend(rows), io.BytesIO())
    return kept


def test_every_table_can_be_exported_or_is_internal(reader: apsw.Connection) -> None:
    there = {name for (name,) in reader.execute(ALL_TABLES)}

    assert there - INTERNAL == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_no_statement_sorts_so_that_rows_flow(reader: apsw.Connection, name: str) -> None:
    bounds = [(None, None), (0, 1)] if name in TIMED else [()]
    plans = [list(reader.execute("EXPLAIN QUERY PLAN " + TABLES[name], values)) for values in bounds]

    assert not [step for plan in plans for *_, step in plan if "TEMP B-TREE" in step]


@pytest.mark.parametrize("form", [Form.JSONL, Form.JSON, Form.CSV])
@pytest.mark.parametrize("name", TABLES)
def test_empty_table_is_a_whole_answer(reader: apsw.Connection, name: str, form: Form) -> None:
    found = export(reader, form, Wish(name)).decode()
    head = ",".join(column.name for column in columns(reader, name)).replace(",raw,", ",raw_base64,") + "\n"

    assert found == {Form.JSONL: "", Form.JSON: "[]\n", Form.CSV: head}[form]


def test_rows_have_the_columns_of_the_table(books: Books, reader: apsw.Connection) -> None:
    books.events(started(0), completed(60))
    (run,) = json.loads(export(reader, Form.JSON, Wish("pipeline_runs")))
    cursor = reader.execute("SELECT * FROM pipeline_runs")

    assert [column.name for column in columns(reader, "pipeline_runs")] == [name for name, *_ in cursor.description]
    assert run == dict(zip([name for name, *_ in cursor.description], cursor.get, strict=True))


def test_json_is_one_array_of_the_lines_of_jsonl(books: Books, reader: apsw.Connection) -> None:
    books.events(*(event("x", at, seq=at) for at in range(3)))
    lines = export(reader, Form.JSONL, Wish("events")).decode().splitlines()

    assert json.loads(export(reader, Form.JSON, Wish("events"))) == [json.loads(line) for line in lines]
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2]


def test_bytes_are_base64_under_a_name_that_says_so(database: Path, reader: apsw.Connection) -> None:
    books = Books(database)
    raw = b'\xff\0,"\n'
    books.db.execute(ADD_PIECE, (raw,))
    (piece,) = json.loads(export(reader, Form.JSON, Wish("quarantine")))
    (row,) = csv.DictReader(io.StringIO(export(reader, Form.CSV, Wish("quarantine")).decode()))
    books.db.close()

    assert base64.b64decode(piece["raw_base64"]) == base64.b64decode(row["raw_base64"]) == raw
    assert "raw" not in piece


def test_columns_of_json_are_json_where_they_can_be(database: Path, reader: apsw.Connection) -> None:
    books = Books(database)
    for detail in ('{"a":[1]}', "no json", None):
        books.db.execute(ADD_GAP, ("unseen", detail))
    books.db.close()

    found = json.loads(export(reader, Form.JSON, Wish("gaps")))
    assert [gap["detail"] for gap in found] == [{"a": [1]}, "no json", None]


def test_csv_keeps_text_as_it_is_and_tells_nothing_from_empty(books: Books, reader: apsw.Connection) -> None:
    odd = 'a,"b"\r\nc\rd\ne \u00e9'
    books.events(event("x", 0, stage="", model=odd), event("x", 1))
    found = export(reader, Form.CSV, Wish("events")).decode()
    first, second = csv.DictReader(io.StringIO(found, newline=""))

    assert (first["model"], first["stage"], second["stage"]) == (odd, "", "")
    assert ',7,"",,' in found
    assert ",7,,," in found


def test_number_that_json_has_not_is_text(database: Path, reader: apsw.Connection) -> None:
    books = Books(database)
    books.db.execute("INSERT INTO budgets (id, daily_budget_usd) VALUES ('daily', 1e999)")
    books.db.close()

    assert json.loads(export(reader, Form.JSON, Wish("budgets")))[0]["daily_budget_usd"] == "1e999"


def test_period_has_its_first_second_and_not_its_last(books: Books, reader: apsw.Connection) -> None:
    books.events(*(event("x", at, seq=at) for at in (0, 3, 1, 2)), event("x", 4) | {"ts": "", "ts_epoch": None})
    noon = 1_767_614_400

    def seqs(since: int | None, until: int | None) -> list[int]:
        lines = export(reader, Form.JSONL, Wish("events", since, until)).splitlines()
        return [json.loads(line).get("seq") for line in lines]

    assert seqs(noon + 1, noon + 3) == [1, 2]
    assert seqs(None, noon + 2) == [0, 1]
    assert seqs(noon + 2, None) == [3, 2]
    assert len(seqs(None, None)) == 5
    assert seqs(noon + 9, None) == []


@pytest.mark.parametrize("name", sorted(TIMED))
def test_each_table_with_a_time_can_be_asked_for_a_period(filled: Path, name: str) -> None:
    db = open_reader(filled)
    day = pour_rows(db, Wish(name, 1_767_571_200, 1_767_657_600))
    later = pour_rows(db, Wish(name, 1_767_657_600 + 7 * 86_400))
    db.close()

    assert (len(day), len(later)) == (1, 0)


@pytest.fixture
def filled(database: Path) -> Path:
    """Return a database with one row of the 2026-01-05 in each table that has a time."""
    books = Books(database)
    books.events(event("x", 0))
    with transaction(books.db):
        for statement in (
            "INSERT INTO sessions (id, developer, machine, last_heartbeat_ms) VALUES ('a@m', 'a', 'm', 1767614400999)",
            "INSERT INTO memory_entries (repo_hash, entry_type, last_seen) VALUES ('r', 'x', '2026-01-05T12:00:00Z')",
            "INSERT INTO heartbeats (id, updated_epoch) VALUES ('1', 1767614400)",
            "INSERT INTO daemon_jobs (id, started_at) VALUES ('1', '2026-01-05T12:00:00Z')",
            "INSERT INTO daemon_completed (completed_epoch) VALUES (1767614400)",
            "INSERT INTO daemon_failures (ts_epoch) VALUES (1767614400)",
            "INSERT INTO cost_outcomes (kind, ts_epoch) VALUES ('outcome', 1767614400)",
            "INSERT INTO cost_entries (origin, ts_epoch) VALUES ('costs.json', 1767614400)",
            "INSERT INTO run_outcomes (ended_epoch, run_id, good, recoveries) VALUES (1767614400, 1, 1, 0)",
            """INSERT INTO pipeline_runs (start_seen, started_epoch, phase, doubles_due, last_event_id, aged)
            VALUES (1, 1767614400, 'open', 0, 1, 0)""",
            """INSERT INTO pipeline_stages (run_id, stage, attempt, status, slot, ended_epoch)
            VALUES (1, 'plan', 1, 'success', 3, 1767614400)""",
            """INSERT INTO metrics (name, period, period_start, dimension, total, samples)
            VALUES ('deploys', 'day', '2026-01-05', '', 1, 1)""",
        ):
            books.db.execute(statement)
        books.db.execute(ADD_PIECE, (b"x",))
        books.db.execute(ADD_GAP, ("unseen", None))
    books.db.close()
    return database


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish("evnts"), "--table evnts: no such table; choose from events, pipeline_runs, "),
        (Wish("budgets", since=0), "rows of budgets have no time"),
        (Wish("daemon_titles", until=1), "rows of daemon_titles have no time"),
        (Wish("events", since=5, until=5), "the period is empty"),
    ],
)
def test_wish_that_makes_no_sense_is_refused_in_words(wish: Wish, said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        wish.check()


def test_memory_does_not_grow_with_the_rows(books: Books, reader: apsw.Connection) -> None:
    class Nowhere(io.RawIOBase):
        def write(self, data: Any) -> int:
            return len(data)

    def peak() -> int:
        tracemalloc.start()
        pour(reader, Wish("events"), json_array, Nowhere())  # type: ignore[arg-type]
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    for _ in range(4):
        books.events(*(event("x", at, text="y" * 2_000) for at in range(500)))
    once = peak()
    for _ in range(8):
        books.events(*(event("x", at, text="y" * 2_000) for at in range(500)))
    assert peak() < once * 1.2


def test_export_is_of_one_moment(books: Books, reader: apsw.Connection) -> None:
    books.events(*(event("x", at) for at in range(2_000)))
    books.entries(entry(0))

    def grow(rows: Iterable[Any], *_: Any) -> None:
        for count, _row in enumerate(rows):
            if count == 0:
                books.events(spent(5), event("x", 9))

    with reader:
        assert pour(reader, Wish("events"), grow, io.BytesIO()) == 2_000
        assert len(pour_rows(reader, Wish("cost_entries"))) == 1
    assert len(pour_rows(reader, Wish("events"))) == 2_002
