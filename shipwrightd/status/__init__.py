"""Collect the state of the daemon, the database and every source.

Reads the database, the lock beside it and each file once, and writes nothing; the answer does not depend on whether
the daemon runs. The fields of these classes are the keys of `status --json`: they may grow, but none is renamed or
removed.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import apsw

from shipwrightd.clock import seconds_of, utc
from shipwrightd.database import ALL_BITS, explained, identity, migrate, open_reader
from shipwrightd.database.lock import lock_is_held, lock_path, read_holder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

DOCUMENT_BYTES = 4 << 20  # a larger document is compared by its modification time alone
PEEK_BYTES = 1 << 20  # of unread bytes, to find the end of the first line
FRESH_S = 10.0  # a daemon stores younger bytes in a moment
JOURNAL = "events.jsonl"
LAG_ALLOWED_S = 60.0
COUNTS = ("records", "salvaged", "gaps", "quarantined_ever")  # columns of CHECKPOINTS, fields of Source
WATCHING = "watching is degraded: "  # prefix of an error of source '' that only delays noticing changes

CHECKPOINTS = """
SELECT c.source, c.kind, g.device, g.inode, g.offset, c.digest, c.committed_at,
       c.records, c.salvaged, c.gaps, c.newest_epoch, c.quarantined AS quarantined_ever
FROM checkpoints AS c LEFT JOIN generations AS g ON g.id = c.generation
ORDER BY c.kind DESC, c.source"""
RECOVERIES_SINCE = 9  # schema version
RECOVERIES = "SELECT detected_at, finished_at, reason, set_aside, kept, refilled, lost FROM recoveries ORDER BY id"
QUARANTINED = "SELECT source, count(*) FROM quarantine WHERE state = 'kept' GROUP BY source"
ERRORS = "SELECT source, error, since FROM source_errors"
# The index is named so that the query fails at once, instead of scanning all events, while a first load has dropped it.
LAST_HOUR = """
SELECT substr(origin, 1, instr(origin || '/', '/') - 1), count(*)
FROM events INDEXED BY events_ts_epoch WHERE ts_epoch > ?1 - 3600 AND ts_epoch <= ?1 GROUP BY 1"""


@dataclass(frozen=True, slots=True)
class Daemon:
    """The process that ingests, according to its lock; other fields are None while there is none."""

    alive: bool
    command: str | None = None  # run | backfill
    pid: int | None = None
    started_at: str | None = None
    running_s: float | None = None
    version: str | None = None
    watching_degraded: str | None = None  # why changes may be noticed late
    waiting: str | None = None  # why the database cannot be written; nothing is lost, it is stored later
    waiting_since: str | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """One recovery of a damaged database; see the table recoveries."""

    detected_at: str
    finished_at: str
    reason: str
    set_aside: str  # full path of the damaged file
    kept: int
    refilled: int
    lost: int


@dataclass(frozen=True, slots=True)
class Database:
    """The database file; without tables it does not exist yet."""

    path: str
    exists: bool
    size_bytes: int = 0  # with its write-ahead log
    schema_version: int = 0
    journal_mode: str | None = None
    wal_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One file that is read: how much of it, and with what result."""

    source: str
    kind: str | None  # journal | document; None if it was never read
    present: bool
    readable: bool
    size_bytes: int
    behind_bytes: int
    unfinished_bytes: int
    lag_s: float
    records: int
    records_last_hour: int | None  # None if its records have no time
    newest_at: str | None
    newest_age_s: float | None
    committed_at: str | None  # when its checkpoint last changed
    committed_age_s: float | None
    salvaged: int
    quarantined: int
    gaps: int
    error: str | None
    error_since: str | None
    quarantined_ever: int = 0  # including those recovered by a retry


@dataclass(frozen=True, slots=True)
class Status:
    """The answer; `status --check` fails if there are `problems`."""

    state: str  # running | backfilling | stopped | no database
    problems: list[str]
    checked_at: str | None
    home: str
    daemon: Daemon
    database: Database
    sources: list[Source]
    recoveries: list[Recovery] = field(default_factory=list)  # oldest first
    home_present: bool = True


@dataclass(frozen=True, slots=True)
class _Content:
    """What is read from the database, in one go."""

    database: Database
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the table checkpoints, by source
    quarantined: dict[str, int] = field(default_factory=dict)
    errors: dict[str, tuple[str, str]] = field(default_factory=dict)  # text and since when, by source
    last_hour: dict[str, int] | None = None
    recoveries: list[Recovery] = field(default_factory=list)


