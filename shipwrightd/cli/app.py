"""The command line: how commands and options are written. What they do is in `commands`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from shipwrightd.cli import api, commands, config, data, doctor, examples, maintain, report, run, service
from shipwrightd.cli.options import Db, Home

EXIT_CODES = """\b
Exit codes:
  0    done
  1    a check found something (status --check, verify, doctor)
  2    the command line is wrong
  65   the database is foreign, newer or damaged
  66   the Shipwright home or the database is missing
  69   the service manager is missing, cannot be reached or refuses
  73   a file or folder cannot be made, read or written
  75   another shipwrightd is ingesting, the database is locked or was exchanged: try again
  78   a setting is invalid
  130  interrupted
  141  the output was closed before all was written"""

HELP = """Keeps a SQLite database of everything Shipwright writes under its home.

Reads events.jsonl, costs, memory and the rest, each record exactly once, and
remembers what Shipwright trims. It never writes to Shipwright's files.

Begin with `shipwrightd run`: it imports what is there and goes on following.
Look with `shipwrightd status` from another terminal. `shipwrightd backfill`
imports once and ends.
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
quarantine = typer.Typer(
    help="""Look at lines that could not become records.

A line that is torn or is no JSON, and that salvage could make nothing of, is
kept in the database byte for byte, with its place in the file and the reason.
""",
    no_args_is_help=True,
)
app.add_typer(quarantine, name="quarantine")
app.add_typer(report.app, name="report")
app.add_typer(service.app, name="service")
app.add_typer(config.app, name="config")

Json = Annotated[bool, typer.Option("--json", help="answer in JSON")]


class StatusForm(StrEnum):
    """How `status` can answer."""

    TABLE = "table"
    JSON = "json"
    PROMETHEUS = "prometheus"


COMPLETE_VARIABLE = "_SHIPWRIGHTD_COMPLETE"  # set by a shell that asks what can follow
LAST = (1 << 63) - 1  # what SQLite can count to


def _countable(number: int | None) -> int | None:
    if number is not None and number > LAST:
        raise typer.BadParameter("no number of a piece is as large")
    return number


Number = Annotated[
    int, typer.Argument(metavar="ID", callback=_countable, help="the number that `quarantine list` gives it")
]


def _tell_version(asked: bool) -> None:  # noqa: FBT001 - typer calls it so
    if asked:
        raise typer.Exit(commands.version())


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_version, help="the same as the command version")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


app.command(epilog=examples.of("run"))(run.run)


@app.command(epilog=examples.of("backfill"))
def backfill(home: Home = None, db: Db = None) -> None:
    """Import once all that is there, then end.

    Makes the database if there is none. May be run again, and after a kill:
    what is stored already is not stored twice.
    """
    raise typer.Exit(commands.backfill(home, db))


@app.command(epilog=examples.of("status"))
def status(
    home: Home = None,
    db: Db = None,
    *,
    form: Annotated[StatusForm | None, typer.Option("--format", help="how to answer [default: table]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the same as --format json")] = False,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="replace this file, in one step; - is stdout")
    ] = "-",
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="exit 1 if the daemon is down, a source is behind for more than 60 s, or an error stands",
        ),
    ] = False,
) -> None:
    """Say how things stand: the daemon, the database, each source.

    Works with the daemon running or not. `--format prometheus` is for monitors:
    with `--out` for node_exporter's textfile collector, which never reads half a file so.
    """
    if as_json and form not in {None, StatusForm.JSON}:
        raise typer.BadParameter(f"--json and --format {form.value} exclude each other")
    chosen = "json" if as_json else (form or StatusForm.TABLE).value
    raise typer.Exit(commands.status(home, db, form=chosen, check=check, out=out))


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
    """Derive runs, stages and metrics from the records again.

    Replaces the tables pipeline_runs, pipeline_stages and metrics in one go;
    the records stay as they are. Never needed in normal use: it mends these
    tables when somebody changed them. Refuses while a daemon runs.
    """
    raise typer.Exit(commands.rebuild(home, db))


@app.command()
def verify(home: Home = None, db: Db = None) -> None:
    """Compare the database with the files; exit 1 when they differ.

    Reads all files again: each record must stand in the database just as
    often. What the database keeps longer than the files is no difference.
    Changes nothing, and may run beside a daemon: a difference counts then when
    it outlasts rescan_s and settle_s as they are set here, and 5 s more.
    """
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
    as_json: Json = False,
    raw: Annotated[bool, typer.Option("--raw", help="write the bytes as they were, and nothing else")] = False,
) -> None:
    """Show one piece and where it stood.

    On a terminal a long piece is cut short.
    """
    if as_json and raw:
        raise typer.BadParameter("--json and --raw exclude each other")
    if raw and sys.stdout.isatty():
        raise typer.BadParameter("--raw writes bytes that could act on a terminal: redirect it, to `less` for one")
    raise typer.Exit(commands.quarantine_show(home, db, number, as_json=as_json, raw=raw))


@quarantine.command("retry")
def quarantine_retry(
    number: Annotated[
        int | None, typer.Argument(metavar="ID", callback=_countable, help="only this one; all if left out")
    ] = None,
    home: Home = None,
    db: Db = None,
) -> None:
    """Try again to make records of what is in quarantine.

    Worth it after an update of shipwrightd that reads more than the last one.
    What becomes a record is marked recovered and its bytes stay; the rest
    stays as it is. Refuses while a daemon runs.
    """
    raise typer.Exit(commands.quarantine_retry(home, db, number))


app.command()(api.api)
app.command(epilog=examples.of("doctor"))(doctor.doctor)
app.command(epilog=examples.of("export"))(data.export)
app.command()(data.backup)
app.command("import", epilog=examples.of("import"))(maintain.import_)
app.command(epilog=examples.of("prune"))(maintain.prune)
app.command()(maintain.recover)


class Shell(StrEnum):
    """A shell that typer has a completion script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command(epilog=examples.of("completion"))
def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish")]) -> None:
    """Print a script that lets the shell complete commands, options and values.

    The script runs shipwrightd to find out what can follow, so it need not be
    written again after an update.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined] # noqa: PLC0415

    print(get_completion_script(prog_name="shipwrightd", complete_var=COMPLETE_VARIABLE, shell=shell.value))  # noqa: T201


def complete_for_shells() -> None:
    """Register typer's completion with its command-line library, which is done for apps that have its options."""
    from typer.completion import completion_init  # type: ignore[attr-defined] # noqa: PLC0415

    completion_init()
