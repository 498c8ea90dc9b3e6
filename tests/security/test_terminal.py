"""Nothing that came from a file or an argument acts on the terminal it is shown on."""

from __future__ import annotations

import csv
import io
import re
import shutil
from typing import TYPE_CHECKING

import orjson
import pytest
from hostile import ACTING, EVIL, EVIL_NAME, make_home, on_a_terminal
from process import call
from world import World

from shipwrightd.export import TABLES
from shipwrightd.text import harmless, visible

if TYPE_CHECKING:
    from pathlib import Path

REPORTS = ("dora", "costs", "stages", "throughput", "failures", "runs", "activity", "team", "memory")
FORMS = ("table", "json", "csv")


def acting(shown: str) -> dict[str, str]:
    """Return what acts, by the command that showed it."""
    parts = re.split(r"^# (.*)$", shown, flags=re.MULTILINE)
    found = zip(parts[1::2], parts[2::2], strict=True)
    return {command: ascii(match[0]) for command, told in found if (match := ACTING.search(told))}


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    make_home(world.home)
    return world


def with_places(world: World, *commands: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [(*command, "--home", str(world.home), "--db", str(world.db_path)) for command in commands]


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x202E, 0x2066, 0x2028, 0xE0041])
def test_no_control_character_stays_one(code: int) -> None:
    assert visible(chr(code)) != chr(code)
    assert code == 0x0A or not ACTING.search(harmless(chr(code)))


def test_harmless_json_is_the_same_json() -> None:
    text = orjson.dumps({"evil": EVIL, "fine": "Zürich 東京 👩‍💻"}).decode()
    assert orjson.loads(harmless(text)) == orjson.loads(text)
    assert not ACTING.search(harmless(text))


@pytest.mark.system
def test_no_command_lets_data_act_on_a_terminal(world: World, tmp_path: Path) -> None:
    first = with_places(
        world,
        ("backfill",),
        ("status",),
        ("status", "--json"),
        ("quarantine", "list"),
        ("quarantine", "list", "--json"),
        ("quarantine", "show", "1"),
        ("quarantine", "show", "1", "--json"),
        ("quarantine", "show", "1", "--raw"),
        ("verify",),
        ("report", "runs", "1"),
        ("report", "memory", "--search", "FORGED"),
        ("api", "/api/status"),
        ("import", EVIL_NAME),
        ("backup", EVIL_NAME),
        ("report", "activity", "--type", EVIL_NAME),
        ("report", "nothing\x1b[31m"),
        ("\x1b[31mnothing",),
        ("status", "--\x9b31m"),
        ("prune", "--older-than", EVIL_NAME),
        ("export", "--table", EVIL_NAME),
    )
    reports = [("report", name, "--now", "2026-01-07", "--format", form) for name in REPORTS for form in FORMS]
    exports = [("export", "--table", table, "--format", form) for table in TABLES for form in ("jsonl", "csv")]
    elsewhere = [("status", "--home", EVIL_NAME, "--db", EVIL_NAME)]
    shown = on_a_terminal([*first, *with_places(world, *reports, *exports), *elsewhere], tmp_path)
    assert acting(shown) == {}
    assert shown.count("FORGED") > 50
    assert "\nFORGED" not in shown
    assert "Traceback" not in shown


@pytest.mark.system
def test_log_on_a_terminal_is_free_of_what_data_says(world: World, tmp_path: Path) -> None:
    folder = world.home / "memory" / EVIL_NAME
    folder.mkdir()
    shutil.copy(world.home / "memory" / "0123456789ab" / "failures.json", folder)
    shown = on_a_terminal(with_places(world, ("run",)), tmp_path, until=b"daemon_following")
    assert acting(shown) == {}
    assert "FORGED" in shown
    assert "\nFORGED" not in shown


@pytest.mark.system
def test_programs_get_the_text_as_it_was(world: World) -> None:
    """Only a terminal is spared: what is piped or written to a file is data and stays whole."""
    assert call(world, "backfill").returncode == 0
    lines = [orjson.loads(text) for text in call(world, "export").stdout.split("\n")[:-1]]
    assert EVIL in {event["type"] for event in lines}
    (row, *_) = csv.DictReader(io.StringIO(call(world, "export", "--table", "sessions", "--format", "csv").stdout))
    assert visible(row["developer"]).startswith(visible(EVIL)[:20])
