"""The service: fills in and installs the templates of systemd/ and launchd/, controls it, and asks how it stands.

Plans first and acts then. Knows no settings: what the daemon shall be started
with is handed in.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.errors import MissingError, PathError, UnavailableError
from shipwrightd.service import Remove, Run, State, Step, Write, differs, launchd, run, systemd, take, template

if TYPE_CHECKING:
    from collections.abc import Mapping

ASK_TIMEOUT_S = 10
SYSTEM_USER = "shipwrightd"
STATE_FOLDER = Path("/var/lib/shipwrightd")
SYSUSERS = Path("/etc/sysusers.d/shipwrightd.conf")
PUBLIC = 0o644  # systemd tells everybody what a system unit says, whatever its mode, and complains of any other
LINGER = Path("/var/lib/systemd/linger")
HIDDEN = tuple(map(Path, ("/home", "/root", "/run/user", "/var", "/srv", "/tmp")))  # noqa: S108 - from the system unit


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service is installed: for one user, or for the system."""

    path: Path  # of the unit or agent
    system: bool = False
    log: Path | None = None  # where there is no journal

    @property
    def on_macos(self) -> bool:
        """Tell whether launchd supervises here."""
        return self.path.suffix == ".plist"


@dataclass(frozen=True, slots=True)
class Start:
    """What the service starts: the command, its variables, and Shipwright's home, which it reads."""

    command: tuple[str, ...]
    variables: Mapping[str, str]
    home: Path


def program() -> tuple[str, ...]:
    """Return the command that starts this installation: its script, else its interpreter and the module.

    Neither has the working folder on the path of modules.
    """
    script = Path(sys.executable).with_name("shipwrightd")
    return (str(script),) if os.access(script, os.X_OK) else (sys.executable, "-P", "-m", "shipwrightd")


def place(*, system: bool = False, env: Mapping[str, str] | None = None, platform: str = sys.platform) -> Place:
    """Return where the service belongs. UnavailableError for a system service on macOS."""
    env = os.environ if env is None else env
    home = Path(env.get("HOME") or Path.home())
    if platform == "darwin":
        if system:
            message = "on macOS shipwrightd runs as an agent of its user only"
            raise UnavailableError(message, hint="leave --system out")
        library = home / "Library"
        agent = library / "LaunchAgents" / f"{launchd.LABEL}.plist"
        return Place(agent, log=library / "Logs" / "shipwrightd.log")
    if system:
        return Place(Path("/etc/systemd/system") / systemd.UNIT, system=True)
    base = env.get("XDG_CONFIG_HOME", "")
    folder = Path(base) if Path(base).is_absolute() else home / ".config"
    return Place(folder / "systemd" / "user" / systemd.UNIT)


def state(at: Place | None = None) -> State:
    """Return how the service stands, that of the user unless another place is named. Raises nothing expected."""
    at = at or place()
    kind = launchd.KIND if at.on_macos else systemd.kind(system=at.system)
    installed = at.path.is_file()
    try:
        if at.on_macos:
            told = run(launchd.show(os.getuid()), ASK_TIMEOUT_S)
            return launchd.state(None if told.returncode else told.stdout, at.path, installed=installed)
        told = run(systemd.show(system=at.system), ASK_TIMEOUT_S)
    except UnavailableError as error:
        return State(kind, at.path, installed, problem=error.message)
    if told.returncode:
        said = " ".join(told.stderr.split())
        return State(kind, at.path, installed, problem=said or f"systemctl ended with code {told.returncode}")
    return systemd.state(told.stdout, at.path, installed=installed, system=at.system)


def reachable(at: Place) -> State:
    """Return how the service stands. UnavailableError, and what to do, when its supervisor does not answer."""
    found = state(at)
    if found.problem is None:
        return found
    if at.system:
        hint = "it takes a machine that systemd has booted; elsewhere have your supervisor start `shipwrightd run`"
    elif systemd.no_bus(found.problem):
        hint = (
            "log in directly rather than through su or sudo, or have your systemd started at boot: "
            "`sudo loginctl enable-linger $USER`"
        )
    else:
        hint = "have a supervisor of your own start `shipwrightd run`"
    raise UnavailableError(f"cannot ask the service manager: {found.problem}", hint=hint)


