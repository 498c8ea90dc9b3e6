"""`report` and `api`: questions to the database or, without one, to the files, and their answers as text.

PARAMETERS and HELP describe each report, from which its command is made. Its module is loaded when it runs.
"""

import contextlib
import csv
import importlib
import inspect
import select
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TextIO, cast

import apsw
import orjson
import typer

from shipwrightd import config, database
from shipwrightd.cli.options import Db, Home, Since, Until, examples, text_option, usage_errors, with_parameters
from shipwrightd.clock import YEAR_10000, utc
from shipwrightd.config import Config
from shipwrightd.database.lock import lock_is_held, lock_path
from shipwrightd.errors import LockedError, MissingError, ShipwrightdError
from shipwrightd.reports import activity, nothing
from shipwrightd.reports import question as questions
from shipwrightd.reports.activity import Event
from shipwrightd.reports.question import Question, QuestionError
from shipwrightd.reports.runs import STATUSES
from shipwrightd.text import CsvScreen, Encoded, Screen, visible, warn

USUAL_DAYS = 30
HAS_RECORDS = "SELECT 1 FROM checkpoints UNION ALL SELECT 1 FROM events LIMIT 1"
FILTERS = ("issue", "type", "model", "stage", "developer", "repo", "status", "search", "run")
PATHS = ("home", "db")  # names of files may be any bytes
POLL_S = 0.2
FOLLOWED_EVENTS = 10
CHANGES = "PRAGMA data_version"
NO_WRITER = "nothing new will come: no shipwrightd is ingesting (`shipwrightd run` does)"

app = typer.Typer(
    help="""Ask the database a question.

Answers as a table, or with --format json or csv for programs. Without a
database the files themselves are read, which takes longer and has less
history. Times are UTC. See docs/reports.md for each figure and the JSON.
""",
    epilog=examples(
        "shipwrightd report dora --days 90",
        "shipwrightd report costs --since 2026-01-01 --format csv",
        "shipwrightd report runs --status failed",
        "shipwrightd report memory --search 'flaky test'",
    ),
    no_args_is_help=True,
)


