"""What each command does: config, one call, one print; its exit code is returned.

Kept apart from `cli`, which declares how the commands are written, so that
`status` need not load the command-line library. Each command loads the
modules it needs, and no others, for the same reason.
"""

# ruff: noqa: PLC0415, T201 - see above; and printing is what commands are for

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from shipwrightd import __version__
from shipwrightd.config import settings as config
from shipwrightd.errors import DamagedError, DatabaseError, MissingError, PathError
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from shipwrightd.config.settings import Config, Settings
    from shipwrightd.database.migrate import Migration
    from shipwrightd.status.collect import Status

OK = 0
FOUND = 1  # a check found something
SHOWN_DIFFERENCES = 20
NARROW = 60  # columns; below, a table is not cut any further


def run(home: str | None, db: str | None, flags: Mapping[str, object]) -> int:
    """Follow the files until told to stop; `flags` are the settings given on the command line."""
    settings = config.load(given := {"home": home, "db": db, **flags})
    places = _with_home(config.locate(home, db))
    _refuse_unusable(places.db, healing=True)
    from shipwrightd import log
    from shipwrightd.cli.monitor_commands import listeners
    from shipwrightd.daemon import loop, systemd

    log.set_up(settings.log_level)
    supervisor = systemd.supervisor(os.environ)

    def reload() -> Settings:
        fresh = config.load(given)
        log.set_up(fresh.log_level)
        return fresh

    with _naming(places.db):
        heard = [*([supervisor] if supervisor else []), *listeners(places)]
        loop.run(places, settings, reload, heard)
    return OK


def backfill(home: str | None, db: str | None) -> int:
    """Import all there is, once, and say what it was."""
    places = _with_home(config.locate(home, db))
    _refuse_unusable(places.db, healing=True)
    from shipwrightd import log
    from shipwrightd.daemon import catch_up
    from shipwrightd.status import text

    log.set_up("warning")  # bar and summary say the rest
    with _naming(places.db), _progress() as progress:
        done = catch_up.backfill(places.home, places.db, progress)
    print(text.summary_text([text.Summary(**asdict(summary)) for summary in done.summaries], _width()))
    if done.errors:
        raise PathError("; ".join(done.errors), hint="mend that and run `shipwrightd backfill` again for the rest")
    return OK


def status(home: str | None, db: str | None, *, form: str = "table", check: bool = False, out: str = "-") -> int:
    """Say how things stand, as table, json or prometheus; with `check`, in the exit code too; `out` names a file."""
    places = config.locate(home, db)
    from shipwrightd.journals.sources import JOURNALS
    from shipwrightd.status.collect import collect

    found = collect(places.home, places.db, [journal.name for journal in JOURNALS], time.time())
    said = _status_as(form, found, wide=out != "-")
    if out == "-":
        sys.stdout.write(said)
    else:
        from shipwrightd.cli.monitor_commands import write

        write(said, out, places)
    return FOUND if check and found.problems else OK


def _status_as(form: str, found: Status, *, wide: bool) -> str:
    if form == "prometheus":
        from shipwrightd.status import prometheus

        return prometheus.exposition(prometheus.metrics(found))
    from shipwrightd.status import text

    if form == "json":
        return text.status_json(found) + "\n"
    return text.status_text(found, text.ROOMY if wide else _width()) + "\n"


def migrate(home: str | None, db: str | None, *, only_show: bool) -> int:
    """Bring the database to this release's schema, or say what that would take."""
    places = config.locate(home, db)
    path = places.db
    if path.is_relative_to(places.home):
        _with_home(places)
    with _naming(path):
        todo = _pending(path) if only_show else _apply(path)
    what = "to apply" if only_show else "applied"
    print(f"{len(todo)} {what}" if todo else "the schema is up to date")
    for migration in todo:
        print(f"  {migration.name}")
    return OK


def _pending(path: Path) -> list[Migration]:
    from shipwrightd.database import migrate as migrations
    from shipwrightd.database.connection import open_reader

    with contextlib.closing(open_reader(path)) as db:
        return migrations.pending(db, migrations.known())


def _apply(path: Path) -> list[Migration]:
    from shipwrightd.database import connection as database
    from shipwrightd.database import migrate as migrations
    from shipwrightd.recovery import swap

    _refuse_unusable(path)
    database.prepare_folder(path)
    lock = database.WriterLock(database.lock_path(path))
    lock.acquire({"pid": os.getpid(), "version": __version__, "command": "migrate"})
    try:
        swap.finish(path)
        with contextlib.closing(database.open_writer(path)) as db:
            return migrations.migrate(db)
    finally:
        lock.release()


def rebuild(home: str | None, db: str | None) -> int:
    """Derive runs, stages and metrics from the records again."""
    path = _made(config.locate(home, db).db)
    from shipwrightd.maintenance import retry

    with _naming(path):
        made = retry.rebuild(path)
    for table, rows in made.items():
        print(f"{table}: {rows:,} rows")
    return OK


