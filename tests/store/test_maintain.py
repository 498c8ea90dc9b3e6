"""What an operator asks of the database: derive anew, try quarantined bytes again."""

from __future__ import annotations

from contextlib import closing

import pytest
from world import Follower, World, line

from shipwrightd.database import open_writer, transaction
from shipwrightd.decoding import Quarantined
from shipwrightd.errors import LockedError
from shipwrightd.journals import store
from shipwrightd.maintenance.repair import rebuild, retry_quarantine

STATES = "SELECT id, state FROM quarantine ORDER BY id"


def keep(world: World, source: str, raw: bytes, *, length: int | None = None) -> int:
    """Put bytes into quarantine, as a release did that understood less than this one."""
    with closing(open_writer(world.db_path)) as db:
        with transaction(db):
            kept = [Quarantined(0, len(raw) if length is None else length, "not_json", raw)]
            store.add_quarantine(db, source, None, kept, "2026-01-20T10:00:00Z")
        return db.last_insert_rowid()


def backfilled(world: World, lines: bytes = b"") -> None:
    world.events.write_bytes(lines)
    follower = Follower(world)
    follower.settle()
    follower.close()


def test_quarantined_bytes_that_can_be_read_now_become_events_once(world: World) -> None:
    backfilled(world, line(1))
    keep(world, "events.jsonl", (line(2) + line(3)).removesuffix(b"\n"))

    assert retry_quarantine(world.db_path, None) == (1, 0)
    assert retry_quarantine(world.db_path, None) == (0, 0)
    assert world.stored() == [1, 2, 3]
    assert world.query("SELECT state, raw FROM quarantine") == [("recovered", (line(2) + line(3))[:-1])]
    assert world.query("SELECT records FROM checkpoints WHERE source = 'events.jsonl'") == [(3,)]


def test_what_still_cannot_be_read_stays_in_quarantine(world: World) -> None:
    backfilled(world)
    keep(world, "events.jsonl", b"no record")
    keep(world, "events.jsonl", line(1) + b"rubbish")
    keep(world, "events.jsonl", line(2)[:-1], length=20 << 20)  # only its beginning was kept
    keep(world, "costs.json", line(3)[:-1])  # no journal: its elements come from the document again

    assert retry_quarantine(world.db_path, None) == (0, 4)
    assert world.stored() == []
    assert {state for _, state in world.query(STATES)} == {"kept"}


def test_only_the_pieces_that_are_named_are_tried_again(world: World) -> None:
    backfilled(world)
    first, second = (keep(world, "events.jsonl", line(seq)[:-1]) for seq in (1, 2))

    assert retry_quarantine(world.db_path, [second]) == (1, 0)
    assert world.query(STATES) == [(first, "kept"), (second, "recovered")]


def test_recovered_events_lead_to_the_runs_they_tell_of(world: World) -> None:
    backfilled(world)
    started = line(1).replace(b"test.tick", b"pipeline.started").replace(b'"seq":1', b'"issue":7')
    keep(world, "events.jsonl", started[:-1])

    assert retry_quarantine(world.db_path, None) == (1, 0)
    assert world.query("SELECT issue FROM pipeline_runs") == [(7,)]


def test_rebuilding_gives_what_was_there_and_counts_it(world: World) -> None:
    started = line(1).replace(b"test.tick", b"pipeline.started").replace(b'"seq":1', b'"issue":7')
    backfilled(world, started)
    with closing(open_writer(world.db_path)) as db:
        db.execute("UPDATE pipeline_runs SET issue = 99")

    assert rebuild(world.db_path)["pipeline_runs"] == 1
    assert world.query("SELECT issue FROM pipeline_runs") == [(7,)]


@pytest.mark.usefixtures("follower")
def test_nothing_of_it_happens_beside_a_daemon(world: World) -> None:
    with pytest.raises(LockedError, match="another shipwrightd"):
        rebuild(world.db_path)
    with pytest.raises(LockedError, match="another shipwrightd"):
        retry_quarantine(world.db_path, None)
