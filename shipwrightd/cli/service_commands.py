"""What the commands of `service` do, as in `commands`."""

# ruff: noqa: PLC0415, T201 - each command loads what it needs; and printing is what commands are for

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from shipwrightd.cli.commands import FOUND, OK, _with_home
from shipwrightd.config import settings
from shipwrightd.errors import ConfigError, UnavailableError
from shipwrightd.service import plan
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.config.settings import Config
    from shipwrightd.service import State, Step
    from shipwrightd.service.plan import Place

ENDED_BY_SIGNAL = 128  # and the signal's number, as a shell reports it


def install(home: str | None, db: str | None, *, system: bool, start: bool, dry_run: bool) -> int:
    """Install the service as the settings of now say, or print what that would take."""
    at = plan.place(system=system)
    places = _system_places(home, db) if system else _with_home(settings.locate(home, db))
    settings.load()  # settings that `run` refuses shall be refused here
    command = (*plan.program(), "run", "--home", str(places.home), "--db", str(places.db))
    wanted = plan.Start(command, settings.passed_on(), places.home)
    if dry_run:
        return _print(plan.files(at, wanted))
    was_there = at.path.exists()
    steps = plan.install(at, wanted, start_now=start)
    _print(steps)
    plan.carry_out(steps)
    print(f"{('updated' if was_there else 'installed') if steps else 'unchanged'}: {visible(str(at.path))}")
    _advise(at, places)
    return OK


def _system_places(home: str | None, db: str | None) -> Config:
    """Return the places of a service of the machine. ConfigError for what it cannot take."""
    if not settings.names_home(home):
        message = "a service of the machine has no home of its own"
        raise ConfigError(message, hint="say whose Shipwright it reads: --home /home/NAME/.shipwright")
    places = _with_home(settings.locate(home, db or str(plan.STATE_FOLDER / "shipwright.db")))
    if not places.db.is_relative_to(plan.STATE_FOLDER):
        message = f"a service of the machine writes below {plan.STATE_FOLDER} only, not in {places.db}"
        raise ConfigError(message, hint="leave --db out, or name a file there")
    return places


def _advise(at: Place, places: Config) -> None:
    """Say what the user may want to do next."""
    for name in settings.kept_back():
        print(f"not passed on, as it may be a secret: {name}; set it in the settings file")
    if at.system:
        print(f"its database: {visible(str(places.db))}, which root and the user {plan.SYSTEM_USER} can read")
    elif not at.on_macos:
        import getpass

        user = getpass.getuser()
        if not plan.lingers(user):
            print(f"it runs while you are logged in; to have it run always: sudo loginctl enable-linger {user}")


def uninstall(*, system: bool, dry_run: bool) -> int:
    """Remove the service, or print what that would take."""
    at = plan.place(system=system)
    steps = plan.uninstall(at)
    _print(steps)
    if not dry_run:
        plan.carry_out(steps)
        print(f"{'removed' if steps else 'not installed'}: {visible(str(at.path))}")
    return OK


def control(action: str, *, system: bool) -> int:
    """Start, stop or restart the service."""
    steps = plan.control(plan.place(system=system), action)
    _print(steps)
    plan.carry_out(steps)
    return OK


def status(*, system: bool, as_json: bool) -> int:
    """Say how the service stands, in the exit code too."""
    at = plan.place(system=system)
    found = plan.state(at)
    if as_json:
        import json
        from dataclasses import asdict

        print(json.dumps(asdict(found) | {"running": found.running}, indent=2, default=str))
    else:
        _show(found)
    if found.problem is not None:
        return UnavailableError.exit_code
    return OK if found.running else FOUND


def _show(found: State) -> None:
    pid = f" (pid {found.pid})" if found.pid else ""
    since = f" since {found.since}" if found.since and found.running else ""
    rows = [
        ("installed", "yes" if found.installed else "no"),
        ("enabled", None if found.enabled is None else "yes" if found.enabled else "no"),
        ("running", f"yes{pid}{since}" if found.running else found.active and f"no, {found.active}"),
        ("last end", found.result),
        ("says", found.said),
        ("unknown", found.problem),
    ]
    print(f"{found.kind} {visible(str(found.path))}")
    for name, value in rows:
        if value:
            print(f"{name:<11} {visible(value)}")


def logs(lines: int, *, system: bool, follow: bool) -> int:
    """Let the supervisor's own program print the log."""
    command = plan.log_command(plan.place(system=system), lines, follow=follow)
    try:
        code = subprocess.run(command, check=False).returncode
    except FileNotFoundError as error:
        message = f"there is no {command[0]} on this machine"
        raise UnavailableError(message, hint="look where your supervisor keeps its logs") from error
    if code > 0:
        raise UnavailableError(f"{command[0]} ended with code {code}", hint="its own message stands above")
    return ENDED_BY_SIGNAL - code if code else OK


def _print(steps: Sequence[Step]) -> int:
    for step in steps:
        print("\n".join(visible(line) for line in str(step).splitlines()))
    return OK
