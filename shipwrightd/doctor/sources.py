"""Checks of the sources: checkpoints, lag, errors, quarantine, gaps, clocks; and Shipwright itself."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.clock import seconds_of, utc
from shipwrightd.database.connection import ALL_BITS, APPLICATION_ID, HEADER_BYTES
from shipwrightd.doctor.finding import FAIL, WARN, Finding, fail, ok, warn
from shipwrightd.status.collect import LAG_ALLOWED_S, WATCHING
from shipwrightd.text import age_of, family, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import apsw

    from shipwrightd.doctor.finding import Target
    from shipwrightd.status.collect import Source

PATIENCE_S = 3.0  # a daemon switches to a replaced file after two seconds without changes
PAUSE_S = 0.3
SHOWN = 3
FIX_MODE = "fix its mode or owner; reading continues automatically"
CHECKPOINTS = """
SELECT c.source, g.device, g.inode, g.offset, g.anchor, g.anchor_bytes
FROM checkpoints AS c JOIN generations AS g ON g.id = c.generation
WHERE c.kind = 'journal' ORDER BY c.source"""
ERRORS = "SELECT source, error, since FROM source_errors ORDER BY source"
QUARANTINED = "SELECT reason, count(*) FROM quarantine WHERE state = 'kept' GROUP BY reason ORDER BY 2 DESC, 1"
GAPS = "SELECT count(*), max(detected_at), count(DISTINCT source) FROM gaps"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The position up to which a journal was read."""

    source: str
    device: int
    inode: int
    offset: int
    anchor: bytes
    anchor_bytes: int


def fit(path: Path, checkpoint: Checkpoint) -> str:
    """Compare a file with its checkpoint: fits | moved | absent | shorter | changed.

    The anchor is a hash of the bytes before the offset. Raises OSError for a file that cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return "absent"
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return "absent"
        if found.st_size < checkpoint.offset:
            return "shorter"
        before = os.pread(fd, checkpoint.anchor_bytes, checkpoint.offset - checkpoint.anchor_bytes)
        if blake2b(before, digest_size=len(checkpoint.anchor) or 16).digest() != checkpoint.anchor:
            return "changed"
        identity = checkpoint.device & ALL_BITS, checkpoint.inode & ALL_BITS
        return "fits" if (found.st_dev, found.st_ino) == identity else "moved"
    finally:
        os.close(fd)


MISMATCHES = {
    "absent": "does not exist",
    "shorter": "is shorter than the part that was read",
    "changed": "differs from the part that was read",
}


def checkpoints(home: Path, db: apsw.Connection, *, held: bool) -> Iterator[Finding]:
    """Compare the journals' checkpoints with the files, which may differ for a moment while a daemon runs."""
    end = time.monotonic() + PATIENCE_S
    while True:
        found = [Checkpoint(*row) for row in db.execute(CHECKPOINTS)]
        verdicts = {checkpoint.source: _fit(home, checkpoint) for checkpoint in found}
        if not held or time.monotonic() > end or not MISMATCHES.keys() & verdicts.values():
            break
        time.sleep(PAUSE_S)
    yield from judge_checkpoints(verdicts, held=held)


def _fit(home: Path, checkpoint: Checkpoint) -> str:
    try:
        return fit(home / checkpoint.source, checkpoint)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def judge_checkpoints(verdicts: dict[str, str], *, held: bool) -> Iterator[Finding]:
    """Judge how the checkpoints fit the files."""
    fitting = 0
    for source, verdict in verdicts.items():
        facts = {"source": source, "verdict": verdict}
        if verdict in {"fits", "moved"}:
            fitting += 1
        elif verdict not in MISMATCHES:
            yield fail("checkpoints", f"{source} {verdict}", FIX_MODE, **facts)
        elif held:
            todo = "run this again in a minute; if it persists, report it with `shipwrightd doctor --bundle FILE`"
            text = f"{source} {MISMATCHES[verdict]}, and the daemon has not switched to the new file"
            yield warn("checkpoints", text, todo, **facts)
        else:
            text = f"{source} {MISMATCHES[verdict]}: it was rotated or replaced since; the next start resumes in it"
            yield ok("checkpoints", text, **facts)
    if fitting or not verdicts:
        text = f"{fitting} of {len(verdicts)} journals match" if verdicts else "no journal was read yet"
        yield ok("checkpoints", text, fitting=fitting, journals=len(verdicts))


