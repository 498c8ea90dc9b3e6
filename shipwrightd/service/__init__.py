"""Installs and controls the daemon as a service of systemd or launchd.

Here are the parts of a plan, which is a list of steps: `--dry-run` prints
them, all else carries them out; and the state of a service.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.errors import MissingError, PathError, UnavailableError
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RUN_TIMEOUT_S = 180  # `systemctl restart` waits until the old daemon has stopped and the new one is ready
RETRY_S = 0.5
PLACEHOLDER = re.compile(r"@([A-Z_]+)@")
LINE_OF_ONE = re.compile(r"^ *@([A-Z_]+)@\n", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Write:
    """Write a file; by default only its owner can read it, for a variable may be a secret."""

    path: Path
    text: str
    mode: int = 0o600

    def __str__(self) -> str:
        """Return the file as it will be."""
        return f"# {self.path}\n{self.text}"

    def is_due(self) -> bool:
        """Tell whether the file does not exist or has other content."""
        try:
            return self.path.read_text(encoding="utf-8") != self.text
        except (FileNotFoundError, UnicodeDecodeError):
            return True


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove a file."""

    path: Path

    def __str__(self) -> str:
        """Return it as a shell command."""
        return f"rm {self.path}"


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command of the supervisor, and retry it for `patience_s`. With `may_fail`, a failure is ignored."""

    command: tuple[str, ...]
    may_fail: bool = False
    patience_s: float = 0.0

    def __str__(self) -> str:
        """Return it as a shell command."""
        return shlex.join(self.command)


Step = Write | Remove | Run


@dataclass(frozen=True, slots=True)
class State:
    """The state of a service. `problem` says why it is not known; unknown fields are None."""

    kind: str  # "systemd user unit", "systemd system unit" or "launchd agent"
    path: Path  # of the unit or agent, whether it exists or not
    installed: bool
    enabled: bool | None = None  # starts automatically at boot or login
    active: str | None = None  # active, reloading, activating, deactivating, inactive or failed
    pid: int | None = None
    since: str | None = None  # as the supervisor formats the time
    said: str | None = None  # the last status text of the daemon
    result: str | None = None  # how the last run failed
    problem: str | None = None
    outdated: bool = False  # the file has changed since the supervisor read it

    @property
    def running(self) -> bool:
        """Tell whether the daemon runs as this service."""
        return self.active in {"active", "reloading"}


def template(folder: str, name: str) -> str:
    """Return a template, from the installed package or the checkout. MissingError if it is in neither."""
    inside = Path(__file__).parents[1] / folder
    base = inside if inside.is_dir() else Path(__file__).parents[2] / folder
    try:
        return (base / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingError(f"this installation lacks {base / name}", hint="install shipwrightd again") from error


def fill(text: str, values: Mapping[str, str]) -> str:
    """Return a template with each @NAME@ replaced; a line with nothing but an empty value is removed."""
    text = LINE_OF_ONE.sub(lambda found: found[0] if values[found[1]] else "", text)
    return PLACEHOLDER.sub(lambda found: values[found[1]], text)


def writable(text: str) -> str:
    """Return the text. PathError for control characters and invalid UTF-8, which no unit or property list can hold."""
    if visible(text) != text:
        message = f"{visible(text)} has a control character or invalid UTF-8, which service files do not allow"
        raise PathError(message, hint="rename it, or reach it through a symlink")
    return text


def carry_out(steps: Iterable[Step]) -> None:
    """Carry out the steps. PathError if a file cannot be changed, UnavailableError for a command that fails."""
    try:
        for step in steps:
            match step:
                case Write():
                    step.path.parent.mkdir(parents=True, exist_ok=True)
                    beside = step.path.with_name(f".{step.path.name}.{os.getpid()}")
                    beside.touch(mode=0o600)
                    beside.write_text(step.text, encoding="utf-8")
                    beside.chmod(step.mode)
                    beside.replace(step.path)  # the supervisor never reads half a file
                case Remove():
                    step.path.unlink(missing_ok=True)
                case Run():
                    _run_patiently(step)
    except PermissionError as error:
        message = f"cannot change {error.filename}: {error.strerror}"
        raise PathError(message, hint="for a system service, use sudo") from error


def _run_patiently(step: Run) -> None:
    deadline = time.monotonic() + step.patience_s
    while (done := run(step.command)).returncode and time.monotonic() < deadline:
        time.sleep(RETRY_S)
    if done.returncode and not step.may_fail:
        output = " ".join((done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").split())
        option = " --system" if step.command[0] == "systemctl" and "--user" not in step.command else ""
        raise UnavailableError(f"`{step}` failed: {visible(output)}", hint=f"see `shipwrightd service logs{option}`")


def run(command: tuple[str, ...], timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run a command of the supervisor. UnavailableError if it does not exist or does not end in time."""
    folder = f"/run/user/{os.getuid()}"  # of the user's systemd, which `su` and cron omit
    known = {"XDG_RUNTIME_DIR": folder} if Path(folder).is_dir() else {}
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env=known | os.environ | {"LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        hint = "start `shipwrightd run` with another supervisor"
        raise UnavailableError(f"there is no {command[0]} on this machine", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        message = f"`{' '.join(command)}` did not end within {timeout_s:g} s"
        raise UnavailableError(message, hint="see `shipwrightd service logs`") from error
