"""How `report` and `api` are written on the command line. What they do is in `report_commands`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, ParamSpec

import typer

from shipwrightd.cli import examples, report_commands
from shipwrightd.cli.options import Db, Home
from shipwrightd.cli.report_commands import Asked, Format
from shipwrightd.reports.question import QuestionError
from shipwrightd.reports.runs import STATUSES

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")

HELP = """Ask the database a question.

Answers as a table, or with --format json or csv for programs. Without a
database the files themselves are read, which takes longer and holds less.
Times are UTC. See docs/reports.md for each figure and the JSON.
"""

app = typer.Typer(help=HELP, epilog=examples.of("report"), no_args_is_help=True)

Days = Annotated[float | None, typer.Option("--days", metavar="N", help="the last N days [default: 30]")]
AnyDays = Annotated[float | None, typer.Option("--days", metavar="N", help="the last N days [default: all]")]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="from then on: 2026-01-31, 2026-01-31T12:00:00Z, 7d, 12h")
]
Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="up to then; a date is meant with all its day")
]
Now = Annotated[str | None, typer.Option("--now", metavar="TIME", help="take this for the present time")]
Issue = Annotated[str | None, typer.Option("--issue", metavar="N", help="of this issue only")]
Type = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="events of this type; stage means all stage.* too")
]
Model = Annotated[str | None, typer.Option("--model", metavar="NAME", help="of this model only")]
Stage = Annotated[str | None, typer.Option("--stage", metavar="NAME", help="of this stage only")]
Developer = Annotated[
    str | None, typer.Option("--developer", metavar="NAME", help="of this developer; NAME@MACHINE for one machine")
]
Repo = Annotated[
    str | None, typer.Option("--repo", metavar="REPO", help="of this repository: its name, or the hash memory uses")
]
Status = Annotated[
    str | None,
    typer.Option(
        "--status", metavar="STATUS", help=f"only these: {', '.join(STATUSES)}", autocompletion=lambda: STATUSES
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, max=1_000_000, help="at most so many rows")]
Offset = Annotated[int, typer.Option("--offset", metavar="N", min=0, max=(1 << 62), help="leave out the first N rows")]
As = Annotated[Format, typer.Option("--format", help="how to answer")]
Sender = Annotated[
    str | None,
    typer.Option(
        "--developer",
        metavar="NAME",
        help="team events of this developer, or of NAME@MACHINE [default: this machine's own events]",
    ),
]
Events = Annotated[
    int | None,
    typer.Option("--limit", metavar="N", min=1, max=100_000, help="so many events [default: 50; following: 10]"),
]
Cursor = Annotated[
    str | None, typer.Option("--cursor", metavar="CURSOR", help="go on where a page ended: its next_cursor")
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="show the last events, then each new one, until stopped")]


def asked(command: Callable[P, Asked]) -> Callable[P, None]:
    """Make a command of a function that returns what is asked; its name is the report's."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = report_commands.answer(command.__name__, command(*args, **kwargs))
        except QuestionError as error:
            raise typer.BadParameter(str(error)) from error
        raise typer.Exit(code)

    return run


@app.command()
@asked
def dora(
    days: Days = None,
    since: Since = None,
    until: Until = None,
    issue: Issue = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """How delivery goes, in the four measures of DORA.

    Deployment frequency, lead time, change failure rate and time to restore, each with its grade.
    """
    return Asked(home=home, db=db, form=form, days=days, since=since, until=until, now=now, issue=issue)


@app.command()
@asked
def costs(
    days: Days = None,
    since: Since = None,
    until: Until = None,
    model: Model = None,
    stage: Stage = None,
    issue: Issue = None,
    limit: Limit = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """What was spent, on what, and what the budget leaves.

    In all, by model, stage, issue and day.
    """
    return Asked(
        home=home,
        db=db,
        form=form,
        days=days,
        since=since,
        until=until,
        now=now,
        model=model,
        stage=stage,
        issue=issue,
        limit=limit,
    )


@app.command()
@asked
def stages(
    days: Days = None,
    since: Since = None,
    until: Until = None,
    stage: Stage = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """How long each stage takes, and how often it fails.

    Also what it costs, and which one is the bottleneck.
    """
    return Asked(home=home, db=db, form=form, days=days, since=since, until=until, now=now, stage=stage)


@app.command()
@asked
def throughput(
    days: Days = None,
    since: Since = None,
    until: Until = None,
    issue: Issue = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """How many runs are finished each day."""
    return Asked(home=home, db=db, form=form, days=days, since=since, until=until, now=now, issue=issue)


@app.command()
@asked
def failures(
    days: Days = None,
    since: Since = None,
    until: Until = None,
    stage: Stage = None,
    issue: Issue = None,
    limit: Limit = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """What failed: where, when, and with which errors.

    By stage and day, by class of error, and the last ones in words.
    """
    return Asked(
        home=home,
        db=db,
        form=form,
        days=days,
        since=since,
        until=until,
        now=now,
        stage=stage,
        issue=issue,
        limit=limit,
    )


@app.command()
@asked
def runs(
    run: Annotated[
        int | None, typer.Argument(metavar="[ID]", help="this run in full, by the number in the list")
    ] = None,
    days: AnyDays = None,
    since: Since = None,
    until: Until = None,
    issue: Issue = None,
    status: Status = None,
    limit: Limit = None,
    offset: Offset = 0,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """List the runs, newest first, or show one in full.

    One is shown with its stages, cost and errors.
    """
    return Asked(
        home=home,
        db=db,
        form=form,
        days=days,
        since=since,
        until=until,
        now=now,
        run=run,
        issue=issue,
        status=status,
        limit=limit,
        offset=offset,
    )


@app.command()
@asked
def activity(
    days: AnyDays = None,
    since: Since = None,
    until: Until = None,
    issue: Issue = None,
    type: Type = None,  # noqa: A002 - the option is called so
    model: Model = None,
    stage: Stage = None,
    developer: Sender = None,
    limit: Events = None,
    offset: Offset = 0,
    cursor: Cursor = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
    *,
    follow: Follow = False,
) -> Asked:
    """What happened, newest first; with --follow, as it happens."""
    return Asked(
        home=home,
        db=db,
        form=form,
        days=days,
        since=since,
        until=until,
        now=now,
        issue=issue,
        type=type,
        model=model,
        stage=stage,
        developer=developer,
        limit=limit,
        offset=offset,
        cursor=cursor,
        follow=follow,
    )


@app.command()
@asked
def team(
    developer: Developer = None,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """Who is online, idle or offline, and what runs where."""
    return Asked(home=home, db=db, form=form, now=now, developer=developer)


@app.command()
@asked
def memory(
    search: Annotated[
        str | None, typer.Option("--search", metavar="WORDS", help="entries with all these words, the best first")
    ] = None,
    repo: Repo = None,
    stage: Stage = None,
    type: Annotated[  # noqa: A002 - the option is called so
        str | None, typer.Option("--type", metavar="TYPE", help="only these: failure, decision, pattern, ...")
    ] = None,
    limit: Limit = None,
    offset: Offset = 0,
    form: As = Format.TABLE,
    now: Now = None,
    home: Home = None,
    db: Db = None,
) -> Asked:
    """What Shipwright remembers: failures, fixes, patterns.

    Failures and what helped, decisions, patterns; with --search, by full text.
    """
    return Asked(
        home=home,
        db=db,
        form=form,
        now=now,
        search=search,
        repo=repo,
        stage=stage,
        type=type,
        limit=limit,
        offset=offset,
    )
