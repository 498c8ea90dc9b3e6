"""systemd: the text of our units, the commands that install and ask, and what the answers mean. Pure.

Quoting follows systemd.syntax(7): inside double quotes only a backslash, a
quote and % mean something; ExecStart=: has no $ either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shipwrightd.service import State, fill, writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

UNIT = "shipwrightd.service"
SHOWN = (
    "LoadState",
    "UnitFileState",
    "ActiveState",
    "MainPID",
    "ActiveEnterTimestamp",
    "StatusText",
    "Result",
    "NeedDaemonReload",
)
SINCE = re.compile(r"#([0-9]{3}) ")  # begins a line for systemd of that version and later
NO_BUS = ("Failed to connect to bus", "has not been booted with systemd", "Failed to get D-Bus connection")


def quoted(text: str) -> str:
    """Return a value in quotes, so that a unit file holds it as it is. PathError for what no unit can hold."""
    escaped = writable(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def unit(template: str, version: int, command: Sequence[str], more: Mapping[str, str]) -> str:
    """Return a unit for a systemd of that version; `command` starts the daemon, `more` fills in the rest."""
    values = {"COMMAND": " ".join(quoted(word) for word in command), **more}
    return fill(for_version(template, version), values)


def for_version(template: str, version: int) -> str:
    """Return the template with its marks off the lines that this systemd knows, without those that it does not."""
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
    """Return the command that tells the system's manager, or the user's own."""
    return ("systemctl", *(() if system else ("--user",)), *words)


def show(*, system: bool) -> tuple[str, ...]:
    """Return the command that asks how the service stands."""
    return systemctl("show", UNIT, f"--property={','.join(SHOWN)}", "--timestamp=utc", system=system)


def journal(lines: int, *, follow: bool, system: bool) -> tuple[str, ...]:
    """Return the command that prints the log."""
    unit_option = f"--unit={UNIT}" if system else f"--user-unit={UNIT}"
    return ("journalctl", unit_option, f"--lines={lines}", "--no-pager", *(("--follow",) if follow else ()))


def version(answer: str) -> int:
    """Return the number in what `systemctl --version` says, 0 if there is none."""
    found = re.match(r"systemd (\d+)", answer)
    return int(found[1]) if found else 0


def state(answer: str, path: Path, *, installed: bool, system: bool) -> State:
    """Return how the service stands by what `show` answered."""
    told = dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)
    pid = told.get("MainPID", "0")
    result = told.get("Result", "success")
    return State(
        kind=kind(system=system),
        path=path,
        installed=installed,
        enabled=told.get("UnitFileState", "").startswith("enabled"),
        active=told.get("ActiveState"),
        pid=int(pid) if pid.isdecimal() and pid != "0" else None,
        since=told.get("ActiveEnterTimestamp") or None,
        said=told.get("StatusText") or None,
        result=None if result == "success" else result,
        outdated=told.get("NeedDaemonReload") == "yes",
    )


def kind(*, system: bool) -> str:
    """Return what the service is called."""
    return "systemd system unit" if system else "systemd user unit"


def no_bus(said: str) -> bool:
    """Tell whether a command failed because no manager listens."""
    return any(sign in said for sign in NO_BUS)
