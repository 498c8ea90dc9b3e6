"""What a check found, and the case it is asked about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OK = "ok"
WARN = "warn"
FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer. Its fields are the keys of `doctor --json`; they may grow, but none goes."""

    check: str  # what was looked at; a word that stays the same
    state: str  # ok | warn (works, but look at it) | fail (does not work, or loses something)
    text: str
    todo: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)  # figures behind the text
    private: bool = False  # the text may quote what a person wrote: it stays out of a support archive


def ok(check: str, text: str, **facts: object) -> Finding:
    """Return that all is well."""
    return Finding(check, OK, text, facts=facts)


def warn(check: str, text: str, todo: str, **facts: object) -> Finding:
    """Return that something works and should be looked at."""
    return Finding(check, WARN, text, todo, facts)


def fail(check: str, text: str, todo: str, **facts: object) -> Finding:
    """Return that something does not work, or that something is lost."""
    return Finding(check, FAIL, text, todo, facts)


@dataclass(frozen=True, slots=True)
class Case:
    """What is examined, when, and how thoroughly."""

    home: Path
    db: Path
    now: float  # seconds
    user: int  # id of the user whose files they should be
    journals: Mapping[str, Sequence[str]]  # each with the names it is rotated to
    documents: Sequence[str]  # patterns
    deep: bool = False
