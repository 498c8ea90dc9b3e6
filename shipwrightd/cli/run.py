"""How `run` is written on the command line: every setting has its flag. What it does is in `commands`.

Values are taken as text and judged by `config`, as those of the environment
and the files are: all that is wrong is said at once, in the same words.
"""

from __future__ import annotations

from typing import Annotated

import typer

from shipwrightd.cli import commands
from shipwrightd.cli.options import Db, Home
from shipwrightd.config.keys import LOG_LEVELS


def run(
    home: Home = None,
    db: Db = None,
    *,
    log_level: Annotated[
        str | None,
        typer.Option(
            "--log-level",
            metavar="LEVEL",
            help="debug, info, warning or error [default: info]",
            autocompletion=lambda: list(LOG_LEVELS),
        ),
    ] = None,
    rescan: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="between looks no event asked for, 0.1 to 60 [default: 2]")
    ] = None,
    settle: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="that a rewritten file must rest, 0.1 to 60 [default: 2]")
    ] = None,
    watch: Annotated[
        bool | None, typer.Option("--watch/--no-watch", help="listen to file-system events [default: watch]")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="serve figures for monitors there; empty for off")
    ] = None,
    hook_command: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="run this when an error stands; empty for none")
    ] = None,
    hook_url: Annotated[
        str | None, typer.Option(metavar="URL", help="tell this address when an error stands; empty for none")
    ] = None,
    hook_after: Annotated[
        str | None, typer.Option(metavar="SECONDS", help="the error must stand, 0 to 86400 [default: 60]")
    ] = None,
) -> None:
    """Follow the files until it is stopped.

    Imports what is there already, or what was written meanwhile, then stores
    each record about as soon as it is written. Runs in the foreground and logs to stderr.
    SIGTERM and Ctrl-C end it, SIGHUP has it read the settings again.

    Each setting may stand in the environment or a file instead, under the
    names that `shipwrightd config show` lists; a flag wins over both.
    """
    flags = {
        "log_level": log_level,
        "rescan_s": rescan,
        "settle_s": settle,
        "watch": watch,
        "metrics": metrics,
        "hook_command": hook_command,
        "hook_url": hook_url,
        "hook_after_s": hook_after,
    }
    raise typer.Exit(commands.run(home, db, flags))
