"""Import: each record of a file once, by content, with ids below all others; what is not an event is quarantined."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import orjson
import pytest
from world import Follower, World, line

from shipwrightd.database import open_reader
from shipwrightd.errors import LockedError, MissingError, PathError
from shipwrightd.journals.lines import MAX_LINE_BYTES
from shipwrightd.maintenance.import_events import ExportSuffix, Imported, export_suffix, import_events
from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = "SELECT json_extract(extra, '$.seq') FROM events ORDER BY id"
A_RUN = [
    {"ts": "2026-01-05T08:00:00Z", "ts_epoch": 1_767_600_000, "type": "pipeline.started", "issue": 7, "goal": "go"},
    {
        "ts": "2026-01-05T08:01:00Z",
        "ts_epoch": 1_767_600_060,
        "type": "pipeline.completed",
        "issue": 7,
        "result": "success",
        "duration_s": 60,
    },
]
SALVAGED = line(9, raw="\x01").replace(b"\\u0001", b"\x01")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file.jsonl"


def take(world: World, file: Path | None, machine: str | None = None) -> Imported:
    """Import a file; what the database and the files hold must agree afterwards."""
    done = import_events(world.home, world.db_path, file, machine)
    assert verify(world.home, world.db_path) == []
    return done


def seqs(world: World) -> list[object]:
    return [row[0] for row in world.query(EVENTS)]


def test_a_file_comes_in_once(world: World, file: Path) -> None:
    file.write_bytes(b"".join(world.lines(5)) + SALVAGED + b"no record\n\n")

    assert take(world, file) == Imported(lines=8, new=6, known=0, salvaged=1, quarantined=1, left_out=0)
    assert take(world, file) == Imported(lines=8, new=0, known=7, salvaged=0, quarantined=0, left_out=0)
    assert world.query("SELECT source, raw FROM quarantine") == [("import/events.jsonl", b"no record")]


def test_what_the_files_hold_is_known_though_it_was_not_read_yet(world: World, file: Path) -> None:
    world.append(10)
    file.write_bytes(world.events.read_bytes())

    assert take(world, file).new == 0
    assert seqs(world) == list(range(1, 11))


def test_older_events_get_ids_below_all_others(world: World, file: Path) -> None:
    older = world.lines(3)
    world.append(3)
    file.write_bytes(b"".join(older))
    take(world, file)
    file.write_bytes(line(100) + line(101))
    take(world, file)

    assert seqs(world) == [100, 101, 1, 2, 3, 4, 5, 6]


def test_each_record_is_there_as_often_as_where_it_is_most_often(world: World, file: Path) -> None:
    world.events.write_bytes(line(1) * 2 + line(2))
    file.write_bytes(line(1) + line(2) * 3 + line(3))

    assert take(world, file).new == 3
    assert seqs(world) == [2, 2, 3, 1, 1, 2]


def test_what_is_written_after_an_import_follows_what_was_there(world: World, file: Path) -> None:
    file.write_bytes(line(50))
    take(world, file)
    world.append(2)
    follower = Follower(world)
    follower.settle()
    follower.close()

    assert seqs(world) == [50, 1, 2]
    assert verify(world.home, world.db_path) == []


def test_imported_events_give_way_to_a_file_that_comes_back(world: World, file: Path) -> None:
    run = b"".join(orjson.dumps(event) + b"\n" for event in A_RUN)
    file.write_bytes(line(1) * 3 + run + line(2) + b'{"type":"x"}\n')
    take(world, file)
    world.events.write_bytes(line(1) * 2 + run + b'{"type":"x"}\n')
    follower = Follower(world)
    follower.settle()
    follower.close()

    assert world.query("SELECT type, count(*), max(id) > 0 FROM events GROUP BY 1 ORDER BY 1") == [
        ("pipeline.completed", 1, 1),
        ("pipeline.started", 1, 1),
        ("test.tick", 4, 1),
        ("x", 1, 1),
    ]
    assert world.query("SELECT status FROM pipeline_runs") == [("success",)]
    assert verify(world.home, world.db_path) == []
    assert take(world, file).new == 0


def test_the_events_of_another_machine_are_kept_apart(world: World, file: Path) -> None:
    world.append(2)
    file.write_bytes(world.events.read_bytes() + b"no record\n")

    assert take(world, file, "bee").new == 2
    assert take(world, file, "bee").new == 0
    assert world.query("SELECT origin FROM events ORDER BY id") == [("import/bee",)] * 2 + [("events.jsonl",)] * 2
    assert world.query("SELECT source FROM quarantine") == [("import/bee",)]


def test_an_exported_row_gets_its_origin_and_salvaged_back(world: World, file: Path) -> None:
    said: dict[str, object] = {"origin": "team-events.jsonl/ada@m1", "salvaged": 1}
    file.write_bytes(line(1, shipwrightd=said) + line(2, shipwrightd={"salvaged": 1}) + line(3))

    assert take(world, file, "bee").new == 3
    assert world.query("SELECT origin, salvaged, extra FROM events ORDER BY id") == [
        ("team-events.jsonl/ada@m1", 1, '{"seq":1}'),
        ("import/bee", 1, '{"seq":2}'),
        ("import/bee", 0, '{"seq":3}'),
    ]


@pytest.mark.parametrize(
    "said",
    [
        {"origin": "costs.json"},
        {"origin": 7},
        {"salvaged": 1, "more": 1},
        {},
        "text",
        {"salvaged": 1, "deep": {"a": 1}},
    ],
)
def test_a_key_of_that_name_which_no_export_wrote_is_a_field_like_others(said: object) -> None:
    assert export_suffix(line(1, shipwrightd=said).strip()) is None
    assert export_suffix(line(1, other={"a": 1, "shipwrightd": {"salvaged": 1}}).strip()) is None


def test_a_suffix_is_read_though_blanks_follow() -> None:
    assert export_suffix(line(1, shipwrightd={"origin": "import/x"}).strip() + b" \r") == ExportSuffix(
        "import/x", salvaged=False
    )


def test_a_last_line_without_its_newline_counts(world: World, file: Path) -> None:
    file.write_bytes(line(1) + line(2).rstrip())

    assert take(world, file) == Imported(lines=2, new=2, known=0, salvaged=0, quarantined=0, left_out=0)


def test_a_record_split_by_a_raw_newline_is_put_together(world: World, file: Path) -> None:
    whole = line(1, goal="one two")
    file.write_bytes(whole.replace(b"one two", b"one\ntwo") + line(2))

    assert take(world, file).new == 2
    assert take(world, file).new == 0


def test_a_pipe_is_read_to_its_end(world: World, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(line(1) + line(2),))
    writer.start()
    done = take(world, pipe)
    writer.join()

    assert done.new == 2


def test_a_document_that_has_just_gone_is_waited_for_until_it_is_sure(world: World, file: Path) -> None:
    registry = world.home / "developer-registry.json"
    registry.write_bytes(orjson.dumps([{"developer_id": "ada", "machine_name": "bee"}]))
    follower = Follower(world)
    follower.settle()
    follower.close()
    assert world.query("SELECT count(*) FROM sessions WHERE present") == [(1,)]
    registry.unlink()
    file.write_bytes(line(1))

    assert take(world, file).new == 1
    assert world.query("SELECT count(*) FROM sessions WHERE present") == [(0,)]


def test_an_empty_file_brings_nothing(world: World, file: Path) -> None:
    file.write_bytes(b"")

    assert take(world, file) == Imported(lines=0, new=0, known=0, salvaged=0, quarantined=0, left_out=0)


@pytest.mark.parametrize(
    "content",
    [
        b"id,ts,type\n1,2026-01-05T08:00:00Z,test.tick\n" * 20,
        orjson.dumps([{"ts": "2026-01-05T08:00:00Z", "type": "x"}] * 20),
        orjson.dumps([{"ts": "2026-01-05T08:00:00Z", "type": "x"}] * 20, option=orjson.OPT_INDENT_2),
        b'[\n{"type":"x"},\n{"type":"y"}\n]\n',
        b'{"ts":"2026-01-05T08:00:00Z","cost_usd":1}\n' * 20,
        b"PAR1" + bytes(range(256)) * 200,
        b"\x1f\x8b" + bytes(range(256)) * 200,
    ],
    ids=["csv", "array", "indented array", "exported array", "another table", "parquet", "gzip"],
)
def test_a_file_without_events_is_refused_and_leaves_nothing(world: World, file: Path, content: bytes) -> None:
    file.write_bytes(content)

    with pytest.raises(PathError, match=r"holds no events|is a JSON array"):
        take(world, file)
    assert world.query("SELECT count(*) FROM events UNION ALL SELECT count(*) FROM quarantine") == [(0,), (0,)]


def test_a_long_file_without_events_is_given_up_early(world: World, file: Path) -> None:
    file.write_bytes(b"1,2,3\n" * 2_000_000 + line(1))

    with pytest.raises(PathError, match="holds no events"):
        take(world, file)


def test_a_journal_of_this_home_is_not_imported(world: World) -> None:
    world.append(2)

    with pytest.raises(PathError, match="is read by"):
        take(world, world.events, "bee")


def test_a_file_that_cannot_be_read_is_reported(world: World, file: Path) -> None:
    with pytest.raises(MissingError, match="no file"):
        take(world, file)
    with pytest.raises(PathError, match="Is a directory"):
        take(world, world.home)


def test_a_journal_that_cannot_be_read_stops_it_because_what_it_holds_must_not_count_twice(
    world: World, file: Path
) -> None:
    world.events.mkdir()
    file.write_bytes(line(1))

    with pytest.raises(PathError, match=r"is not a regular file.*fix that first"):
        import_events(world.home, world.db_path, file, None)
    assert world.count() == 0


@pytest.mark.parametrize("end", [b"\n", b""], ids=["finished", "unfinished"])
def test_a_line_that_is_too_long_is_kept_by_its_beginning(world: World, file: Path, end: bytes) -> None:
    giant = b"{" + b"x" * MAX_LINE_BYTES
    rest = line(2) if end else b""
    file.write_bytes(line(1) + giant + end + rest)

    assert take(world, file) == Imported(
        lines=2 + len(rest[:1]), new=1 + len(rest[:1]), known=0, salvaged=0, quarantined=1, left_out=0
    )
    assert world.query("SELECT reason, offset, length FROM quarantine") == [("line_too_long", len(line(1)), len(giant))]


def test_nothing_is_imported_while_another_ingests(world: World, file: Path) -> None:
    file.write_bytes(line(1))
    follower = Follower(world)
    with pytest.raises(LockedError, match="another shipwrightd is ingesting"):
        import_events(world.home, world.db_path, file, None)
    follower.close()

    assert seqs(world) == []


def test_imported_runs_are_runs(world: World, file: Path) -> None:
    file.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in A_RUN))
    take(world, file, "bee")

    with closing(open_reader(world.db_path)) as db:
        assert list(db.execute("SELECT issue, status, duration_s FROM pipeline_runs")) == [(7, "success", 60.0)]
        assert db.execute("SELECT value FROM metrics WHERE name = 'deploys' AND period = 'day'").get == 1
