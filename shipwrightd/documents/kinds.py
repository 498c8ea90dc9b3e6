"""The documents that are read: adding one takes an entry in DOCUMENTS, its parser, and a table if it needs one.

Pure: bytes in, rows out. `changes` here and `lists` decide what of them is new;
`store` writes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from shipwrightd.decoding.values import DocumentError
from shipwrightd.documents import memory as m
from shipwrightd.documents import shipwright as p
from shipwrightd.documents.fields import Keyed, Parsed, Scope

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shipwrightd.documents.fields import Key, Row


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document: its paths below the home, its parser, and the keyed entries that go when the file goes.

    `lists` says that it has appended lists. `*` in the pattern is one name, the argument of both functions
    ('' for a pattern without).
    """

    pattern: str
    parse: Callable[[bytes, str], Parsed]
    keyed: Callable[[str], tuple[Scope, ...]] = lambda _: ()
    lists: bool = False

    def name_in(self, path: str) -> str | None:
        """Return the part of the path that `*` matches, None for a path of another kind."""
        expression = re.escape(self.pattern).replace(r"\*", r"([^/.][^/]*)")
        match = re.fullmatch(expression, path)
        return "".join(match.groups()) if match else None


DAEMON = (Scope("daemon_state"), Scope("daemon_jobs"), Scope("daemon_queue"), Scope("daemon_titles"))
DOCUMENTS = (
    Kind("costs.json", p.costs, lists=True),
    Kind("budget.json", p.budget, lambda _: (Scope("budgets"),)),
    Kind("cost-outcomes.json", p.cost_outcomes, lists=True),
    Kind("developer-registry.json", p.registry, lambda _: (Scope("sessions"),)),
    Kind("daemon-state.json", p.daemon_state, lambda _: DAEMON, lists=True),
    Kind("heartbeats/*.json", p.heartbeat, lambda job: (Scope("heartbeats", (job,)),)),
    Kind("memory/*/failures.json", m.failures, lambda repo: (m.memory(repo, "failure"),)),
    Kind("memory/*/decisions.json", m.decisions, lists=True),
    Kind("memory/*/patterns.json", m.patterns, lambda repo: (m.memory(repo, "pattern"),)),
    Kind("memory/*/metrics.json", m.baselines, lambda repo: (m.memory(repo, "baseline"),)),
    Kind("memory/*/architecture.json", m.architecture, lambda repo: (m.memory(repo, "architecture"),)),
    Kind("memory/global.json", m.global_memory, lambda _: (m.memory(m.GLOBAL, "global_pattern"),), lists=True),
    Kind("memory/patterns.json", m.bootstrap, lambda _: (m.memory(m.GLOBAL, "pattern"),)),
)


def kind_of(path: str) -> Kind | None:
    """Return the kind of the document at a path below the home, None if no such document is read."""
    return next((kind for kind in DOCUMENTS if kind.name_in(path) is not None), None)


def parse_document(path: str, raw: bytes) -> Parsed:
    """Parse a document. Raises DocumentError for bytes that are not JSON, ValueError for a path of no kind."""
    kind = kind_of(path)
    if kind is None:
        raise ValueError(f"{path} is not a known document")
    try:
        return kind.parse(raw, kind.name_in(path) or "")
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise DocumentError("nested too deeply") from error


def without_document(path: str) -> Parsed:
    """Return the parts of a document whose file is gone: keyed scopes without entries, and no lists."""
    kind = kind_of(path)
    scopes = kind.keyed(kind.name_in(path) or "") if kind else ()
    return Parsed(keyed=[Keyed(scope, {}) for scope in scopes])


@dataclass(frozen=True, slots=True)
class Known:
    """A keyed row as it is stored."""

    id: int | str
    row: Row
    present: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What to write for the keyed entries of one scope; `same` counts those that need nothing."""

    insert: tuple[tuple[Key, Row], ...]
    update: tuple[tuple[int | str, Row], ...]
    gone: tuple[int | str, ...]
    same: int


def changes(known: Mapping[Key, Known], found: Mapping[Key, Row], follow: Callable[[Row, Row], Row]) -> Changes:
    """Return the changes that make the stored entries equal the found ones.

    `follow` returns the row to store, given the known and the found row of an entry.
    """
    insert, update, same = [], [], 0
    for key, row in found.items():
        stored = known.get(key)
        if stored is None:
            insert.append((key, row))
        elif (after := follow(stored.row, row)) != stored.row or not stored.present:
            update.append((stored.id, after))
        else:
            same += 1
    gone = [stored.id for key, stored in known.items() if stored.present and key not in found]
    return Changes(tuple(insert), tuple(update), tuple(gone), same)