class Format(StrEnum):
    """An output format of a report."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


Now = Annotated[str | None, typer.Option(metavar="TIME", help="use this as the current time")]
# The options of reports; what follows a dot only tells variants apart.
OPTIONS: dict[str, Any] = {
    "run": Annotated[int | None, typer.Argument(metavar="[ID]", help="show this run in full, by its ID in the list")],
    "days": Annotated[float | None, typer.Option(metavar="N", help=f"the last N days [default: {USUAL_DAYS}]")],
    "days.all": Annotated[float | None, typer.Option(metavar="N", help="the last N days [default: all]")],
    "since": Since,
    "until": Until,
    "issue": text_option("N", "only this issue"),
    "type": text_option("TYPE", "only events of this type; stage includes all stage.*"),
    "type.memory": text_option("TYPE", "only this kind: failure, decision, pattern, ..."),
    "model": text_option("NAME", "only this model"),
    "stage": text_option("NAME", "only this stage"),
    "developer": text_option("NAME", "only this developer; NAME@MACHINE for one machine"),
    "developer.events": text_option(
        "NAME", "only team events of this developer, or of NAME@MACHINE [default: this machine's own events]"
    ),
    "repo": text_option("REPO", "only this repository: its name, or the hash that memory uses"),
    "status": text_option("STATUS", f"only runs that are {' or '.join(STATUSES)}", autocompletion=lambda: STATUSES),
    "search": text_option("WORDS", "entries that contain all these words, best match first"),
    "limit": Annotated[int | None, typer.Option(metavar="N", min=1, max=1_000_000, help="at most this many rows")],
    "limit.events": Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=100_000, help="at most this many events [default: 50; with --follow: 10]"),
    ],
    "offset": Annotated[int, typer.Option(metavar="N", min=0, max=1 << 62, help="skip the first N rows")],
    "cursor": text_option("CURSOR", "continue where a page ended: its next_cursor"),
    "follow": Annotated[
        bool, typer.Option("--follow", "-f", help="show the latest events, then each new one, until interrupted")
    ],
    "form": Annotated[Format, typer.Option("--format", help="the format of the answer")],
    "now": Now,
    "home": Home,
    "db": Db,
}
DEFAULTS = {"offset": 0, "follow": False, "form": Format.TABLE}
EVERY_REPORT = "form now home db"
PARAMETERS = {  # of each report, besides those of every one
    "dora": "days since until issue",
    "costs": "days since until model stage issue limit",
    "stages": "days since until stage",
    "throughput": "days since until issue",
    "failures": "days since until stage issue limit",
    "runs": "run days.all since until issue status limit offset",
    "activity": "days.all since until issue type model stage developer.events limit.events offset cursor follow",
    "team": "developer",
    "memory": "search repo stage type.memory limit offset",
}
HELP = {
    "dora": """Show the four DORA measures of delivery.

    Deployment frequency, lead time, change failure rate and time to restore, each with its grade.""",
    "costs": """Show what was spent, and what is left of the budget.

    In total and by model, stage, issue and day.""",
    "stages": """Show how long each stage takes and how often it fails.

    Also what it costs, and which one is the bottleneck.""",
    "throughput": "Show how many runs finish each day.",
    "failures": """Show what failed: where, when and with which errors.

    By stage and day, by class of error, and the latest error messages.""",
    "runs": """List runs, newest first, or show one in full.

    One run is shown with its stages, cost and errors.""",
    "activity": """Show what happened, newest first.

    With --follow, also what happens from now on, until interrupted.""",
    "team": "Show who is online, idle or offline, and what runs where.",
    "memory": """Show what Shipwright remembers: failures, fixes, patterns.

    Failures and what helped, decisions and patterns; --search searches their full text.""",
}


def _declare(name: str) -> None:
    """Add the command of a report."""

    def command(**given: Any) -> None:  # noqa: ANN401 - as the options are declared
        with usage_errors():
            answer(name, given)

    keys = f"{PARAMETERS[name]} {EVERY_REPORT}".split()
    declared = with_parameters(command, {key.partition(".")[0]: OPTIONS[key] for key in keys}, DEFAULTS)
    app.command(name, help=inspect.cleandoc(HELP[name]))(declared)


for _name in PARAMETERS:
    _declare(_name)


def answer(name: str, given: Mapping[str, Any]) -> None:
    """Print the answer of a report to the given options. Raises QuestionError for options that make no sense."""
    if given.get("follow"):
        follow(given)
        return
    question = question_of(name, given)
    places = config.locate(given["home"], given["db"])
    try:
        with reading(places) as (db, source):
            _print_answer(db, name, question, source, given["form"])
    except apsw.CorruptError:
        with from_files(places, f"the database {places.db} is damaged") as db:
            _print_answer(db, name, question, "files", given["form"])
    except apsw.SQLError as error:  # somebody changed its tables
        raise database.explained(places.db, error) from error


def _print_answer(db: apsw.Connection, name: str, question: Question, source: str, form: Format) -> None:
    report = importlib.import_module(f"shipwrightd.reports.{name}")
    result = report.collect(db, question)
    if form is Format.JSON:
        print_json({**envelope(name, question, source), **asdict(result)})
    elif result.empty:
        print(visible(nothing(db, name, question)), file=sys.stderr if form is Format.CSV else sys.stdout)
    elif form is Format.CSV:
        print_csv(report.rows(result))
    else:
        from shipwrightd.reports.terminal import Page, show

        show(name, result, Page())


def question_of(name: str, given: Mapping[str, Any]) -> Question:
    """Return the question that the options of a report mean. Raises QuestionError."""
    for option, value in given.items():
        if option not in PATHS and isinstance(value, str):
            questions.readable(value, option=f"--{option}")
    now = clock(given.get("now"))
    period = questions.period(
        now,
        days=given.get("days"),
        since=given.get("since"),
        until=given.get("until"),
        default_days=USUAL_DAYS if "days" in PARAMETERS[name].split() else None,
    )
    if name == "activity" and given.get("until") is None and given.get("now") is None:
        period = replace(period, until=YEAR_10000)  # includes what a clock that is ahead has written
    filters = {option: given[option] for option in FILTERS if given.get(option) is not None}
    if "issue" in filters:
        filters["issue"] = questions.issue_of(filters["issue"])
    page = {option: given[option] for option in ("limit", "offset", "cursor") if option in given}
    return Question(now=now, period=period, filters=filters, **filters, **page)


def clock(text: str | None) -> int:
    """Return the time in seconds: that of --now, else the current one."""
    now = int(time.time())
    return now if text is None else questions.moment(text, now, option="--now")


def envelope(name: str, question: Question, source: str) -> dict[str, Any]:
    """Return what the JSON of every report begins with."""
    return {
        "report": name,
        "now": utc(question.now),
        "since": utc(question.period.since),
        "until": utc(question.end),
        "filters": question.filters,
        "source": source,
    }


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.flush()
    byte_output().write(text + b"\n")


def byte_output(*, csv: bool = False) -> BinaryIO:
    """Return where bytes of JSON or CSV go: to a terminal only what cannot act on it. Flush stdout first."""
    if not sys.stdout.isatty():
        return sys.stdout.buffer
    screen = CsvScreen(sys.stdout) if csv else Screen(sys.stdout)
    return cast("BinaryIO", Encoded(screen))  # has all that is used of it


def print_csv(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows of one shape as CSV (RFC 4180, but lines end as on Unix), after a header."""
    rows = iter(rows)
    for first in rows:
        out: CsvScreen | TextIO = CsvScreen(sys.stdout) if sys.stdout.isatty() else sys.stdout
        writer = csv.DictWriter(out, list(first), lineterminator="\n")
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


