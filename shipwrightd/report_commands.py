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
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipwrightd import config
from shipwrightd.errors import LockedError, MissingError, ShipwrightdError
from shipwrightd.report import question as questions
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from shipwrightd.config import Config
    from shipwrightd.report.question import Question

OK = 0
ANY = "SELECT 1 FROM checkpoints LIMIT 1"
DEFAULT_DAYS: dict[str, int | None] = {"activity": None, "runs": None, "team": None, "memory": None}
USUAL_DAYS = 30


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


FILTERS = ("issue", "type", "model", "stage", "developer", "repo", "status", "search", "run")


def answer(name: str, asked: Asked) -> int:
    """Answer one question and print it. Raises QuestionError for options that make no sense."""
    question = question_of(name, asked)
    report = importlib.import_module(f"shipwrightd.report.{name}")
    with reading(config.locate(asked.home, asked.db)) as (db, source):
        found = (_compat(name) if asked.compat else report).collect(db, question)
        if asked.form is Format.JSON:
            print_json({**envelope(name, question, source), **asdict(found)})
        elif asked.form is Format.CSV:
            print_csv(report.rows(found))
        else:
            _show(db, name, question, found)
    return OK


def _compat(name: str) -> Any:  # noqa: ANN401 - a module
    """Return the module that fills a report's answer with the dashboard's figures."""
    return importlib.import_module(f"shipwrightd.report.compat.{name}")


def question_of(name: str, asked: Asked) -> Question:
    """Return the question that the options of a report mean. Raises QuestionError."""
    now = clock(asked.now)
    period = questions.period(
        now,
        days=asked.days,
        since=asked.since,
        until=asked.until,
        default_days=DEFAULT_DAYS.get(name, USUAL_DAYS),
    )
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
        "now": questions.utc(question.now),
        "since": questions.utc(period.since),
        "until": questions.utc(question.end),
        "filters": question.filters,
        "compat": question.compat,
        "source": source,
    }


def _show(db: apsw.Connection, name: str, question: Question, found: Any) -> None:  # noqa: ANN401 - any report's answer
    from shipwrightd.report.page import Page

    if found.empty:
        from shipwrightd.report.extent import nothing

        print(visible(nothing(db, name, question)))
        return
    importlib.import_module(f"shipwrightd.report.show.{name}").show(found, Page())


def print_json(value: object) -> None:
    """Print a value as JSON, indented."""
    import orjson

    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    sys.stdout.flush()
    sys.stdout.buffer.write(text + b"\n")


def print_csv(rows: Any) -> None:  # noqa: ANN401 - mappings of one shape
    """Print rows as CSV (RFC 4180, but for newlines, which are those of Unix); the first one's keys are the head."""
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(sys.stdout, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow(row)


@contextlib.contextmanager
def reading(places: Config) -> Iterator[tuple[apsw.Connection, str]]:
    """Open the database for reading, as `database`; where it cannot be, one made of the files for now, as `files`.

    Raises MissingError where there are no files either, LockedError while another program keeps it locked.
    """
    try:
        db = _usable(places.db)
    except LockedError:
        raise
    except ShipwrightdError as error:
        if not places.home.is_dir():
            raise
        _say(f"{error.message}: reading the files instead, which hold less")
        with tempfile.TemporaryDirectory(prefix="shipwrightd-") as folder:
            path = Path(folder) / "shipwright.db"
            _import(places, path)
            with contextlib.closing(_usable(path, empty=True)) as db:
                yield db, "files"
        return
    with contextlib.closing(db):
        yield db, "database"


def _usable(path: Path, *, empty: bool = False) -> apsw.Connection:
    """Open a database of this release's schema; one without a record is taken only where `empty` says so."""
    from shipwrightd import migrate
    from shipwrightd.db import open_reader

    db = open_reader(path)
    try:
        if not migrate.version(db):
            raise MissingError(f"{path} has no shipwrightd tables yet")
        if migrate.pending(db, migrate.known()):
            raise MissingError(
                f"{path} has the tables of an older release (`shipwrightd migrate` brings it up to date)"
            )
        if not empty and db.execute(ANY).get is None:
            raise MissingError(f"{path} holds no record yet")
    except BaseException:
        db.close()
        raise
    return db


def _import(places: Config, path: Path) -> None:
    from shipwrightd import log
    from shipwrightd.ingest import catchup

    log.set_up("error")
    done = catchup.backfill(places.home, path)
    for error in done.errors:
        _say(error)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody listens
        print(f"shipwrightd: {visible(text)}", file=sys.stderr)
