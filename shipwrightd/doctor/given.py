"""What the command line knows and the reading side does not: settings, the service, Shipwright's program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.doctor.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipwrightd.doctor.shipwright import Installed


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings as they were found."""

    problems: Sequence[str] = ()
    strays: Sequence[str] = ()
    exposed: Sequence[str] = ()  # files that others may write to
    files: int = 0
    hook: str = ""  # the program of hook_command ...
    hook_found: bool = True  # ... and whether there is such a program


@dataclass(frozen=True, slots=True)
class Service:
    """How the service stands; None is what could not be told."""

    kind: str
    installed: bool
    enabled: bool | None = None
    active: str | None = None
    result: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """All of it."""

    settings: Settings
    installed: Installed | None
    service: Service | None


def settings(found: Settings) -> Iterator[Finding]:
    """Judge the settings."""
    wrong = [
        Finding("settings", "fail", text, "correct it, see `shipwrightd config show`", private=True)
        for text in found.problems
    ]
    wrong += [
        Finding("settings", "warn", text, "correct its name, or remove it", private=True) for text in found.strays
    ]
    wrong += [
        Finding("settings", "warn", text, "a hook_command in it is refused until then", private=True)
        for text in found.exposed
    ]
    if found.hook and not found.hook_found:
        text = f"there is no program {found.hook} for hook_command to run"
        todo = "give its full path: a service has a shorter PATH than a shell"
        wrong.append(Finding("settings", "fail", text, todo, private=True))
    yield from wrong
    if not wrong:
        yield ok("settings", f"valid, from {found.files} files" if found.files else "valid, no settings file")


def service(found: Service, *, held: bool) -> Iterator[Finding]:
    """Judge how the service stands beside a daemon that runs or not."""
    facts = {"kind": found.kind, "installed": found.installed, "enabled": found.enabled, "active": found.active,
             "result": found.result}  # fmt: skip
    if not found.installed:
        text = f"no {found.kind} is installed" + ("; the daemon was started otherwise" if held else "")
        todo = "`shipwrightd service install` has it start by itself and restarted when it ends"
        yield warn("service", text, todo, **facts)
    elif found.problem:
        yield warn(
            "service", f"{found.kind}: {found.problem}", "`shipwrightd service status` from a login shell", **facts
        )
    elif found.active == "failed":
        text = f"{found.kind} has failed" + (f" ({found.result})" if found.result else "")
        yield fail("service", text, "`shipwrightd service logs` says why; then `shipwrightd service restart`", **facts)
    elif found.active in {"active", "reloading", "activating"}:
        if found.enabled is False:
            text = f"{found.kind} is {found.active}, but does not start by itself"
            yield warn("service", text, "`shipwrightd service install` again", **facts)
        else:
            yield ok("service", f"{found.kind} is {found.active}", **facts)
    else:
        yield warn(
            "service", f"{found.kind} is {found.active or 'not running'}", "`shipwrightd service start`", **facts
        )
