"""The command line: how commands and options are written. What they do is in `commands`."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

import typer

from shipwrightd import commands

EXIT_CODES = """\b
Exit codes:
  0    done
  1    a check found something (status --check, verify)
  2    the command line is wrong
  65   the database is foreign, newer or damaged
  66   the Shipwright home or the database is missing
  73   a file or folder cannot be made, read or written
  75   another shipwrightd is ingesting, or the database is locked: try later
  78   a setting is invalid
  130  interrupted"""

HELP = """Keeps a SQLite database of everything Shipwright writes under its home.

Reads events.jsonl, costs, memory and the rest, each record exactly once, and
remembers what Shipwright trims. It never writes to Shipwright's files.

Begin with `shipwrightd backfill`, look with `shipwrightd status`, keep going
with `shipwrightd run`.
"""

app = typer.Typer(
    help=HELP,
    epilog=EXIT_CODES,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
quarantine = typer.Typer(help="Look at lines that could not become records.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")

Home = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Shipwright's folder [env: SHIPWRIGHTD_HOME; default: ~/.shipwright]"),
]
Db = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="the database [env: SHIPWRIGHTD_DB; default: shipwrightd/shipwright.db in the home]",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="answer in JSON")]
Number = Annotated[int, typer.Argument(metavar="ID", help="the number that `quarantine list` gives it")]


class Form(Enum):
    """How `quarantine show` writes what it shows."""

    TEXT = "text"
    JSON = "json"
    RAW = "raw"


@app.command()
def run(home: Home = None, db: Db = None) -> None:
    """Follow the files until it is stopped.

    Catches up with what was written meanwhile, then stores each record about
    as soon as it is written. Runs in the foreground and logs to stderr.
    SIGTERM and Ctrl-C end it, SIGHUP has it read the settings again.
    """
    raise typer.Exit(commands.run(home, db))


@app.command()
def backfill(home: Home = None, db: Db = None) -> None:
    """Import once all that is there, then end.

    Makes the database if there is none. May be run again, and after a kill:
    what is stored already is not stored twice.
    """
    raise typer.Exit(commands.backfill(home, db))


@app.command()
def status(
    home: Home = None,
    db: Db = None,
    *,
    as_json: Json = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="exit 1 if the daemon is down, a source is behind for more than 60 s, or an error stands",
        ),
    ] = False,
) -> None:
    """Say how things stand: the daemon, the database, each source.

    Works with the daemon running or not.
    """
    raise typer.Exit(commands.status(home, db, as_json=as_json, check=check))


@app.command()
def migrate(
    home: Home = None,
    db: Db = None,
    *,
    only_show: Annotated[bool, typer.Option("--status", help="only say what would be applied")] = False,
) -> None:
    """Bring the database to the schema of this release.

    `run` and `backfill` do so by themselves.
    """
    raise typer.Exit(commands.migrate(home, db, only_show=only_show))


@app.command()
def rebuild(home: Home = None, db: Db = None) -> None:
    """Derive runs, stages and metrics from the records again."""
    raise typer.Exit(commands.rebuild(home, db))


@app.command()
def verify(home: Home = None, db: Db = None) -> None:
    """Compare the database with the files; exit 1 when they differ."""
    raise typer.Exit(commands.verify(home, db))


@app.command()
def version() -> None:
    """Say which release this is, and of what it is made."""
    raise typer.Exit(commands.version())


@quarantine.command("list")
def quarantine_list(home: Home = None, db: Db = None, *, as_json: Json = False) -> None:
    """List what could not be read, oldest first."""
    raise typer.Exit(commands.quarantine_list(home, db, as_json=as_json))


@quarantine.command("show")
def quarantine_show(
    number: Number,
    home: Home = None,
    db: Db = None,
    *,
    form: Annotated[Form, typer.Option("--as", help="raw writes the bytes themselves")] = Form.TEXT,
) -> None:
    """Show one piece and where it stood."""
    raise typer.Exit(commands.quarantine_show(home, db, number, form=form.value))


@quarantine.command("retry")
def quarantine_retry(
    number: Annotated[int | None, typer.Argument(metavar="[ID]", help="only this one; all if left out")] = None,
    home: Home = None,
    db: Db = None,
) -> None:
    """Try again to make records of what is in quarantine."""
    raise typer.Exit(commands.quarantine_retry(home, db, number))
