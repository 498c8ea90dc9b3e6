"""Writes docs/schema.md from the migrations and docs/shipwrightd.1 from the program's own help: `make docs`."""

from __future__ import annotations

import re
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import typer

from shipwrightd import __version__
from shipwrightd.cli.app import EXIT_CODES, app
from shipwrightd.database.migrate import known, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "docs" / "schema.md"
CHANGELOG = ROOT / "CHANGELOG.md"
MANUAL = ROOT / "docs" / "shipwrightd.1"
GROUPS = ("report", "service", "config")  # whose examples stand at the end, as no section is theirs
BEGUN = "2026-11-26"  # the date of a manual whose release has none yet
OBJECTS = """
SELECT type, name, tbl_name, sql FROM sqlite_schema
WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'memory\\_search\\_%' ESCAPE '\\'
ORDER BY name"""
COLUMNS = 'SELECT name, type, "notnull", pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid'
MADE = re.compile(r"^CREATE (?:TABLE|VIEW|VIRTUAL TABLE|TRIGGER|INDEX)(?: IF NOT EXISTS)? (\w+)")
INTRODUCTION = """# The tables

<!-- Generated from migrations/ by `make docs`; a test checks that it is current. -->

What a database of schema version {version} holds. Times that end in `_epoch` are seconds since 1970,
those that end in `_at` and `ts` are ISO 8601 in UTC. Columns named `extra` hold, as JSON, every field that has no
column of its own.
[Views](views.md) are the stable way to ask from outside; [docs/reports.md](reports.md) explains the figures.
"""


def comments() -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """Return what the migrations say before each object, and beside each column."""
    above: dict[str, str] = {}
    beside: dict[tuple[str, str], str] = {}
    for migration in known():
        said: list[str] = []
        table = column = ""
        for line in migration.sql.splitlines():
            text = line.strip()
            if made := MADE.match(line):
                table, column = made[1], ""
                above.setdefault(table, " ".join(said))
                said = []
            elif altered := re.match(r"ALTER TABLE (\w+) ADD COLUMN (\w+)", line):
                table, column = altered[1], altered[2]
                beside[table, column] = line.partition("-- ")[2] or " ".join(said)
                said = []
            elif line.startswith("--"):
                said.append(text.lstrip("- "))
            elif not text:
                said = []
            elif text.startswith("--") and column:
                beside[table, column] = f"{beside.get((table, column), '')} {text.lstrip('- ')}".strip()
            elif named := re.match(r"    (\w+) +[A-Z]", line):
                column = named[1]
                beside[table, column] = line.partition("-- ")[2].strip()
    return above, beside


def schema() -> str:
    """Return docs/schema.md: the tables, columns, indexes and views that the migrations make of nothing."""
    above, beside = comments()
    with closing(apsw.Connection(":memory:")) as db:
        migrate(db)
        objects = list(db.execute(OBJECTS))
        parts = [INTRODUCTION.format(version=len(known()))]
        for kind, name, _, sql in objects:
            if kind == "table":
                columns = list(db.execute(COLUMNS, (name,)))
                parts.append("\n".join(table(name, sql, columns, objects, (above, beside))))
        parts.append("## Views\n")
        for kind, name, _, _ in objects:
            if kind == "view":
                columns = [f"`{row[0]}`" for row in db.execute(COLUMNS, (name,))]
                parts.append(f"### {name}\n\n{cell(above.get(name, ''))}\n\nColumns: {', '.join(columns)}\n")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts)).rstrip() + "\n"


def table(
    name: str, sql: str, columns: list[tuple[Any, ...]], objects: list[tuple[Any, ...]], told: tuple[Any, Any]
) -> Iterator[str]:
    """Write one table: what a row means, its columns, its indexes."""
    above, beside = told
    about = above.get(name) or ("Which migrations have been applied." if name == "schema_version" else "")
    yield f"## {name}\n"
    yield f"{cell(about)}\n"
    yield "| column | type | meaning |"
    yield "|---|---|---|"
    for column, kind, required, key in columns:
        said = beside.get((name, column)) or inline(sql, column)
        notes = ", ".join(note for note, holds in (("key", key), ("never NULL", required and not key)) if holds)
        yield f"| `{column}` | {kind or '-'}{f' ({notes})' if notes else ''} | {cell(said)} |"
    yield ""
    for kind, index, of, made in objects:
        if kind == "index" and of == name:
            yield f"Index `{index}`: `{made[made.index('(') :]}`\n"


