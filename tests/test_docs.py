"""What the README says is what the program does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from shipwrightd import errors
from shipwrightd.cli.app import app
from shipwrightd.config.keys import KEYS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\| `(\w+)", README.split("## Commands")[1].split("##")[0], re.MULTILINE)


def test_every_exit_code_is_explained() -> None:
    codes = {kind.exit_code for kind in errors.ShipwrightdError.__subclasses__()}
    line = README.split("Exit codes:")[1].split("##")[0]
    assert codes <= {int(code) for code in re.findall(r"\b\d+\b", line)}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_has_its_help(command: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "shipwrightd", command, "--help"], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr


EXAMPLES = {
    name: re.findall(r"^  (shipwrightd .*)", command.epilog or "", re.MULTILINE)
    for name, command in typer.main.get_command(app).commands.items()  # type: ignore[attr-defined]
}


def test_what_is_used_most_has_examples() -> None:
    assert {name for name, lines in EXAMPLES.items() if lines} >= {
        *(
            "run",
            "backfill",
            "status",
            "doctor",
            "export",
            "import",
            "prune",
            "report",
            "service",
            "config",
            "completion",
        )
    }


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_example_of_the_help_is_a_command_line_that_is_taken(command: str) -> None:
    for line in EXAMPLES[command]:
        program, *words = shlex.split(line.partition(" > ")[0])
        assert (program, words[0]) in {("shipwrightd", command), ("shipwrightd", "export")}
        found: Any = typer.main.get_command(app)
        while words and words[0] in getattr(found, "commands", {}):
            found = found.commands[words.pop(0)]
        assert found.make_context(command, words)


def test_no_command_is_missing_from_the_readme() -> None:
    shown = subprocess.run([sys.executable, "-m", "shipwrightd", "--help"], capture_output=True, text=True, check=True)
    listed = set(
        re.findall(r"^  ([a-z]+) {2,}\S", shown.stdout.split("Commands:")[1].split("Exit codes:")[0], re.MULTILINE)
    )
    assert listed == set(COMMANDS)


def test_every_setting_stands_in_the_readme_and_in_its_document() -> None:
    for text in (README.split("## Settings")[1].split("\n## ")[0], (ROOT / "docs" / "settings.md").read_text()):
        for key in KEYS:
            assert f"| `{key.name}` | `{key.flag}` | `{key.variable}` |" in text
        assert len(set(re.findall(r"SHIPWRIGHTD_[A-Z_]+", text))) == len(KEYS)


def test_the_links_of_the_documents_lead_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"
