"""launchd: the text of the agent, the commands that control it, and the meaning of their output. Pure.

Written from launchd.plist(5) and launchctl(1), and not tested with launchd itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from shipwrightd.service import Run, fill, writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LABEL = "local.shipwrightd"
FIELDS = {name: re.compile(rf"^\s*{name} = (.+)$", re.MULTILINE) for name in ("state", "pid", "last exit code")}
UNLOADING_S = 10.0  # `bootout` returns before the agent is unloaded, and until then it cannot be loaded again
SHOWN_EXIT = ("0", "(never exited)")


def agent(template: str, command: Sequence[str], variables: Mapping[str, str], log: str) -> str:
    """Return the property list. PathError for text that XML cannot hold."""
    words = "\n".join(f"        <string>{xml(word)}</string>" for word in command)
    pairs = "\n".join(
        f"        <key>{xml(name)}</key>\n        <string>{xml(value)}</string>"
        for name, value in sorted(variables.items())
    )
    return fill(template, {"LABEL": LABEL, "COMMAND": words, "ENVIRONMENT": pairs, "LOG": xml(log)})


def xml(text: str) -> str:
    """Return text as the content of an element."""
    return escape(writable(text))


def target(uid: int) -> str:
    """Return launchd's name for the agent in the session of a user."""
    return f"gui/{uid}/{LABEL}"


def load(uid: int, path: Path) -> tuple[Run, ...]:
    """Return the commands that load the agent and start it, now and at each login."""
    bootstrap = ("launchctl", "bootstrap", f"gui/{uid}", str(path))
    return (Run(("launchctl", "enable", target(uid))), Run(bootstrap, patience_s=UNLOADING_S))


def unload(uid: int) -> tuple[Run, ...]:
    """Return the commands that stop and unload the agent."""
    return (Run(("launchctl", "bootout", target(uid)), may_fail=True),)


def control(action: str, uid: int, path: Path, *, loaded: bool) -> tuple[Run, ...]:
    """Return the commands for start, stop or restart.

    A stopped agent stays loaded: it exits with code 0, after which launchd does not restart it until the next login.
    """
    if action == "stop":
        return (Run(("launchctl", "kill", "SIGTERM", target(uid)), may_fail=not loaded),)
    if not loaded:
        return load(uid, path)
    again = ("-k",) if action == "restart" else ()
    return (Run(("launchctl", "kickstart", *again, target(uid))),)


def show(uid: int) -> tuple[str, ...]:
    """Return the command that prints the state of the agent."""
    return ("launchctl", "print", target(uid))


def state(output: str) -> dict[str, Any]:
    """Return what the output of `launchctl print` says, as fields of a State."""
    fields = {name: found[1].strip() for name, pattern in FIELDS.items() if (found := pattern.search(output))}
    pid, code = fields.get("pid", ""), fields.get("last exit code", "0")
    return {
        "enabled": True,
        "active": "active" if fields.get("state") == "running" else "inactive",
        "pid": int(pid) if pid.isdecimal() else None,
        "result": None if code in SHOWN_EXIT else f"exit code {code}",
    }
