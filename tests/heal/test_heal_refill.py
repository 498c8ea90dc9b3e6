"""What the files hold comes back, whatever of rows, checkpoints or quarantine was lost; nothing is doubled."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import orjson
import pytest
from damage import KEPT as KEPT_LINES
from damage import PAGE, Past, garbage
from world import Follower, doubles, line

from shipwrightd.database import migrate
from shipwrightd.errors import MissingError
from shipwrightd.journals import reconcile
from shipwrightd.maintenance.import_events import import_events
from shipwrightd.maintenance.prune import prune
from shipwrightd.maintenance.verify import verify
from shipwrightd.recovery import store, swap
from shipwrightd.recovery.pages import varint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEPT = "SELECT raw FROM quarantine ORDER BY id"
GAPS = "SELECT reason FROM gaps ORDER BY id"
SALVAGED, GAPS_AT = 11, 8  # columns of events and of checkpoints


GENERATION = "id, source, state, device, inode, offset, anchor, anchor_bytes, lines"


def migration(name: str, table: str) -> list[str]:
    """Return the statement of a migration that creates a table."""
    text = (migrate.migrations_folder() / f"{name}.sql").read_text()
    return re.findall(rf"CREATE TABLE {table} \(.*?\n\)", text, re.DOTALL)


def follow(past: Past) -> None:
    """Store what the files hold, and take it for the past."""
    follower = Follower(past.world)
    follower.settle()
    follower.close()
    past.events = past.rows("SELECT * FROM events ORDER BY id")


def break_derived(past: Past) -> None:
    past.write(past.pages("events_type")[0], garbage(PAGE))


def break_checkpoints(past: Past) -> None:
    for name in ("checkpoints", "generations", "line_hashes"):
        past.write(past.pages(name)[0], garbage(PAGE))


def kind_at(page: bytes, cell: int, column: int, *, table: bool = True) -> int:
    """Return where a record on a page says of what kind one of its values is."""
    at = varint(page, cell)[1]
    at = varint(page, at)[1] if table else at
    at = varint(page, at)[1]
    for _ in range(column):
        at = varint(page, at)[1]
    return at


def cell(page: bytes, nth: int) -> int:
    return int.from_bytes(page[8 + 2 * nth : 10 + 2 * nth])


def page_of(past: Past, number: int) -> bytes:
    return past.path.read_bytes()[(number - 1) * PAGE : number * PAGE]


# -- single rows


def test_row_that_lost_a_bit_gives_way_to_its_line(past: Past) -> None:
    leaf = past.pages("events")[-1]
    at = page_of(past, leaf).rindex(b'"seq":1') + len(b'"seq":')
    past.write(leaf, b"7", at=at)
    assert past.rows("SELECT * FROM events ORDER BY id") != past.events
    recovery = past.heal(met="a test")
    assert (recovery["lost"], recovery["refilled"]) == (0, 1)
    past.assert_whole()


def test_row_that_gave_way_does_not_hide_one_that_is_lost(past: Past) -> None:
    leaves = past.pages("events")
    at = page_of(past, leaves[-1]).rindex(b'"seq":1') + len(b'"seq":')
    past.write(leaves[-1], b"7", at=at)
    past.write(leaves[2], garbage(PAGE))
    recovery = past.heal()
    contents = {row[1:] for row in past.rows("SELECT * FROM events")}
    ids = [row[0] for row in past.events if row[1:] not in contents]
    assert (recovery["lost"], recovery["refilled"]) == (len(ids), 1)
    past.assert_whole(range(ids[0], ids[-1] + 1))


@pytest.mark.parametrize("nth", [3, -1], ids=["lost by the files", "held by the files"])
def test_row_that_lacks_what_each_has_is_none(past: Past, nth: int) -> None:
    """Its record is intact, but NULL where the schema requires a number."""
    leaf = past.pages("events")[nth]
    page = page_of(past, leaf)
    number = varint(page, varint(page, cell(page, 5))[1])[0]
    at = kind_at(page, cell(page, 5), SALVAGED)
    assert page[at] == 8, "a nought"
    past.write(leaf, b"\0", at=at)
    recovery = past.heal(met="a test")
    held = nth == -1
    assert (recovery["lost"], recovery["refilled"]) == (int(not held), int(held))
    past.assert_whole(range(0) if held else range(number, number + 1))


def test_checkpoint_that_lacks_a_number_is_written_again(past: Past) -> None:
    (leaf,) = past.pages("checkpoints")
    page = page_of(past, leaf)
    at = kind_at(page, cell(page, 1), GAPS_AT, table=False)
    past.write(leaf, b"\0", at=at)
    recovery = past.heal(met="a test")
    assert json.loads(recovery["detail"])["unreadable"] == {"checkpoints": 1}
    past.assert_whole()


def test_of_two_stretches_that_were_lost_the_one_that_the_files_hold_comes_back(past: Past) -> None:
    leaves = past.pages("events")
    past.write(leaves[2], garbage(PAGE))
    past.write(leaves[-1], garbage(PAGE))
    recovery = past.heal()
    assert recovery["refilled"] > 20
    ((detail,),) = past.rows("SELECT detail FROM gaps WHERE reason = 'lost_in_damaged_database'")
    contents = {row[1:] for row in past.rows("SELECT * FROM events")}
    ids = [row[0] for row in past.events if row[1:] not in contents]
    assert recovery["lost"] == len(ids) == json.loads(detail)["rows"] > 20
    past.assert_whole(range(ids[0], ids[-1] + 1))


@pytest.mark.parametrize("cut", [lambda raw: raw[: len(raw) // 2], lambda raw: raw[len(raw) // 2 :]])
def test_file_that_is_cut_between_two_reads_of_it_is_compared_again(
    past: Past, monkeypatch: pytest.MonkeyPatch, cut: Callable[[bytes], bytes]
) -> None:
    past.write(past.pages("events")[-1], garbage(PAGE))
    raw = past.world.events.read_bytes()
    whole = raw[: raw.rindex(b"\n") + 1]
    left = [cut(whole)]

    def cut_once(_cursor: object, sql: str, _values: object) -> bool:
        if sql == store.COUNT_RECORD and left:
            past.world.events.write_bytes(left.pop().partition(b"\n")[2])
        return True

    monkeypatch.setattr(apsw, "connection_hooks", [lambda db: setattr(db, "exec_trace", cut_once)])
    past.heal(met="a test")
    monkeypatch.undo()
    assert not left
    stored = past.world.stored()
    assert doubles(stored) == []
    assert set(past.world.in_files()) <= set(stored)
    assert stored == sorted(stored)


def test_lines_written_since_the_last_commit_are_not_counted_as_put_back(past: Past) -> None:
    past.write(past.pages("events")[-1], garbage(PAGE))
    past.world.append(40)
    recovery = past.heal()
    assert recovery["lost"] == 0
    new = past.rows("SELECT * FROM events ORDER BY id DESC LIMIT 40")
    assert recovery["refilled"] == len(past.rows("SELECT id FROM events WHERE id > 1370")) - 40 > 20
    assert past.world.stored()[-40:] == list(range(past.world.written - 39, past.world.written + 1))
    assert not {row[1:] for row in new} & {row[1:] for row in past.events}
    past.assert_consistent()


def test_a_line_that_is_written_again_since_is_a_new_event(past: Past) -> None:
    (again,) = past.world.tail(1).splitlines(keepends=True)
    past.world.events.write_bytes(past.world.events.read_bytes() + again)
    break_derived(past)
    recovery = past.heal()
    assert (recovery["lost"], recovery["refilled"]) == (0, 0)
    assert [row[1:] for row in past.rows("SELECT * FROM events ORDER BY id")][-1] == past.events[-1][1:]
    assert past.rows("SELECT count(*) FROM events") == [(len(past.events) + 1,)]


def test_a_large_file_that_was_trimmed_is_compared_as_well(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Following knows such a file by its first lines."""
    monkeypatch.setattr(reconcile, "COMPARED_BYTES", 0)
    past.write(past.pages("events")[-1], garbage(PAGE))
    past.world.trim(KEPT_LINES)
    past.heal()
    past.assert_whole()


