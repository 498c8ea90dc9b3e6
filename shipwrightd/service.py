"""The service: fills in and installs the templates of systemd/ and launchd/, and asks how it stands.

Plans first and acts then. Knows no settings: what the daemon shall be started
with is handed in.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd import service_launchd as launchd
from shipwrightd import service_systemd as systemd
from shipwrightd.errors import UnavailableError
from shipwrightd.service_steps import State, run

if TYPE_CHECKING:
    from collections.abc import Mapping

ASK_TIMEOUT_S = 10


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
