"""How `service` and its commands are written on the command line. What they do is in `service_commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from shipwrightd.cli import examples, service_commands
from shipwrightd.cli.options import Db, Home

app = typer.Typer(
    help="""Keep shipwrightd running under systemd or launchd.

It is a service of yours and runs as you. With --system it is one of the
machine, with a user of its own that may read Shipwright's home and write only
below /var/lib/shipwrightd: for a build box. That takes root, and systemd.
""",
    epilog=examples.of("service"),
    no_args_is_help=True,
)

System = Annotated[bool, typer.Option("--system", help="the service of the machine, not yours (systemd, as root)")]


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
    """Install the service, have it start by itself, and start it.

    Writes the unit or agent anew when it differs, and then restarts a running
    daemon; a second time nothing changes. It gets --home and --db as they are
    now, and those SHIPWRIGHTD_ variables that are set now.
    Prints what it writes and runs.
    """
    raise typer.Exit(service_commands.install(home, db, system=system, start=start, dry_run=dry_run))


@app.command()
def uninstall(
    *,
    system: System = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what would be removed and run")] = False,
) -> None:
    """Stop the service and remove it.

    The database stays, and so does the user of a system service.
    """
    raise typer.Exit(service_commands.uninstall(system=system, dry_run=dry_run))


@app.command()
def start(*, system: System = False) -> None:
    """Start it, and wait until it is ready."""
    raise typer.Exit(service_commands.control("start", system=system))


@app.command()
def stop(*, system: System = False) -> None:
    """Stop it, until the next login or boot."""
    raise typer.Exit(service_commands.control("stop", system=system))


@app.command()
def restart(*, system: System = False) -> None:
    """Stop it and start it again, as after an upgrade."""
    raise typer.Exit(service_commands.control("restart", system=system))


@app.command()
def status(
    *, system: System = False, as_json: Annotated[bool, typer.Option("--json", help="answer in JSON")] = False
) -> None:
    """Say whether it is installed and running.

    Also whether it starts by itself, since when it runs, and what it last said.
    Exit codes: 0 it runs, 1 it does not, 69 the service manager cannot be asked.
    How far it is behind says `shipwrightd status`.
    """
    raise typer.Exit(service_commands.status(system=system, as_json=as_json))


@app.command()
def logs(
    *,
    system: System = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=1_000_000, help="how many, the last ones")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="go on with new ones until interrupted")] = False,
) -> None:
    """Print its log.

    It is in the journal of systemd, or in the file that launchd writes.
    """
    raise typer.Exit(service_commands.logs(lines, system=system, follow=follow))
