"""Rows of memory_entries to what is told of them; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping


class Row(NamedTuple):
    """What is read of an entry."""

    id: int
    repo_hash: str
    entry_type: str
    section: str
    pattern: str | None
    root_cause: str | None
    fix: str | None
    stage: str | None
    frequency: int | None
    seen_count: int | None
    first_seen: str | None
    last_seen: str | None
    present: int
    extra: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure that was seen, what it came from, and whether the fix helped."""

    id: int
    entry_type: str
    repo_hash: str
    repo: str | None
    name: str | None  # its text
    category: object
    stage: str | None  # where it was first seen
    frequency: int | None  # sightings, those before it was pruned from the file too
    seen_count: int | None  # sightings the file tells of
    root_cause: str | None
    fix: str | None
    fix_suggested: object  # times
    fix_applied: object
    fix_resolved: object
    fix_effectiveness_percent: float | None  # resolved of applied
    reported_effectiveness_percent: object  # as the file says; its writer counts the last outcome twice
    first_seen: str | None  # UTC
    last_seen: str | None  # UTC
    last_outcome_at: object  # UTC: when a fix was last applied
    present: bool  # False: gone from the file


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision that was recorded."""

    id: int
    entry_type: str
    repo_hash: str
    repo: str | None
    type: object
    name: str | None  # its summary
    detail: object
    last_seen: str | None  # UTC, when it was recorded


@dataclass(frozen=True, slots=True)
class Fact:
    """Any other entry: its name and all that is said under it."""

    id: int
    entry_type: str  # pattern | baseline | architecture | global_pattern | learning
    repo_hash: str
    repo: str | None
    section: str  # known_issues, else empty
    name: str | None
    value: Any
    first_seen: str | None  # UTC
    last_seen: str | None  # UTC
    present: bool  # False: gone from the file


def failure(values: tuple[Any, ...], names: Mapping[str, str | None]) -> Failure:
    """Return a failure."""
    row = Row(*values)
    extra = extra_of(row)
    applied, resolved = extra.get("times_fix_applied"), extra.get("times_fix_resolved")
    return Failure(
        row.id,
        row.entry_type,
        row.repo_hash,
        names.get(row.repo_hash),
        row.pattern,
        extra.get("category"),
        row.stage,
        row.frequency,
        row.seen_count,
        row.root_cause or None,
        row.fix or None,
        extra.get("times_fix_suggested"),
        applied,
        resolved,
        effectiveness(applied, resolved),
        extra.get("fix_effectiveness_rate"),
        row.first_seen,
        row.last_seen,
        extra.get("last_outcome_at"),
        bool(row.present),
    )


def effectiveness(applied: object, resolved: object) -> float | None:
    """Return how many of the applied fixes helped, in percent; None where none was applied."""
    if isinstance(applied, int) and isinstance(resolved, int | None) and applied > 0:
        return round(100 * (resolved or 0) / applied, 2)
    return None


def decision(values: tuple[Any, ...], names: Mapping[str, str | None]) -> Decision:
    """Return a decision."""
    row = Row(*values)
    extra = extra_of(row)
    return Decision(
        row.id,
        row.entry_type,
        row.repo_hash,
        names.get(row.repo_hash),
        extra.get("type"),
        row.pattern,
        extra.get("detail"),
        row.last_seen,
    )


def fact(values: tuple[Any, ...], names: Mapping[str, str | None]) -> Fact:
    """Return any other entry."""
    row = Row(*values)
    return Fact(
        row.id,
        row.entry_type,
        row.repo_hash,
        names.get(row.repo_hash),
        row.section,
        row.pattern,
        value_of(row),
        row.first_seen,
        row.last_seen,
        bool(row.present),
    )


def value_of(row: Row) -> Any:  # noqa: ANN401 - any JSON
    """Return what is said under an entry's name: its fields; the value alone where that is all there is."""
    extra = extra_of(row)
    return extra["value"] if list(extra) == ["value"] else extra or None


def extra_of(row: Row) -> dict[str, Any]:
    """Return the fields of an entry that have no column."""
    found = orjson.loads(row.extra) if row.extra else {}
    return found if isinstance(found, dict) else {}
