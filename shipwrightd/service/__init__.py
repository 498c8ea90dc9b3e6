"""What a service is made of, whoever supervises it: steps that can be shown or taken, and how it stands.

A plan is a list of steps. `--dry-run` shows them, anything else takes them.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from shipwrightd.errors import MissingError, PathError, UnavailableError
from shipwrightd.text import visible

RUN_TIMEOUT_S = 180  # `systemctl restart` waits for the old daemon's end and the new one's READY
RETRY_S = 0.5
PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


@dataclass(frozen=True, slots=True)
class Write:
    """A file that shall have this text. Unless said otherwise it is its owner's alone: a variable may be a secret."""

    path: Path
    text: str
    mode: int = 0o600

    def __str__(self) -> str:
        """Show the file as it will be."""
        return f"# {self.path}\n{self.text}"


@dataclass(frozen=True, slots=True)
class Remove:
    """A file that shall not be there."""

    path: Path

    def __str__(self) -> str:
        """Show it as a shell would say it."""
        return f"rm {self.path}"


@dataclass(frozen=True, slots=True)
class Run:
    """A command of the supervisor; with `may_fail`, only its effect matters. It is tried again for `patience_s`."""

    command: tuple[str, ...]
    may_fail: bool = False
    patience_s: float = 0.0

    def __str__(self) -> str:
        """Show it as a shell would say it."""
        return shlex.join(self.command)


Step = Write | Remove | Run


@dataclass(frozen=True, slots=True)
class State:
    """How a service stands. `problem` says why that could not be asked; what it could not tell is None."""

    kind: str  # "systemd user unit", "systemd system unit" or "launchd agent"
    path: Path  # of the unit or agent, whether it is there or not
    installed: bool
    enabled: bool | None = None  # starts by itself at boot or login
    active: str | None = None  # active, reloading, activating, deactivating, inactive or failed
    pid: int | None = None
    since: str | None = None  # as the supervisor writes the time
    said: str | None = None  # what the daemon last told it
    result: str | None = None  # how the last run ended, where it did not end well
    problem: str | None = None
    outdated: bool = False  # the supervisor has not read the file since it changed

    @property
    def running(self) -> bool:
        """Tell whether the daemon runs as this service."""
        return self.active in {"active", "reloading"}


def template(folder: str, name: str) -> str:
    """Return a template of this release: inside the installed package, else in the checkout."""
    inside = Path(__file__).parents[1] / folder
    base = inside if inside.is_dir() else Path(__file__).parents[2] / folder
    try:
        return (base / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingError(f"this installation lacks {base / name}", hint="install shipwrightd again") from error


def fill(text: str, values: dict[str, str]) -> str:
    """Return a template with each @NAME@ replaced; a line that is nothing but an empty value goes."""
    lines = (
        PLACEHOLDER.sub(lambda found: values[found[1]], line)
        for line in text.splitlines()
        if not ((only := PLACEHOLDER.fullmatch(line.strip())) and not values[only[1]])
    )
    return "\n".join(lines) + "\n"


def writable(text: str) -> str:
    """Return the text if a unit or property list can hold it. PathError for control characters and broken UTF-8."""
    if text.isascii() and text.isprintable():
        return text
    if visible(text) != text:
        message = f"{visible(text)} holds a control character or is no UTF-8, which no service file can say"
        raise PathError(message, hint="rename it, or reach it through a symlink")
    return text


def differs(step: Write) -> bool:
    """Tell whether a file is not there as it shall be."""
    try:
        return step.path.read_text(encoding="utf-8") != step.text
    except (FileNotFoundError, UnicodeDecodeError):
        return True


def take(step: Step) -> None:
    """Do what a step says. Raises OSError for files, what `run` raises for commands."""
    match step:
        case Write():
            step.path.parent.mkdir(parents=True, exist_ok=True)
            beside = step.path.with_name(f".{step.path.name}.{os.getpid()}")
            beside.touch(mode=0o600)
            beside.write_text(step.text, encoding="utf-8")
            beside.chmod(step.mode)
            beside.replace(step.path)  # a supervisor never reads half a file
        case Remove():
            step.path.unlink(missing_ok=True)
        case Run():
            deadline = time.monotonic() + step.patience_s
            while (done := run(step.command)).returncode and time.monotonic() < deadline:
                time.sleep(RETRY_S)
            if done.returncode and not step.may_fail:
                raise failed(step, done)


def run(command: tuple[str, ...], timeout_s: float = RUN_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """Run a command of the supervisor. UnavailableError when it is not there or does not answer."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            env=_environment(),
        )
    except FileNotFoundError as error:
        hint = "run `shipwrightd run` under a supervisor of your own"
        raise UnavailableError(f"there is no {command[0]} on this machine", hint=hint) from error
    except subprocess.TimeoutExpired as error:
        message = f"`{' '.join(command)}` does not end within {timeout_s:g} s"
        raise UnavailableError(message, hint="see `shipwrightd service logs`") from error


def _environment() -> dict[str, str]:
    """Return ours, in English, with the folder in which a user's systemd listens: `su` and cron leave it out."""
    folder = f"/run/user/{os.getuid()}"
    known = {"XDG_RUNTIME_DIR": folder} if Path(folder).is_dir() else {}
    return known | os.environ | {"LC_ALL": "C"}


def failed(step: Run, done: subprocess.CompletedProcess[str]) -> UnavailableError:
    """Return the error for a command that failed: what it said, on one line."""
    said = " ".join((done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").split())
    option = " --system" if step.command[0] == "systemctl" and "--user" not in step.command else ""
    return UnavailableError(f"`{step}` failed: {visible(said)}", hint=f"see `shipwrightd service logs{option}`")
