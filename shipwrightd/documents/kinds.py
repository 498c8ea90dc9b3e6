"""The documents that are read: adding one takes an entry in DOCUMENTS, and a table if it needs one.

Pure: bytes in, rows out. A row is in the column order of the statements in `store`. `lists` decides which entries of a
list are new, and `store` writes what changed.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from shipwrightd.decoding.values import (
    INT64_MAX,
    DocumentError,
    compact,
    entry_hash,
    epoch_of,
    parse_json,
    parse_sequence,
    seconds_of,
)
from shipwrightd.documents import fields as f
from shipwrightd.documents.fields import Entries, Item, Keyed, List, Object, Parsed
from shipwrightd.documents.lists import surplus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shipwrightd.decoding.values import Json
    from shipwrightd.documents.fields import Take

    Find = Callable[[Parsed, Object, str], Entries | None]  # in a document, by the name of the part; None: absent

NAME = "*"  # in a pattern any one name, in a scope that name
GLOBAL = "global"
RECORDED = ("outcomes", "summary")  # fields that recording an outcome adds to every object of the file


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a document: how its entries are found, and the values that select its rows of the table.

    An appended list has a `cap`, the number of entries that its writer keeps (0: all); other entries are keyed.
    """

    name: str
    table: str
    find: Find
    scope: tuple[str, ...] = ()
    cap: int | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document: its paths below the home and its parts.

    `prepare` makes an object of a value that `read` returned; a value of another `shape` is rejected.
    """

    pattern: str
    parts: Sequence[Part]
    read: Callable[[bytes], Any] = parse_json
    shape: type[Object | list[Json]] = dict
    prepare: Callable[[Parsed, Any], Object] = lambda _, value: value

    def name_in(self, path: str) -> str | None:
        """Return the part of the path that `*` matches, '' without one, None for a path of another kind."""
        expression = re.escape(self.pattern).replace(r"\*", r"([^/.][^/]*)")
        match = re.fullmatch(expression, path)
        return "".join(match.groups()) if match else None

    def scopes(self, path: str) -> dict[Part, tuple[str, ...]]:
        """Return the values that select the rows of each part, for the document at a path."""
        name = self.name_in(path) or ""
        return {part: tuple(name if value == NAME else value for value in part.scope) for part in self.parts}


def kind_of(path: str) -> Kind | None:
    """Return the kind of the document at a path below the home, None if no such document is read."""
    return next((kind for kind in DOCUMENTS if kind.name_in(path) is not None), None)


def parse_document(path: str, raw: bytes | None) -> Parsed:
    """Parse a document; if its file is gone (None), no keyed entries are left of it, and its lists are not known.

    Raises DocumentError for bytes that are not JSON, ValueError for a path of no kind.
    """
    parsed = Parsed()
    kind = kind_of(path)
    if kind is None:
        if raw is None:
            return parsed
        raise ValueError(f"{path} is not a known document")
    scopes = kind.scopes(path)
    if raw is None:
        parsed.keyed = [Keyed(part.table, scope, {}) for part, scope in scopes.items() if part.cap is None]
        return parsed
    epochs: list[int] = []
    try:
        value = kind.read(raw)
        if not parsed.has_shape("the document", value, kind.shape):
            return parsed
        document = kind.prepare(parsed, value)
        for part, scope in scopes.items():
            if (entries := part.find(parsed, document, part.name)) is None:
                continue
            if part.cap is None:
                parsed.keyed.append(Keyed(part.table, scope, parsed.keyed_rows(part.name, entries)))
            else:
                hashes, rows = [entry_hash(value) for value, _ in entries], f.list_rows(part.name, entries)
                parsed.lists.append(List(part.name, part.table, scope, part.cap, hashes, rows))
            epochs += [item.epoch for _, item in entries if isinstance(item, Item) and item.epoch is not None]
    except (RecursionError, orjson.JSONEncodeError) as error:
        raise DocumentError("nested too deeply") from error
    parsed.newest_epoch = max(epochs, default=None)
    return parsed


# -- where the entries of a part are


def each(to_item: Callable[[Object], Item | str]) -> Find:
    """Find the objects of the list that the document has under the name of the part."""
    return lambda parsed, document, name: parsed.items(
        document, name, lambda value, _: to_item(value) if isinstance(value, dict) else "entry is not an object"
    )


def whole(to_item: Callable[[Object], Item]) -> Find:
    """Find one entry, the document itself."""
    return lambda _, document, __: [(document, to_item(document))]


# -- costs


def timed(value: Object, **types: Take) -> Item:
    """Return the columns of these types, ts, ts_epoch, extra."""
    *row, ts, epoch, extra = f.columns(value, **types, ts=f.text, ts_epoch=f.seconds)
    epoch = epoch_of(ts) if epoch is None else epoch
    return Item((*row, ts, epoch, extra), epoch)


cost = partial(
    timed, input_tokens=f.number, output_tokens=f.number, model=f.text, stage=f.text, issue=f.issue, cost_usd=f.number
)


def outcome(cost_field: str, value: Object) -> Item:
    """Return pipeline_id, issue, cost_usd, success, model, template, ts, ts_epoch, extra."""
    types = {"pipeline_id": f.text, "issue": f.issue, cost_field: f.number, "success": f.flag}
    return timed(value, **types, model=f.text, template=f.bare_text)


def outcomes(parsed: Parsed, pieces: list[Object | str]) -> Object:
    """Return the lists of cost-outcomes.json, a sequence of objects.

    Recording an outcome adds it to every object, so the list of outcomes is the longest one, followed by the entries
    that the others have beyond it. All other fields of an object are what a pipeline appended.
    """
    for piece in pieces:
        if isinstance(piece, str):
            parsed.reject("neither an object nor part of one", piece)
    values = [piece for piece in pieces if isinstance(piece, dict)]
    lists = [part for value in values if (part := parsed.field(value, "outcomes", list)) is not None]
    longest = max(lists, key=len, default=None)
    merged: list[Json] = []
    hashes: list[bytes] = []
    for part in sorted(lists, key=lambda part: part is not longest):
        theirs = [entry_hash(item) for item in part]
        beyond = surplus(Counter(hashes), theirs)
        merged += [part[i] for i in beyond]
        hashes += [theirs[i] for i in beyond]
    appended = [{key: item for key, item in value.items() if key not in RECORDED} for value in values]
    return {"outcomes": merged if lists else None, "pipelines": [rest for rest in appended if rest]}


def budget(document: Object) -> Item:
    """Return daily_budget_usd, enabled, extra."""
    return Item(tuple(f.columns(document, daily_budget_usd=f.number, enabled=f.flag)), key=("daily",))


# -- developers and the daemon


def developer(value: Object) -> Item | str:
    """Return developer, machine, hostname, platform, last_heartbeat_ms, ..., queued, extra."""
    types = {"developer_id": f.text, "machine_name": f.text, "hostname": f.text, "platform": f.text}
    types |= {"last_heartbeat": f.number, "daemon_running": f.flag, "daemon_pid": f.number}
    row = f.columns(value, **types, active_jobs=f.json, queued=f.json)
    name, machine, _, _, heartbeat, *_ = row
    if not name or not machine:
        return "entry without developer_id and machine_name"
    seen = int(heartbeat // 1_000) if heartbeat and abs(heartbeat) <= INT64_MAX else None
    return Item(tuple(row), seen, key=(f"{name}@{machine}",))


def heartbeat(document: Object) -> Item:
    """Return pid, issue, stage, iteration, ..., updated_at, updated_epoch, extra."""
    types = {"pid": f.number, "issue": f.issue, "stage": f.text, "iteration": f.number, "memory_mb": f.number}
    *row, updated, extra = f.columns(document, **types, cpu_pct=f.number, last_activity=f.text, updated_at=f.text)
    epoch = epoch_of(updated)
    return Item((*row, updated, epoch, extra), epoch)


def job(value: Object) -> Item:
    """Return issue, repo, pid, worktree, title, goal, started_at, extra."""
    types = {"issue": f.issue, "repo": f.text, "pid": f.number, "worktree": f.text, "title": f.text, "goal": f.text}
    row = f.columns(value, **types, started_at=f.text)
    issue, repo, *_, started, _ = row
    key = f"{repo or ''}#{'' if issue is None else issue}@{started or ''}"
    return Item(tuple(row), epoch_of(started), key=(key,))


def queued(value: Json, position: int) -> Item | str:
    """Return issue, repo, position, extra."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return "item is neither text nor number"
    repo, colon, number = str(value).rpartition(":")
    return Item((f.issue(number)[0], repo if colon else None, position, None), key=(str(value),))


