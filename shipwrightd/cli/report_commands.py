"""Reports: from options to an answer, from the database or, without one, from the files, to text.

Loads only the report that is asked for, as `commands` does.
"""

# ruff: noqa: PLC0415, T201 - see above; and printing is what commands are for

from __future__ import annotations

import contextlib
import csv
import importlib
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO, cast

from shipwrightd.clock import YEAR_10000, utc
from shipwrightd.config import settings
from shipwrightd.errors import LockedError, MissingError, ShipwrightdError
from shipwrightd.reports import question as questions
from shipwrightd.text import CsvScreen, Encoded, Screen, visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from shipwrightd.config.settings import Config
    from shipwrightd.reports.question import Question

OK = 0
ANY = "SELECT 1 FROM checkpoints UNION ALL SELECT 1 FROM events LIMIT 1"
DEFAULT_DAYS: dict[str, int | None] = {"activity": None, "runs": None, "team": None, "memory": None}
USUAL_DAYS = 30
OPEN_ENDED = ("activity",)  # shows what a clock that is ahead has written, too


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of a report, as they were written."""

    home: str | None = None
    db: str | None = None
    form: Format = Format.TABLE
    days: float | None = None
    since: str | None = None
    until: str | None = None
    now: str | None = None
    issue: str | None = None
    type: str | None = None
    model: str | None = None
    stage: str | None = None
    developer: str | None = None
    repo: str | None = None
    status: str | None = None
    search: str | None = None
    limit: int | None = None
    offset: int = 0
    cursor: str | None = None
    run: int | None = None
    compat: bool = False
    follow: bool = False


PATHS = ("home", "db")  # names of files may be any bytes
FILTERS = ("issue", "type", "model", "stage", "developer", "repo", "status", "search", "run")


def answer(name: str, asked: Asked) -> int:
    """Answer one question and print it. Raises QuestionError for options that make no sense."""
    if asked.follow:
        from shipwrightd.cli.follow_commands import follow

        return follow(asked)
    import apsw

    question = question_of(name, asked)
    places = settings.locate(asked.home, asked.db)
    try:
        with reading(places) as (db, source):
            return _answer(db, name, question, source, asked.form)
    except apsw.CorruptError:
        with from_files(places, f"the database {places.db} is damaged") as db:
            return _answer(db, name, question, "files", asked.form)
    except apsw.SQLError as error:  # somebody changed its tables
        from shipwrightd.database.connection import explained

        raise explained(places.db, error) from error


def _answer(db: apsw.Connection, name: str, question: Question, source: str, form: Format) -> int:
    report = importlib.import_module(f"shipwrightd.reports.{name}")
    found = (_compat(name) if question.compat else report).collect(db, question)
    if form is Format.JSON:
        print_json({**envelope(name, question, source), **asdict(found)})
    elif found.empty:
        from shipwrightd.reports import nothing

        print(visible(nothing(db, name, question)), file=sys.stderr if form is Format.CSV else sys.stdout)
    elif form is Format.CSV:
        print_csv(report.rows(found))
    else:
        from shipwrightd.reports.terminal.table import Page

        importlib.import_module(f"shipwrightd.reports.terminal.{name}").show(found, Page())
    return OK


def _compat(name: str) -> Any:  # noqa: ANN401 - a module
    """Return the module that fills a report's answer with the dashboard's figures."""
    return importlib.import_module(f"shipwrightd.reports.compat.{name}")


def question_of(name: str, asked: Asked) -> Question:
    """Return the question that the options of a report mean. Raises QuestionError."""
    for option, text in asdict(asked).items():
        if option not in PATHS and isinstance(text, str):
            questions.readable(text, option=f"--{option}")
    now = clock(asked.now)
    period = questions.period(
        now,
        days=asked.days,
        since=asked.since,
        until=asked.until,
        default_days=DEFAULT_DAYS.get(name, USUAL_DAYS),
    )
    if name in OPEN_ENDED and asked.until is None and asked.now is None:
        period = replace(period, until=YEAR_10000)
    values = {field: getattr(asked, field) for field in FILTERS}
    if asked.issue is not None:
        values["issue"] = questions.issue_of(asked.issue)
    given = {field: value for field, value in values.items() if value is not None}
    return questions.Question(
        now=now,
        period=period,
        limit=asked.limit,
        offset=asked.offset,
        cursor=asked.cursor,
        compat=asked.compat,
        filters=given,
        **given,
    )


def clock(text: str | None) -> int:
    """Return the time in seconds: what --now says, else the clock."""
    now = int(time.time())
    return now if text is None else questions.moment(text, now, option="--now")


def envelope(name: str, question: Question, source: str) -> dict[str, Any]:
    """Return what the JSON of every report begins with."""
    period = question.period
    return {
        "report": name,
        "now": utc(question.now),
        "since": utc(period.since),
        "until": utc(question.end),
        "filters": question.filters,
        "compat": question.compat,
        "source": source,
    }


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.flush()
    byte_output().write(text + b"\n")


def csv_output() -> CsvScreen | TextIO:
    """Return where CSV goes: to a terminal only what cannot act on it."""
    return CsvScreen(sys.stdout) if sys.stdout.isatty() else sys.stdout


def byte_output(*, csv: bool = False) -> BinaryIO:
    """Return the same for bytes, of JSON unless it is said to be CSV. stdout has to be flushed before."""
    if not sys.stdout.isatty():
        return sys.stdout.buffer
    screen = CsvScreen(sys.stdout) if csv else Screen(sys.stdout)
    return cast("BinaryIO", Encoded(screen))  # all of it that is used


def print_csv(rows: Any) -> None:  # noqa: ANN401 - mappings of one shape
    """Print rows as CSV (RFC 4180, but for newlines, which are those of Unix); the first one's keys are the head."""
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(csv_output(), list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


@contextlib.contextmanager
def reading(places: Config) -> Iterator[tuple[apsw.Connection, str]]:
    """Open the database for reading, as `database`; where it cannot be, one made of the files for now, as `files`.

    Raises MissingError where there are no files either, LockedError while another program keeps it locked.
    """
    try:
        db = usable(places.db)
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
        _tell_if_behind(db, places.home)
        yield db, "database"


@contextlib.contextmanager
def from_files(places: Config, why: str) -> Iterator[apsw.Connection]:
    """Open a database made of what the files hold now, gone at the end; says why on stderr."""
    say(f"{why}: reading the files instead, which hold less")
    with tempfile.TemporaryDirectory(prefix="shipwrightd-") as folder:
        path = Path(folder) / "shipwright.db"
        _import(places, path)
        with contextlib.closing(usable(path, empty=True)) as db:
            yield db


def _tell_if_behind(db: apsw.Connection, home: Path) -> None:
    from shipwrightd.status.behind import behind

    unread = behind(db, home, time.time())
    if unread:
        say(
            f"the database lacks the last {unread} bytes of events.jsonl"
            " - is the daemon running? `shipwrightd status` tells, `shipwrightd backfill` brings them in"
        )


def usable(path: Path, *, empty: bool = False) -> apsw.Connection:
    """Open a database of this release's schema; one without a record is taken only where `empty` says so.

    Raises MissingError for one that is not there or not ready, and what open_reader does.
    """
    from shipwrightd.database.connection import open_reader

    db = open_reader(path)
    try:
        lacking = _lacking(db, empty=empty)
        if lacking:
            raise MissingError(f"{path} {lacking}")  # noqa: TRY301 - closed the same way as after any other error
    except BaseException:
        db.close()
        raise
    return db


def _lacking(db: apsw.Connection, *, empty: bool) -> str:
    """Say what a database lacks to be asked, an empty text for nothing."""
    from shipwrightd.database import migrate

    if not migrate.version(db):
        return "has no shipwrightd tables yet"
    if migrate.pending(db, migrate.known()):
        return "has the tables of an older release (`shipwrightd migrate` brings it up to date)"
    return "holds no record yet" if not empty and db.execute(ANY).get is None else ""


def _import(places: Config, path: Path) -> None:
    from shipwrightd import log
    from shipwrightd.daemon import catch_up

    log.set_up("error")
    done = catch_up.backfill(places.home, path)
    for error in done.errors:
        say(error)


def say(text: str) -> None:
    """Say something on stderr, whether anybody listens or not."""
    with contextlib.suppress(OSError):
        print(f"shipwrightd: {visible(text)}", file=sys.stderr)