def collect(home: Path, db: Path, declared: Sequence[str], now: float, *, untouched: bool = False) -> Status:
    """Return the state at `now` of the declared sources and all that were ever read.

    With `untouched`, no file is created beside a database that no process has open.

    Raises DatabaseError for a file that is not ours, damaged or of a newer release, PathError for one that cannot be
    read. A database that does not exist yet is no error.
    """
    content = _read_database(db, int(now), untouched=untouched)
    daemon = _daemon(db, content.errors, now)
    existing = [name for name in declared if os.path.exists(home / name)]  # noqa: PTH110 - False instead of an error
    names = dict.fromkeys((*content.rows, *existing, *filter(None, content.errors)))
    sources = [_source(home, name, content, now) for name in names]
    state = "stopped" if content.database.exists else "no database"
    if daemon.alive:
        state = "backfilling" if daemon.command == "backfill" else "running"
    return Status(
        state=state,
        problems=_problems(home, daemon, content, sources),
        checked_at=utc(now),
        home=str(home),
        daemon=daemon,
        database=content.database,
        sources=sources,
        recoveries=content.recoveries,
        home_present=home.is_dir(),
    )


def _read_database(path: Path, now: int, *, untouched: bool) -> _Content:
    if identity(path) is None:
        return _Content(Database(str(path), exists=False))
    try:
        with contextlib.closing(open_reader(path, untouched=untouched)) as db:
            version = migrate.version(db)
            if not version:
                return _Content(Database(str(path), exists=False))
            migrate.pending(db, migrate.known())
            wal = size_at(path.with_name(path.name + "-wal"))
            mode = db.execute("PRAGMA journal_mode").get
            last_hour = None
            with contextlib.suppress(apsw.SQLError):  # no such index: the first load is running
                last_hour = dict(db.execute(LAST_HOUR, (now,)))
            return _Content(
                database=Database(str(path), True, size_at(path) + wal, version, mode, wal),  # noqa: FBT003
                rows={row["source"]: row for row in rows_of(db, CHECKPOINTS)},
                quarantined=dict(db.execute(QUARANTINED)),
                errors={source: (error, since) for source, error, since in db.execute(ERRORS)},
                last_hour=last_hour,
                recoveries=recoveries(db, path),
            )
    except apsw.Error as error:
        raise explained(path, error) from error


