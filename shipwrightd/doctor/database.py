"""Checks of the database file: created by shipwrightd, of this schema, undamaged; and past recoveries."""

from __future__ import annotations

import contextlib
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from shipwrightd import status
from shipwrightd.database import migrate, open_reader
from shipwrightd.doctor import fail, ok, warn
from shipwrightd.errors import DatabaseError, MissingError, ShipwrightdError
from shipwrightd.status import size_at
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipwrightd.doctor import Finding, Target

QUICK_S = 5.0
STEPS = 20_000  # of SQLite's virtual machine, between two checks of the time
SHOWN = 5
LONG_LOG = 256 << 20  # bytes; 8 MiB are usual, 24 during a load
RECOVER = (
    "restart the daemon: it moves the file aside and rebuilds it from its readable pages and the source files; "
    "`shipwrightd recover` does the same, also for damage that a start does not notice"
)
OBJECTS = """
SELECT name, type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"""


def opened(target: Target) -> tuple[apsw.Connection | None, Finding]:
    """Open the database without changing anything; return None and the reason if that fails."""
    try:
        db = open_reader(target.db, untouched=True)
    except MissingError:
        todo = "`shipwrightd run` creates it from the files and follows them, `shipwrightd backfill` only creates it"
        return None, warn("database", f"there is no database at {target.db} yet", todo)
    except ShipwrightdError as error:
        return None, fail("database", error.message, error.hint)
    except OSError as error:
        text = f"{target.db} cannot be examined: {error.strerror or error}"
        return None, fail("database", text, "check the permissions of the folders above it")
    size = target.db.stat().st_size
    return db, ok("database", f"{target.db} ({size_of(size)}), created by shipwrightd", size_bytes=size)


def schema(_: Target, db: apsw.Connection) -> Finding:
    """Compare the schema version with the one this release needs."""
    version, known = migrate.version(db), migrate.known()
    if not version:
        return warn("schema", "there are no tables yet", "`shipwrightd run` or `shipwrightd backfill` creates them")
    try:
        todo = migrate.pending(db, known)
    except DatabaseError as error:
        return fail("schema", error.message, error.hint, version=version, known=len(known))
    if todo:
        text = f"schema version {version}, this release has {len(known)}"
        hint = "run `shipwrightd migrate`, or restart the daemon, which migrates it"
        return warn("schema", text, hint, version=version, known=len(known))
    return ok("schema", f"version {version}, current", version=version, known=len(known))


def expected(version: int) -> dict[str, tuple[str, str]]:
    """Return name, type and SQL of everything that the migrations up to a version create."""
    with contextlib.closing(apsw.Connection(":memory:")) as db:
        db.execute(migrate.SCHEMA_VERSION)
        for migration in migrate.known()[:version]:
            db.execute(migration.sql)
        return objects(db)


def objects(db: apsw.Connection) -> dict[str, tuple[str, str]]:
    """Return name, type and SQL of everything in a database."""
    return {name: (kind, sql or "") for name, kind, sql in db.execute(OBJECTS)}


def compared(db: apsw.Connection) -> tuple[dict[str, tuple[str, str]], list[str], list[str], list[str]]:
    """Return what the migrations create, and the names of what is missing, altered, or created by no migration."""
    found, wanted = objects(db), expected(migrate.version(db))
    altered = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    return wanted, sorted(wanted.keys() - found.keys()), altered, sorted(found.keys() - wanted.keys())


def tables(target: Target, db: apsw.Connection) -> Iterator[Finding]:
    """Compare tables, indexes and views with those that the migrations create, if there are any."""
    if not migrate.version(db):
        return
    wanted, missing, altered, unknown = compared(db)
    foreign = len(unknown)
    facts = {"missing": missing, "altered": altered, "foreign": foreign}
    if altered or any(wanted[name][0] != "index" for name in missing):
        yield fail("tables", f"tables were changed: {', '.join((*missing, *altered)[:SHOWN])}", RECOVER, **facts)
    elif missing and target.held:
        yield ok("tables", f"{len(missing)} indexes are missing while a first load runs", **facts)
    elif missing:
        todo = "the next `shipwrightd run` creates those that an interrupted load left out"
        yield warn("tables", f"indexes are missing: {', '.join(missing[:SHOWN])}", todo, **facts)
    if foreign:
        text = f"{foreign} tables, indexes or views in the database do not belong to shipwrightd"
        todo = "nothing to do if they are yours; a recovery of the database does not keep them"
        yield warn("tables", text, todo, **facts)
    if not (missing or altered or foreign):
        yield ok("tables", f"{len(wanted)} tables, indexes and views, as the migrations create them")


