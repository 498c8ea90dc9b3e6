"""Checks of the sources: checkpoints, lag, errors, quarantine, gaps, clocks; and Shipwright's own database."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipwrightd.clock import seconds_of, utc
from shipwrightd.database import ALL_BITS, APPLICATION_ID, HEADER_BYTES
from shipwrightd.doctor import FAIL, WARN, Finding, fail, ok, warn
from shipwrightd.status import LAG_ALLOWED_S, WATCHING, regular_file
from shipwrightd.text import age_of, family, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from shipwrightd.doctor import Target

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


def fit(path: Path, position: Sequence[Any]) -> str:
    """Compare a file with its checkpoint: fits | moved | absent | shorter | changed | cannot be read: ...

    The anchor is a hash of the bytes before the offset.
    """
    device, inode, offset, anchor, anchor_bytes = position
    try:
        with regular_file(path) as file:
            if file is None:
                return "absent"
            fd, found = file
            if found.st_size < offset:
                return "shorter"
            before = os.pread(fd, anchor_bytes, offset - anchor_bytes)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if blake2b(before, digest_size=len(anchor) or 16).digest() != anchor:
        return "changed"
    return "fits" if (found.st_dev, found.st_ino) == (device & ALL_BITS, inode & ALL_BITS) else "moved"


MISMATCHES = {
    "absent": "does not exist",
    "shorter": "is shorter than the part that was read",
    "changed": "differs from the part that was read",
}


def checkpoints(target: Target, db: apsw.Connection) -> Iterator[Finding]:
    """Compare the journals' checkpoints with the files, which may differ for a moment while a daemon runs."""
    held = target.held
    end = time.monotonic() + PATIENCE_S
    while True:
        verdicts = {source: fit(target.home / source, position) for source, *position in db.execute(CHECKPOINTS)}
        if not held or time.monotonic() > end or not MISMATCHES.keys() & verdicts.values():
            break
        time.sleep(PAUSE_S)
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


def lag(target: Target, _: apsw.Connection) -> Finding:
    """Judge content of the files that is not in the database."""
    held = target.held
    behind = [source for source in target.status().sources if source.behind_bytes and source.readable]
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


def source_errors(_: Target, db: apsw.Connection) -> Iterator[Finding]:
    """Report current errors of sources and of watching."""
    found = list(db.execute(ERRORS))
    for source, error, since in found:
        slow = not source and error.startswith(WATCHING)
        todo = FIX_MODE if "cannot read" in error else "fix that; reading continues automatically"
        if slow:
            todo = "nothing to do: files are polled every half second"
        elif "cannot be used" in error:
            todo = "inspect the file: Shipwright's next write usually fixes it; otherwise move it away"
        yield Finding("source_errors", WARN if slow else FAIL, f"{error} (since {since})", todo, private=True)
    if not found:
        yield ok("source_errors", "none")


def quarantine(_: Target, db: apsw.Connection) -> Finding:
    """Report content that could not be decoded."""
    reasons = dict(db.execute(QUARANTINED))
    if not reasons:
        return ok("quarantine", "empty", kept=0)
    kept = sum(reasons.values())
    listed = ", ".join(f"{count:,} {reason}" for reason, count in list(reasons.items())[:SHOWN])
    text = f"{kept:,} kept ({listed})"
    todo = "see `shipwrightd quarantine list`; nothing is lost; after an update, `quarantine retry` may decode them"
    return warn("quarantine", text, todo, kept=kept)


def gaps(_: Target, db: apsw.Connection) -> Finding:
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