def test_checkpoints_from_before_a_column_was_added_are_readable(past: Past) -> None:
    with closing(apsw.Connection(str(past.path))) as db:
        db.execute("CREATE TABLE old AS SELECT * FROM generations")
        db.execute("DROP TABLE generations")
        for sql in (
            *migration("001_core", "generations"),
            "INSERT INTO generations SELECT * FROM old",
            "DROP TABLE old",
        ):
            db.execute(sql.replace("SELECT *", f"SELECT {GENERATION}"))
        db.execute("ALTER TABLE generations ADD COLUMN settled INTEGER NOT NULL DEFAULT 1")
    break_derived(past)
    recovery = past.heal()
    assert json.loads(recovery["detail"])["unreadable"] == {}
    past.assert_whole()


# -- lines that are no rows


def test_rejected_line_whose_quarantine_was_lost_is_kept_again(past: Past) -> None:
    kept = past.rows(KEPT)
    assert kept == [(b"not a record",)]
    past.write(past.pages("quarantine")[0], garbage(PAGE))
    past.heal()
    assert past.rows(KEPT) == kept
    past.assert_whole()


def test_record_that_was_never_finished_stays_the_one_that_is_kept(past: Past) -> None:
    """Its line was given up when nothing followed; read once more it may still go on."""
    with past.world.events.open("ab") as file:
        file.write(b'{"ts":"2026-01-05T08:00:00Z","type":"half",\n')
    follow(past)
    kept = past.rows(KEPT)
    assert len(kept) == 2
    break_derived(past)
    recovery = past.heal()
    assert (recovery["lost"], recovery["refilled"]) == (0, 0)
    assert past.rows(KEPT) == kept
    past.assert_whole()


