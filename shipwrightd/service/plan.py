"""Plans the steps that install, remove and control the service, and reads its state.

The units and agents are templates in systemd/ and launchd/. What the daemon
is started with is an argument.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.errors import MissingError, PathError, UnavailableError
from shipwrightd.service import Remove, Run, State, Step, Write, launchd, run, systemd, template

if TYPE_CHECKING:
    from collections.abc import Mapping

ASK_TIMEOUT_S = 10
SYSTEM_USER = "shipwrightd"
STATE_FOLDER = Path("/var/lib/shipwrightd")
SYSUSERS = Path("/etc/sysusers.d/shipwrightd.conf")
PUBLIC = 0o644  # systemd shows a system unit to everybody, whatever its mode, and warns about any other mode
LINGER = Path("/var/lib/systemd/linger")
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/var", "/srv", "/tmp")))  # noqa: S108 - from the system unit


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is installed: for one user, or for the system."""

    path: Path  # of the unit or agent
    system: bool = False
    log: Path | None = None  # if there is no journal

    @property
    def on_macos(self) -> bool:
        """Tell whether launchd is the supervisor."""
        return self.path.suffix == ".plist"

    @property
    def kind(self) -> str:
        """Return the name of this kind of service."""
        return "launchd agent" if self.on_macos else f"systemd {'system' if self.system else 'user'} unit"

    def systemctl(self, *words: str, may_fail: bool = False) -> Run:
        """Return a command for the manager of the system or of the user."""
        return Run(("systemctl", *(() if self.system else ("--user",)), *words), may_fail)


@dataclass(frozen=True, slots=True)
class Start:
    """What the service starts: the command, its environment, and Shipwright's home."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    home: Path


def program() -> tuple[str, ...]:
    """Return the command that starts this installation: its script, or its interpreter with the module.

    Neither imports modules from the working directory.
    """
    script = Path(sys.executable).with_name("shipwrightd")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-P", "-m", "shipwrightd")


def place(*, system: bool = False, env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Place:
    """Return the place of the service. UnavailableError for a system service on macOS."""
    home = Path(env.get("HOME") or Path.home())
    if platform == "darwin":
        if system:
            message = "on macOS, shipwrightd runs only as an agent of its user"
            raise UnavailableError(message, hint="omit --system")
        library = home / "Library"
        agent = library / "LaunchAgents" / f"{launchd.LABEL}.plist"
        return Place(agent, log=library / "Logs" / "shipwrightd.log")
    if system:
        return Place(Path("/etc/systemd/system") / systemd.UNIT, system=True)
    base = env.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else home / ".config"
    return Place(folder / "systemd" / "user" / systemd.UNIT)


def state(at: Place | None = None) -> State:
    """Return the state of the service at a place, by default the user's. Errors are in its `problem`."""
    at = at or place()
    found = State(at.kind, at.path, installed=at.path.is_file())
    show = launchd.show(os.getuid()) if at.on_macos else at.systemctl("show", systemd.UNIT, *systemd.SHOW).command
    try:
        done = run(show, ASK_TIMEOUT_S)
    except UnavailableError as error:
        return replace(found, problem=error.message)
    if not done.returncode:
        return replace(found, **(launchd if at.on_macos else systemd).state(done.stdout))
    if at.on_macos:
        return replace(found, enabled=False, active="inactive")  # it is not loaded
    message = " ".join(done.stderr.split())
    return replace(found, problem=message or f"systemctl exited with code {done.returncode}")


def reachable(at: Place) -> State:
    """Return the state of the service. UnavailableError with what to do if its supervisor does not respond."""
    found = state(at)
    if found.problem is None:
        return found
    if at.system:
        hint = "this needs systemd as init; otherwise let your supervisor start `shipwrightd run`"
    elif any(sign in found.problem for sign in systemd.NO_BUS):
        hint = (
            "log in directly instead of through su or sudo, or start your systemd at boot: "
            "`sudo loginctl enable-linger $USER`"
        )
    else:
        hint = "let another supervisor start `shipwrightd run`"
    raise UnavailableError(f"the service manager does not respond: {found.problem}", hint=hint)