def files(at: Place, start: Start) -> list[Write]:
    """Return the files of the service as they shall be. PathError for paths that they cannot hold."""
    if at.log is not None:
        text = template("launchd", "local.shipwrightd.plist")
        return [Write(at.path, launchd.agent(text, start.command, start.variables, str(at.log)))]
    answer = run(("systemctl", "--version"), ASK_TIMEOUT_S).stdout
    more = {"ENVIRONMENT": systemd.environment(start.variables)}
    if not at.system:
        text = template("systemd", "shipwrightd.service")
        return [Write(at.path, systemd.unit(text, systemd.version(answer), start.command, more))]
    for file in (start.command[0], os.path.realpath(sys.executable)):
        refuse_hidden(Path(file))
    more["HOME"] = systemd.quoted(f"-{start.home}")  # the daemon itself says so better when it is missing
    text = template("systemd", "shipwrightd-system.service")
    unit = systemd.unit(text, systemd.version(answer), start.command, more)
    user = template("systemd", "shipwrightd.sysusers")
    return [Write(SYSUSERS, user, PUBLIC), Write(at.path, unit, PUBLIC)]


def refuse_hidden(file: Path) -> None:
    """Raise PathError for a program, or the Python that runs it, that the system unit does not see."""
    if any(file.is_relative_to(folder) for folder in HIDDEN):
        message = f"the system service cannot see {file}"
        hint = "install shipwrightd and its Python for all, below /opt or /usr, and call that one"
        raise PathError(message, hint=hint)


def install(at: Place, start: Start, *, start_now: bool) -> list[Step]:
    """Return what is still to be done until the service is installed, enabled and, if asked for, running."""
    found = reachable(at)
    changed = [file for file in files(at, start) if differs(file)]
    if at.on_macos:
        return [*changed, *_load(at, found, changed=bool(changed), start_now=start_now)]
    steps: list[Step] = [*changed]
    if any(file.path == SYSUSERS for file in changed):
        steps.append(Run(("systemd-sysusers", str(SYSUSERS))))

    def tell(*words: str) -> None:
        steps.append(Run(systemd.systemctl(*words, system=at.system)))

    new_unit = any(file.path == at.path for file in changed)
    if new_unit or found.outdated:
        tell("daemon-reload")
    if not found.enabled:
        tell("enable", systemd.UNIT)
    if start_now and not found.running:
        tell("restart", systemd.UNIT)  # one that waits for its next try is tried at once
    elif new_unit and found.running:
        tell("restart", systemd.UNIT)
    return steps


def _load(at: Place, found: State, *, changed: bool, start_now: bool) -> tuple[Run, ...]:
    """Return the commands that make launchd take over an agent as it now is; loading starts it."""
    uid = os.getuid()
    if changed and found.enabled:
        return (*launchd.unload(uid), *launchd.load(uid, at.path))
    if not start_now or found.running:
        return ()
    return launchd.control("start", uid, at.path, loaded=bool(found.enabled))


def uninstall(at: Place) -> list[Step]:
    """Return what is to be done until nothing of the service is left. Database and system user stay."""
    found = reachable(at)
    paths = [path for path in (at.path, *((SYSUSERS,) if at.system else ())) if path.exists()]
    if at.on_macos:
        return [*(launchd.unload(os.getuid()) if found.enabled else ()), *map(Remove, paths)]
    if not paths:
        return []
    return [
        Run(systemd.systemctl("disable", "--now", systemd.UNIT, system=at.system), may_fail=True),
        *map(Remove, paths),
        Run(systemd.systemctl("daemon-reload", system=at.system)),
        Run(systemd.systemctl("reset-failed", systemd.UNIT, system=at.system), may_fail=True),
    ]


def control(at: Place, action: str) -> list[Step]:
    """Return the commands for start, stop or restart. MissingError when there is nothing installed."""
    found = reachable(at)
    if not found.installed:
        option = " --system" if at.system else ""
        raise MissingError(f"there is no {found.kind} {at.path}", hint=f"run `shipwrightd service install{option}`")
    if at.on_macos:
        return [*launchd.control(action, os.getuid(), at.path, loaded=bool(found.enabled))]
    return [Run(systemd.systemctl(action, systemd.UNIT, system=at.system))]


def carry_out(steps: list[Step]) -> None:
    """Take the steps in order. PathError when a file cannot be written or removed."""
    for step in steps:
        try:
            take(step)
        except PermissionError as error:
            message = f"cannot change {error.filename}: {error.strerror}"
            raise PathError(message, hint="for a system service, run it through sudo") from error


def log_command(at: Place, lines: int, *, follow: bool) -> tuple[str, ...]:
    """Return the command that prints the log. MissingError where there is none yet."""
    if at.log is None:
        return systemd.journal(lines, follow=follow, system=at.system)
    if not at.log.exists():
        raise MissingError(f"there is no log {at.log}", hint="run `shipwrightd service install`")
    return launchd.tail(str(at.log), lines, follow=follow)


def lingers(user: str) -> bool:
    """Tell whether a user's systemd runs without them being logged in."""
    return (LINGER / user).exists()
