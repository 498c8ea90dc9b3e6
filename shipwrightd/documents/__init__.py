"""Follow all documents of a home: which to read now, and one of them into the database.

A document that does not parse counts as half written for 30 seconds; then it is an
error, and what was stored of it stays.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from shipwrightd.database import transaction
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.documents.snapshot import Document, Missing, Signature, Torn, Unchanged, read_document
from shipwrightd.documents.store import Outcome, ingest_document

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from shipwrightd.clock import Now

PERSISTS_S = 30.0  # a parse error older than this is not a half-written file
RETRY_S = 0.1
SECOND_LOOK_S = 1.0  # a file replaced by unlink and create is missing for a moment
KNOWN = "SELECT source FROM checkpoints WHERE kind = 'document'"


class Documents:
    """The documents of one home and the signatures of the versions stored last."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._signatures: dict[str, Signature] = {}
        self._missing: dict[str, float] = {}  # since when, monotonic seconds
        self._failing: dict[str, float] = {}
        self._errors: dict[str, str] = {}  # why the last version cannot be used
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
        seen = read_document(self._home / name, self._signatures.get(name), now_ns=int(now.wall * 1e9))
        if isinstance(seen, Unchanged):
            return Outcome(error=self._errors.get(name))
        if isinstance(seen, Torn):
            return Outcome(wait_s=RETRY_S)
        if isinstance(seen, Missing):
            return self._poll_missing(db, name, now)
        self._missing.pop(name, None)
        return self._poll_present(db, name, seen, now)

    def _poll_present(self, db: apsw.Connection, name: str, seen: Document, now: Now) -> Outcome:
        try:
            with transaction(db):
                outcome = ingest_document(db, name, seen.raw, now=now.text)
        except OverflowError:
            outcome = Outcome(error="a number in it is larger than the database can hold")
        except ValueError as error:  # no file may keep the others from being read
            outcome = Outcome(error=f"its content is unexpected: {error}")
        self._errors.pop(name, None)
        if outcome.error is None:
            self._failing.pop(name, None)
            if seen.signature is not None:
                self._signatures[name] = seen.signature
            return outcome
        since = self._failing.setdefault(name, now.monotonic)
        if now.monotonic - since < PERSISTS_S and self._age(name, now) < PERSISTS_S:
            return Outcome(wait_s=RETRY_S if now.monotonic - since < 1 else SECOND_LOOK_S)
        if seen.signature is not None:
            self._signatures[name] = seen.signature
        self._errors[name] = f"{name} cannot be used: {outcome.error}"
        return Outcome(error=self._errors[name])

    def _poll_missing(self, db: apsw.Connection, name: str, now: Now) -> Outcome:
        self._signatures.pop(name, None)
        self._errors.pop(name, None)
        if not self._home.is_dir():  # unmounted or moved away: its files may still exist
            self._missing.pop(name, None)
            return Outcome()
        since = self._missing.setdefault(name, now.monotonic)
        if now.monotonic - since < SECOND_LOOK_S:
            return Outcome(wait_s=SECOND_LOOK_S)
        with transaction(db):
            outcome = ingest_document(db, name, None, now=now.text, confirmed_missing=True)
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
    """Return the files below home that match a pattern with at most one `*` per folder."""
    found = [""]
    for part in pattern.split("/"):
        if "*" not in part:
            found = [f"{base}{part}/" for base in found]
            continue
        prefix, _, suffix = part.partition("*")
        found = [
            f"{base}{entry}/"
            for base in found
            for entry in _entries(home / base)
            if entry.startswith(prefix) and entry.endswith(suffix) and not entry.startswith(".")
        ]
    return [name[:-1] for name in found if _is_there(home / name[:-1])]


def _is_there(path: Path) -> bool:
    """Return whether a document may be at the path; true if that cannot be determined."""
    try:
        return stat.S_IFMT(path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFLNK}
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _is_text(name: str) -> bool:
    """Return whether a file name is UTF-8; Shipwright writes no other, and SQLite could not store it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entries(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_text(entry.name))
    except OSError:
        return []
