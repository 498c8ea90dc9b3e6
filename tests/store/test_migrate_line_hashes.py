"""What earlier releases remembered of a journal is carried over: nothing is stored twice, and nothing is lost."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from world import Follower, World, line

from shipwrightd.clock import now
from shipwrightd.database import open_writer, transaction
from shipwrightd.database.migrate import known, migrate, migrations_folder, version
from shipwrightd.decoding.events import JOURNAL, TEAM, decode_lines
from shipwrightd.journals import store
from shipwrightd.journals.lines import HASH_BYTES, anchor_hash, line_hashes, open_journal, position_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import apsw

SCHEMA = 9
READ = 120
ADD_GENERATION = """
INSERT INTO generations (source, state, device, inode, offset, anchor, anchor_bytes, lines)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
TEAM_SEQS = "SELECT json_extract(extra, '$.seq') FROM events WHERE origin GLOB 'team*' ORDER BY id"


def read_as_released(db: apsw.Connection, path: Path, *, state: str = "current") -> None:
    """Store all complete lines of a file as that release did: history by journal, in chunks, of the current file."""
    source = path.name.removesuffix(".1")
    lines = path.read_bytes().split(b"\n")[:-1]
    fd = open_journal(path)
    position = position_at(fd, sum(map(len, lines)) + len(lines))
    os.close(fd)
    info = path.stat()
    origin = TEAM if source.startswith("team") else JOURNAL
    with transaction(db):
        place = (info.st_dev, info.st_ino, position.offset, anchor_hash(position.before), len(position.before))
        db.execute(ADD_GENERATION, (source, state, *place, len(lines)))
        number = db.last_insert_rowid()
        rows = decode_lines(lines, origin=origin, final=True).rows
        store.add_events(db, rows)
        if state == "current":
            hashes = line_hashes(lines)
            for first in range(0, len(lines), 50):
                chunk = hashes[first * HASH_BYTES : (first + 50) * HASH_BYTES]
                db.execute("INSERT INTO history VALUES (?, ?, ?)", (source, first, chunk))
            store.move_checkpoint(db, source, number, store.Counts(records=len(rows)), now().text)


@pytest.fixture
def old(world: World, tmp_path: Path) -> World:
    """Return a home whose journal, rotated file and team journal were read by the released schema 9."""
    early = tmp_path / "early"
    early.mkdir()
    for migration in known()[:SCHEMA]:
        shutil.copy(migrations_folder() / migration.name, early)
    world.append(20, path=world.home / "events.jsonl.1")
    world.append(READ - 20)
    world.home.joinpath("team-events.jsonl").write_bytes(b"".join(map(line, range(500, 530))))
    world.db_path.parent.mkdir()
    with closing(open_writer(world.db_path)) as db:
        migrate(db, early)
        read_as_released(db, world.home / "events.jsonl.1", state="rotated")
        read_as_released(db, world.events)
        read_as_released(db, world.home / "team-events.jsonl")
        assert version(db) == SCHEMA
    return world


def test_the_history_of_each_current_file_is_carried_over(old: World) -> None:
    with closing(open_writer(old.db_path)) as db:
        migrate(db)
        for name in ("events.jsonl", "team-events.jsonl"):
            lines = (old.home / name).read_bytes().split(b"\n")[:-1]
            current = store.current_generation(db, name)
            assert current is not None
            assert (current.lines, current.settled) == (len(lines), True)
            assert store.line_hashes(db, current.id).tobytes() == line_hashes(lines)
        rotated = store.generations(db, "events.jsonl")[-1]
        assert (rotated.state, len(store.line_hashes(db, rotated.id)), rotated.settled) == ("rotated", 0, True)
        assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'history'").get == 0


def test_a_source_without_a_current_file_carries_nothing_over(old: World) -> None:
    with closing(open_writer(old.db_path)) as db:
        db.execute("UPDATE checkpoints SET generation = NULL WHERE source = 'team-events.jsonl'")
        migrate(db)
        assert db.execute("SELECT count(DISTINCT generation) FROM line_hashes").get == 1


def edited(world: World) -> None:
    """Change one line by rename, as an editor does."""
    lines = world.events.read_bytes().splitlines(keepends=True)
    world.replace(b"".join([*lines[:40], *world.lines(1), *lines[41:]]))


MEANWHILE: dict[str, Callable[[World], object]] = {
    "nothing": lambda world: world.append(0),
    "appended": lambda world: world.append(5),
    "trimmed": lambda world: world.trim(30),
    "trimmed in place": lambda world: world.events.write_bytes(world.tail(30)),
    "rotated": lambda world: world.rotate(),
    "copied and emptied": lambda world: world.copy_and_truncate(),
    "copied to another inode": lambda world: world.replace(world.events.read_bytes()),
    "edited": edited,
}


@pytest.mark.parametrize("more", [0, 7])
@pytest.mark.parametrize("change", MEANWHILE.values(), ids=MEANWHILE)
def test_after_it_nothing_is_stored_twice_or_lost(old: World, change: Callable[[World], object], more: int) -> None:
    change(old)
    old.append(more)
    team = old.home / "team-events.jsonl"
    team.write_bytes(team.read_bytes()[len(line(500)) * 10 :] + line(530))
    follower = Follower(old)
    try:
        for _ in range(2):
            follower.settle()
            assert sorted(old.stored()) == list(range(1, old.written + 1))
            assert [seq for (seq,) in old.query(TEAM_SEQS)] == list(range(500, 531))
            assert old.query("SELECT count(*) FROM gaps") == [(0,)]
            follower.restart()
    finally:
        follower.close()


def test_a_backup_of_what_was_read_is_known_by_its_lines_after_further_files(old: World) -> None:
    backup = old.events.read_bytes()
    follower = Follower(old)
    try:
        follower.settle()
        old.replace(b"".join(old.lines(30)))
        follower.settle()
        old.replace(backup + b"".join(old.lines(3)))
        follower.settle()
        assert sorted(old.stored()) == list(range(1, old.written + 1))
    finally:
        follower.close()