@contextlib.contextmanager
def reading(places: Config) -> Iterator[tuple[apsw.Connection, str]]:
    """Open the database, as `database`, or if that fails a temporary one made from the files, as `files`.

    Raises MissingError if there are no files either, LockedError while another program keeps it locked.
    """
    from shipwrightd.status import unread_bytes

    try:
        db = open_database(places.db)
    except LockedError:
        raise
    except ShipwrightdError as error:
        if not places.home.is_dir():
            if not isinstance(error, MissingError):
                raise
            message = f"{error.message}, and no Shipwright home at {places.home}"
            raise MissingError(message, hint="run Shipwright once, or name its folder with --home") from error
        with from_files(places, error.message) as db:
            yield db, "files"
        return
    with contextlib.closing(db):
        if unread := unread_bytes(db, places.home, time.time()):
            warn(
                f"the database lacks the last {unread} bytes of events.jsonl"
                " - is the daemon running? `shipwrightd status` shows it, `shipwrightd backfill` imports them"
            )
        yield db, "database"


@contextlib.contextmanager
def from_files(places: Config, why: str) -> Iterator[apsw.Connection]:
    """Open a temporary database made from the files as they are now; print why on stderr."""
    from shipwrightd import log
    from shipwrightd.daemon import catch_up

    warn(f"{why}: reading the files instead, which have less history")
    with tempfile.TemporaryDirectory(prefix="shipwrightd-") as folder:
        path = Path(folder) / "shipwright.db"
        log.set_up("error")
        for error in catch_up.backfill(places.home, path).errors:
            warn(error)
        with contextlib.closing(open_database(path, empty=True)) as db:
            yield db