def files(at: Place, start: Start) -> list[Write]:
    """Return the files of the service. PathError for paths that they cannot hold."""
    if at.log is not None:
        text = template("launchd", "local.shipwrightd.plist")
        return [Write(at.path, launchd.agent(text, start.command, start.variables, str(at.log)))]
    output = run(("systemctl", "--version"), ASK_TIMEOUT_S).stdout
    more = {"ENVIRONMENT": systemd.environment(start.variables)}
    if not at.system:
        text = template("systemd", "shipwrightd.service")
        return [Write(at.path, systemd.unit(text, systemd.version(output), start.command, more))]
    for file in (start.command[0], os.path.realpath(sys.executable)):
        refuse_hidden(Path(file))
    more["HOME"] = systemd.quoted(f"-{start.home}")  # optional: if it is missing, the daemon has the better message
    text = template("systemd", "shipwrightd-system.service")
    unit = systemd.unit(text, systemd.version(output), start.command, more)
    user = template("systemd", "shipwrightd.sysusers")
    return [Write(SYSUSERS, user, PUBLIC), Write(at.path, unit, PUBLIC)]


def refuse_hidden(file: Path) -> None:
    """Raise PathError for a program or its Python in a folder that the system unit hides."""
    if any(file.is_relative_to(folder) for folder in HIDDEN):
        message = f"the system service cannot see {file}"
        hint = "install shipwrightd and its Python for all users, below /opt or /usr, and run that one"
        raise PathError(message, hint=hint)


def install(at: Place, start: Start, *, start_now: bool) -> list[Step]:
    """Return the steps that are left until the service is installed, enabled and, with `start_now`, running."""
    found = reachable(at)
    changed = [file for file in files(at, start) if file.is_due()]
    paths = {file.path for file in changed}
    if at.on_macos:
        uid = os.getuid()
        if changed and found.enabled:
            return [*changed, *launchd.unload(uid), *launchd.load(uid, at.path)]
        if not start_now or found.running:
            return [*changed]
        return [*changed, *launchd.control("start", uid, at.path, loaded=bool(found.enabled))]
    restart = at.path in paths if found.running else start_now  # also starts one that waits for its next attempt
    commands = (
        (SYSUSERS in paths, Run(("systemd-sysusers", str(SYSUSERS)))),
        (at.path in paths or found.outdated, at.systemctl("daemon-reload")),
        (not found.enabled, at.systemctl("enable", systemd.UNIT)),
        (restart, at.systemctl("restart", systemd.UNIT)),
    )
    return [*changed, *(command for needed, command in commands if needed)]


def uninstall(at: Place) -> list[Step]:
    """Return the steps that remove the service. The database and the system user stay."""
    found = reachable(at)
    paths = [path for path in (at.path, *((SYSUSERS,) if at.system else ())) if path.exists()]
    if at.on_macos:
        return [*(launchd.unload(os.getuid()) if found.enabled else ()), *map(Remove, paths)]
    if not paths:
        return []
    return [
        at.systemctl("disable", "--now", systemd.UNIT, may_fail=True),
        *map(Remove, paths),
        at.systemctl("daemon-reload"),
        at.systemctl("reset-failed", systemd.UNIT, may_fail=True),
    ]


def control(at: Place, action: str) -> list[Step]:
    """Return the commands for start, stop or restart. MissingError if the service is not installed."""
    found = reachable(at)
    if not found.installed:
        option = " --system" if at.system else ""
        raise MissingError(f"there is no {found.kind} {at.path}", hint=f"run `shipwrightd service install{option}`")
    if at.on_macos:
        return [*launchd.control(action, os.getuid(), at.path, loaded=bool(found.enabled))]
    return [at.systemctl(action, systemd.UNIT)]


def log_command(at: Place, lines: int, *, follow: bool) -> tuple[str, ...]:
    """Return the command that prints the log. MissingError if there is none yet."""
    if at.log is None:
        unit = f"--unit={systemd.UNIT}" if at.system else f"--user-unit={systemd.UNIT}"
        return ("journalctl", unit, f"--lines={lines}", "--no-pager", *(("--follow",) if follow else ()))
    if not at.log.exists():
        raise MissingError(f"there is no log {at.log}", hint="run `shipwrightd service install`")
    return ("tail", "-n", str(lines), *(("-F",) if follow else ()), str(at.log))


def lingers(user: str) -> bool:
    """Tell whether a user's systemd runs while they are not logged in."""
    return (LINGER / user).exists()
