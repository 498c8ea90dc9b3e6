"""What the `config` commands do: the settings with where they come from; exit codes are returned."""

# ruff: noqa: T201 - printing is what commands are for

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from shipwrightd.cli.commands import OK, _width
from shipwrightd.config import files, settings
from shipwrightd.config.keys import KEYS, as_toml, masked
from shipwrightd.errors import ConfigError
from shipwrightd.table import Column, table
from shipwrightd.text import as_json as dump
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shipwrightd.config.files import File
    from shipwrightd.config.settings import Resolved, Value

VALUES = ("SETTING", Column("VALUE", least=16), Column("FROM", least=16))
FILES = (Column("FILE", least=24), "STATE")


def show(home: str | None, db: str | None, *, as_json: bool) -> int:
    """Show each setting with where it comes from."""
    found = settings.resolve({"home": home, "db": db})
    if as_json:
        print(dump({"settings": [_entry(value) for value in found.values], "problems": list(found.problems)}))
    else:
        rows = [(value.key, as_toml(masked(value.key, value.value)), origin(value)) for value in found.values]
        print(table(VALUES, rows, _width()))
    return _told(() if as_json else found.problems, found)


def path(*, as_json: bool) -> int:
    """List the files that are looked for."""
    found = [files.read(path) for path in files.paths(os.environ)]
    if as_json:
        print(dump([{"path": str(file.path), "state": state(file), "problem": file.problem} for file in found]))
    else:
        print(table(FILES, [(str(file.path), state(file)) for file in found], _width()))
    return OK


def check(home: str | None, db: str | None, *, as_json: bool) -> int:
    """Say all that is wrong."""
    found = settings.resolve({"home": home, "db": db})
    strays = settings.strays(os.environ)
    if as_json:
        print(dump({"problems": list(found.problems), "warnings": strays}))
        return _told((), found)
    for stray in strays:
        print(f"warning: {visible(stray)}")
    if not found.problems:
        used = [str(file.path) for file in found.files if file.exists]
        print(f"the settings are valid ({visible(', '.join(used)) if used else 'there is no settings file'})")
    return _told(found.problems, found)


def _entry(value: Value) -> dict[str, object]:
    """Return a setting as JSON."""
    key = next(key for key in KEYS if key.name == value.key)
    return {
        "setting": value.key,
        "value": masked(value.key, value.value),
        "from": value.kind,
        "name": value.name or None,
        "flag": key.flag,
        "variable": key.variable,
    }


def origin(value: Value) -> str:
    """Return where a value comes from, in words."""
    return value.name if value.kind == "file" else f"{value.kind} {value.name}".rstrip()


def state(file: File) -> str:
    """Return what became of a file, in a word or two."""
    if not file.exists:
        return "not there"
    return "cannot be used" if file.problem else "read"


def _told(problems: Iterable[str], found: Resolved) -> int:
    """Say the problems on stderr, a line each, and return the exit code."""
    for problem in problems:
        with contextlib.suppress(OSError):  # nobody listens; the code is left
            print(f"shipwrightd: {visible(problem)}", file=sys.stderr)
    return ConfigError.exit_code if found.problems else OK
