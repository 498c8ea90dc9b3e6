"""Data on its way out: what `export` and `backup` do, from options to files; the exit code is returned.

Each loads what it needs and no more, as in `commands`.
"""

# ruff: noqa: PLC0415, T201 - see above; and printing is what commands are for

from __future__ import annotations

import contextlib
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from shipwrightd.clock import utc
from shipwrightd.errors import ConfigError
from shipwrightd.export.tables import Form, Wish, columns, pour
from shipwrightd.reports.question import QuestionError, moment
from shipwrightd.text import size_of, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import apsw

    from shipwrightd.config.settings import Config
    from shipwrightd.export.tables import Column, Writer

OK = 0
STDOUT = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    """Where an export goes to."""

    name: str  # of a file, or STDOUT
    force: bool


def export(places: Config, form: Form, wish: Wish, out: Out) -> int:
    """Write the rows of a table to stdout or to a file. Raises QuestionError for what makes no sense."""
    wish.check()
    if form is Form.PARQUET and out.name == STDOUT and sys.stdout.isatty():
        raise QuestionError("--format parquet is nothing for a terminal: name a file with --out")
    from shipwrightd.cli.report_commands import byte_output, say

    write = _writer(form)  # loaded before there is a file: an interrupt while a library loads can get lost
    if out.name == STDOUT:
        with _snapshot(places.db) as db:
            sys.stdout.flush()
            sink = byte_output(csv=form is Form.CSV)
            count = pour(db, wish, write(sink, wish.table, columns(db, wish.table)))
        if not count:
            say(f"no rows of {wish.table}{_period(wish)}")
        return OK
    from shipwrightd.export.files import destination, new_file

    target = destination(out.name, force=out.force, home=places.home, database=places.db)
    with (
        _snapshot(places.db) as db,
        _ended_cleanly(),
        new_file(target, force=out.force) as temporary,
        temporary.open("wb") as file,
    ):
        count = pour(db, wish, write(file, wish.table, columns(db, wish.table)))
    say(f"{count:,} {'row' if count == 1 else 'rows'} of {wish.table} in {target}")
    return OK


def _period(wish: Wish) -> str:
    """Say from when until when rows were asked for, an empty text for all."""
    since = "" if wish.since is None else f" from {utc(wish.since)}"
    return since + ("" if wish.until is None else f" until {utc(wish.until)}")


def wish(table: str, since: str | None, until: str | None) -> Wish:
    """Return what the options of an export mean. Raises QuestionError for what is no time."""
    now = int(time.time())
    return Wish(
        table,
        None if since is None else moment(since, now, option="--since"),
        None if until is None else moment(until, now, option="--until", end=True),
    )


def backup(places: Config, name: str, *, force: bool) -> int:
    """Copy the database to a file, check the copy, and say what it holds."""
    from shipwrightd.export.backup import back_up
    from shipwrightd.export.files import destination

    target = destination(name, force=force, home=places.home, database=places.db)
    with _ended_cleanly():
        done = back_up(places.db, target, force=force)
    held = done.content
    what = f"{size_of(done.size)}, schema {held.schema}, {held.events:,} events"
    newest = f", the newest of {visible(held.newest)}" if held.newest else ""
    print(f"{visible(str(done.path))}: {what}{newest}; checked")
    return OK


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[apsw.Connection]:
    """Open the database for reading, all of the block at one and the same state of it."""
    import apsw

    from shipwrightd.cli.report_commands import usable
    from shipwrightd.database.connection import explained

    with contextlib.closing(usable(path, empty=True)) as db:
        try:
            with db:
                yield db
        except apsw.Error as error:
            raise explained(path, error) from error


def _writer(form: Form) -> Callable[[BinaryIO, str, Sequence[Column]], Writer]:
    """Return what makes the writer of a format, for a file, a table and its columns. ConfigError without pyarrow."""
    if form is Form.PARQUET:
        try:
            from shipwrightd.export.parquet import Parquet
        except ImportError as error:
            hint = "pip install 'shipwrightd[parquet]', or choose another --format"
            raise ConfigError("Parquet needs pyarrow, which is not installed", hint=hint) from error
        return Parquet
    from shipwrightd.export import text

    if form is Form.CSV:
        return text.Csv
    return text.JsonLines if form is Form.JSONL else text.JsonArray


@contextlib.contextmanager
def _ended_cleanly() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end the block as Ctrl-C does, so that no half of a file stays."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