def journal_mode(target: Target, db: apsw.Connection) -> Finding:
    """Check the journal mode and the length of the write-ahead log."""
    path = target.db
    with path.open("rb") as file:  # SQLite reports another mode for a file opened as immutable
        mode = "wal" if file.read(20)[18:] == b"\x02\x02" else "rollback"
    if mode != "wal":
        text = f"the journal mode is {mode}, so that readers and the daemon block each other"
        return warn("journal_mode", text, "restart the daemon, which sets wal", mode=mode)
    size = size_at(path.with_name(path.name + "-wal"))
    facts = {"mode": mode, "wal_bytes": size, "page_bytes": db.execute("PRAGMA page_size").get}
    if size > LONG_LOG:
        text = f"wal, and its log has grown to {size_of(size)}: a program has been reading for a long time"
        return warn("journal_mode", text, f"stop it; `fuser {shlex.quote(str(path))}` shows which", **facts)
    return ok("journal_mode", f"wal, its log takes {size_of(size)}", **facts)


def integrity(target: Target, db: apsw.Connection) -> Finding:
    """Check the pages of the database, and with `deep` also its indexes."""
    statement = "PRAGMA integrity_check(20)" if target.deep else "PRAGMA quick_check(20)"
    return checked("integrity", statement, db, deep=target.deep)


def foreign_keys(target: Target, db: apsw.Connection) -> Finding:
    """Check that references between tables lead to rows."""
    return checked("foreign_keys", "PRAGMA foreign_key_check", db, deep=target.deep)


def checked(check: str, statement: str, db: apsw.Connection, *, deep: bool) -> Finding:
    """Run a check of SQLite, to its end if `deep`, else for five seconds."""
    started = time.monotonic()
    db.set_progress_handler(lambda: not deep and time.monotonic() > started + QUICK_S, STEPS)
    try:
        rows: list[tuple[object, ...]] = db.execute(statement).fetchall()
    except apsw.InterruptError:
        text = f"no errors in the part that was read in {QUICK_S:.0f} s; `doctor --deep` reads everything"
        return ok(check, text, complete=False)
    except (apsw.CorruptError, apsw.NotADBError) as error:
        return fail(check, f"the database is damaged: {error}", RECOVER, complete=False)
    finally:
        db.set_progress_handler(None)
    wrong = [
        str(row[0]) if len(row) == 1 else f"{row[0]} refers to a row of {row[2]} that does not exist"
        for row in rows
        if row != ("ok",)
    ]
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        return fail(check, f"{'; '.join(wrong[:SHOWN])}{more}", RECOVER, complete=True, problems=len(wrong))
    seconds = time.monotonic() - started
    text = f"no errors, {'everything was read' if deep else 'read'} in {seconds:.1f} s"
    return ok(check, text, complete=True, seconds=round(seconds, 3))


def recoveries(target: Target, db: apsw.Connection) -> Finding:
    """Report how often the database was recovered, and which damaged files are still kept."""
    found = status.recoveries(db, target.db)
    if not found:
        return ok("recoveries", "the database was never damaged", recoveries=0)
    lost, refilled = sum(one.lost for one in found), sum(one.refilled for one in found)
    files = [file for one in found if (file := Path(one.set_aside)).is_file()]
    size = sum(size_at(file.with_name(file.name + end)) for file in files for end in ("", "-wal", "-shm"))
    facts = {"recoveries": len(found), "refilled": refilled, "lost": lost}
    facts |= {"set_aside": len(files), "set_aside_bytes": size}
    times = "once" if len(found) == 1 else f"{len(found)} times"
    text = f"recovered {times}, last from damage found at {found[-1].detected_at}; {lost:,} records were lost"
    if not files:
        return ok("recoveries", text, **facts)
    kept = "the damaged file is kept" if len(files) == 1 else f"{len(files)} damaged files are kept"
    why = "keep them as long as you may need the lost records" if lost else "nothing was lost, so they are not needed"
    remove = " ".join(f"{shlex.quote(str(file))}*" for file in files)
    todo = f"check the disk; {why}; `rm {remove}` frees the space"
    return warn("recoveries", f"{text}; {kept} ({size_of(size)})", todo, **facts)