def rows_of(db: apsw.Connection, sql: str, values: tuple[int, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the rows of a query, values by name of their column."""
    cursor = db.execute(sql, values)
    for row in cursor:
        yield dict(zip((name for name, _ in cursor.get_description()), row, strict=True))


def recoveries(db: apsw.Connection, path: Path) -> list[Recovery]:
    """Return the recoveries of the database at a path, oldest first; none in an older schema."""
    if migrate.version(db) < RECOVERIES_SINCE:
        return []
    return [Recovery(**row | {"set_aside": str(path.with_name(row["set_aside"]))}) for row in rows_of(db, RECOVERIES)]


def size_at(path: Path) -> int:
    """Return the size of a file in bytes, 0 if it cannot be read."""
    with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0


def _daemon(db: Path, errors: dict[str, tuple[str, str]], now: float) -> Daemon:
    """Return the holder of the lock. The content of its file counts only while it is held."""
    lock = lock_path(db)
    if not lock_is_held(lock):
        return Daemon(alive=False)
    holder: dict[str, Any] = read_holder(lock)
    error = errors.get("", ("", ""))[0]
    return Daemon(
        alive=True,
        command=holder.get("command", "run"),
        running_s=_age(seconds_of(holder.get("started_at")), now),
        watching_degraded=error.removeprefix(WATCHING) if error.startswith(WATCHING) else None,
        **{key: holder.get(key) for key in ("pid", "started_at", "version", "waiting", "waiting_since")},
    )


def _age(then: float | None, now: float) -> float | None:
    return None if then is None else round(now - then, 3)


def _source(home: Path, name: str, content: _Content, now: float) -> Source:
    row = content.rows.get(name, {})
    kind = row.get("kind")
    error, since = content.errors.get(name, (None, None))
    readable = True
    try:
        lag = measure(home / name, row, now)
    except OSError as trouble:
        lag, readable = Lag(present=True), False
        error = error or f"cannot be read: {trouble.strerror or trouble}"
    counted = kind == "journal" and content.last_hour is not None
    return Source(
        source=name,
        kind=kind,
        readable=readable,
        **asdict(lag),
        quarantined=content.quarantined.get(name, 0),
        **{count: row.get(count, 0) for count in COUNTS},
        records_last_hour=(content.last_hour or {}).get(name, 0) if counted else None,
        newest_at=utc(row.get("newest_epoch")),
        newest_age_s=_age(row.get("newest_epoch"), now),
        committed_at=row.get("committed_at"),
        committed_age_s=_age(seconds_of(row.get("committed_at")), now),
        error=error,
        error_since=since,
    )


def _missing_folders(home: Path, content: _Content, sources: list[Source]) -> list[str]:
    """Return a problem if the file system of the home or the database may not be mounted."""
    if not os.path.isdir(home):  # noqa: PTH112 - False instead of an error
        return [f"there is no folder {home}"]
    if not content.database.exists and not os.path.isdir(folder := os.path.dirname(content.database.path)):  # noqa: PTH112, PTH120
        return [f"there is no folder {folder}"]
    read = [source for source in sources if source.kind == "journal" and source.records]
    if any(source.present or source.error for source in read) or not read:
        return []
    if any(any(home.glob(f"{source.source}.*")) for source in read):  # being rotated right now
        return []
    return [f"none of the journals that were read is in {home}: is a file system not mounted?"]


def _problems(home: Path, daemon: Daemon, content: _Content, sources: list[Source]) -> list[str]:
    """Return what `status --check` fails for."""
    problems = _missing_folders(home, content, sources)
    if not daemon.alive:
        problems.append("the daemon is not running")
    elif daemon.command != "run":
        problems.append("a backfill is running" if daemon.command == "backfill" else f"{daemon.command} is running")
    if daemon.waiting:
        problems.append(f"the database cannot be written: {daemon.waiting}")
    error = content.errors.get("", ("", ""))[0]
    if error and not error.startswith(WATCHING):
        problems.append(error)
    for source in sources:
        if source.error:
            problems.append(f"{source.source}: {source.error}")
        elif source.behind_bytes and source.lag_s > LAG_ALLOWED_S:
            problems.append(f"{source.source}: {source.behind_bytes} bytes unread for {source.lag_s:.0f} s")
    return problems


# -- how far the database is behind a file; reads a bounded part of it


@dataclass(frozen=True, slots=True)
class Lag:
    """What a file holds that the database does not."""

    present: bool
    size_bytes: int = 0
    behind_bytes: int = 0  # of a replaced journal an upper bound, of a changed document all
    unfinished_bytes: int = 0  # of a last line without its end, which waits and is no lag
    lag_s: float = 0.0  # how long ago the oldest unread byte was written


def unread_bytes(db: apsw.Connection, home: Path, now: float) -> int:
    """Return how many bytes of events.jsonl have been unread for longer than storing takes; 0 if it cannot be read."""
    row = next((row for row in rows_of(db, CHECKPOINTS) if row["source"] == JOURNAL), {})
    try:
        lag = measure(home / JOURNAL, row | {"committed_at": None}, now)  # only the file's own time counts here
    except OSError:
        return 0
    return lag.behind_bytes if lag.lag_s > FRESH_S else 0


@contextlib.contextmanager
def regular_file(path: Path) -> Iterator[tuple[int, os.stat_result] | None]:
    """Open a file for reading; yield None if there is no regular file. Raises OSError if it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # opening a pipe would block
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    try:
        found = os.fstat(fd)
        yield (fd, found) if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(fd)


def measure(path: Path, row: Mapping[str, Any], now: float) -> Lag:
    """Compare a file with its row of CHECKPOINTS, empty if none. Raises OSError if the file cannot be read."""
    with regular_file(path) as file:
        if file is None:
            return Lag(present=False)
        kind = row.get("kind") or ("journal" if path.suffix == ".jsonl" else "document")
        return (_document if kind == "document" else _journal)(*file, row, now)


def _document(fd: int, file: os.stat_result, row: Mapping[str, Any], now: float) -> Lag:
    size = file.st_size
    committed, digest = seconds_of(row.get("committed_at")), row.get("digest")
    # A commit in the future means that the clock was set back: then the times prove nothing.
    same = committed is not None and int(file.st_mtime) <= committed <= now
    if not same and digest and size <= DOCUMENT_BYTES:
        same = blake2b(os.pread(fd, DOCUMENT_BYTES, 0), digest_size=len(digest)).digest() == digest
    return Lag(True, size) if same else Lag(True, size, size, lag_s=round(max(0.0, now - file.st_mtime), 3))  # noqa: FBT003


def _journal(fd: int, file: os.stat_result, row: Mapping[str, Any], now: float) -> Lag:
    size, start = file.st_size, row.get("offset") or 0
    known = None if row.get("device") is None else (row["device"] & ALL_BITS, row["inode"] & ALL_BITS)
    if known != (file.st_dev, file.st_ino) or start > size:
        start = 0
    unread = size - start
    peek = os.pread(fd, PEEK_BYTES, start)
    first, end, _ = peek.partition(b"\n")
    if not end and len(peek) == unread:
        return Lag(present=True, size_bytes=size, unfinished_bytes=unread)
    seconds = unread_for(now, file.st_mtime, seconds_of(row.get("committed_at")), written_at(first))
    return Lag(present=True, size_bytes=size, behind_bytes=unread, lag_s=round(seconds, 3))


def unread_for(now: float, modified: float, committed: float | None, written: float | None) -> float:
    """Return for how many seconds the oldest unread line has been in the file.

    At least since the file was last modified and at most since the last commit; between the two the line's own
    time decides, if it has one.
    """
    least = max(0.0, now - modified)
    most = max(least, now - committed) if committed is not None else least
    return least if written is None else min(max(now - written, least), most)


def written_at(line: bytes) -> float | None:
    """Return the ts_epoch of a line; None if it has none or cannot be read."""
    try:
        value = json.loads(line)["ts_epoch"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return float(value) if isinstance(value, int) and 0 < value < 1 << 40 else None
