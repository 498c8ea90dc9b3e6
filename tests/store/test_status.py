"""`status`: from a database and files as they stand, with no daemon needed."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import time
from hashlib import blake2b
from typing import TYPE_CHECKING

import pytest

from shipwrightd.clock import utc
from shipwrightd.database import open_writer
from shipwrightd.database.lock import WriterLock, lock_path
from shipwrightd.errors import DatabaseError
from shipwrightd.status import WATCHING, Source, Status, collect, unread_for, written_at
from shipwrightd.status.quarantine import Piece
from shipwrightd.status.text import piece_text, status_json, status_text
from shipwrightd.table import cells_of
from shipwrightd.text import UNLIMITED, age_of, size_of

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0
CHECKPOINT = """
INSERT INTO checkpoints
    (source, kind, generation, digest, records, salvaged, gaps, newest_epoch, committed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""
GENERATION = """
INSERT INTO generations (id, source, state, device, inode, offset, anchor, anchor_bytes, lines)
VALUES (?, ?, 'current', ?, ?, ?, x'', 0, 0)"""
EVENT = "INSERT INTO events (ts_epoch, origin, salvaged) VALUES (?, ?, 0)"
MANY_EVENTS = """
WITH RECURSIVE at(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM at WHERE n < ?)
INSERT INTO events (ts_epoch, origin, salvaged) SELECT n, 'events.jsonl', 0 FROM at"""
QUARANTINED = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at, state)
VALUES (?, 0, 1, 'no JSON', x'7b', '', ?)"""
ERROR = "INSERT INTO source_errors (source, error, since) VALUES (?, ?, '2026-01-01T00:00:00Z')"


def journal(database: Path, path: Path, *, read: int, committed: float, records: int = 2) -> None:
    """Store that `read` bytes of the journal were read, the last commit being at `committed`."""
    found = path.stat()
    db = open_writer(database)
    db.execute(GENERATION, (1, path.name, found.st_dev, found.st_ino, read))
    db.execute(CHECKPOINT, (path.name, "journal", 1, None, records, 1, 0, int(NOW) - 7200, utc(committed)))
    db.close()


def put(database: Path, sql: str, *rows: tuple[object, ...]) -> None:
    db = open_writer(database)
    db.executemany(sql, rows)
    db.close()


def ask(database: Path, home: Path, declared: tuple[str, ...] = ("events.jsonl",)) -> Status:
    return collect(home, database, declared, NOW)


def only(status: Status) -> Source:
    (source,) = status.sources
    return source


def aged(path: Path, seconds: float) -> None:
    os.utime(path, (NOW - seconds, NOW - seconds))


def test_missing_database_is_an_answer(home: Path) -> None:
    (home / "events.jsonl").write_text('{"a":1}\n')

    status = ask(home / "none.db", home)

    assert (status.state, status.database.exists) == ("no database", False)
    assert (only(status).records, only(status).behind_bytes) == (0, 8)
    assert not (home / "none.db").exists()


@pytest.mark.parametrize("content", [b"", None])
def test_empty_database_is_an_answer(home: Path, content: bytes | None) -> None:
    path = home / "x.db"
    if content is None:
        open_writer(path).close()
    else:
        path.write_bytes(content)

    status = ask(path, home)

    assert (status.state, status.database.exists, status.sources) == ("no database", False, [])
    assert "not created yet:" in status_text(status, 80)


def test_foreign_file_is_refused_and_untouched(home: Path) -> None:
    path = home / "x.db"
    path.write_bytes(b"not a database, but somebody's notes")

    with pytest.raises(DatabaseError, match="not a shipwrightd database"):
        ask(path, home)

    assert path.read_bytes() == b"not a database, but somebody's notes"


def test_damaged_database_is_one_clear_error(home: Path, database: Path) -> None:
    with database.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 8000)
    database.with_name(database.name + "-wal").unlink(missing_ok=True)

    with pytest.raises(DatabaseError, match=r"the database .*shipwright.db is damaged: .* - the next `shipwrightd"):
        ask(database, home)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO schema_version VALUES (9999, '9999_later.sql', '', '')",
        "UPDATE schema_version SET checksum = 'other'",
    ],
)
def test_database_of_another_release_is_refused(home: Path, database: Path, change: str) -> None:
    put(database, change, ())

    with pytest.raises(DatabaseError, match=r"this release knows|differs from the one"):
        ask(database, home)


def test_reading_leaves_the_database_as_it_is(home: Path, database: Path) -> None:
    before = database.read_bytes()

    ask(database, home)

    assert database.read_bytes() == before


def test_what_was_read_to_its_end_is_not_behind(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text('{"a":1}\n')
    journal(database, path, read=8, committed=NOW - 5)

    source = only(ask(database, home))

    assert (source.behind_bytes, source.lag_s, source.kind) == (0, 0, "journal")
    assert (source.records, source.salvaged, source.committed_age_s, source.newest_age_s) == (2, 1, 5, 7200)


def test_unread_lines_are_behind_and_become_a_problem_after_a_minute(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text('{"a":1}\n{"b":2}\n')
    journal(database, path, read=8, committed=NOW - 500)
    aged(path, 61)

    status = ask(database, home)

    assert (only(status).behind_bytes, only(status).lag_s) == (8, 61)
    assert "events.jsonl: 8 bytes unread for 61 s" in status.problems


def test_line_written_just_now_is_no_problem(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text('{"a":1}\n{"b":2}\n')
    journal(database, path, read=8, committed=NOW - 5000)
    aged(path, 1)

    status = ask(database, home)

    assert only(status).behind_bytes == 8
    assert status.problems == ["the daemon is not running"]


def test_unfinished_last_line_is_no_lag(home: Path, database: Path) -> None:
    """Its writer was killed; it may stay so for ever, and nobody should be called out of bed for it."""
    path = home / "events.jsonl"
    path.write_text('{"a":1}\n{"b":')
    journal(database, path, read=8, committed=NOW - 5000)
    aged(path, 4000)

    source = only(ask(database, home))

    assert (source.behind_bytes, source.unfinished_bytes, source.lag_s) == (0, 5, 0)


def test_replaced_journal_is_behind_by_all_of_it(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text('{"a":1}\n')
    journal(database, path, read=8, committed=NOW)
    other = home / "other"
    other.write_text('{"a":1}\n{"b":2}\n')
    other.rename(path)

    assert only(ask(database, home)).behind_bytes == 16


@pytest.mark.parametrize(
    ("modified", "committed", "written", "expected"),
    [
        (10, 300, None, 10),  # nothing but the file's time to go by
        (10, 300, 90, 90),  # the line's own time lies between
        (10, 300, 9_000, 300),  # an old line that was copied in: not before the last commit
        (10, 300, -50, 10),  # a clock that runs ahead
        (10, None, None, 10),
        (300, 10, 90, 300),  # committed later than modified, yet unread: since it was modified
    ],
)
def test_age_of_the_oldest_unread_line_stays_between_what_is_certain(
    modified: float, committed: float | None, written: float | None, expected: float
) -> None:
    ago = [None if value is None else NOW - value for value in (committed, written)]

    assert unread_for(NOW, NOW - modified, *ago) == expected


@pytest.mark.parametrize("line", [b"", b"{", b"[1]", b'{"ts_epoch":"x"}', b'{"ts_epoch":1e400}', b"\xff", b"[" * 9_999])
def test_line_without_a_time_has_none(line: bytes) -> None:
    assert written_at(line) is None


def document(database: Path, path: Path, stored: bytes, committed: float) -> None:
    digest = blake2b(stored, digest_size=16).digest()
    put(database, CHECKPOINT, (path.name, "document", None, digest, 1, 0, 0, None, utc(committed)))


def test_document_written_again_with_the_same_bytes_is_not_behind(home: Path, database: Path) -> None:
    path = home / "costs.json"
    path.write_bytes(b"{}")
    document(database, path, b"{}", NOW - 100)
    aged(path, 90)

    assert only(ask(database, home)).behind_bytes == 0


def test_changed_document_is_behind(home: Path, database: Path) -> None:
    path = home / "costs.json"
    path.write_bytes(b'{"new":1}')
    document(database, path, b"{}", NOW - 100)
    aged(path, 90)

    status = ask(database, home)

    assert (only(status).behind_bytes, only(status).lag_s) == (9, 90)
    assert any("costs.json" in problem for problem in status.problems)


def test_document_that_vanished_is_no_problem(home: Path, database: Path) -> None:
    document(database, home / "gone.json", b"{}", NOW - 100)

    status = ask(database, home)

    assert not only(status).present
    assert status.problems == ["the daemon is not running"]


def test_journal_that_cannot_be_read_is_not_called_missing(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text("")
    journal(database, path, read=0, committed=NOW)
    path.unlink()
    path.symlink_to(path)

    status = ask(database, home)

    assert (only(status).readable, only(status).present) == (False, True)
    assert re.search(r"^events\.jsonl +unreadable ", status_text(status, 80), re.MULTILINE)
    assert "no file" not in status_text(status, 80)


def test_records_of_the_last_hour_are_counted_by_journal(home: Path, database: Path) -> None:
    for number, name in enumerate(("events.jsonl", "team-events.jsonl"), start=1):
        put(database, GENERATION, (number, name, 0, 0, 0))
        put(database, CHECKPOINT, (name, "journal", number, None, 9, 0, 0, None, utc(NOW)))
    at = int(NOW)
    team = [(at - 60, "team-events.jsonl/ada@one"), (at - 70, "team-events.jsonl/bob@two")]
    put(database, EVENT, (at, "events.jsonl"), (at - 3600, "events.jsonl"), (at - 3599, "events.jsonl"), *team)
    put(database, EVENT, (None, "events.jsonl"), (at + 1, "events.jsonl"))

    found = {source.source: source.records_last_hour for source in ask(database, home).sources}

    assert found == {"events.jsonl": 2, "team-events.jsonl": 2}


def test_during_a_first_load_the_last_hour_is_unknown(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text("")
    journal(database, path, read=0, committed=NOW)
    put(database, "DROP INDEX events_ts_epoch", ())

    assert only(ask(database, home)).records_last_hour is None


def test_only_what_still_is_in_quarantine_counts(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text("")
    journal(database, path, read=0, committed=NOW)
    put(
        database,
        QUARANTINED,
        ("events.jsonl", "kept"),
        ("events.jsonl", "recovered"),
        ("events.jsonl", "kept"),
    )

    assert only(ask(database, home)).quarantined == 2


def test_source_that_was_never_stored_shows_its_error(home: Path, database: Path) -> None:
    put(database, ERROR, ("budget.json", "is no JSON"), ("", "the disk is full"))

    status = ask(database, home)

    assert (only(status).source, only(status).error) == ("budget.json", "is no JSON")
    assert status.problems == ["the daemon is not running", "the disk is full", "budget.json: is no JSON"]
    assert re.search(r"^budget\.json +unreadable ", status_text(status, 80), re.MULTILINE)


def held(database: Path, **fields: object) -> WriterLock:
    lock = WriterLock(lock_path(database))
    lock.acquire({"pid": 4711, "started_at": utc(NOW - 90), "version": "9.9", **fields})
    return lock


def test_held_lock_means_running_and_degraded_watching_is_no_problem(home: Path, database: Path) -> None:
    put(database, ERROR, ("", WATCHING + "the limit is reached"))
    lock = held(database)
    try:
        status = ask(database, home)
    finally:
        lock.release()

    assert (status.state, status.problems) == ("running", [])
    assert dataclasses.asdict(status.daemon) == {
        "alive": True,
        "command": "run",
        "pid": 4711,
        "started_at": utc(NOW - 90),
        "running_s": 90,
        "version": "9.9",
        "watching_degraded": "the limit is reached",
        "waiting": None,
        "waiting_since": None,
    }


def test_backfill_alone_is_no_daemon(home: Path, database: Path) -> None:
    lock = held(database, command="backfill")
    try:
        status = ask(database, home)
    finally:
        lock.release()

    assert (status.state, status.problems) == ("backfilling", ["a backfill is running"])


def test_what_a_killed_daemon_left_in_its_lock_file_does_not_count(home: Path, database: Path) -> None:
    lock_path(database).write_text(json.dumps({"pid": 1, "version": "9.9"}))

    status = ask(database, home)

    assert (status.state, status.daemon.alive, status.daemon.pid) == ("stopped", False, None)


def test_json_keys_are_those_that_are_documented(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text("")
    journal(database, path, read=0, committed=NOW)

    answer = json.loads(status_json(ask(database, home)))

    assert list(answer) == [
        "ok",
        "state",
        "problems",
        "checked_at",
        "home",
        "daemon",
        "database",
        "sources",
        "recoveries",
        "home_present",
    ]
    assert list(answer["database"]) == ["path", "exists", "size_bytes", "schema_version", "journal_mode", "wal_bytes"]
    assert {"source", "kind", "behind_bytes", "lag_s", "records", "error"} < set(answer["sources"][0])
    assert answer["database"]["journal_mode"] == "wal"


def full(home: Path, database: Path) -> Status:
    for number, name in enumerate(("events.jsonl", "memory/4165a89ff787/failures.json"), start=1):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n" * 70_000)
        put(database, GENERATION, (number, name, 0, 0, 0))
        kind = "journal" if number == 1 else "document"
        put(database, CHECKPOINT, (name, kind, number, None, 1_234_567, 12, 3, int(NOW) - 90, utc(NOW - 3)))
    put(database, QUARANTINED, ("events.jsonl", "kept"))
    put(database, ERROR, ("evil\x1b[2J.json", "is no \x07JSON\nat all"))
    return ask(database, home)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_table_fits_the_terminal(home: Path, database: Path, width: int) -> None:
    page = status_text(full(home, database), width)

    lines = page[page.index("SOURCE") :].split("\n\n")[0].splitlines()
    assert max(map(cells_of, lines)) <= width
    assert "1,234,567" in page
    assert "205.1 KiB" in page


def test_no_line_of_the_page_is_wider_than_the_terminal_and_no_word_is_broken(home: Path, database: Path) -> None:
    trouble = "the disk is full and somebody should look after it before long, for nothing is stored"
    put(database, ERROR, ("", trouble))
    deep = dataclasses.replace(ask(database, home), home="/" + "/".join(["folder"] * 20))

    page = status_text(deep, 80)

    assert max(map(cells_of, page.splitlines())) <= 80
    assert re.search(r"^home        /folder/\S*…\S*/folder$", page, re.MULTILINE)
    assert set(trouble.split()) <= set(page.split())
    assert deep.home in status_text(deep, UNLIMITED), "without a terminal nothing is cut"


def test_long_piece_is_cut_on_a_terminal_only() -> None:
    raw = b"x\x1b" * 5_000
    piece = Piece(7, "events.jsonl", 1, 0, len(raw), "no JSON", "", "kept", raw)

    page = piece_text(piece, 80)

    assert len(page) < 25 * 80
    assert page.endswith("cut here; `shipwrightd quarantine show 7 --raw` writes all of it")
    assert piece_text(piece, UNLIMITED).endswith("x\\x1b" * 5_000)


def test_nothing_from_data_reaches_the_terminal_as_a_control(home: Path, database: Path) -> None:
    page = status_text(full(home, database), 140)

    assert "evil\\x1b[2J.json" in page
    assert all(character == "\n" or character.isprintable() for character in page)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (9 << 50, "9216.0 TiB")],
)
def test_size_is_readable(size: int, text: str) -> None:
    assert size_of(size) == text


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (None, "-"),
        (0, "now"),
        (-5, "now"),
        (-1e6, "in the future"),
        (119, "119 s"),
        (600, "10 min"),
        (1e6, "12 d"),
    ],
)
def test_age_is_readable(age: float | None, text: str) -> None:
    assert age_of(age) == text


def test_many_events_do_not_slow_the_answer(home: Path, database: Path) -> None:
    path = home / "events.jsonl"
    path.write_text("")
    journal(database, path, read=0, committed=NOW)
    put(database, MANY_EVENTS, (100_000,))
    began = time.perf_counter()

    ask(database, home)

    assert time.perf_counter() - began < 0.2


def test_reader_sees_a_database_that_is_being_written(home: Path, database: Path) -> None:
    writer = open_writer(database)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute(EVENT, (1, "events.jsonl"))
    try:
        assert ask(database, home).database.schema_version >= 1
    finally:
        writer.execute("ROLLBACK")
        writer.close()