def open_database(path: Path, *, empty: bool = False) -> apsw.Connection:
    """Open a database of this release's schema for reading; one without records is accepted only if `empty`.

    Raises MissingError for one that does not exist or is not ready, and what open_reader raises.
    """
    from shipwrightd.database import migrate

    db = database.open_reader(path)
    try:
        if not migrate.version(db):
            problem = "has no shipwrightd tables yet"
        elif migrate.pending(db, migrate.known()):
            problem = "has the tables of an older release (`shipwrightd migrate` brings it up to date)"
        elif not empty and db.execute(HAS_RECORDS).get is None:
            problem = "holds no record yet"
        else:
            return db
    except BaseException:
        db.close()
        raise
    db.close()
    raise MissingError(f"{path} {problem}")


def follow(given: Mapping[str, Any]) -> None:
    """Print the latest events, then each new one, until interrupted or nobody reads any more.

    Raises QuestionError for options that do not fit, MissingError without a database.
    """
    for option in ("until", "cursor", "offset", "now"):
        if given[option]:
            raise QuestionError(f"--follow and --{option} exclude each other")
    question = question_of("activity", given)
    path = config.locate(given["home"], given["db"]).db
    with contextlib.closing(_tail(path, question)) as events:
        if given["form"] is Format.JSON:
            out = byte_output()
            for event in events:
                out.write(orjson.dumps(event) + b"\n")
        elif given["form"] is Format.CSV:
            print_csv(map(activity.row, events))
        else:
            from shipwrightd.reports.terminal import Page
            from shipwrightd.reports.terminal.lists import follow as show

            show(events, Page())


def _tail(path: Path, question: Question) -> Generator[Event]:
    """Yield the last events of a database, oldest first, then each new one; without one, flush stdout and wait.

    Another database may replace it at any time, which is then followed from its end. Raises MissingError without one.
    """
    file, db = database.identity(path), open_database(path, empty=True)
    after, changes = activity.newest(db), None
    last = FOLLOWED_EVENTS if question.limit is None else question.limit
    try:
        yield from reversed(activity.collect(db, replace(question, limit=last, cursor=str(after + 1))).events)
        sys.stdout.flush()
        if not lock_is_held(lock_path(path)):
            warn(NO_WRITER)
        while True:
            with contextlib.suppress(apsw.BusyError, MissingError):  # a program locks all of it, or none is there yet
                present = database.identity(path)
                if present != file:
                    fresh = open_database(path, empty=True)
                    db.close()
                    file, db, after, changes = present, fresh, activity.newest(fresh), None
                    warn(f"{path} was replaced; following the new one from its end")
                found = db.execute(CHANGES).get
                if found != changes:
                    for end, events in activity.since(db, question, after):
                        yield from events
                        after = end
                    changes = found
            sys.stdout.flush()
            _pause(POLL_S)
    finally:
        db.close()


def _pause(seconds: float) -> None:
    """Wait; raise BrokenPipeError if the reader of our output is gone, which otherwise only a write would show."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    ready = poll.poll(seconds * 1_000)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in ready):
        raise BrokenPipeError
    if ready:  # some systems cannot poll a terminal, and return at once
        time.sleep(seconds)


def api(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="with its parameters: '/api/metrics/history?period=30'; or a whole URL",
            autocompletion=lambda: list(importlib.import_module("shipwrightd.dashboard").PATHS),
        ),
    ],
    now: Now = None,
    home: Home = None,
    db: Db = None,
    *,
    compat: Annotated[
        bool, typer.Option("--compat", help="answer exactly as Shipwright's dashboard does, its errors included")
    ] = False,
) -> None:
    """Print the dashboard's answer to a path of its API, as JSON.

    Figures are right where the dashboard is wrong: docs/dashboard.md lists each
    difference, and --compat leaves them all out. For an unknown path the
    message lists those that exist.
    """
    from shipwrightd.dashboard import answer as answer_of
    from shipwrightd.dashboard import checked

    with usage_errors():
        questions.readable(path, option="PATH")
        moment = clock(now)
        checked(path)
        with reading(config.locate(home, db)) as (opened, _):
            print_json(answer_of(opened, path, moment, compat=compat))
