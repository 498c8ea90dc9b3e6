"""Options that several commands take, and what commands check about the home and the database these name."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipwrightd import config
from shipwrightd.errors import DamagedError, DatabaseError, MissingError
from shipwrightd.reports.question import QuestionError
from shipwrightd.text import warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from shipwrightd.config import Config

Home = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="Shipwright's folder [env: SHIPWRIGHTD_HOME; default: ~/.shipwright]"),
]
Db = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", help="the database [env: SHIPWRIGHTD_DB; default: shipwrightd/shipwright.db in the home]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="print JSON")]
Since = Annotated[
    str | None, typer.Option(metavar="TIME", help="from this time on: 2026-01-31, 2026-01-31T12:00:00Z, 7d, 12h")
]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="up to this time; a date includes the whole day")]


def text_option(metavar: str, text: str, **more: Any) -> Any:  # noqa: ANN401 - a type
    """Return the type of a parameter that takes a text and is None if it is not given."""
    return Annotated[str | None, typer.Option(metavar=metavar, help=text, **more)]


def examples(*lines: tuple[str, str] | str) -> str:
    """Return the end of a command's help: examples, those given with a reason below it."""
    text = ["\b", "Examples:"]
    for line in lines:
        command, reason = (line, "") if isinstance(line, str) else line
        text += [f"  # {reason}", f"  {command}"] if reason else [f"  {command}"]
    return "\n".join(text)


def with_parameters(
    command: Callable[..., None], declared: Mapping[str, Any], defaults: Mapping[str, object] | None = None
) -> Callable[..., None]:
    """Give a command that takes keywords a signature for typer to read: declared parameters, None by default."""
    default, keyword = defaults or {}, inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [
            inspect.Parameter(name, keyword, default=default.get(name), annotation=kind)
            for name, kind in declared.items()
        ]
    )
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turn a QuestionError of the block into wrong usage of the command line."""
    try:
        yield
    except QuestionError as error:
        raise typer.BadParameter(str(error)) from error


def existing_home(home: str | None, db: str | None) -> Config:
    """Return the home and the database to use, with a warning if one is unwise. Raises MissingError without a home."""
    return check_home(config.locate(home, db))


def check_home(places: Config) -> Config:
    """Return the places, with a warning if one is unwise. Raises MissingError without a home."""
    if not places.home.is_dir():
        message = f"no Shipwright home at {places.home}"
        raise MissingError(message, hint="run Shipwright once, or name its folder with --home")
    warning = config.warn_if_shipwrights_own(places.db, places.home)
    if warning:
        warn(f"warning: {warning}")
    return places


def existing_database(path: Path, *, current: bool = False) -> Path:
    """Return the path of a database that has our tables; with `current`, exactly those of this release.

    Raises MissingError when it does not exist or has none, DatabaseError when it is of another release.
    """
    version, missing = _schema(path)
    if not version:
        raise MissingError(f"{path} has no shipwrightd tables yet", hint="run `shipwrightd backfill`")
    if current and missing:
        message = f"the database {path} is at schema version {version}, this release needs {version + missing}"
        raise DatabaseError(message, hint="`shipwrightd migrate` brings it up to date")
    return path


def refuse_unusable(path: Path, *, recovering: bool = False) -> None:
    """Raise DatabaseError for a database that is foreign, newer or damaged, before any file is created beside it.

    A damaged one is accepted if `recovering`.
    """
    if path.exists():
        with contextlib.suppress(DamagedError) if recovering else contextlib.nullcontext():
            _schema(path)


def _schema(path: Path) -> tuple[int, int]:
    """Return the schema version of a database, 0 without tables, and how many migrations it lacks."""
    from shipwrightd.database import migrate, open_reader

    with damage_named(path), contextlib.closing(open_reader(path)) as db:
        return migrate.version(db), len(migrate.pending(db, migrate.known()))


@contextlib.contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Name the database in the error if it turns out to be damaged inside the block."""
    import apsw

    from shipwrightd.database import explained

    try:
        yield
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise explained(path, error) from error
