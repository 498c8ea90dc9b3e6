"""systemd: the text of the units and the meaning of what systemctl prints. Pure.

Quoting follows systemd.syntax(7): inside double quotes only a backslash, a
quote and % are special; with ExecStart=: $ is not special either.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shipwrightd.service import fill, writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNIT = "shipwrightd.service"
PROPERTIES = "UnitFileState,ActiveState,MainPID,ActiveEnterTimestamp,StatusText,Result,NeedDaemonReload"
SHOW = (f"--property={PROPERTIES}", "--timestamp=utc")
SINCE = re.compile(r"^#([0-9]{3}) (.*\n)", re.MULTILINE)  # marks a line for this version of systemd and later
NO_BUS = ("Failed to connect to bus", "has not been booted with systemd", "Failed to get D-Bus connection")


def quoted(text: str) -> str:
    """Return a value quoted for a unit file. PathError for text that no unit can hold."""
    escaped = writable(text).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def unit(template: str, version: int, command: Sequence[str], more: Mapping[str, str]) -> str:
    """Return a unit without the lines that need a later version of systemd.

    `command` starts the daemon, `more` has the other placeholders.
    """
    kept = SINCE.sub(lambda found: found[2] if int(found[1]) <= version else "", template)
    return fill(kept, {"COMMAND": " ".join(map(quoted, command)), **more})


def environment(variables: Mapping[str, str]) -> str:
    """Return the lines that set variables."""
    return "\n".join(f"Environment={quoted(f'{name}={value}')}" for name, value in sorted(variables.items()))


def version(output: str) -> int:
    """Return the number in the output of `systemctl --version`, 0 if there is none."""
    found = re.match(r"systemd (\d+)", output)
    return int(found[1]) if found else 0


def state(output: str) -> dict[str, Any]:
    """Return what the output of `systemctl show` says, as fields of a State."""
    fields = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    pid, result = fields.get("MainPID", "0"), fields.get("Result", "success")
    return {
        "enabled": fields.get("UnitFileState", "").startswith("enabled"),
        "active": fields.get("ActiveState"),
        "pid": int(pid) if pid.isdecimal() and pid != "0" else None,
        "since": fields.get("ActiveEnterTimestamp") or None,
        "said": fields.get("StatusText") or None,
        "result": None if result == "success" else result,
        "outdated": fields.get("NeedDaemonReload") == "yes",
    }