def titles(_: Parsed, document: Object, name: str) -> Entries | None:
    """Find title, extra of each work item; what is not an object stays in the extra of the daemon."""
    if not isinstance(found := document.get(name), dict):
        return None
    return [
        ({key: title}, Item((title, None), key=(key,)) if isinstance(title, str) else "title is not a text")
        for key, title in found.items()
    ]


def daemon(document: Object) -> Item:
    """Return pid, started_at, last_poll, config, extra; without what is stored in other tables."""
    stored = {"active_jobs", "queued", "completed", "failure_history"}
    if isinstance(document.get("titles"), dict):
        stored.add("titles")
    rest = {key: value for key, value in document.items() if key not in stored}
    row = f.columns(rest, pid=f.number, started_at=f.text, last_poll=f.text, config=f.json)
    return Item(tuple(row), key=("daemon",))


def completed(value: Object) -> Item:
    """Return issue, result, exit_code, duration, duration_s, completed_at, completed_epoch, extra."""
    types = {"issue": f.issue, "result": f.text, "exit_code": f.number, "duration": f.text, "completed_at": f.text}
    *row, duration, at, extra = f.columns(value, **types)
    epoch = epoch_of(at)
    return Item((*row, duration, seconds_of(duration), at, epoch, extra), epoch)


