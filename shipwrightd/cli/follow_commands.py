"""`report activity --follow`: the last events, then each new one as it is committed, until somebody ends it.

Asks the database only, and only when it has changed. Whoever ingests is
another process.
"""

# ruff: noqa: PLC0415 - what is not needed is not loaded

from __future__ import annotations

import contextlib
import csv
import select
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import apsw

from shipwrightd.cli.report_commands import OK, Format, byte_output, csv_output, question_of, say, usable
from shipwrightd.config import settings
from shipwrightd.database import connection
from shipwrightd.errors import MissingError
from shipwrightd.reports import activity
from shipwrightd.reports.activity import newest
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from shipwrightd.cli.report_commands import Asked
    from shipwrightd.reports.activity import Event
    from shipwrightd.reports.question import Question

    Writer = Callable[[Iterable[Event]], None]

POLL_S = 0.2
FIRST_EVENTS = 10
CHANGES = "PRAGMA data_version"
NOBODY = "nothing new will come: no shipwrightd is ingesting (`shipwrightd run` does)"


def follow(asked: Asked) -> int:
    """Write the last events and then what comes, until interrupted or nobody reads any more.

    Raises QuestionError for options that make no sense with it, MissingError without a database.
    """
    for option in ("until", "cursor", "offset", "now", "compat"):
        if getattr(asked, option):
            raise QuestionError(f"--follow and --{option} exclude each other")
    question = question_of("activity", asked)
    path = settings.locate(asked.home, asked.db).db
    tail = Tail(path, question)
    with contextlib.closing(tail):
        write = writer(asked.form)
        write(tail.last(FIRST_EVENTS if asked.limit is None else asked.limit))
        if not connection.lock_is_held(connection.lock_path(path)):
            say(NOBODY)
        while True:
            for events in tail.new():
                write(events)
            pause(POLL_S)
    return OK


class Tail:
    """The end of the events of a database that may be put in another's place at any time."""

    def __init__(self, path: Path, question: Question) -> None:
        self._path = path
        self._question = question
        self._open()

    def _open(self) -> None:
        """Open what stands at the path now. Raises what `usable` does."""
        self._file = connection.identity(self._path)
        self._db = usable(self._path, empty=True)
        self._changes: int | None = None  # none seen yet
        self._after = newest(self._db)

    def close(self) -> None:
        """Let the database go."""
        self._db.close()

    def last(self, count: int) -> list[Event]:
        """Return the last events, oldest first."""
        question = replace(self._question, limit=count, cursor=str(self._after + 1))
        return activity.collect(self._db, question).events[::-1]

    def new(self) -> Iterable[list[Event]]:
        """Yield what was stored since the last look, oldest first, some at a time."""
        if connection.identity(self._path) != self._file and not self._reopened():
            return
        with contextlib.suppress(apsw.BusyError):  # some program locks it all; the next look is soon
            changes = self._db.execute(CHANGES).get
            if changes == self._changes:
                return
            for end, events in activity.since(self._db, self._question, self._after):
                yield events
                self._after = end
            self._changes = changes

    def _reopened(self) -> bool:
        """Take the database that stands at the path now; False while there is none that can be read."""
        try:
            fresh = Tail(self._path, self._question)
        except MissingError:
            return False
        self.close()
        self._db, self._file, self._changes, self._after = fresh._db, fresh._file, fresh._changes, fresh._after
        say(f"{self._path} was replaced; following the new one from its end")
        return True


def writer(form: Format) -> Writer:
    """Return a function that writes events in a form, each on a line, at once."""
    if form is Format.JSON:
        return write_json
    if form is Format.CSV:
        return csv_writer()
    from shipwrightd.reports.terminal.activity import follow as show
    from shipwrightd.reports.terminal.table import Page

    page = Page()
    return lambda events: show(events, page)


def write_json(events: Iterable[Event]) -> None:
    """Write each event as one line of JSON."""
    import orjson

    sys.stdout.flush()
    out = byte_output()
    for event in events:
        out.write(orjson.dumps(asdict(event)) + b"\n")
    out.flush()


def csv_writer() -> Writer:
    """Return a function that writes events as CSV, the head before the first."""
    made: csv.DictWriter[str] | None = None

    def write(events: Iterable[Event]) -> None:
        nonlocal made
        for event in events:
            row = activity.row(event)
            if made is None:
                made = csv.DictWriter(csv_output(), list(row), lineterminator="\n")
                made.writeheader()
            made.writerow(row)
        sys.stdout.flush()

    return write


def pause(seconds: float) -> None:
    """Wait; raise BrokenPipeError when whoever read our output is gone, which only a write would tell else."""
    waiting = select.poll()
    waiting.register(sys.stdout, 0)
    found = waiting.poll(seconds * 1_000)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in found):
        raise BrokenPipeError
    if found:  # some systems cannot poll a terminal, and say so at once
        time.sleep(seconds)
