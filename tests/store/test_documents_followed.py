"""Documents as they come to a follower: what is odd in one file neither stops the others nor counts twice."""

from __future__ import annotations

import orjson
import pytest
from process import call
from world import Follower, World

from shipwrightd.decoding.values import MOST_FRAGMENTS


def put(world: World, name: str, content: bytes) -> None:
    """Replace a document as Shipwright does."""
    path = world.home / name
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.rename(path)


def test_duration_of_thousands_of_digits_stops_nothing(world: World) -> None:
    world.append(3)
    put(world, "daemon-state.json", orjson.dumps({"completed": [{"issue": 1, "duration": "9" * 5_000 + "s"}]}))
    done = call(world, "backfill")
    assert (done.returncode, done.stderr) == (0, "")
    assert world.stored() == [1, 2, 3]
    assert world.query("SELECT issue FROM daemon_completed") == [(1,)]


def test_list_without_a_cap_that_loses_its_end_again_stores_nothing(world: World) -> None:
    entries = [orjson.dumps({"ts": "2026-01-05T08:00:00Z", "issue": f'"#{n}"', "result": "success"}) for n in (1, 2, 3)]
    put(world, "cost-outcomes.json", b"\n".join([*entries, entries[0]]))
    follower = Follower(world)
    follower.settle()
    put(world, "cost-outcomes.json", b"\n".join(entries))
    follower.settle()
    follower.close()
    assert world.query("SELECT count(*) FROM cost_outcomes") == [(4,)]


@pytest.mark.parametrize("tokens", [b"18446744073709551615", b"18446744073709551616", b"9223372036854775807"])
def test_entry_with_a_huge_number_is_the_same_beside_one_that_is_no_strict_json(world: World, tokens: bytes) -> None:
    entries = [b'{"input_tokens":%b,"ts_epoch":1767600000}' % tokens, b'{"input_tokens":5,"ts_epoch":1767600001}']
    put(world, "costs.json", b'{"entries":[%b]}' % b",".join(entries))
    follower = Follower(world)
    follower.settle()
    put(world, "costs.json", b'{"entries":[%b]}' % b",".join([*entries, b'{"model":"a\x1bb","ts_epoch":1767600002}']))
    follower.settle()
    follower.close()
    assert world.query("SELECT count(*) FROM cost_entries") == [(3,)]


def test_more_fragments_than_any_crash_leaves_are_an_error(world: World) -> None:
    world.append(3)
    put(world, "cost-outcomes.json", b"{x\n" * (MOST_FRAGMENTS + 1) + b"{}\n")
    done = call(world, "backfill")
    assert done.returncode == 73
    assert f"cost-outcomes.json cannot be used: more than {MOST_FRAGMENTS} pieces of it are not JSON" in done.stderr
    assert world.stored() == [1, 2, 3]
