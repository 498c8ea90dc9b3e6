"""A backfill: how far it is, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from shipwrightd.daemon.catch_up import backfill

if TYPE_CHECKING:
    from world import World


def test_progress_rises_to_all_there_is(world: World) -> None:
    world.append(3_000)
    world.rotate()
    world.append(500)
    size = sum(path.stat().st_size for path in world.home.iterdir())
    said: list[tuple[int, int, int]] = []

    backfill(world.home, world.db_path, lambda *told: said.append(told))

    assert len(said) > 1
    assert said == sorted(said)
    assert said[-1] == (size, size, 3_500)
    assert {total for _, total, _ in said} == {size}


def test_document_that_has_just_gone_is_waited_for_until_it_is_sure(world: World) -> None:
    """A writer may take it away for a moment; a backfill has no later look that would tell."""
    registry = world.home / "developer-registry.json"
    registry.write_bytes(orjson.dumps([{"developer_id": "ada", "machine_name": "bee"}]))
    backfill(world.home, world.db_path)
    present = "SELECT developer, present FROM sessions"
    assert world.query(present) == [("ada", 1)]
    registry.unlink()

    done = backfill(world.home, world.db_path)

    assert world.query(present) == [("ada", 0)]
    assert done.errors == []
