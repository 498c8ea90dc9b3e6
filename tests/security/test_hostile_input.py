"""Whoever controls what ends up in Shipwright's files can neither stop shipwrightd nor make it do anything else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import orjson
import pytest
from hostile import answers, event, make_home
from process import Running, places, status
from world import World, line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

MIB = 1 << 20
DEEP = 1_000_000
SQL = "'); DROP TABLE events; --"
HEAD = b'{"ts":"2026-01-06T10:00:00Z","ts_epoch":1767693600,"type":"pipeline.started","issue":7,"stage":"x",'
BOMBS = {
    "nested without end": HEAD + b'"a":' + b"[" * DEEP,
    "nested and closed": HEAD + b'"a":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "as deep as the parser goes": HEAD + b'"payload":' + b'{"a":' * 1_010 + b"1" + b"}" * 1_011,
    "a number of a million digits": HEAD + b'"a":' + b"9" * MIB + b"}",
    "an exponent": HEAD + b'"cost_usd":1e999999999,"duration_s":-1e999999999}',
    "an issue beyond 64 bits": HEAD.replace(b"7", b"9" * 40) + b'"a":1}',
    "a time beyond all calendars": HEAD.replace(b"1767693600", b"9" * 18) + b'"a":1}',
    "quotes": HEAD + b'"a":"' + b'"' * MIB + b'"}',
    "backslashes": HEAD + b'"a":"' + b"\\" * MIB,
    "records without end": b'{"type":"x' * (MIB // 10),
    "NULs": b"\0" * MIB,
    "longer than 16 MiB": HEAD + b'"a":"' + b"x" * (16 * MIB) + b'"}',
    "not UTF-8": HEAD + b'"a":"' + b"\xff\xed\xa0\x80" * 1_000 + b'"}',
    "lone surrogates": HEAD + b'"a":"\\ud800"}',
}


def records(world: World) -> dict[str, int]:
    return {source["source"]: source["records"] for source in status(world)["sources"]}


def test_no_line_stops_what_comes_after_it_or_a_report_about_it(world: World) -> None:
    """The time limit of each call is what "bounded" means here: minutes or gigabytes would break it."""
    world.events.write_bytes(b"\n".join(BOMBS.values()) + b"\n" + line(1))
    commands = ("activity --limit 100", "runs", "stages --days 3650", "failures --days 3650", "dora --days 3650")
    asked = [*(f"report {name}" for name in commands), "rebuild", "quarantine list", f"export --out {world.home}.out"]
    asked = ["backfill", *asked, "verify"]
    told = answers([[*command.split(), *places(world)] for command in asked])
    assert [(command, answer) for command, answer in zip(asked, told, strict=True) if answer.code != 0] == []
    assert told[-1].out == "the database agrees with the files\n"
    (source,) = status(world)["sources"]
    assert source["records"] + source["quarantined"] == len(BOMBS)  # one more line, and two that are one piece
    assert source["behind_bytes"] == 0


def test_no_document_stops_the_others(world: World) -> None:
    deep = b"[" * DEEP + b"]" * DEEP
    repo = world.home / "memory" / "0123456789ab"
    repo.mkdir(parents=True)
    (world.home / "heartbeats").mkdir()
    (world.home / "costs.json").write_bytes(b'{"entries":' + deep + b"}")
    (world.home / "cost-outcomes.json").write_bytes(deep)
    (world.home / "daemon-state.json").write_bytes(b'{"a":' * DEEP)
    (world.home / "developer-registry.json").write_bytes(b'[{"developer_id":' + b"9" * MIB + b"}]")
    (repo / "failures.json").write_bytes(b'{"failures":[' + b'{"seen_count":1e999},' * 1_000 + b"1]}")
    os.mkfifo(repo / "decisions.json")
    os.truncate(os.open(repo / "patterns.json", os.O_CREAT | os.O_WRONLY), 65 * MIB)
    (repo / "metrics.json").symlink_to("/dev/zero")
    (world.home / "heartbeats" / "a.json").symlink_to("a.json")
    (world.home / "budget.json").write_bytes(b'{"daily_budget_usd":5,"enabled":true}')
    world.append(3)
    with Running(world) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        daemon.wait_for(lambda: records(world).get("budget.json") == 1)
        assert records(world)["events.jsonl"] == 3


def test_a_pipe_in_place_of_a_journal_stops_neither_daemon_nor_status(world: World) -> None:
    os.mkfifo(world.events)
    (world.home / "team-events.jsonl").write_bytes(event(1, "x", from_developer="ada", from_machine="m"))
    with Running(world) as daemon:
        daemon.wait_for(daemon.has_logged("daemon_following"))
        assert "team-events.jsonl" in {source["source"] for source in status(world)["sources"]}


def test_values_are_never_read_as_sql(world: World) -> None:
    """As data in every field of every file, and as every option that takes a text."""
    make_home(world.home, SQL)
    asked = (
        ("activity", "--type", SQL, "--stage", SQL, "--model", SQL, "--developer", SQL),
        ("runs", "--issue", SQL, "--status", "success"),
        ("costs", "--model", SQL, "--stage", SQL),
        ("memory", "--search", SQL, "--repo", SQL),
        ("memory", "--search", 'a" OR b*) NEAR/2 ^c :'),
        ("team", "--developer", SQL),
    )
    commands = [["backfill"], *(["report", *command] for command in asked), ["verify"], ["export"]]
    *told, verified, exported = answers([[*command, *places(world)] for command in commands])
    assert [answer for answer in told if answer.code not in {0, 2} or "syntax" in answer.err] == []
    assert verified.code == 0
    assert SQL in {orjson.loads(text)["type"] for text in exported.out.split("\n")[:-1]}


def test_a_hostile_file_is_imported_as_far_as_it_is_events(world: World, tmp_path: Path) -> None:
    world.append(1)
    told = ('"origin":"../../etc/passwd"', '"origin":"events.jsonl/\\u0000x"', '"salvaged":1e400', '"salvaged":[[1]]')
    marks = [HEAD + b'"_shipwrightd":{' + said.encode() + b"}}" for said in told]
    (tmp_path / "file").write_bytes(b"\n".join([*BOMBS.values(), *marks]) + b"\n" + line(9))
    bring = ["import", str(tmp_path / "file"), *places(world)]
    done, verified, again = answers([bring, ["verify", *places(world)], bring])
    assert (done.code, verified.code, again.code) == (0, 0, 0)
    assert " 0 new" in again.out
