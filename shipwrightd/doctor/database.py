"""The database file itself: ours, of this release, whole."""

from __future__ import annotations

import contextlib
import shlex
import time
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database import migrate
from shipwrightd.database.connection import open_reader
from shipwrightd.doctor.finding import fail, ok, warn
from shipwrightd.errors import DatabaseError, MissingError, ShipwrightdError
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shipwrightd.doctor.finding import Case, Finding

QUICK_S = 5.0
STEPS = 20_000  # of SQLite's machine between two looks at the clock
SHOWN = 5
LONG_LOG = 256 << 20  # bytes; eight megabytes are usual, a load makes it 24
REBUILT = (
    "restart the daemon: it sets the file aside and builds a new one from it and the files; "
    "`shipwrightd recover` does so, too, for damage that no start looks at"
)
OBJECTS = """
SELECT name, type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"""


def opened(case: Case) -> tuple[apsw.Connection | None, Finding]:
    """Open the database without changing anything; None and the reason where that cannot be done."""
    try:
        db = open_reader(case.db, untouched=True)
    except MissingError:
        todo = "`shipwrightd run` makes it from the files and follows them, `shipwrightd backfill` only makes it"
        return None, warn("database", f"there is no database at {case.db} yet", todo)
    except ShipwrightdError as error:
        return None, fail("database", error.message, error.hint)
    except OSError as error:
        text = f"{case.db} cannot be looked at: {error.strerror or error}"
        return None, fail("database", text, "check the modes of the folders above it")
    size = case.db.stat().st_size
    return db, ok("database", f"{case.db} ({size_of(size)}), made by shipwrightd", size_bytes=size)


def schema(db: apsw.Connection) -> Iterator[Finding]:
    """Compare the schema with what this release needs."""
    version, known = migrate.version(db), migrate.known()
    if not version:
        yield warn("schema", "there are no tables yet", "`shipwrightd run` or `shipwrightd backfill` makes them")
        return
    try:
        todo = migrate.pending(db, known)
    except DatabaseError as error:
        yield fail("schema", error.message, error.hint, version=version, known=len(known))
        return
    if todo:
        text = f"schema version {version}, this release has {len(known)}"
        hint = "`shipwrightd migrate`, or restart the daemon: it brings it up to date"
        yield warn("schema", text, hint, version=version, known=len(known))
    else:
        yield ok("schema", f"version {version}, that of this release", version=version, known=len(known))


def has_tables(db: apsw.Connection) -> bool:
    """Tell whether the tables of the sources can be asked; a damaged schema cannot."""
    try:
        return bool(migrate.version(db))
    except apsw.Error:
        return False


def expected(version: int) -> dict[str, tuple[str, str]]:
    """Return name, type and SQL of everything that the migrations up to a version make."""
    with contextlib.closing(apsw.Connection(":memory:")) as db:
        db.execute(migrate.SCHEMA_VERSION)
        for migration in migrate.known()[:version]:
            db.execute(migration.sql)
        return objects(db)


def objects(db: apsw.Connection) -> dict[str, tuple[str, str]]:
    """Return everything a database is made of."""
    return {name: (kind, sql or "") for name, kind, sql in db.execute(OBJECTS)}


def tables(db: apsw.Connection, *, held: bool) -> Iterator[Finding]:
    """Compare tables, indexes and views with those that the migrations make."""
    version = migrate.version(db)
    if version:
        yield from judge_tables(objects(db), expected(version), held=held)


def judge_tables(
    found: dict[str, tuple[str, str]], wanted: dict[str, tuple[str, str]], *, held: bool
) -> Iterator[Finding]:
    """Judge what is missing, altered, or somebody else's."""
    missing = sorted(wanted.keys() - found.keys())
    altered = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    strange = len(found.keys() - wanted.keys())
    indexes = all(wanted[name][0] == "index" for name in missing)
    facts = {"missing": missing, "altered": altered, "strange": strange}
    if altered or (missing and not indexes):
        text = f"tables were changed: {', '.join((*missing, *altered)[:SHOWN])}"
        yield fail("tables", text, REBUILT, **facts)
    elif missing and held:
        yield ok("tables", f"{len(missing)} indexes are away while a first load goes on", **facts)
    elif missing:
        text = f"indexes are missing: {', '.join(missing[:SHOWN])}"
        yield warn("tables", text, "the next `shipwrightd run` makes those that an interrupted load left out", **facts)
    if strange:
        text = f"{strange} tables, indexes or views in the database are not of shipwrightd"
        yield warn(
            "tables", text, "nothing, if they are yours; they may not survive a rebuild of the database", **facts
        )
    if not (missing or altered or strange):
        yield ok("tables", f"{len(wanted)} tables, indexes and views, as the migrations make them")


