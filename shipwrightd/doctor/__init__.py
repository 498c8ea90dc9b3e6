"""`doctor`: checks everything a maintainer would ask about, without changing anything.

A check examines one thing and returns findings, each with what to do. Its function has the name of the check.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.database.lock import lock_is_held, lock_path
from shipwrightd.status import Status, collect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from shipwrightd.config import Resolved
    from shipwrightd.service import State

OK = "ok"
WARN = "warn"
FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check. Its fields are the keys of `doctor --json`; fields may be added, none is removed."""

    check: str  # a stable name of what was checked
    state: str  # ok | warn (works, but needs attention) | fail (does not work, or loses something)
    text: str
    todo: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)  # figures behind the text
    private: bool = False  # the text may quote what a person wrote: left out of a support archive


def ok(check: str, text: str, **facts: object) -> Finding:
    """Return that something is as it should be."""
    return Finding(check, OK, text, facts=facts)


def warn(check: str, text: str, todo: str, **facts: object) -> Finding:
    """Return that something works but needs attention."""
    return Finding(check, WARN, text, todo, facts)


def fail(check: str, text: str, todo: str, **facts: object) -> Finding:
    """Return that something does not work, or that something is lost."""
    return Finding(check, FAIL, text, todo, facts)


@dataclass(frozen=True, slots=True)
class Target:
    """The installation to examine, and the sources it may have."""

    home: Path
    db: Path
    now: float  # seconds since 1970
    user: int  # id of the user who should own the files
    journals: Mapping[str, Sequence[str]]  # each with its rotated names
    documents: Sequence[str]  # patterns
    settings: Resolved
    variables: Mapping[str, str]  # of the environment
    service: State | None = None
    deep: bool = False  # read the whole database, however long that takes

    @property
    def held(self) -> bool:
        """Return whether a process holds the writer lock."""
        return lock_is_held(lock_path(self.db))

    def status(self) -> Status:
        """Return what `status` reports, leaving no trace beside the database."""
        return collect(self.home, self.db, list(self.journals), self.now, untouched=True)
