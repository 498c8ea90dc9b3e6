"""How `doctor` is written on the command line. What it does is in `doctor_commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from shipwrightd.cli import doctor_commands
from shipwrightd.cli.options import Db, Home


def doctor(
    home: Home = None,
    db: Db = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="answer in JSON")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="read all of the database, however long that takes; else five seconds' worth")
    ] = False,
    bundle: Annotated[
        str | None, typer.Option(metavar="FILE", help="write what a maintainer asks for to this archive (tar.gz)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the archive if it is there")] = False,
) -> None:
    """Say what may be wrong, and what to do about it.

    Looks at versions, settings, places and permissions, free disk, limits,
    the lock, the service, the database, checkpoints against files, clocks
    and Shipwright. Changes nothing; works with the daemon running or not.

    The archive of --bundle holds these findings, settings, counts, positions and reasons: no secret, no path, and
    nothing of what records say.

    Exits 0 when nothing fails, else 1. A warning works as it is, but look at it.
    """
    if force and bundle is None:
        raise typer.BadParameter("--force is for --bundle")
    wish = doctor_commands.Wish(as_json=as_json, deep=deep, bundle=bundle, force=force)
    raise typer.Exit(doctor_commands.doctor(home, db, wish))
