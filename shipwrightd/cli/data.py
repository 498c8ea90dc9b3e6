"""Commands that take data out: `export`, `backup`, and `quarantine`, whose bytes can be read again."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from shipwrightd import config
from shipwrightd.cli.options import Db, Home, Json, Since, Until, damage_named, existing_database, usage_errors
from shipwrightd.cli.report import byte_output, open_database
from shipwrightd.clock import utc
from shipwrightd.errors import ConfigError
from shipwrightd.export import EVENTS, TABLES, Form, Wish, pour
from shipwrightd.reports.question import QuestionError, moment
from shipwrightd.text import as_json as dump
from shipwrightd.text import size_of, visible, warn, width

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.export import Write

STDOUT = "-"
LAST = (1 << 63) - 1  # the largest integer of SQLite

Force = Annotated[bool, typer.Option("--force", help="replace the file if it exists")]


def export(
    form: Annotated[Form, typer.Option("--format", help="the format of the output")] = Form.JSONL,
    table: Annotated[
        str,
        typer.Option(metavar="NAME", help=f"one of: {', '.join(TABLES)}", autocompletion=lambda: list(TABLES)),
    ] = EVENTS,
    since: Since = None,
    until: Until = None,
    out: Annotated[str, typer.Option(metavar="FILE", help="write to this file; - is stdout")] = STDOUT,
    home: Home = None,
    db: Db = None,
    *,
    force: Force = False,
) -> None:
    """Export a table, by default the events.

    Events as jsonl are journal lines again, which `import` turns into the
    same rows. parquet needs pyarrow: pip install 'shipwrightd[parquet]'.
    A file appears when it is complete, or not at all.

    All rows are of the moment when the export begins, however long it takes;
    until it ends, the database's -wal file grows with what the daemon stores.
    """
    from shipwrightd.export.files import destination

    places = config.locate(home, db)
    with usage_errors():
        wish = _wish(table, since, until)
        if form is Form.PARQUET and out == STDOUT and sys.stdout.isatty():
            raise QuestionError("--format parquet cannot be shown on a terminal: name a file with --out")
        write = _writer(form)  # loaded before there is a file: an interrupt while a library loads can get lost
        target = None if out == STDOUT else destination(out, force=force, home=places.home, database=places.db)
        with _snapshot(places.db) as opened, _output(target, form, force=force) as sink:
            count = pour(opened, wish, write, sink)
    if target is not None:
        warn(f"{count:,} {'row' if count == 1 else 'rows'} of {table} in {target}")
    elif not count:
        since = "" if wish.since is None else f" from {utc(wish.since)}"
        warn(f"no rows of {table}{since}" + ("" if wish.until is None else f" until {utc(wish.until)}"))


@contextlib.contextmanager
def _output(target: Path | None, form: Form, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file that appears at the target when it is complete, or stdout if there is no target."""
    from shipwrightd.export.files import new_file

    if target is None:
        sys.stdout.flush()
        yield byte_output(csv=form is Form.CSV)
        return
    with _interrupted_by_signals(), new_file(target, force=force) as temporary, temporary.open("wb") as file:
        yield file


def _wish(table: str, since: str | None, until: str | None) -> Wish:
    """Return what the options of an export mean. Raises QuestionError for invalid ones."""
    now = int(time.time())
    wish = Wish(
        table,
        None if since is None else moment(since, now, option="--since"),
        None if until is None else moment(until, now, option="--until", end=True),
    )
    wish.check()
    return wish


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[apsw.Connection]:
    """Open the database for reading; the whole block sees one state of it."""
    import apsw

    from shipwrightd.database import explained

    with contextlib.closing(open_database(path, empty=True)) as db:
        try:
            with db:
                yield db
        except apsw.Error as error:
            raise explained(path, error) from error


