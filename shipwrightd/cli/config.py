"""`config`: the settings and where each comes from."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from shipwrightd import config
from shipwrightd.cli.options import Db, Home, Json, examples
from shipwrightd.config import files
from shipwrightd.config.keys import KEYS, as_toml, masked
from shipwrightd.errors import ConfigError
from shipwrightd.text import as_json as dump
from shipwrightd.text import visible, warn, width

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shipwrightd.config import Resolved, Value
    from shipwrightd.config.files import File

app = typer.Typer(
    help="""Look at the settings and where each comes from.

Flags override the environment, which overrides the user's settings file, which
overrides the system's; all override the defaults.
""",
    epilog=examples(
        ("shipwrightd config show", "the settings in effect, and where each comes from"),
        ("shipwrightd config check", "what is wrong with them"),
    ),
    no_args_is_help=True,
)


@app.command()
def show(home: Home = None, db: Db = None, *, as_json: Json = False) -> int:
    """Show each setting, its value, and where it comes from.

    Of hook_url only scheme and host are shown: the rest may be a secret.
    Exits 78 if a setting is invalid, and shows the value used instead.
    """
    from shipwrightd.table import Column, table

    resolved = config.resolve({"home": home, "db": db})
    if as_json:
        entries = [_entry(value) for value in resolved.values]
        print(dump({"settings": entries, "problems": list(resolved.problems)}))
        return _code(resolved)
    columns = ("SETTING", Column("VALUE", least=16), Column("FROM", least=16))
    rows = [(value.key, as_toml(masked(value.key, value.value)), _origin(value)) for value in resolved.values]
    print(table(columns, rows, width()))
    return _code(resolved, resolved.problems)


@app.command()
def path(*, as_json: Json = False) -> None:
    """List the settings files in use, highest priority first."""
    from shipwrightd.table import Column, table

    found = [files.read(path) for path in files.paths(os.environ)]
    if as_json:
        print(dump([{"path": str(file.path), "state": _state(file), "problem": file.problem} for file in found]))
    else:
        columns = (Column("FILE", least=24), "STATE")
        print(table(columns, [(str(file.path), _state(file)) for file in found], width()))


@app.command()
def check(home: Home = None, db: Db = None, *, as_json: Json = False) -> int:
    """List everything that is wrong with the settings.

    Checks every value, even one that is overridden. Exits 78 if any is invalid.
    """
    resolved = config.resolve({"home": home, "db": db})
    strays = config.strays(os.environ)
    if as_json:
        print(dump({"problems": list(resolved.problems), "warnings": strays}))
        return _code(resolved)
    for stray in strays:
        print(f"warning: {visible(stray)}")
    if not resolved.problems:
        used = [str(file.path) for file in resolved.files if file.exists]
        print(f"the settings are valid ({visible(', '.join(used)) if used else 'there is no settings file'})")
    return _code(resolved, resolved.problems)


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


def _origin(value: Value) -> str:
    """Return where a value comes from, in words."""
    return value.name if value.kind == "file" else f"{value.kind} {value.name}".rstrip()


def _state(file: File) -> str:
    """Return the state of a file in a word or two."""
    if not file.exists:
        return "not there"
    return "cannot be used" if file.problem else "read"


def _code(resolved: Resolved, problems: Iterable[str] = ()) -> int:
    """Print the problems on stderr, a line each, and return the exit code."""
    for problem in problems:
        warn(problem)
    return ConfigError.exit_code if resolved.problems else 0