def clock(target: Target, db: apsw.Connection) -> Iterator[Finding]:
    """Compare this machine's clock with the times of records, files and commits."""
    sources = target.status().sources
    ages = {source: -source.newest_age_s for source in sources if source.newest_age_s is not None}
    todo = "set the clock of the machine that wrote it; reports count it on the day it names"
    found = [
        _ahead(f"the newest record of {source.source} is from {source.newest_at},", later, todo)
        for source, later in ages.items()
        if later > EVENT_AHEAD_S
    ]
    todo = "set the clock of this machine or of the file server"
    files = _files_ahead(target, [source.source for source in sources])
    found += [_ahead(f"{name} has a modification time", later, todo) for name, later in files.items()]
    latest = seconds_of(db.execute(LATEST).get)
    if latest is not None and latest - target.now > AHEAD_S:
        todo = "set the clock; nothing is lost, but `status` shows wrong ages until then"
        text = f"the last commit is from {utc(latest)},"
        found.append(_ahead(text, latest - target.now, todo, ": the clock was set back"))
    yield from found or [ok("clock", f"{utc(target.now)}; no record, file or commit is later")]


def _files_ahead(target: Target, names: Sequence[str]) -> dict[str, float]:
    """Return by how many seconds files of each kind have a modification time in the future."""
    ahead: dict[str, float] = {}
    rotated = [name for journal in target.journals.values() for name in journal]
    for name in dict.fromkeys((*names, *rotated)):
        with contextlib.suppress(OSError):
            later = (target.home / name).stat().st_mtime - target.now
            if later > AHEAD_S:
                ahead[family(name)] = max(later, ahead.get(family(name), 0.0))
    return ahead


def _ahead(text: str, seconds: float, todo: str, more: str = "") -> Finding:
    return warn("clock", f"{text} {age_of(seconds)} in the future{more}", todo, ahead_s=round(seconds))


# -- Shipwright

PROGRAMS = ("shipwright", "sw", "cct")
USUAL = ("~/.local/bin", "~/bin", "/usr/local/bin", "/opt/homebrew/bin")  # where its installers put links
VERSION = re.compile(rb'^VERSION="(\d+(?:\.\d+)*[\w.+-]{0,20})"', re.MULTILINE)
HEAD_BYTES = 4096  # of its script, with the version
OWN = "shipwright.db"
BUDGET_BYTES = 1 << 16


def shipwright(target: Target) -> Finding:
    """Report which Shipwright there is, read from its script in a search path, and when one last wrote events here."""
    path = target.variables.get("PATH", "")
    version, text = None, "none on PATH or in ~/.local/bin"
    for name in PROGRAMS:
        program = shutil.which(name, path=os.pathsep.join((path, *map(os.path.expanduser, USUAL))))
        head = beginning(Path(program), HEAD_BYTES) if program else b""
        if b"Shipwright" in head and (found := VERSION.search(head)):
            version = found[1].decode()
            text = f"version {version} ({program})"
            break
    try:
        wrote = (target.home / "events.jsonl").stat().st_mtime
    except FileNotFoundError:
        todo = "run Shipwright with this home, or set its folder with --home"
        return warn("shipwright", f"{text}; nothing has written events to {target.home}", todo, version=version)
    return ok("shipwright", f"{text}; the last events were written at {utc(wrote)}", version=version)


def beginning(path: Path, size: int) -> bytes:
    """Return the first bytes of a regular file, none of anything else."""
    with contextlib.suppress(OSError, ValueError), regular_file(path) as file:
        return os.read(file[0], size) if file else b""
    return b""


def shipwright_database(target: Target) -> Finding:
    """Check the path of Shipwright's own database: while one exists, Shipwright's budget check reads no files."""
    path = target.home / OWN
    exists, limited = path.exists(), _is_limited(target.home / "budget.json")
    ours = os.path.realpath(target.db) == os.path.realpath(path) or _is_ours(path)
    gate = 'takes the remaining budget for "unlimited", whatever budget.json says'
    facts = {"exists": exists, "ours": ours, "budget": limited}
    if ours:
        text = f"the database is at {path}, where Shipwright 2.2 to 3.0 keeps its own and {gate}"
        todo = "stop the daemon and move it to shipwrightd/shipwright.db in the home, with its -wal; leave --db out"
        return fail("shipwright_database", text, todo, **facts)
    if exists and limited:
        text = f"{path} is Shipwright's own, and while it exists, Shipwright {gate}"
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