def verify(home: str | None, db: str | None) -> int:
    """Compare the database with the files; exit 1 when they differ."""
    places = _with_home(config.locate(home, db))
    path = _made(places.db, current=True)
    from shipwrightd.maintenance.verify import verify as compare

    settings = config.resolve().settings  # what is wrong with them is none of a reader's business
    with _naming(path):
        found = compare(places.home, path, delay_s=settings.rescan_s + settings.settle_s)
    for difference in found[:SHOWN_DIFFERENCES]:
        print(f"{visible(difference.source)}: {visible(difference.text)}")
    more = f", the first {SHOWN_DIFFERENCES} shown" if len(found) > SHOWN_DIFFERENCES else ""
    counted = "1 difference" if len(found) == 1 else f"{len(found)} differences"
    print(f"{counted}{more}" if found else "the database agrees with the files")
    return FOUND if found else OK


def version() -> int:
    """Say which release this is, and of what it is made."""
    import platform

    import apsw

    from shipwrightd.database import migrate as migrations

    schema, sqlite = migrations.known()[-1].version, apsw.sqlite_lib_version()
    print(f"shipwrightd {__version__} (schema {schema}, SQLite {sqlite}, Python {platform.python_version()})")
    return OK


def quarantine_list(home: str | None, db: str | None, *, as_json: bool) -> int:
    """List what could not be read."""
    from shipwrightd.status import quarantine, text

    found = quarantine.pieces(_made(config.locate(home, db).db, current=True))
    listed = [piece.as_json() for piece in found]
    print(text.as_json(listed) if as_json else text.pieces_text(found, _width()))
    return OK


def quarantine_show(home: str | None, db: str | None, number: int, *, as_json: bool, raw: bool) -> int:
    """Show one piece: as text, as json, or raw, its bytes and nothing else."""
    from shipwrightd.status import quarantine, text

    piece = quarantine.piece(_made(config.locate(home, db).db, current=True), number)
    if raw:
        sys.stdout.flush()
        sys.stdout.buffer.write(piece.raw)
    else:
        print(text.as_json(piece.as_json()) if as_json else text.piece_text(piece, _width()))
    return OK


def quarantine_retry(home: str | None, db: str | None, number: int | None) -> int:
    """Try again to read what is in quarantine, or one piece of it."""
    path = _made(config.locate(home, db).db)
    from shipwrightd.maintenance import retry
    from shipwrightd.status import quarantine

    if number is not None:
        quarantine.piece(path, number)  # MissingError when there is none
    with _naming(path):
        recovered, kept = retry.retry_quarantine(path, None if number is None else [number])
    print(f"{recovered} recovered, {kept} still in quarantine")
    return OK


def _with_home(places: Config) -> Config:
    """Return the places, with a word on stderr if one is unwise. MissingError without a home."""
    if not places.home.is_dir():
        message = f"no Shipwright home at {places.home}"
        raise MissingError(message, hint="run Shipwright once, or name its folder with --home")
    warning = config.warn_if_shipwrights_own(places.db, places.home)
    if warning:
        with contextlib.suppress(OSError):  # nobody listens
            print(f"shipwrightd: warning: {visible(warning)}", file=sys.stderr)
    return places


def _made(path: Path, *, current: bool = False) -> Path:
    """Return the path of a database that has its tables; with `current`, exactly those of this release.

    Raises MissingError when it is not there or has none, DatabaseError when it is of another release.
    """
    version, missing = _schema(path)
    if not version:
        raise MissingError(f"{path} has no shipwrightd tables yet", hint="run `shipwrightd backfill`")
    if current and missing:
        message = f"the database {path} is at schema version {version}, this release needs {version + missing}"
        raise DatabaseError(message, hint="`shipwrightd migrate` brings it up to date")
    return path


def _refuse_unusable(path: Path, *, healing: bool = False) -> None:
    """Raise DatabaseError for a database that is foreign, damaged or newer, before anything is put beside it.

    `healing`: a damaged one is no reason.
    """
    if path.exists():
        with contextlib.suppress(DamagedError) if healing else contextlib.nullcontext():
            _schema(path)


def _schema(path: Path) -> tuple[int, int]:
    """Return the schema version of a database, 0 without tables, and how many migrations it lacks."""
    from shipwrightd.database import migrate as migrations
    from shipwrightd.database.connection import open_reader

    with _naming(path), contextlib.closing(open_reader(path)) as db:
        return migrations.version(db), len(migrations.pending(db, migrations.known()))


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Have it said which database it is that turns out to be damaged inside the block."""
    import apsw

    from shipwrightd.database.connection import explained

    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise explained(path, error) from error


def _width() -> int:
    """Return how wide a line may be: the terminal's columns, and without one as wide as it gets."""
    if not sys.stdout.isatty():
        from shipwrightd.status.text import ROOMY

        return ROOMY
    return max(NARROW, shutil.get_terminal_size().columns)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int, int], None] | None]:
    """Show a bar on stderr while the block runs, when somebody sees it."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(),
        DownloadColumn(binary_units=True),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("backfill", total=None, rate="")

        def progress(done: int, total: int, records: int) -> None:
            rate = records / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=done, total=total, rate=f"{rate:,.0f} records/s")

        yield progress
