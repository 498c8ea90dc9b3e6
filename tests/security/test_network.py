"""No connection is made and no port opened unless somebody asks for it; what is installed is named with its range."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hostile import answers, make_home

ROOT = Path(__file__).parent.parent.parent
COMMANDS = (
    "backfill",
    "status",
    "report dora",
    "report team",
    "report costs --format csv",
    "verify",
    "export",
)


@pytest.mark.system
def test_no_command_uses_the_network(tmp_path: Path) -> None:
    make_home(tmp_path / "home", "text")
    home = ["--home", str(tmp_path / "home")]
    told = answers([["version"], *([*command.split(), *home] for command in COMMANDS)])
    assert [answer for answer in told if answer.code != 0] == []


def test_each_dependency_has_a_range_with_both_ends() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        assert re.fullmatch(r"[a-z-]+>=[\d.]+,<[\d.]+", requirement), requirement
