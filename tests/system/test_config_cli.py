"""`config show`, `path` and `check`, as they are called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


class Desk:
    """A user with a settings file, and a machine with one."""

    def __init__(self, folder: Path) -> None:
        self.own = folder / "own" / "shipwrightd" / "config.toml"
        self.system = folder / "system" / "shipwrightd" / "config.toml"
        self.env = {key: value for key, value in os.environ.items() if not key.startswith("SHIPWRIGHTD_")}
        self.env |= {"XDG_CONFIG_HOME": str(folder / "own"), "XDG_CONFIG_DIRS": str(folder / "system")}
        for file in (self.own, self.system):
            file.parent.mkdir(parents=True)

    def call(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a command at this desk."""
        command = [sys.executable, "-m", "shipwrightd", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=self.env | env)

    def answer(self, *words: str, **env: str) -> Any:
        """Return what it says as JSON."""
        return json.loads(self.call(*words, "--json", **env).stdout)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_show_gives_each_value_with_where_it_came_from(desk: Desk) -> None:
    desk.own.write_text('home = "/srv/sw"\nhook_url = "https://ada:geheim@example.org/key?token=geheim"\n')
    desk.system.write_text("rescan_s = 7\n")

    done = desk.call("config", "show", "--db", "/x.db", SHIPWRIGHTD_WATCH="off")

    assert done.returncode == 0, done.stderr
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert rows == [
        ["SETTING", "VALUE", "FROM"],
        ["home", '"/srv/sw"', str(desk.own)],
        ["db", '"/x.db"', "flag --db"],
        ["log_level", '"info"', "default"],
        ["rescan_s", "7", str(desk.system)],
        ["settle_s", "2", "default"],
        ["watch", "false", "environment SHIPWRIGHTD_WATCH"],
        ["metrics", '""', "default"],
        ["hook_command", "[]", "default"],
        ["hook_url", '"https://***@example.org/***"', str(desk.own)],
        ["hook_after_s", "60", "default"],
    ]
    entries = desk.answer("config", "show", SHIPWRIGHTD_WATCH="off")
    assert entries["problems"] == []
    assert {"setting", "value", "from", "name", "flag", "variable"} == set(entries["settings"][0])
    assert entries["settings"][5] == {
        "setting": "watch",
        "value": False,
        "from": "environment",
        "name": "SHIPWRIGHTD_WATCH",
        "flag": "--watch",
        "variable": "SHIPWRIGHTD_WATCH",
    }
    assert "geheim" not in json.dumps(entries)


def test_show_with_something_wrong_shows_what_would_hold_and_exits_78(desk: Desk) -> None:
    desk.own.write_text('rescan_s = "x"\nhome = "~nobody-here/x"\n')

    done = desk.call("config", "show")

    assert done.returncode == 78
    assert "rescan_s      2 " in done.stdout
    assert [line.split(maxsplit=2)[1] for line in done.stderr.splitlines()] == ["rescan_s", "invalid"]
    assert desk.answer("config", "show")["problems"]


def test_path_lists_the_files_in_order_and_which_are_there(desk: Desk) -> None:
    desk.system.write_text("rescan_s = \n")

    done = desk.call("config", "path")

    assert done.returncode == 0
    rows = [line.rsplit("  ", 1) for line in done.stdout.splitlines()[1:]]
    assert [(path.strip(), state) for path, state in rows[:2]] == [
        (str(desk.own), "not there"),
        (str(desk.system), "cannot be used"),
    ]
    assert rows[2][0].strip() == "/etc/shipwrightd/config.toml"
    assert [entry["state"] for entry in desk.answer("config", "path")][:2] == ["not there", "cannot be used"]


def test_check_says_all_that_is_wrong_a_line_each_and_exits_78(desk: Desk) -> None:
    desk.own.write_text('log_levle = "debug"\nsettle_s = 0\n')
    desk.system.write_text("settle_s = 99\n")

    done = desk.call("config", "check", SHIPWRIGHTD_RESCAN="1")

    assert done.returncode == 78
    assert done.stdout == "warning: SHIPWRIGHTD_RESCAN is not a setting, perhaps SHIPWRIGHTD_RESCAN_S\n"
    assert [line.partition(" (known")[0] for line in done.stderr.splitlines()] == [
        f"shipwrightd: unknown setting log_levle in {desk.own}, perhaps log_level",
        f"shipwrightd: settle_s in {desk.own} is 0, allowed: seconds from 0.1 to 60",
        f"shipwrightd: settle_s in {desk.system} is 99, allowed: seconds from 0.1 to 60",
    ]
    assert len(desk.answer("config", "check", SHIPWRIGHTD_RESCAN="1")["problems"]) == 3


def test_check_of_valid_settings_says_which_files_they_are_from(desk: Desk) -> None:
    done = desk.call("config", "check")
    assert (done.returncode, done.stdout) == (0, "the settings are valid (there is no settings file)\n")

    desk.own.write_text("rescan_s = 3\n")
    done = desk.call("config", "check")
    assert (done.returncode, done.stdout) == (0, f"the settings are valid ({desk.own})\n")
