"""What is generated from the program is what the program is; what documents quote is what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shipwrightd import __version__

ROOT = Path(__file__).parent.parent
MANUAL = ROOT / "docs" / "shipwrightd.1"
CODE = "\n".join(file.read_text() for file in sorted((ROOT / "shipwrightd").rglob("*.py")))


def test_schema_and_manual_are_current() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], check=False)
    assert done.returncode == 0, "make docs"


def test_every_column_of_the_schema_has_its_table() -> None:
    told = (ROOT / "docs" / "schema.md").read_text()
    tables = {"schema_version", "events", "pipeline_runs", "pipeline_stages", "sessions", "cost_entries", "metrics"}
    assert {f"## {table}" for table in tables | {"memory_entries"}} <= set(told.splitlines())


@pytest.mark.parametrize("tool", [("mandoc", "-T", "lint", "-W", "warning"), ("groff", "-man", "-Tutf8", "-ww", "-z")])
def test_manual_renders_without_a_warning(tool: tuple[str, ...]) -> None:
    if shutil.which(tool[0]) is None:
        pytest.skip(f"{tool[0]} is not installed")
    done = subprocess.run([*tool, str(MANUAL)], capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr).strip() == ""


def test_every_message_that_troubleshooting_quotes_is_one_of_the_program() -> None:
    quoted = re.findall(r"^### `(.+)`", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert quoted
    code = re.sub(r"\{[^{}]*\}", "…", CODE)
    assert [message for message in quoted if message not in code] == []


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text()))
    assert named == {file.stem for file in (ROOT / "tests" / "security").glob("test_*.py")}


def test_version_is_written_once_and_semantic() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert "version =" not in (ROOT / "pyproject.toml").read_text().split("[tool.mypy]")[0].replace(
        "python_version", ""
    )


def test_hooks_and_development_use_one_version_of_ruff() -> None:
    pinned = re.findall(r"ruff==[0-9.]+", (ROOT / ".pre-commit-config.yaml").read_text())
    assert pinned == re.findall(r"ruff==[0-9.]+", (ROOT / "pyproject.toml").read_text())
