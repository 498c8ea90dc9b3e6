"""The documents that are read: adding one takes an entry in DOCUMENTS, its parser, and a table if it needs one.

Pure: bytes in, rows out. `lists` decides which entries of a list are new, and `store` writes what changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from shipwrightd.decoding.values import DocumentError, parse_json, parse_sequence
from shipwrightd.documents import memory as m
from shipwrightd.documents import shipwright as p
from shipwrightd.documents.fields import Keyed, Parsed, Scope

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document: its paths below the home, its parser, and the keyed entries that go when the file goes.

    `*` in the pattern is one name, the argument of `parse` and `keyed` ('' for a pattern without).
    `parse` adds the parts of a value that `read` returned; a value of another `shape` is rejected.
    """

    pattern: str
    parse: Callable[[Parsed, Any, str], None]
    keyed: Callable[[str], tuple[Scope, ...]] = lambda _: ()
    read: Callable[[bytes], Any] = parse_json
    shape: type = dict

    def name_in(self, path: str) -> str | None:
        """Return the part of the path that `*` matches, None for a path of another kind."""
        expression = re.escape(self.pattern).replace(r"\*", r"([^/.][^/]*)")
        match = re.fullmatch(expression, path)
        return "".join(match.groups()) if match else None


DAEMON = (Scope("daemon_state"), Scope("daemon_jobs"), Scope("daemon_queue"), Scope("daemon_titles"))
DOCUMENTS = (
    Kind("costs.json", p.costs),
    Kind("budget.json", p.budget, lambda _: (Scope("budgets"),)),
    Kind("cost-outcomes.json", p.cost_outcomes, read=parse_sequence, shape=list),
    Kind("developer-registry.json", p.registry, lambda _: (Scope("sessions"),), shape=list),
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
    parsed = Parsed()
    try:
        value = kind.read(raw)
        if isinstance(value, kind.shape):
            kind.parse(parsed, value, name)
        else:
            parsed.reject(f"the document is not {'a list' if kind.shape is list else 'an object'}", value)
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise DocumentError("nested too deeply") from error
    return parsed
