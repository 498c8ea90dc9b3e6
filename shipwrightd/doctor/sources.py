"""Sources: do checkpoints fit the files, what is behind, what stands in the way, what was lost or set aside."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from shipwrightd.database.connection import ALL_BITS
from shipwrightd.doctor.finding import FAIL, WARN, Finding, fail, ok, warn
from shipwrightd.status.collect import LAG_ALLOWED_S, WATCHING
from shipwrightd.status.text import age_of
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import apsw

    from shipwrightd.doctor.finding import Case
    from shipwrightd.status.collect import Source

PATIENCE_S = 3.0  # a file that takes another's place is believed once it has rested for two seconds
PAUSE_S = 0.3
SHOWN = 3
PLACES = """
SELECT c.source, g.device, g.inode, g.offset, g.anchor, g.anchor_bytes
FROM checkpoints AS c JOIN generations AS g ON g.id = c.generation
WHERE c.kind = 'journal' ORDER BY c.source"""
ERRORS = "SELECT source, error, since FROM source_errors ORDER BY source"
QUARANTINED = "SELECT reason, count(*) FROM quarantine WHERE state = 'kept' GROUP BY reason ORDER BY 2 DESC, 1"
GAPS = "SELECT count(*), max(detected_at), count(DISTINCT source) FROM gaps"


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading stands in a journal."""

    source: str
    device: int
    inode: int
    offset: int
    anchor: bytes
    anchor_bytes: int


def fit(path: Path, place: Place) -> str:
    """Compare a file with where reading stands: fits | moved | absent | shorter | changed.

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
        if found.st_size < place.offset:
            return "shorter"
        before = os.pread(fd, place.anchor_bytes, place.offset - place.anchor_bytes)
        if blake2b(before, digest_size=len(place.anchor) or 16).digest() != place.anchor:
            return "changed"
        return "fits" if (found.st_dev, found.st_ino) == (place.device & ALL_BITS, place.inode & ALL_BITS) else "moved"
    finally:
        os.close(fd)


MEANS = {
    "absent": "is not there",
    "shorter": "is shorter than what was read of it",
    "changed": "does not hold what was read of it",
}


def checkpoints(case: Case, db: apsw.Connection, *, held: bool) -> Iterator[Finding]:
    """Compare the journals' checkpoints with the files; beside a daemon what is in motion gets a moment."""
    end = time.monotonic() + PATIENCE_S
    while True:
        places = [Place(*row) for row in db.execute(PLACES)]
        verdicts = {place.source: _fit(case, place) for place in places}
        if not held or time.monotonic() > end or not MEANS.keys() & verdicts.values():
            break
        time.sleep(PAUSE_S)
    yield from judge_checkpoints(verdicts, held=held)


def _fit(case: Case, place: Place) -> str:
    try:
        return fit(case.home / place.source, place)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def judge_checkpoints(verdicts: dict[str, str], *, held: bool) -> Iterator[Finding]:
    """Judge how checkpoints fit the files."""
    fitting = 0
    for source, verdict in verdicts.items():
        facts = {"source": source, "verdict": verdict}
        if verdict in {"fits", "moved"}:
            fitting += 1
        elif verdict not in MEANS:
            yield fail(
                "checkpoints", f"{source} {verdict}", "mend its mode or owner; reading goes on by itself", **facts
            )
        elif held:
            todo = "wait a minute and look again; if it stays, send `shipwrightd doctor --bundle FILE` with a report"
            yield warn(
                "checkpoints", f"{source} {MEANS[verdict]}, and the daemon has not gone over to it", todo, **facts
            )
        else:
            text = f"{source} {MEANS[verdict]}: it was rotated or replaced since; the next start finds its place in it"
            yield ok("checkpoints", text, **facts)
    if fitting or not verdicts:
        text = (
            f"{fitting} of {len(verdicts)} journals stand where reading does" if verdicts else "no journal was read yet"
        )
        yield ok("checkpoints", text, fitting=fitting, journals=len(verdicts))


def lag(sources: Sequence[Source], *, held: bool) -> Iterator[Finding]:
    """Judge what the files hold that the database does not."""
    behind = [source for source in sources if source.behind_bytes and source.readable]
    late = [source for source in behind if source.lag_s > LAG_ALLOWED_S]
    count = sum(source.behind_bytes for source in behind)
    facts = {"behind_bytes": count, "sources": len(behind)}
    if not behind:
        yield ok("lag", "the database is up to the files", **facts)
        return
    oldest = max(source.lag_s for source in behind)
    text = f"{size_of(count)} in {len(behind)} files are unread, the oldest for {age_of(oldest)}"
    if late and held:
        yield fail("lag", text, "`shipwrightd status` names them; look at its log for what keeps it", **facts)
    elif held:
        yield ok("lag", text, **facts)
    else:
        yield warn("lag", text, "start the daemon, or `shipwrightd backfill`", **facts)


def errors(db: apsw.Connection) -> Iterator[Finding]:
    """Tell what stands in the way of a source, or of the daemon."""
    count = 0
    for source, error, since in db.execute(ERRORS):
        count += 1
        if not source and error.startswith(WATCHING):
            todo = "nothing has to be done: it looks every half second instead; see watching above"
            yield Finding("source_errors", WARN, f"{error} (since {since})", todo, private=True)
        else:
            yield Finding("source_errors", FAIL, f"{error} (since {since})", _remedy(error), private=True)
    if not count:
        yield ok("source_errors", "none stands")


def _remedy(error: str) -> str:
    if "cannot be used" in error:
        return "look at the file: Shipwright's next write of it mends that, else move it away"
    if "cannot read" in error:
        return "mend its mode or owner; reading goes on by itself"
    return "mend that; it goes on by itself"


def quarantine(db: apsw.Connection) -> Iterator[Finding]:
    """Tell what could not become a record."""
    reasons = dict(db.execute(QUARANTINED))
    if not reasons:
        yield ok("quarantine", "empty", kept=0)
        return
    kept = sum(reasons.values())
    said = ", ".join(f"{count:,} {reason}" for reason, count in list(reasons.items())[:SHOWN])
    text = f"{kept:,} kept ({said})"
    todo = "`shipwrightd quarantine list`; nothing is lost; after an update `quarantine retry` may read them"
    yield warn("quarantine", text, todo, kept=kept)


def gaps(db: apsw.Connection) -> Iterator[Finding]:
    """Tell what passed unseen."""
    count, newest, sources = next(db.execute(GAPS))
    if not count:
        yield ok("gaps", "none", gaps=0)
        return
    text = f"{count:,} in {sources} sources, the last found at {newest}"
    todo = "keep the daemon running: what came and went while it was down is gone"
    yield warn("gaps", text, todo, gaps=count)
