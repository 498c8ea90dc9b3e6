"""The command line of `shipwrightd`: its commands in the order of the help."""

from __future__ import annotations

import platform
from enum import StrEnum
from typing import Annotated

import typer

from shipwrightd import __version__
from shipwrightd.cli import config, data, doctor, maintain, report, run, service
from shipwrightd.cli import status as plain_status
from shipwrightd.cli.options import Db, Home, examples, with_parameters
from shipwrightd.cli.status import STDOUT, Form

EXIT_CODES = """\b
Exit codes:
  0    done
  1    a check found something (status --check, verify, doctor)
  2    the command line is wrong
  65   the database is foreign, newer or damaged
  66   the Shipwright home or the database is missing
  69   the service manager is missing, cannot be reached or refuses
  73   a file or folder cannot be created, read or written
  75   another shipwrightd is ingesting, the database is locked or was exchanged: try again
  78   a setting is invalid
  130  interrupted
  141  the output was closed before everything was written"""

HELP = """Keeps a SQLite database of everything Shipwright writes under its home.

Reads events.jsonl, costs, memory and the rest, each record exactly once, and
keeps what Shipwright trims. It never writes to Shipwright's files.

Begin with `shipwrightd run`: it imports what is there and keeps following.
Check `shipwrightd status` from another terminal. `shipwrightd backfill`
imports once and exits.
"""

COMPLETE_VARIABLE = "_SHIPWRIGHTD_COMPLETE"  # set by a completion script when it asks what can follow

app = typer.Typer(
    help=HELP,
    epilog=EXIT_CODES,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.quarantine, name="quarantine")
app.add_typer(report.app, name="report")
app.add_typer(service.app, name="service")
app.add_typer(config.app, name="config")


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="the same as the command version")
    ] = False,
) -> None:
    """Take the options that come before a command."""


app.command(
    epilog=examples(
        ("shipwrightd run", "follow ~/.shipwright until Ctrl-C"),
        ("shipwrightd run --home /mnt/ci/.shipwright --no-watch --rescan 5", "on a network file system"),
        ("shipwrightd run --metrics 127.0.0.1:9464", "with metrics for Prometheus"),
    )
)(with_parameters(run.run, run.PARAMETERS))
app.command(
    epilog=examples(
        ("shipwrightd backfill", "import ~/.shipwright"),
        ("shipwrightd backfill --home copy/.shipwright --db copy.db", "a copy, into another database"),
    )
)(run.backfill)


@app.command(
    epilog=examples(
        ("shipwrightd status", "for people"),
        ("shipwrightd status --check", "for scripts: exit code 1 if there is a problem"),
        ("shipwrightd status --format prometheus --out /srv/textfile/shipwrightd.prom", "for node_exporter"),
    )
)
def status(
    home: Home = None,
    db: Db = None,
    *,
    form: Annotated[Form | None, typer.Option("--format", help="the format of the output [default: table]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the same as --format json")] = False,
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help="replace this file, in one step; - is stdout")
    ] = STDOUT,
    check: Annotated[
        bool,
        typer.Option("--check", help="exit 1 if the daemon is down, a source is over 60 s behind, or an error lasts"),
    ] = False,
) -> int:
    """Show the state of the daemon, the database and every source.

    Works with the daemon running or not. `--format prometheus` is for monitors:
    use it with `--out` for node_exporter's textfile collector, which then never
    reads a partial file.
    """
    if as_json and form not in {None, Form.JSON}:
        raise typer.BadParameter(f"--json and --format {form} exclude each other")
    return plain_status.show(home, db, Form.JSON if as_json else form or Form.TABLE, out, check=check)


app.command()(maintain.migrate)
app.command()(maintain.rebuild)
app.command()(maintain.verify)


@app.command()
def version() -> None:
    """Show the version of shipwrightd and of its components."""
    import apsw

    from shipwrightd.database import migrate

    schema, sqlite = migrate.known()[-1].version, apsw.sqlite_lib_version()
    print(f"shipwrightd {__version__} (schema {schema}, SQLite {sqlite}, Python {platform.python_version()})")


app.command()(report.api)
app.command(
    epilog=examples(
        ("shipwrightd doctor", "find what is wrong, and what to do about it"),
        ("shipwrightd doctor --deep --bundle support.tar.gz", "everything, and an archive to send"),
    )
)(doctor.doctor)
app.command(
    epilog=examples(
        ("shipwrightd export --out events.jsonl", "all events, as journal lines"),
        ("shipwrightd export --table pipeline_runs --format csv --since 30d", "a month of runs for a spreadsheet"),
    )
)(data.export)
app.command()(data.backup)
app.command(
    "import",
    epilog=examples(
        ("shipwrightd import old/events.jsonl", "an old journal of this machine"),
        ("shipwrightd import --machine mac mac/events.jsonl", "that of another machine, stored separately"),
    ),
)(maintain.import_)
app.command(
    epilog=examples(
        ("shipwrightd prune --older-than 180d --dry-run", "what would be deleted"),
        ("shipwrightd export --out events.jsonl", "keep a copy"),
        ("shipwrightd prune --older-than 180d", "delete it"),
    )
)(maintain.prune)
app.command()(maintain.recover)


class Shell(StrEnum):
    """A shell that typer has a completion script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command(
    epilog=examples(
        "shipwrightd completion bash > ~/.local/share/bash-completion/completions/shipwrightd",
        ("shipwrightd completion zsh > ~/.zfunc/_shipwrightd", "with ~/.zfunc in fpath before compinit"),
        "shipwrightd completion fish > ~/.config/fish/completions/shipwrightd.fish",
    )
)
def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish")]) -> None:
    """Print a script that completes commands in a shell.

    It completes commands, options and their values. The script runs shipwrightd
    to find out what can follow, so it needs no update with shipwrightd.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    print(get_completion_script(prog_name="shipwrightd", complete_var=COMPLETE_VARIABLE, shell=shell.value))


def complete_for_shells() -> None:
    """Let typer answer completion scripts; it prepares this only for programs that have its own options for it."""
    from typer.completion import completion_init  # type: ignore[attr-defined]

    completion_init()