def daemon_failure(value: Object) -> Item:
    """Return class, ts, ts_epoch, extra."""
    return timed(value, **{"class": f.text})


# -- memory: keyed rows of root_cause, fix, stage, frequency, seen_count, frequency_base, first_seen, last_seen, extra,
# with section and pattern as their key; a row of a list is pattern, first_seen, last_seen, extra


def failure(value: Object) -> Item | str:
    """Return a failure's keyed row as if it were seen for the first time."""
    types = {"root_cause": f.text, "fix": f.text, "stage": f.text, "seen_count": f.number}
    pattern, last_seen, *head, seen, extra = f.columns(value, pattern=f.text, last_seen=f.text, **types)
    if pattern is None:
        return "entry without a pattern"
    times = seen if isinstance(seen, int) else None
    return Item((*head, times, seen, 0, last_seen, last_seen, extra), epoch_of(last_seen), key=("", pattern))


def plain(pattern: str, at: str | None, extra: str | None, section: str = "") -> Item:
    """Return the keyed row of an entry that is not a failure, first and last seen at the same time."""
    return Item((None, None, None, None, None, None, at, at, extra), epoch_of(at), key=(section, pattern))


def noted(value: Object, **types: Take) -> Item:
    """Return the list row of an entry, given the fields of its pattern and of its time."""
    pattern, at, extra = f.columns(value, **types)
    return Item((pattern, at, at, extra), epoch_of(at))


decision = partial(noted, summary=f.text, recorded_at=f.text)
learning = partial(noted, type=f.text, captured_at=f.text)


def global_pattern(value: Object) -> Item | str:
    """Return a global pattern's keyed row."""
    pattern, at, extra = f.columns(value, pattern=f.text, promoted_at=f.text)
    return "entry without a pattern" if pattern is None else plain(pattern, at, extra)