def _writer(form: Form) -> Write:
    """Return what writes a format. Raises ConfigError without pyarrow."""
    if form is Form.PARQUET:
        try:
            from shipwrightd.export.parquet import parquet
        except ImportError as error:
            hint = "pip install 'shipwrightd[parquet]', or choose another --format"
            raise ConfigError("Parquet needs pyarrow, which is not installed", hint=hint) from error
        return parquet
    from shipwrightd.export import text

    return {Form.CSV: text.csv, Form.JSONL: text.json_lines, Form.JSON: text.json_array}[form]


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP end the block as Ctrl-C does, so that no partial file is left."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def backup(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the copy")],
    home: Home = None,
    db: Db = None,
    *,
    force: Force = False,
) -> None:
    """Copy the database to a file and check the copy.

    The daemon may keep running: the copy is of the moment when it begins.
    To restore it, move it to where the lost database was; the next `run` or
    `backfill` adds what is new in the files.
    """
    places = config.locate(home, db)
    from shipwrightd.export.backup import back_up
    from shipwrightd.export.files import destination

    target = destination(file, force=force, home=places.home, database=places.db)
    with _interrupted_by_signals():
        content = back_up(places.db, target, force=force)
    what = f"{size_of(target.stat().st_size)}, schema {content.schema}, {content.events:,} events"
    newest = f", the newest of {visible(content.newest)}" if content.newest else ""
    print(f"{visible(str(target))}: {what}{newest}; checked")


quarantine = typer.Typer(
    help="""Look at lines that could not become records.

A line that is torn or is no JSON, and that could not be salvaged, is kept in
the database byte for byte, with its position in the file and the reason.
""",
    no_args_is_help=True,
)


def _countable(number: int | None) -> int | None:
    if number is not None and number > LAST:
        raise typer.BadParameter("no ID is as large")
    return number


Number = Annotated[int, typer.Argument(metavar="ID", callback=_countable, help="the number shown by `quarantine list`")]


@quarantine.command("list")
def quarantine_list(home: Home = None, db: Db = None, *, as_json: Json = False) -> None:
    """List what could not be read, oldest first."""
    from shipwrightd.status import quarantine as stored
    from shipwrightd.status import text

    pieces = stored.pieces(existing_database(config.locate(home, db).db, current=True))
    print(dump([piece.as_json() for piece in pieces]) if as_json else text.pieces_text(pieces, width()))


@quarantine.command("show")
def quarantine_show(
    number: Number,
    home: Home = None,
    db: Db = None,
    *,
    as_json: Json = False,
    raw: Annotated[bool, typer.Option("--raw", help="write the bytes as they were, and nothing else")] = False,
) -> None:
    """Show one piece and its position.

    On a terminal a long piece is shortened.
    """
    if as_json and raw:
        raise typer.BadParameter("--json and --raw exclude each other")
    if raw and sys.stdout.isatty():
        raise typer.BadParameter("--raw writes bytes that could act on a terminal: redirect it, for example to `less`")
    from shipwrightd.status import quarantine as stored
    from shipwrightd.status import text

    (piece,) = stored.pieces(existing_database(config.locate(home, db).db, current=True), number)
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(piece.raw)
    else:
        print(dump(piece.as_json()) if as_json else text.piece_text(piece, width()))


@quarantine.command("retry")
def quarantine_retry(
    number: Annotated[
        int | None, typer.Argument(metavar="ID", callback=_countable, help="only this one [default: all]")
    ] = None,
    home: Home = None,
    db: Db = None,
) -> None:
    """Try again to read what is in quarantine.

    Useful after an update of shipwrightd that reads more than before.
    What becomes a record is marked recovered and its bytes stay; the rest
    stays as it is. Refuses while a daemon runs.
    """
    path = existing_database(config.locate(home, db).db)
    from shipwrightd.maintenance import repair
    from shipwrightd.status import quarantine as stored

    if number is not None:
        stored.pieces(path, number)  # MissingError when there is none
    with damage_named(path):
        recovered, kept = repair.retry_quarantine(path, None if number is None else [number])
    print(f"{recovered} recovered, {kept} still in quarantine")
