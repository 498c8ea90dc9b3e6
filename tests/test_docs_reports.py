"""What docs/reports.md and docs/data.md say is all there is to say: each key, each option."""

from __future__ import annotations

import importlib
import re
import types
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import apsw
import pytest
import typer

from shipwrightd.cli.app import app
from shipwrightd.cli.report import envelope
from shipwrightd.reports.question import Period, Question

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parent.parent / "docs"
REPORTS = ("dora", "costs", "stages", "throughput", "failures", "runs", "activity", "team", "memory")
DATA = ("export", "import", "backup", "prune")
ROW = re.compile(r"^\|([^|]*)\|([^|]*)\|.*\|$", re.MULTILINE)
UNTOLD = (Any, object)  # types that say nothing, not even whether null is possible

Field = tuple[str, str, object]  # name of the dataclass, of the field, type


@cache
def sections(document: str) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", (DOCS / document).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented(section: str) -> set[tuple[str, bool]]:
    """Return the keys that the tables of a section name, each with whether it may be null."""
    return {
        (key, kind.strip().endswith("?")) for keys, kind in ROW.findall(section) for key in re.findall(r"`(\w+)`", keys)
    }


def fields_of(answer: object, seen: set[object]) -> Iterator[Field]:
    """Return the fields of a dataclass and of all that it holds."""
    if get_origin(answer) in (list, dict, types.UnionType, Union):
        for part in get_args(answer):
            yield from fields_of(part, seen)
    elif isinstance(answer, type) and is_dataclass(answer) and answer not in seen:
        seen.add(answer)
        for name, kind in get_type_hints(answer, vars(_home_of(answer))).items():
            yield answer.__name__, name, kind
            yield from fields_of(kind, seen)


def _home_of(answer: type) -> types.ModuleType:
    return importlib.import_module(answer.__module__)


def answer_of(report: str) -> object:
    module = importlib.import_module(f"shipwrightd.reports.{report}")
    names = {**vars(module), "apsw": apsw, "Question": Question}  # these two are for the type checker there
    return get_type_hints(module.collect, names)["return"]


def nullable(kind: object) -> bool:
    return type(None) in get_args(kind)


@cache
def command_of(*names: str) -> Any:
    found: Any = typer.main.get_command(app)
    for name in names:
        found = found.commands[name]
    return found


def options_of(*names: str) -> list[str]:
    return [option for param in command_of(*names).params for option in param.opts if option.startswith("--")]


def test_every_report_has_a_section() -> None:
    assert set(command_of("report").commands) == set(REPORTS)
    assert set(REPORTS) <= set(sections("reports.md"))


@pytest.mark.parametrize("report", REPORTS)
def test_every_key_of_the_json_is_documented_and_whether_it_may_be_null(report: str) -> None:
    told = documented(sections("reports.md")[report])
    fields = list(fields_of(answer_of(report), set()))
    lacking = [
        f"{owner}.{name}" + (" may be null" if nullable(kind) else "")
        for owner, name, kind in fields
        if not any((name, null) in told for null in ((False, True) if kind in UNTOLD else (nullable(kind),)))
    ]
    assert fields
    assert not lacking


@pytest.mark.parametrize("report", REPORTS)
def test_no_key_is_documented_that_there_is_not(report: str) -> None:
    keys = {name for _, name, _ in fields_of(answer_of(report), set())}
    listed = sections("reports.md")[report].split("| key |")[1]
    assert {key for key, _ in documented(listed)} <= keys


def test_every_key_that_json_begins_with_is_documented() -> None:
    begun = envelope("dora", Question(now=1, period=Period(0, 1)), "files")
    told = {key for key, _ in documented(sections("reports.md")["Asking"])}
    assert set(begun) <= told


@pytest.mark.parametrize("report", REPORTS)
def test_every_option_of_a_report_is_documented(report: str) -> None:
    text = (DOCS / "reports.md").read_text()
    assert [option for option in options_of("report", report) if f"`{option}" not in text] == []


@pytest.mark.parametrize("command", DATA)
def test_every_option_of_a_data_command_is_documented(command: str) -> None:
    text = sections("data.md")[command] + "`--home DIR` and `--db FILE`"
    assert [option for option in options_of(command) if f"`{option}" not in text] == []


@pytest.mark.parametrize("option", ["--issue", "--stage", "--model", "--type", "--developer", "--limit"])
def test_table_of_filters_names_the_reports_that_take_one(option: str) -> None:
    rows = re.findall(rf"^\| `{option}\b[^|]*\|([^|]*)\|", sections("reports.md")["Asking"], re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"[a-z]+", row)}
    assert told == {report for report in REPORTS if option in options_of("report", report)}
