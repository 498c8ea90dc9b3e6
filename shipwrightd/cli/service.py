"""`service`: keep the daemon running under systemd or launchd."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from shipwrightd import config
from shipwrightd.cli.options import Db, Home, Json, check_home, examples, existing_home
from shipwrightd.errors import FOUND, ConfigError, UnavailableError
from shipwrightd.service import carry_out, plan
from shipwrightd.text import as_json as dump
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.config import Config
    from shipwrightd.service import State, Step
    from shipwrightd.service.plan import Place

ENDED_BY_SIGNAL = 128  # and the signal's number, as a shell reports it

app = typer.Typer(
    help="""Keep shipwrightd running under systemd or launchd.

By default it is a service of the user and runs as that user. With --system it
is a service of the machine, with a user of its own that may read Shipwright's
home and write only below /var/lib/shipwrightd: for a build box. That requires
root, and systemd.
""",
    epilog=examples(
        ("shipwrightd service install --dry-run", "show what would be written"),
        ("shipwrightd service install", "keep it running from now on"),
        ("shipwrightd service logs --follow", "watch it"),
    ),
    no_args_is_help=True,
)

System = Annotated[bool, typer.Option("--system", help="the machine's service, not the user's (systemd, as root)")]


@app.command()
def install(
    home: Home = None,
    db: Db = None,
    *,
    system: System = False,
    start: Annotated[
        bool, typer.Option("--start/--no-start", help="start it now, or at the next login or boot")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print the files that would be written")] = False,
) -> None:
    """Install the service, enable it, and start it.

    Rewrites the unit or agent if it differs, and then restarts a running
    daemon; installing again changes nothing. The service gets --home and --db
    as they are now, and the SHIPWRIGHTD_ variables that are set now.
    Prints what it writes and runs.
    """
    at = plan.place(system=system)
    places = _system_places(home, db) if system else existing_home(home, db)
    config.load()  # settings that `run` refuses are refused here
    command = (*plan.program(), "run", "--home", str(places.home), "--db", str(places.db))
    wanted = plan.Start(command, config.passed_on(), places.home)
    if dry_run:
        _print(plan.files(at, wanted))
        return
    existed = at.path.exists()
    steps = plan.install(at, wanted, start_now=start)
    _print(steps)
    carry_out(steps)
    print(f"{('updated' if existed else 'installed') if steps else 'unchanged'}: {visible(str(at.path))}")
    _print_advice(at, places)


def _system_places(home: str | None, db: str | None) -> Config:
    """Return home and database of a service of the machine. Raises ConfigError for those it cannot use."""
    if not config.names_home(home):
        message = "a service of the machine has no home of its own"
        raise ConfigError(message, hint="name the Shipwright home it reads: --home /home/NAME/.shipwright")
    places = check_home(config.locate(home, db or str(plan.STATE_FOLDER / "shipwright.db")))
    if not places.db.is_relative_to(plan.STATE_FOLDER):
        message = f"a service of the machine writes below {plan.STATE_FOLDER} only, not in {places.db}"
        raise ConfigError(message, hint="leave --db out, or name a file there")
    return places


def _print_advice(at: Place, places: Config) -> None:
    """Print what the user may want to do next."""
    for name in config.kept_back():
        print(f"not passed on, as it may be a secret: {name}; set it in the settings file")
    if at.system:
        print(f"its database: {visible(str(places.db))}, which root and the user {plan.SYSTEM_USER} can read")
    elif not at.on_macos:
        import getpass

        user = getpass.getuser()
        if not plan.lingers(user):
            print(f"it runs while you are logged in; to keep it running: sudo loginctl enable-linger {user}")


@app.command()
def uninstall(
    *,
    system: System = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what would be removed and run")] = False,
) -> None:
    """Stop the service and remove it.

    The database stays, and so does the user of a system service.
    """
    at = plan.place(system=system)
    steps = plan.uninstall(at)
    _print(steps)
    if not dry_run:
        carry_out(steps)
        print(f"{'removed' if steps else 'not installed'}: {visible(str(at.path))}")


def _declare(action: str, text: str) -> None:
    """Add a command that controls the service."""

    def command(*, system: System = False) -> None:
        steps = plan.control(plan.place(system=system), action)
        _print(steps)
        carry_out(steps)

    app.command(action, help=text)(command)


_declare("start", "Start the service, and wait until it is ready.")
_declare("stop", "Stop the service until the next login or boot.")
_declare("restart", "Stop the service and start it again, as after an upgrade.")


@app.command()
def status(*, system: System = False, as_json: Json = False) -> int:
    """Show whether the service is installed and running.

    Also whether it is enabled, since when it runs, and its last message.
    Exit codes: 0 running, 1 not running, 69 the service manager cannot be asked.
    `shipwrightd status` shows how far behind it is.
    """
    state = plan.state(plan.place(system=system))
    if as_json:
        print(dump({**asdict(state), "path": str(state.path), "running": state.running}))
    else:
        _print_state(state)
    if state.problem is not None:
        return UnavailableError.exit_code
    return 0 if state.running else FOUND


def _print_state(state: State) -> None:
    pid = f" (pid {state.pid})" if state.pid else ""
    since = f" since {state.since}" if state.since and state.running else ""
    rows = [
        ("installed", "yes" if state.installed else "no"),
        ("enabled", None if state.enabled is None else "yes" if state.enabled else "no"),
        ("running", f"yes{pid}{since}" if state.running else state.active and f"no, {state.active}"),
        ("last end", state.result),
        ("says", state.said),
        ("unknown", state.problem),
    ]
    print(f"{state.kind} {visible(str(state.path))}")
    for name, value in rows:
        if value:
            print(f"{name:<11} {visible(value)}")


@app.command()
def logs(
    *,
    system: System = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1_000_000, help="show the last N lines")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="keep printing new lines until interrupted")] = False,
) -> int:
    """Print the log of the service.

    It is in the journal of systemd, or in the file that launchd writes.
    """
    command = plan.log_command(plan.place(system=system), lines, follow=follow)
    try:
        code = subprocess.run(command, check=False).returncode
    except FileNotFoundError as error:
        message = f"there is no {command[0]} on this machine"
        raise UnavailableError(message, hint="look where your supervisor keeps its logs") from error
    if code > 0:
        raise UnavailableError(f"{command[0]} ended with code {code}", hint="see its own message above")
    return ENDED_BY_SIGNAL - code if code else 0


def _print(steps: Sequence[Step]) -> None:
    for step in steps:
        print("\n".join(visible(line) for line in str(step).splitlines()))
