"""How `export` and `backup` are written on the command line. What they do is in `data_commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from shipwrightd.cli import data_commands
from shipwrightd.cli.options import Db, Home
from shipwrightd.config import settings
from shipwrightd.export.tables import EVENTS, TABLES, Form
from shipwrightd.reports.question import QuestionError

Force = Annotated[bool, typer.Option("--force", help="replace the file if it is there")]


def export(
    form: Annotated[Form, typer.Option("--format", help="how rows are written")] = Form.JSONL,
    table: Annotated[
        str,
        typer.Option(
            "--table", metavar="NAME", help=f"one of: {', '.join(TABLES)}", autocompletion=lambda: list(TABLES)
        ),
    ] = EVENTS,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="from then on: 2026-01-31, 2026-01-31T12:00:00Z, 7d, 12h"),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="up to then; a date is meant with all its day")
    ] = None,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="write to this file; - is stdout")] = "-",
    home: Home = None,
    db: Db = None,
    *,
    force: Force = False,
) -> None:
    """Write a table out: events, unless another is named.

    Lines of events (jsonl) are journal lines again, which `import` turns into
    the same rows. parquet needs pyarrow: pip install 'shipwrightd[parquet]'.
    A file appears when it is complete, or not at all.

    All rows are of the moment when it begins, however long it takes; until it
    ends, the database's -wal file grows with what the daemon stores.
    """
    try:
        wish = data_commands.wish(table, since, until)
        code = data_commands.export(settings.locate(home, db), form, wish, data_commands.Out(name=out, force=force))
    except QuestionError as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(code)


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="where the copy goes")],
    home: Home = None,
    db: Db = None,
    *,
    force: Force = False,
) -> None:
    """Copy the database to a file and check the copy.

    The daemon may go on meanwhile: the copy is of the moment when it begins.
    It takes the place of a lost database as it is: move it there, and the
    next `run` or `backfill` adds what the files have more.
    """
    raise typer.Exit(data_commands.backup(settings.locate(home, db), file, force=force))