def test_events_without_a_time_are_known_again(past: Past) -> None:
    team = past.world.home / "team-events.jsonl"
    team.write_bytes(b"".join(orjson.dumps({"type": "team.note", "seq": n}) + b"\n" for n in range(20)))
    follow(past)
    assert past.rows("SELECT count(*) FROM events WHERE ts_epoch IS NULL") == [(20,)]
    break_checkpoints(past)
    recovery = past.heal()
    assert (recovery["lost"], recovery["refilled"]) == (0, 0)
    past.assert_whole()


# -- checkpoints


def test_rotated_files_are_read_from_where_they_ended_when_the_checkpoints_are_gone(past: Past) -> None:
    past.world.rotate()
    past.world.append(30)
    follow(past)
    break_checkpoints(past)
    recovery = past.heal()
    assert (recovery["lost"], recovery["refilled"]) == (0, 0)
    past.assert_whole()
    past.world.append(10)
    past.world.append(5, path=past.world.home / "events.jsonl.1")
    follow(past)
    past.assert_consistent()


def test_line_hashes_with_a_chunk_missing_are_not_relied_on(past: Past) -> None:
    for _ in range(3):
        past.world.append(20)
        follow(past)
    with closing(apsw.Connection(str(past.path))) as db:
        pieces = [
            first
            for (first,) in db.execute(
                "SELECT first FROM line_hashes WHERE generation = (SELECT max(generation) FROM line_hashes)"
            )
        ]
        assert len(pieces) > 1
        db.execute(
            "DELETE FROM line_hashes WHERE generation = (SELECT max(generation) FROM line_hashes) AND first = ?",
            (pieces[0],),
        )
    break_derived(past)
    recovery = past.heal()
    assert (recovery["lost"], recovery["refilled"]) == (0, 0)
    past.assert_whole()
    past.world.append(10)
    past.world.trim(40)
    follow(past)
    past.assert_consistent()


