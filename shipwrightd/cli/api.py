"""How `api` is written on the command line. What it does is in `api_commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from shipwrightd.cli import api_commands
from shipwrightd.cli.options import Db, Home
from shipwrightd.reports.question import QuestionError


def _paths() -> list[str]:
    from shipwrightd.dashboard.api import PATHS  # noqa: PLC0415 - only a shell that completes needs it

    return list(PATHS)


def api(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="with its parameters: '/api/metrics/history?period=30'; or a whole URL",
            autocompletion=_paths,
        ),
    ],
    now: Annotated[str | None, typer.Option("--now", metavar="TIME", help="take this for the present time")] = None,
    home: Home = None,
    db: Db = None,
    *,
    compat: Annotated[
        bool, typer.Option("--compat", help="exactly what Shipwright's dashboard answers, its errors included")
    ] = False,
) -> None:
    """Give the dashboard's answer at a path of its API, as JSON.

    The figures are right where the dashboard's are not: docs/dashboard.md lists
    each difference, and --compat leaves them all out. A path that does not exist
    gets the list of those that do.
    """
    try:
        code = api_commands.api(path, home=home, db=db, now=now, compat=compat)
    except QuestionError as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(code)