def lag(sources: Sequence[Source], *, held: bool) -> Finding:
    """Judge content of the files that is not in the database."""
    behind = [source for source in sources if source.behind_bytes and source.readable]
    late = [source for source in behind if source.lag_s > LAG_ALLOWED_S]
    count = sum(source.behind_bytes for source in behind)
    facts = {"behind_bytes": count, "sources": len(behind)}
    if not behind:
        return ok("lag", "the database is up to date", **facts)
    oldest = max(source.lag_s for source in behind)
    text = f"{size_of(count)} in {len(behind)} files are unread, the oldest for {age_of(oldest)}"
    if late and held:
        return fail("lag", text, "`shipwrightd status` lists them; the daemon's log shows why", **facts)
    if held:
        return ok("lag", text, **facts)
    return warn("lag", text, "start the daemon, or run `shipwrightd backfill`", **facts)


def errors(db: apsw.Connection) -> Iterator[Finding]:
    """Report current errors of sources and of watching."""
    count = 0
    for source, error, since in db.execute(ERRORS):
        count += 1
        if not source and error.startswith(WATCHING):
            todo = "nothing to do: files are polled every half second; see watching above"
            yield Finding("source_errors", WARN, f"{error} (since {since})", todo, private=True)
        else:
            yield Finding("source_errors", FAIL, f"{error} (since {since})", _remedy(error), private=True)
    if not count:
        yield ok("source_errors", "none")


def _remedy(error: str) -> str:
    if "cannot be used" in error:
        return "inspect the file: Shipwright's next write usually fixes it; otherwise move it away"
    if "cannot read" in error:
        return FIX_MODE
    return "fix that; reading continues automatically"


def quarantine(db: apsw.Connection) -> Finding:
    """Report content that could not be decoded."""
    reasons = dict(db.execute(QUARANTINED))
    if not reasons:
        return ok("quarantine", "empty", kept=0)
    kept = sum(reasons.values())
    listed = ", ".join(f"{count:,} {reason}" for reason, count in list(reasons.items())[:SHOWN])
    text = f"{kept:,} kept ({listed})"
    todo = "see `shipwrightd quarantine list`; nothing is lost; after an update, `quarantine retry` may decode them"
    return warn("quarantine", text, todo, kept=kept)


def gaps(db: apsw.Connection) -> Finding:
    """Report content that was lost before it could be read."""
    count, newest, sources = next(db.execute(GAPS))
    if not count:
        return ok("gaps", "none", gaps=0)
    text = f"{count:,} in {sources} sources, the last detected at {newest}"
    todo = "keep the daemon running: content that comes and goes while it is stopped is lost"
    return warn("gaps", text, todo, gaps=count)


# -- clocks

AHEAD_S = 60.0  # clocks of one machine and its file systems may differ by this
EVENT_AHEAD_S = 300.0  # events may come from other machines
LATEST = """
SELECT max(at) FROM (
    SELECT max(committed_at) AS at FROM checkpoints UNION ALL SELECT max(applied_at) FROM schema_version)"""


def clock(target: Target, db: apsw.Connection, sources: Sequence[Source]) -> Iterator[Finding]:
    """Compare this machine's clock with the times of records, files and commits."""
    found = [
        *judge_records(sources),
        *_judge_files(target, [source.source for source in sources]),
        *judge_commits(seconds_of(db.execute(LATEST).get), target.now),
    ]
    yield from found or [ok("clock", f"{utc(target.now)}; no record, file or commit is later")]


def judge_records(sources: Sequence[Source]) -> Iterator[Finding]:
    """Judge the time of the newest record of each source."""
    for source in sources:
        if source.newest_age_s is not None and source.newest_age_s < -EVENT_AHEAD_S:
            text = f"the newest record of {source.source} is from {source.newest_at}, {_ahead(-source.newest_age_s)}"
            todo = "set the clock of the machine that wrote it; reports count it on the day it names"
            yield warn("clock", text, todo, ahead_s=round(-source.newest_age_s))


def _judge_files(target: Target, names: Sequence[str]) -> Iterator[Finding]:
    """Judge the modification times of files."""
    ahead: dict[str, float] = {}
    rotated = [name for journal in target.journals.values() for name in journal]
    for name in dict.fromkeys((*names, *rotated)):
        with contextlib.suppress(OSError):
            later = (target.home / name).stat().st_mtime - target.now
            if later > AHEAD_S:
                ahead[family(name)] = max(later, ahead.get(family(name), 0.0))
    for name, later in ahead.items():
        text = f"{name} has a modification time {_ahead(later)}"
        yield warn("clock", text, "set the clock of this machine or of the file server", ahead_s=round(later))


