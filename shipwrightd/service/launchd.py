"""launchd: the text of our agent, the commands that install and ask, and what the answers mean. Pure.

Written from launchd.plist(5) and launchctl(1); launchd itself could not be
had where this was made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from shipwrightd.service import Run, State, fill, writable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LABEL = "local.shipwrightd"
KIND = "launchd agent"
ANSWERS = {name: re.compile(rf"^\s*{name} = (.+)$", re.MULTILINE) for name in ("state", "pid", "last exit code")}
UNLOADING_S = 10.0  # `bootout` returns before the agent is gone, and until then it cannot be loaded
SHOWN_EXIT = ("0", "(never exited)")


def agent(template: str, command: Sequence[str], variables: Mapping[str, str], log: str) -> str:
    """Return the property list. PathError for what XML cannot hold."""
    words = "\n".join(f"        <string>{xml(word)}</string>" for word in command)
    pairs = "\n".join(
        f"        <key>{xml(name)}</key>\n        <string>{xml(value)}</string>"
        for name, value in sorted(variables.items())
    )
    return fill(template, {"LABEL": LABEL, "COMMAND": words, "ENVIRONMENT": pairs, "LOG": xml(log)})


def xml(text: str) -> str:
    """Return text as the content of an element."""
    return escape(writable(text))


def domain(uid: int) -> str:
    """Return launchd's name for a user's logged-in session."""
    return f"gui/{uid}"


def target(uid: int) -> str:
    """Return launchd's name for our agent in it."""
    return f"{domain(uid)}/{LABEL}"


def load(uid: int, path: Path) -> tuple[Run, ...]:
    """Return the commands that make launchd know the agent and start it, now and at each login."""
    bootstrap = ("launchctl", "bootstrap", domain(uid), str(path))
    return (Run(("launchctl", "enable", target(uid))), Run(bootstrap, patience_s=UNLOADING_S))


def unload(uid: int) -> tuple[Run, ...]:
    """Return the commands that end the agent and make launchd forget it."""
    return (Run(("launchctl", "bootout", target(uid)), may_fail=True),)


def control(action: str, uid: int, path: Path, *, loaded: bool) -> tuple[Run, ...]:
    """Return the commands for start, stop or restart.

    Stopped, the agent stays known: it ends with code 0, after which launchd leaves it alone until the next login.
    """
    if action == "stop":
        return (Run(("launchctl", "kill", "SIGTERM", target(uid)), may_fail=not loaded),)
    if not loaded:
        return load(uid, path)
    again = ("-k",) if action == "restart" else ()
    return (Run(("launchctl", "kickstart", *again, target(uid))),)


def show(uid: int) -> tuple[str, ...]:
    """Return the command that asks how the agent stands."""
    return ("launchctl", "print", target(uid))


def tail(log: str, lines: int, *, follow: bool) -> tuple[str, ...]:
    """Return the command that prints the log."""
    return ("tail", "-n", str(lines), *(("-F",) if follow else ()), log)


def state(answer: str | None, path: Path, *, installed: bool) -> State:
    """Return how the agent stands by what `show` answered, None when launchd does not know it."""
    if answer is None:
        return State(KIND, path, installed, enabled=False, active="inactive")
    told = {name: found[1].strip() for name, pattern in ANSWERS.items() if (found := pattern.search(answer))}
    pid = told.get("pid", "")
    code = told.get("last exit code", "0")
    return State(
        kind=KIND,
        path=path,
        installed=installed,
        enabled=True,
        active="active" if told.get("state") == "running" else "inactive",
        pid=int(pid) if pid.isdecimal() else None,
        result=None if code in SHOWN_EXIT else f"exit code {code}",
    )
