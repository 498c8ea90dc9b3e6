"""Apply numbered SQL files in order, each in one transaction with its schema_version row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd import clock
from shipwrightd.database import transaction
from shipwrightd.errors import DatabaseError

if TYPE_CHECKING:
    import apsw

SCHEMA_VERSION = """
CREATE TABLE IF NOT EXISTS schema_version (
    version    INTEGER PRIMARY KEY,  -- number of the migration file
    name       TEXT NOT NULL,        -- its file name
    checksum   TEXT NOT NULL,        -- SHA-256 of its bytes, to notice one that was altered
    applied_at TEXT NOT NULL         -- UTC
)"""
HAS_VERSIONS = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'schema_version'"
APPLIED = "SELECT version, name, checksum FROM schema_version ORDER BY version"
RECORD = "INSERT INTO schema_version (version, name, checksum, applied_at) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file: its version, name, SQL text and checksum."""

    version: int
    name: str
    sql: str
    checksum: str


def migrations_folder() -> Path:
    """Return the folder of the SQL files: inside the installed package, else in the checkout."""
    inside = Path(__file__).parents[1] / "migrations"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "migrations"


def known(folder: Path | None = None) -> list[Migration]:
    """Return this release's migrations in order. Raises DatabaseError if a number is missing."""
    found = []
    for path in sorted((folder or migrations_folder()).glob("[0-9]*.sql")):
        raw = path.read_bytes()
        number = int(path.name.split("_", 1)[0])
        found.append(Migration(number, path.name, raw.decode(), hashlib.sha256(raw).hexdigest()))
    if not found or [m.version for m in found] != list(range(1, len(found) + 1)):
        raise DatabaseError("the migration files of this installation are incomplete", hint="install shipwrightd again")
    return found


def version(db: apsw.Connection) -> int:
    """Return the schema version of the database, 0 for an empty one."""
    if not db.execute(HAS_VERSIONS).get:
        return 0
    found: int = db.execute("SELECT coalesce(max(version), 0) FROM schema_version").get
    return found


def pending(db: apsw.Connection, migrations: list[Migration]) -> list[Migration]:
    """Return the migrations that are not applied yet.

    Raises DatabaseError if the database is newer than this program, or if an applied file has changed since.
    """
    if not db.execute(HAS_VERSIONS).get:
        return migrations
    applied = list(db.execute(APPLIED))
    newest = applied[-1][0] if applied else 0
    if newest > len(migrations):
        message = f"the database is at schema version {newest}, this release knows {len(migrations)}"
        raise DatabaseError(message, hint="install the newer shipwrightd, or choose another database with --db")
    for (number, name, checksum), migration in zip(applied, migrations, strict=False):
        if checksum != migration.checksum:
            message = f"migration {number} ({name}) differs from the one that was applied"
            raise DatabaseError(message, hint="install the release that made this database, or a newer one")
    return migrations[len(applied) :]


def migrate(db: apsw.Connection, folder: Path | None = None) -> list[Migration]:
    """Apply the pending migrations and return them; a migration that fails changes nothing."""
    todo = pending(db, known(folder))
    for migration in todo:
        applied_at = clock.now().text
        with transaction(db):
            db.execute(SCHEMA_VERSION)
            db.execute(migration.sql)
            db.execute(RECORD, (migration.version, migration.name, migration.checksum, applied_at))
    return todo