def judge_commits(latest: float | None, now: float) -> Iterator[Finding]:
    """Judge the time of the last commit."""
    if latest is not None and latest - now > AHEAD_S:
        text = f"the last commit is from {utc(latest)}, {_ahead(latest - now)}: the clock was set back"
        todo = "set the clock; nothing is lost, but `status` shows wrong ages until then"
        yield warn("clock", text, todo, ahead_s=round(latest - now))


def _ahead(seconds: float) -> str:
    return f"{age_of(seconds)} in the future"


# -- Shipwright

PROGRAMS = ("shipwright", "sw", "cct")
USUAL = (".local/bin", "bin")  # below the user's home, where its installers put links
SYSTEM = ("/usr/local/bin", "/opt/homebrew/bin")
FOLDERS = 200  # of a PATH
HEAD_BYTES = 4096
VERSION = re.compile(rb'^VERSION="(\d+(?:\.\d+)*[\w.+-]{0,20})"', re.MULTILINE)
OWN_DATABASE = (2, 2)  # the first release that keeps one
OWN = "shipwright.db"
BUDGET_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Installed:
    """A version of Shipwright and where it was found."""

    path: Path
    version: str

    @property
    def keeps_database(self) -> bool:
        """Tell whether it keeps a database of its own in the home."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:2]) >= OWN_DATABASE


def find(env: Mapping[str, str]) -> Installed | None:
    """Return the version that a shell would start, read from the head of its script; nothing is run."""
    listed = env.get("PATH", "").split(os.pathsep)[:FOLDERS]
    below = [os.path.join(env["HOME"], name) for name in USUAL] if env.get("HOME") else []  # noqa: PTH118
    for folder in dict.fromkeys((*listed, *below, *SYSTEM)):
        for name in PROGRAMS if folder else ():
            version = version_in(Path(folder, name))
            if version:
                return Installed(Path(folder, name), version)
    return None


def version_in(path: Path) -> str | None:
    """Return the version in a script of Shipwright, None for any other file."""
    head = beginning(path, HEAD_BYTES)
    found = VERSION.search(head) if b"Shipwright" in head else None
    return found[1].decode() if found else None


def beginning(path: Path, size: int) -> bytes:
    """Return the first bytes of a regular file, none of anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(fd, size) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def shipwright(found: Installed | None) -> Finding:
    """Report the version of Shipwright."""
    if found is None:
        return ok("shipwright", "version unknown: not found on PATH or in ~/.local/bin", version=None)
    return ok("shipwright", f"version {found.version} ({found.path})", version=found.version)


def shipwright_database(target: Target, found: Installed | None) -> Finding:
    """Check the path where Shipwright keeps a database of its own."""
    path = target.home / OWN
    ours = os.path.realpath(target.db) == os.path.realpath(path) or _is_ours(path)
    limited = _is_limited(target.home / "budget.json")
    return judge_own_database(path, exists=path.exists(), ours=ours, found=found, limited=limited)


def judge_own_database(path: Path, *, exists: bool, ours: bool, found: Installed | None, limited: bool) -> Finding:
    """Judge a file at the path of Shipwright's own database: while one exists, its budget check reads no files."""
    safe = found is not None and not found.keeps_database
    gate = 'takes the remaining budget for "unlimited"'
    facts = {"exists": exists, "ours": ours, "budget": limited}
    if ours:
        text = f"the database is at {path}, where Shipwright 2.2 to 3.0 keeps its own"
        todo = "stop the daemon and move it to shipwrightd/shipwright.db in the home, with its -wal; leave --db out"
        if safe:
            return ok("shipwright_database", f"{text}; harmless with {found.version if found else ''}", **facts)
        return fail("shipwright_database", f"{text} and {gate}, whatever budget.json says", todo, **facts)
    if exists and limited and not safe:
        text = f"{path} is Shipwright's own, and while it exists, Shipwright {gate}, whatever budget.json says"
        todo = "do not rely on the daily budget; shipwrightd neither creates nor reads that file"
        return warn("shipwright_database", text, todo, **facts)
    return ok("shipwright_database", f"{path} is Shipwright's own; it is not touched" if exists else "none", **facts)


def _is_ours(path: Path) -> bool:
    header = beginning(path, HEADER_BYTES)
    return header.startswith(b"SQLite format 3\0") and int.from_bytes(header[68:72]) == APPLICATION_ID


def _is_limited(path: Path) -> bool:
    """Tell whether a daily budget is set."""
    try:
        return bool(json.loads(beginning(path, BUDGET_BYTES)).get("enabled"))
    except (ValueError, AttributeError, RecursionError):
        return False
