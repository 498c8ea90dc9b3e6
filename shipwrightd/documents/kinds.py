"""The documents that are read: adding one takes an entry in DOCUMENTS, its parser, and a table if it needs one.

Pure: bytes in, rows out. `lists` decides which entries of a list are new, and `store` writes what changed.
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
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document: its paths below the home, its parser, and the keyed entries that go when the file goes.

    `*` in the pattern is one name, the argument of both functions ('' for a pattern without).
    """

    pattern: str
    parse: Callable[[bytes, str], Parsed]
    keyed: Callable[[str], tuple[Scope, ...]] = lambda _: ()

    def name_in(self, path: str) -> str | None:
        """Return the part of the path that `*` matches, None for a path of another kind."""
        expression = re.escape(self.pattern).replace(r"\*", r"([^/.][^/]*)")
        match = re.fullmatch(expression, path)
        return "".join(match.groups()) if match else None


DAEMON = (Scope("daemon_state"), Scope("daemon_jobs"), Scope("daemon_queue"), Scope("daemon_titles"))
DOCUMENTS = (
    Kind("costs.json", p.costs),
    Kind("budget.json", p.budget, lambda _: (Scope("budgets"),)),
    Kind("cost-outcomes.json", p.cost_outcomes),
    Kind("developer-registry.json", p.registry, lambda _: (Scope("sessions"),)),
    Kind("daemon-state.json", p.daemon_state, lambda _: DAEMON),
    Kind("heartbeats/*.json", p.heartbeat, lambda job: (Scope("heartbeats", (job,)),)),
    Kind("memory/*/failures.json", m.failures, lambda repo: (m.memory(repo, "failure"),)),
    Kind("memory/*/decisions.json", m.decisions),
    Kind("memory/*/patterns.json", m.patterns, lambda repo: (m.memory(repo, "pattern"),)),
    Kind("memory/*/metrics.json", m.baselines, lambda repo: (m.memory(repo, "baseline"),)),
    Kind("memory/*/architecture.json", m.architecture, lambda repo: (m.memory(repo, "architecture"),)),
    Kind("memory/global.json", m.global_memory, lambda _: (m.memory(m.GLOBAL, "global_pattern"),)),
    Kind("memory/patterns.json", m.bootstrap, lambda _: (m.memory(m.GLOBAL, "pattern"),)),
)


def kind_of(path: str) -> Kind | None:
    """Return the kind of the document at a path below the home, None if no such document is read."""
    return next((kind for kind in DOCUMENTS if kind.name_in(path) is not None), None)


def parse_document(path: str, raw: bytes | None) -> Parsed:
    """Parse a document; if its file is gone (None), no keyed entries are left of it, and its lists are not known.

    Raises DocumentError for bytes that are not JSON, ValueError for a path of no kind.
    """
    kind = kind_of(path)
    name = (kind.name_in(path) if kind else None) or ""
    if raw is None:
        return Parsed(keyed=[Keyed(scope, {}) for scope in kind.keyed(name)] if kind else [])
    if kind is None:
        raise ValueError(f"{path} is not a known document")
    try:
        return kind.parse(raw, name)
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise DocumentError("nested too deeply") from error