def test_files_that_hold_nothing_of_what_was_read_are_a_gap(past: Past) -> None:
    before = len(past.rows(GAPS))
    seqs = [past.world.written + n for n in range(1, 41)]
    past.world.replace(b"".join(line(n, ts_epoch=1_767_600_000 + n % 100) for n in seqs))
    break_checkpoints(past)
    recovery = past.heal()
    assert recovery["lost"] == 0
    assert past.rows(GAPS)[before:] == [("no_overlap",)]
    found = past.rows("SELECT * FROM events ORDER BY id")
    assert found[: len(past.events)] == past.events
    assert past.world.stored()[-40:] == seqs
    past.assert_consistent()


# -- the rest of a home


def test_document_that_is_gone_leaves_what_was_stored_of_it(past: Past) -> None:
    costs = "SELECT * FROM cost_entries WHERE origin = 'costs.json' ORDER BY id"
    before = past.rows(costs)
    (past.world.home / "costs.json").unlink()
    break_derived(past)
    past.heal()
    assert past.rows(costs) == before
    past.assert_whole()


@pytest.mark.parametrize("lost", [slice(-2, -1), slice(None)], ids=["a page", "all events"])
def test_nothing_is_given_up_while_the_home_is_an_empty_mount_point(past: Past, lost: slice) -> None:
    for page in past.pages("events")[lost]:
        past.write(page, garbage(PAGE))
    home = past.world.home
    away = home.with_name("away")
    home.rename(away)
    home.mkdir()
    with pytest.raises(MissingError, match=r"events\.jsonl is needed"):
        past.heal()
    home.rmdir()
    away.rename(home)

    past.heal()
    assert verify(home, past.path) == []


def test_a_copy_beside_the_journal_is_not_stored_again(past: Past) -> None:
    shutil.copyfile(past.world.events, past.world.home / "events.jsonl.1")
    past.write(past.pages("events")[-2], garbage(PAGE))
    past.heal()

    assert doubles(past.world.stored()) == []
    assert verify(past.world.home, past.path) == []
    follower = Follower(past.world)
    past.world.append(3)
    follower.settle()
    follower.close()
    assert doubles(past.world.stored()) == []


def test_what_was_pruned_and_what_was_imported_is_not_counted_as_lost(past: Past, tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_bytes(b"".join(line(-n) for n in range(1, 200)))
    assert import_events(past.world.home, past.path, old, None).new == 199
    prune(past.world.home, past.path, 1_767_600_000 - 100)
    assert past.rows("SELECT count(*) FROM pruned") == [(1,)]
    past.events = past.rows("SELECT * FROM events ORDER BY id")
    assert past.events[0][0] <= 0
    past.write(past.pages("events")[-1], garbage(PAGE))
    recovery = past.heal()
    assert recovery["lost"] == 0
    assert recovery["refilled"] > 20
    past.assert_whole()


def test_rows_are_found_without_a_way_to_them_in_a_file_of_many_pages(past: Past) -> None:
    with closing(apsw.Connection(str(past.path))) as db:
        db.execute("CREATE TABLE ballast (x)")
        db.execute("BEGIN")
        db.executemany("INSERT INTO ballast VALUES (?)", [(bytes(PAGE - 400),)] * 1_100)
        db.execute("COMMIT")
        root: int = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'events'").get
    past.write(root, garbage(PAGE))
    recovery = past.heal()
    assert recovery["lost"] == 0
    past.assert_whole()


def test_what_is_set_aside_takes_no_name_that_a_log_or_a_file_has(tmp_path: Path) -> None:
    path, at = tmp_path / "shipwright.db", "2026-01-05T08:30:00Z"
    assert swap.name_aside(path, at) == "shipwright.db.corrupt-20260105T083000Z"
    (tmp_path / "shipwright.db.corrupt-20260105T083000Z").touch()
    (tmp_path / "shipwright.db.corrupt-20260105T083000Z.2-wal").touch()
    assert swap.name_aside(path, at) == "shipwright.db.corrupt-20260105T083000Z.3"
