"""systemd: the text of the units, the commands that control them, and the meaning of their output. Pure.

Quoting follows systemd.syntax(7): inside double quotes only a backslash, a
quote and % are special; with ExecStart=: $ is not special either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shipwrightd.service import State, fill, writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

UNIT = "shipwrightd.service"
PROPERTIES = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "MainPID",
    "ActiveEnterTimestamp",
    "StatusText",
    "Result",
    "NeedDaemonReload",
)
SINCE = re.compile(r"#([0-9]{3}) ")  # marks a line for this version of systemd and later
NO_BUS = ("Failed to connect to bus", "has not been booted with systemd", "Failed to get D-Bus connection")


def quoted(text: str) -> str:
    """Return a value quoted for a unit file. PathError for text that no unit can hold."""
    escaped = writable(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def unit(template: str, version: int, command: Sequence[str], more: Mapping[str, str]) -> str:
    """Return a unit for a version of systemd; `command` starts the daemon, `more` has the other placeholders."""
    values = {"COMMAND": " ".join(quoted(word) for word in command), **more}
    return fill(for_version(template, version), values)


def for_version(template: str, version: int) -> str:
    """Return the template without the lines that need a later version of systemd, and without the version marks."""
    kept = []
    for line in template.splitlines():
        mark = SINCE.match(line)
        if mark and int(mark[1]) > version:
            continue
        kept.append(line[mark.end() :] if mark else line)
    return "\n".join(kept) + "\n"


def environment(variables: Mapping[str, str]) -> str:
    """Return the lines that set variables."""
    return "\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in sorted(variables.items()))


def systemctl(*words: str, system: bool) -> tuple[str, ...]:
    """Return a command for the manager of the system or of the user."""
    return ("systemctl", *(() if system else ("--user",)), *words)


def show(*, system: bool) -> tuple[str, ...]:
    """Return the command that prints the state of the service."""
    return systemctl("show", UNIT, f"--property={','.join(PROPERTIES)}", "--timestamp=utc", system=system)


def journal(lines: int, *, follow: bool, system: bool) -> tuple[str, ...]:
    """Return the command that prints the log."""
    unit_option = f"--unit={UNIT}" if system else f"--user-unit={UNIT}"
    return ("journalctl", unit_option, f"--lines={lines}", "--no-pager", *(("--follow",) if follow else ()))


def version(output: str) -> int:
    """Return the number in the output of `systemctl --version`, 0 if there is none."""
    found = re.match(r"systemd (\d+)", output)
    return int(found[1]) if found else 0


def state(output: str, path: Path, *, installed: bool, system: bool) -> State:
    """Return the state of the service from the output of `show`."""
    fields = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    pid = fields.get("MainPID", "0")
    result = fields.get("Result", "success")
    return State(
        kind=kind(system=system),
        path=path,
        installed=installed,
        enabled=fields.get("UnitFileState", "").startswith("enabled"),
        active=fields.get("ActiveState"),
        pid=int(pid) if pid.isdecimal() and pid != "0" else None,
        since=fields.get("ActiveEnterTimestamp") or None,
        said=fields.get("StatusText") or None,
        result=None if result == "success" else result,
        outdated=fields.get("NeedDaemonReload") == "yes",
    )


def kind(*, system: bool) -> str:
    """Return the name of this kind of service."""
    return "systemd system unit" if system else "systemd user unit"


def no_bus(message: str) -> bool:
    """Tell whether a command failed because no manager is running."""
    return any(sign in message for sign in NO_BUS)
