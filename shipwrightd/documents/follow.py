"""All documents of a home: which of them to look at now, and one of them into the database.

A document that does not parse is taken for a torn write until it has stood so
for 30 seconds; then it is an error, and what was stored of it stays.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.database.connection import transaction
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.documents.snapshot import Document, Missing, Signature, Torn, Unchanged, look
from shipwrightd.documents.store import Outcome, ingest_document

if TYPE_CHECKING:
    from pathlib import Path

    import apsw

    from shipwrightd.clock import Now

PERSISTS_S = 30.0  # a parse error older than this is no torn write
RETRY_S = 0.1
SECOND_LOOK_S = 1.0  # a file replaced by unlink and create is missing for a moment
KNOWN = "SELECT source FROM checkpoints WHERE kind = 'document'"


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of one look at one document."""

    records: int = 0
    error: str | None = None
    wait_s: float | None = None  # look again then: it is torn, or missing for the first time


class Documents:
    """The documents of one home, each with the signature of the version that was stored last."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._signatures: dict[str, Signature] = {}
        self._missing: dict[str, float] = {}  # since when, monotonic seconds
        self._failing: dict[str, float] = {}
        self._errors: dict[str, str] = {}  # what is wrong with the version that was seen last
        self._gone: set[str] = set()  # missing twice: not looked for until the folder shows them again
        self.known: set[str] = set()

    def names(self, db: apsw.Connection) -> list[str]:
        """Return all documents that exist or once did, relative to the home."""
        if not self.known:
            self.known = {name for (name,) in db.execute(KNOWN)}
        found = {name for spec in DOCUMENTS for name in expand(self._home, spec.pattern)}
        self.known |= found
        self._gone -= found
        return sorted(self.known - self._gone)

    def take(self, db: apsw.Connection, name: str, now: Now) -> Taken:
        """Look at one document and store what is new in it. Raises OSError when it cannot be read."""
        seen = look(self._home / name, self._signatures.get(name), now_ns=int(now.wall * 1e9))
        if isinstance(seen, Unchanged):
            return Taken(error=self._errors.get(name))
        if isinstance(seen, Torn):
            return Taken(wait_s=RETRY_S)
        if isinstance(seen, Missing):
            return self._take_missing(db, name, now)
        self._missing.pop(name, None)
        return self._take_present(db, name, seen, now)

    def _take_present(self, db: apsw.Connection, name: str, seen: Document, now: Now) -> Taken:
        try:
            with transaction(db):
                outcome = ingest_document(db, name, seen.raw, now=now.text)
        except OverflowError:
            outcome = Outcome(error="a number in it is larger than the database can hold")
        except ValueError as error:  # no file may keep the others from being read
            outcome = Outcome(error=f"it holds what nobody expects: {error}")
        self._errors.pop(name, None)
        if outcome.error is None:
            self._failing.pop(name, None)
            if seen.signature is not None:
                self._signatures[name] = seen.signature
            return Taken(outcome.records)
        since = self._failing.setdefault(name, now.monotonic)
        if now.monotonic - since < PERSISTS_S and self._age(name, now) < PERSISTS_S:
            return Taken(wait_s=RETRY_S if now.monotonic - since < 1 else SECOND_LOOK_S)
        if seen.signature is not None:
            self._signatures[name] = seen.signature
        self._errors[name] = f"{name} cannot be used: {outcome.error}"
        return Taken(error=self._errors[name])

    def _take_missing(self, db: apsw.Connection, name: str, now: Now) -> Taken:
        self._signatures.pop(name, None)
        self._errors.pop(name, None)
        if not self._home.is_dir():  # unmounted or moved away: that says nothing of its files
            self._missing.pop(name, None)
            return Taken()
        since = self._missing.setdefault(name, now.monotonic)
        if now.monotonic - since < SECOND_LOOK_S:
            return Taken(wait_s=SECOND_LOOK_S)
        with transaction(db):
            outcome = ingest_document(db, name, None, now=now.text, confirmed_missing=True)
        self._missing.pop(name, None)
        self._failing.pop(name, None)
        self._gone.add(name)
        return Taken(outcome.records)

    def _age(self, name: str, now: Now) -> float:
        try:
            return now.wall - (self._home / name).stat().st_mtime
        except OSError:
            return 0.0


def expand(home: Path, pattern: str) -> list[str]:
    """Return the files below home that a pattern with at most one `*` per folder names."""
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
    """Tell whether something that may be a document is at the path; what cannot be looked at may be one."""
    try:
        return stat.S_IFMT(path.lstat().st_mode) in {stat.S_IFREG, stat.S_IFLNK}
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _is_text(name: str) -> bool:
    """Tell whether a file name is UTF-8; Shipwright makes no other, and SQLite could not hold it."""
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
