"""Follow all documents of a home: list those to read, and store what changed in one of them.

A document that does not parse counts as half written for 30 seconds; then it is an
error, and its stored rows stay.
"""

from __future__ import annotations

import stat
from glob import glob
from typing import TYPE_CHECKING

from shipwrightd.database import transaction
from shipwrightd.decoding.values import storable
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.documents.snapshot import Document, Signature, Torn, Unchanged, read_document
from shipwrightd.documents.store import Outcome, ingest_document

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from shipwrightd.clock import Now

PERSISTS_S = 30.0  # a parse error older than this is not a half-written file
RETRY_S = 0.1
RECHECK_S = 1.0  # a file replaced by unlink and create is missing for a moment
KNOWN = "SELECT source FROM checkpoints WHERE kind = 'document'"


class Documents:
    """The documents of one home and the signatures of the versions stored last."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._read: dict[str, tuple[Signature | None, str | None]] = {}  # with why that version cannot be used
        self._missing: dict[str, float] = {}  # since when, monotonic seconds
        self._failing: dict[str, float] = {}
        self._gone: set[str] = set()  # missing twice: skipped until their folder lists them again
        self.known: set[str] = set()

    def names(self, db: apsw.Connection) -> list[str]:
        """Return all documents that exist or once did, relative to the home."""
        if not self.known:
            self.known = {name for (name,) in db.execute(KNOWN)}
        found = {name for spec in DOCUMENTS for name in expand(self._home, spec.pattern)}
        self.known |= found
        self._gone -= found
        return sorted(self.known - self._gone)

    def poll(self, db: apsw.Connection, name: str, now: Now) -> Outcome:
        """Read one document and store what changed. Raises OSError if it cannot be read."""
        signature, error = self._read.get(name, (None, None))
        seen = read_document(self._home / name, signature, now_ns=int(now.wall * 1e9))
        if isinstance(seen, Unchanged):
            return Outcome(error=error)
        if isinstance(seen, Torn):
            return Outcome(wait_s=RETRY_S)
        self._read.pop(name, None)
        if seen is None:
            return self._poll_missing(db, name, now)
        self._missing.pop(name, None)
        return self._poll_present(db, name, seen, now)

    def _poll_present(self, db: apsw.Connection, name: str, seen: Document, now: Now) -> Outcome:
        try:
            with transaction(db):
                outcome = ingest_document(db, name, seen.raw, now=now.text)
        except OverflowError:
            outcome = Outcome(error="a number in it is larger than the database can hold")
        except ValueError as error:  # one bad file must not block the others
            outcome = Outcome(error=f"its content is unexpected: {error}")
        if outcome.error is None:
            self._failing.pop(name, None)
        else:
            failing_s = now.monotonic - self._failing.setdefault(name, now.monotonic)
            if failing_s < PERSISTS_S and self._age(name, now) < PERSISTS_S:
                return Outcome(wait_s=RETRY_S if failing_s < 1 else RECHECK_S)
            outcome = Outcome(error=f"{name} cannot be used: {outcome.error}")
        self._read[name] = seen.signature, outcome.error
        return outcome

    def _poll_missing(self, db: apsw.Connection, name: str, now: Now) -> Outcome:
        if not self._home.is_dir():  # unmounted or moved away: its files may still exist
            self._missing.pop(name, None)
            return Outcome()
        if now.monotonic - self._missing.setdefault(name, now.monotonic) < RECHECK_S:
            return Outcome(wait_s=RECHECK_S)
        with transaction(db):
            outcome = ingest_document(db, name, None, now=now.text)
        self._missing.pop(name, None)
        self._failing.pop(name, None)
        self._gone.add(name)
        return outcome

    def _age(self, name: str, now: Now) -> float:
        try:
            return now.wall - (self._home / name).stat().st_mtime
        except OSError:
            return 0.0


def expand(home: Path, pattern: str) -> list[str]:
    """Return the files below home that match a pattern with at most one `*`."""
    folder, star, rest = pattern.partition("*")
    suffix, slash, file = rest.partition("/")
    found = glob(folder + star + suffix, root_dir=home) if star else [pattern]  # noqa: PTH207 - leaves out hidden files
    names = [name + slash + file for name in found]
    # SQLite could not store a name that is not UTF-8.
    return [name for name in names if storable(name) == name and _is_there(home / name)]


def _is_there(path: Path) -> bool:
    """Return whether a document may be at the path; true if that cannot be determined."""
    try:
        return stat.S_IFMT(path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFLNK}
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