def journal_mode(case: Case, db: apsw.Connection) -> Iterator[Finding]:
    """Look at the journal mode and at the length of the log."""
    mode = _mode(case)
    if mode != "wal":
        text = f"the journal mode is {mode}, so that readers and the daemon wait for each other"
        yield warn("journal_mode", text, "restart the daemon: it sets wal", mode=mode)
        return
    log = case.db.with_name(case.db.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    facts = {"mode": mode, "wal_bytes": size, "page_bytes": db.execute("PRAGMA page_size").get}
    if size > LONG_LOG:
        text = f"wal, and its log has grown to {size_of(size)}: some program has been reading for long"
        yield warn("journal_mode", text, f"end it; `fuser {shlex.quote(str(case.db))}` names it", **facts)
    else:
        yield ok("journal_mode", f"wal, its log has {size_of(size)}", **facts)


def _mode(case: Case) -> str:
    """Return the mode that the header tells; SQLite calls a file that is read as unchanging otherwise."""
    with case.db.open("rb") as file:
        header = file.read(20)
    return "wal" if header[18:20] == b"\x02\x02" else "rollback"


def integrity(case: Case, db: apsw.Connection) -> Iterator[Finding]:
    """Read the database from one end to the other, or as much as five seconds allow."""
    yield _checked("integrity", db, "PRAGMA integrity_check(20)" if case.deep else "PRAGMA quick_check(20)", case)


def foreign_keys(case: Case, db: apsw.Connection) -> Iterator[Finding]:
    """Look for references that lead nowhere."""
    yield _checked("foreign_keys", db, "PRAGMA foreign_key_check", case)


def _checked(check: str, db: apsw.Connection, statement: str, case: Case) -> Finding:
    started = time.monotonic()
    end = None if case.deep else started + QUICK_S
    db.set_progress_handler(lambda: end is not None and time.monotonic() > end, STEPS)
    try:
        found = [_told(row) for row in db.execute(statement)]
    except apsw.InterruptError:
        return ok(
            check, f"nothing wrong in what {QUICK_S:.0f} s let it look at; `doctor --deep` reads all", complete=False
        )
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return fail(check, f"the database is damaged: {error}", REBUILT, complete=False)
    finally:
        db.set_progress_handler(None)
    return judge_check(check, found, time.monotonic() - started, deep=case.deep)


def _told(row: Iterable[object]) -> str:
    """Return what a row of a check says; a broken reference is named by its tables."""
    values = list(row)
    return str(values[0]) if len(values) == 1 else f"{values[0]} refers to a row of {values[2]} that is not there"


def judge_check(check: str, found: list[str], seconds: float, *, deep: bool) -> Finding:
    """Judge what a check of SQLite returned."""
    wrong = [text for text in found if text != "ok"]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        return fail(check, f"{'; '.join(wrong[:SHOWN])}{more}", REBUILT, complete=True, problems=len(wrong))
    how = "all of it was read" if deep else "looked through"
    return ok(check, f"nothing wrong, {how} in {seconds:.1f} s", complete=True, seconds=round(seconds, 3))


PRAGMAS = (
    ("application_id", "PRAGMA application_id"),
    ("auto_vacuum", "PRAGMA auto_vacuum"),
    ("compile_options", "PRAGMA compile_options"),
    ("encoding", "PRAGMA encoding"),
    ("freelist_count", "PRAGMA freelist_count"),
    ("journal_mode", "PRAGMA journal_mode"),
    ("page_count", "PRAGMA page_count"),
    ("page_size", "PRAGMA page_size"),
    ("schema_version", "PRAGMA schema_version"),
    ("user_version", "PRAGMA user_version"),
)


def pragmas(db: apsw.Connection) -> dict[str, object]:
    """Return what SQLite says of the database and of itself."""
    found: dict[str, object] = {}
    for name, statement in PRAGMAS:
        rows = [row[0] for row in db.execute(statement)]
        found[name] = rows if name == "compile_options" else rows[0]
    return found
