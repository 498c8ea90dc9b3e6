"""How `import`, `prune` and `recover` are written on the command line. What they do is in `upkeep_commands`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from shipwrightd.cli import maintain_commands
from shipwrightd.cli.options import Db, Home
from shipwrightd.reports.question import QuestionError

MACHINE = re.compile(r"[A-Za-z0-9._@+-]{1,100}")
JOURNAL = "events.jsonl"


def _machine(name: str | None) -> str | None:
    if name is not None and (not MACHINE.fullmatch(name) or name == JOURNAL):
        raise typer.BadParameter("a name has letters, digits and . _ @ + - only, 100 at most")
    return name


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines; - for standard input")],
    home: Home = None,
    db: Db = None,
    *,
    machine: Annotated[
        str | None,
        typer.Option(metavar="NAME", callback=_machine, help="keep them apart, as the events of this machine"),
    ] = None,
) -> None:
    """Bring the events of a file into the database, once.

    Takes what `export --table events --format jsonl` wrote, a copy of an
    events.jsonl, or that of another machine. Catches up with the files first;
    then each record comes in as often as the file has it more than the
    database: a second time nothing is new. All of it, or nothing.

    What comes in counts as older than all that is there, and is part of runs
    and figures. What prune took away stays away. Refuses while a daemon runs.
    """
    raise typer.Exit(maintain_commands.import_events(home, db, file, machine))


def prune(
    older_than: Annotated[str, typer.Option("--older-than", metavar="AGE", help="180d, 26w or 36h; a day at least")],
    home: Home = None,
    db: Db = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be deleted")] = False,
    now: Annotated[str | None, typer.Option(metavar="TIME", help="count from this time, not from now")] = None,
) -> None:
    """Delete old events and give their space back.

    Runs, stages, costs and all figures stay; so does every event that
    a file still holds. Needs free disk for two copies of the database while
    it works. What is deleted cannot be had back but from an export:
    `export` first. Refuses while a daemon runs, but for --dry-run.
    """
    try:
        before_epoch = maintain_commands.before(older_than, now)
    except QuestionError as error:
        raise typer.BadParameter(str(error)) from error
    raise typer.Exit(maintain_commands.prune(home, db, before_epoch, dry_run=dry_run))


def recover(
    home: Home = None,
    db: Db = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="rebuild it even if no damage is found")] = False,
) -> None:
    """Check the whole database, and rebuild it if it is damaged.

    Reads every page. A damaged database is moved aside, never deleted, and
    rebuilt from its readable rows and from the files. `run` and `backfill`
    do the same with damage they meet. Needs as much free disk space as the
    database takes. Refuses while a daemon runs.
    """
    raise typer.Exit(maintain_commands.recover(home, db, force=force))