def inline(sql: str, column: str) -> str:
    """Return the comment that the statement of a table has beside a column."""
    found = re.search(rf"^\s*{column}\s.*?-- (.*)$", sql, re.MULTILINE)
    return found[1].strip() if found else ""


def cell(text: str) -> str:
    """Return text that stands in a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - typer brings its own click
    """Return every command with its path, those that only hold others left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def roff(text: str) -> str:
    """Return text so that it stands in a manual page as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    return "\n".join(f"\\&{line}" if line.startswith(".") else line for line in escaped.splitlines())


def manual() -> str:
    """Return the manual page, in the man macros of every system."""
    program: Any = typer.main.get_command(app)  # a group of typer's own click
    dated = re.search(rf"^## \[{re.escape(__version__)}\] - ([0-9-]+)$", CHANGELOG.read_text(), re.MULTILINE)
    lines = [
        f'.TH SHIPWRIGHTD 1 "{dated[1] if dated else BEGUN}" "shipwrightd {__version__}" "User Commands"',
        ".SH NAME",
    ]
    lines += ["shipwrightd \\- keeps a database of everything Shipwright writes", ".SH SYNOPSIS"]
    lines += [".B shipwrightd", ".I COMMAND", "[\\fIOPTION\\fR ...]", ".SH DESCRIPTION"]
    lines += [*paragraphs(str(program.help)), ".SH COMMANDS"]
    for path, command in commands(program, "shipwrightd"):
        lines += [f".SS {roff(path)}", *paragraphs(str(command.help))]
        for param in command.params:
            names = ", ".join(param.opts) if param.param_type_name == "option" else param.metavar or param.name.upper()
            value = "" if getattr(param, "is_flag", False) or param.param_type_name == "argument" else param.metavar
            shown = f"{names} {value or ''}".strip()
            lines += [".TP", f".B {roff(shown)}", roff(getattr(param, "help", "") or "")]
        if command.epilog:
            lines += [".PP", "Examples:", ".PP", ".nf", *map(roff, command.epilog.splitlines()[2:]), ".fi"]
    lines += [".SH EXIT STATUS"]
    for code, meaning in re.findall(r"^  (\d+) +(.*)$", EXIT_CODES, re.MULTILINE):
        lines += [".TP", f".B {code}", roff(meaning)]
    lines += [".SH FILES", ".TP", ".I ~/.shipwright", roff("Shipwright's folder, which is only read."), ".TP"]
    lines += [".I ~/.shipwright/shipwrightd/shipwright.db", "The database.", ".TP"]
    lines += [".I ~/.config/shipwrightd/config.toml", "Settings, all of which have a default."]
    epilogs = [program.commands[group].epilog for group in GROUPS]
    examples = [line for epilog in epilogs for line in re.findall("^  (shipwrightd .*)", epilog, re.MULTILINE)]
    lines += [".SH EXAMPLES", ".nf", *map(roff, examples), ".fi"]
    return "\n".join(line for line in lines if line) + "\n"


def paragraphs(text: str) -> list[str]:
    """Return running text as paragraphs of a manual page."""
    found: list[str] = []
    for part in re.split(r"\n\s*\n", text.replace("\b", "").strip()):
        found += [".PP", roff("\n".join(line.strip() for line in part.splitlines()))]
    return found[1:]


def main() -> int:
    """Write both files; with --check only tell whether they are current."""
    made = {SCHEMA: schema(), MANUAL: manual()}
    if "--check" in sys.argv:
        return int(any(not path.is_file() or path.read_text() != text for path, text in made.items()))
    for path, text in made.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
