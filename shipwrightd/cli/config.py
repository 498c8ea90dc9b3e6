"""How the `config` commands are written on the command line. What they do is in `config_commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from shipwrightd.cli import config_commands, examples
from shipwrightd.cli.options import Db, Home

app = typer.Typer(
    help="""Look at the settings and where each comes from.

Flags win over the environment, that over the user's settings file, that over
the system's, and all over the defaults.
""",
    epilog=examples.of("config"),
    no_args_is_help=True,
)
Json = Annotated[bool, typer.Option("--json", help="answer in JSON")]


@app.command()
def show(home: Home = None, db: Db = None, *, as_json: Json = False) -> None:
    """Show each setting, its value, and where that comes from.

    Of hook_url only scheme and host are shown: the rest may be a secret.
    Exits 78 when a setting is invalid, and shows what would hold without it.
    """
    raise typer.Exit(config_commands.show(home, db, as_json=as_json))


@app.command()
def path(*, as_json: Json = False) -> None:
    """List the settings files that are looked for, the strongest first."""
    raise typer.Exit(config_commands.path(as_json=as_json))


@app.command()
def check(home: Home = None, db: Db = None, *, as_json: Json = False) -> None:
    """Say all that is wrong with the settings; exit 78 if anything is.

    Every value is judged, one that a stronger place overrides as well.
    """
    raise typer.Exit(config_commands.check(home, db, as_json=as_json))