def bootstrap(document: Object) -> Item:
    """Return the keyed row of memory/patterns.json, beside the folders: a pattern "project" of all repositories."""
    at, extra = f.columns(document, detected_at=f.text)
    return plain("project", at, extra)


def patterns(parsed: Parsed, document: Object, __: str) -> Entries:
    """Find each section by its name, with a value that is not an object under "value", and each known issue."""
    at, _ = f.columns(document, captured_at=f.text)
    sections = {key: inner for key, inner in document.items() if key not in {"known_issues", "captured_at"}}
    entries: Entries = [
        (inner, plain(key, at, compact(inner if isinstance(inner, dict) else {"value": inner})))
        for key, inner in sections.items()
    ]
    return entries + (parsed.items(document, "known_issues", known_issue) or [])


def known_issue(value: Json, _: int) -> Item | str:
    """Return a known issue's keyed row."""
    return plain(value, None, None, "known_issues") if isinstance(value, str) else "known issue is not a text"


def baselines(parsed: Parsed, document: Object, name: str) -> Entries | None:
    """Find each baseline of a repository."""
    at, _ = f.columns(document, last_updated=f.text)
    found = parsed.field(document, name, dict)
    return None if found is None else architecture(parsed, found, name, at)


def architecture(_: Parsed, document: Object, __: str, at: str | None = None) -> Entries:
    """Find each field, whatever its value, which is kept under "value": a model writes architecture.json."""
    return [(inner, plain(key, at, compact({"value": inner}))) for key, inner in document.items()]


# -- the documents


def memory(name: str, find: Find, entry_type: str, cap: int | None = None, repo: str = NAME) -> Part:
    """Return a part that is one type of entry of one repository."""
    return Part(name, "memory_entries", find, (repo, entry_type), cap)


REGISTRY = Part("registry", "sessions", each(developer))
DAEMON = (
    Part("active_jobs", "daemon_jobs", each(job)),
    Part("queued", "daemon_queue", lambda parsed, document, name: parsed.items(document, name, queued)),
    Part("completed", "daemon_completed", each(completed), cap=500),
    Part("failure_history", "daemon_failures", each(daemon_failure), cap=100),
    Part("titles", "daemon_titles", titles),
    Part("daemon", "daemon_state", whole(daemon)),
)
OUTCOMES = (
    Part("outcomes", "cost_outcomes", each(partial(outcome, "cost_usd")), ("outcome",), cap=500),
    Part("pipelines", "cost_outcomes", each(partial(outcome, "cost")), ("pipeline",), cap=0),
)
SHARED = (
    memory("common_patterns", each(global_pattern), "global_pattern", repo=GLOBAL),
    memory("cross_repo_learnings", each(learning), "learning", 50, GLOBAL),
)
DOCUMENTS = (
    Kind("costs.json", [Part("entries", "cost_entries", each(cost), cap=1_000)]),
    Kind("budget.json", [Part("budget", "budgets", whole(budget))]),
    Kind("cost-outcomes.json", OUTCOMES, parse_sequence, list, outcomes),
    Kind("developer-registry.json", [REGISTRY], shape=list, prepare=lambda _, found: {REGISTRY.name: found}),
    Kind("daemon-state.json", DAEMON),
    Kind("heartbeats/*.json", [Part("heartbeat", "heartbeats", whole(heartbeat), (NAME,))]),
    Kind("memory/*/failures.json", [memory("failures", each(failure), "failure")]),
    Kind("memory/*/decisions.json", [memory("decisions", each(decision), "decision", 100)]),
    Kind("memory/*/patterns.json", [memory("patterns", patterns, "pattern")]),
    Kind("memory/*/metrics.json", [memory("baselines", baselines, "baseline")]),
    Kind("memory/*/architecture.json", [memory("architecture", architecture, "architecture")]),
    Kind("memory/global.json", SHARED),
    Kind("memory/patterns.json", [memory("patterns", whole(bootstrap), "pattern", repo=GLOBAL)]),
)
