"""Parsers of the files below memory/: bytes and the name of their folder to rows. Pure.

A keyed row is root_cause, fix, stage, frequency, seen_count, frequency_base,
first_seen, last_seen, extra; its key is section and pattern. A row of a list is
pattern, first_seen, last_seen, extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.decoding.values import compact, epoch_of
from shipwrightd.documents.fields import Fields, Item, Object, Parsed, Row, Scope, Value

if TYPE_CHECKING:
    from shipwrightd.decoding.values import Json


GLOBAL = "global"
DECISIONS_CAP = 100
LEARNINGS_CAP = 50
FREQUENCY, SEEN_COUNT, BASE, FIRST_SEEN, LAST_SEEN = 3, 4, 5, 6, 7  # indices in a keyed row


def memory(repo: str, entry_type: str) -> Scope:
    """Return the scope of one type of entry of one repository."""
    return Scope("memory_entries", (repo, entry_type))


def plain_item(pattern: str, at: str | None, extra: Value, section: str = "") -> Item:
    """Return the keyed row of an entry that is not a failure, first and last seen at the same time."""
    row = (None, None, None, None, None, None, at, at, extra)
    return Item(row, epoch_of(at), key=(section, pattern))


def failures(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/failures.json."""
    parsed.add_keyed_list(memory(repo, "failure"), "failures", parsed.list_in(document, "failures"), failure)


def failure(value: Object) -> Item | str:
    """Return a failure's keyed row as if it were seen for the first time."""
    f = Fields(value)
    pattern, last_seen = f.text("pattern"), f.text("last_seen")
    if pattern is None:
        return "entry without a pattern"
    seen = f.number("seen_count")
    times = seen if isinstance(seen, int) else None
    head = (f.text("root_cause"), f.text("fix"), f.text("stage"), times, seen, 0)
    return Item((*head, last_seen, last_seen, f.extra()), epoch_of(last_seen), key=("", pattern))


def follow(known: Row, found: Row) -> Row:
    """Return the row to store for a keyed entry, given its stored and its found row.

    `first_seen` never changes. A failure's count starts over when Shipwright pruned it and saw
    it again, which shows as a later last_seen without a higher count, because otherwise each
    sighting raises the count. Then the count before is added to the base. The total never
    decreases (an older copy of the file may be put back).
    """
    row = list(found)
    row[FIRST_SEEN] = found[FIRST_SEEN] if known[FIRST_SEEN] is None else known[FIRST_SEEN]
    base, total = known[BASE], known[FREQUENCY]
    if isinstance(base, int):
        was, now = count(known), count(found)
        before, after = known[LAST_SEEN], found[LAST_SEEN]
        is_later = isinstance(before, str) and isinstance(after, str) and after > before
        if 0 < now <= was and is_later:
            base += was
        row[BASE] = base
        row[FREQUENCY] = max(total, base + now) if isinstance(total, int) else base + now or None
    return tuple(row)


def count(row: Row) -> int:
    """Return how often a failure was seen, 0 if the file has no whole number for it."""
    seen = row[SEEN_COUNT]
    return seen if isinstance(seen, int) else 0


def decisions(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/decisions.json."""
    parsed.add_list(document, "decisions", memory(repo, "decision"), DECISIONS_CAP, decision)


def decision(value: Object) -> Item:
    """Return a decision's list row: its pattern is the summary."""
    f = Fields(value)
    at = f.text("recorded_at")
    return Item((f.text("summary"), at, at, f.extra()), epoch_of(at))


def patterns(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/patterns.json: each section by its name, each known issue by its text."""
    captured = Fields(document).text("captured_at")
    entries = sections(document, captured)
    for issue in parsed.list_in(document, "known_issues") or []:
        item = plain_item(issue, None, None, "known_issues") if isinstance(issue, str) else None
        entries.append((issue, item or "known issue is not a text"))
    parsed.add_keyed(memory(repo, "pattern"), "patterns", entries)


def sections(document: Object, at: str | None) -> list[tuple[Json, Item | str]]:
    """Return each other field of a document and its item; a value that is not an object is kept under "value"."""
    return [
        ({key: inner}, plain_item(key, at, compact(inner if isinstance(inner, dict) else {"value": inner})))
        for key, inner in document.items()
        if key not in {"known_issues", "captured_at"}
    ]


def bootstrap(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse memory/patterns.json, beside the folders: one pattern "project" of all repositories."""
    f = Fields(document)
    at = f.text("detected_at")
    parsed.add_keyed(memory(GLOBAL, "pattern"), "patterns", [(document, plain_item("project", at, f.extra()))])


def baselines(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/metrics.json."""
    found = document.get("baselines")
    if isinstance(found, dict):
        add_values(parsed, memory(repo, "baseline"), found, Fields(document).text("last_updated"))
    elif found is not None:
        parsed.reject("baselines is not an object", found)


def architecture(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/architecture.json, written by a model: each field is a section, whatever its value."""
    add_values(parsed, memory(repo, "architecture"), document, None)


def add_values(parsed: Parsed, scope: Scope, values: Object, at: str | None) -> None:
    """Add each field as a keyed entry that keeps its value under "value"."""
    parsed.add_keyed(
        scope,
        scope.values[1],
        [(inner, plain_item(key, at, compact({"value": inner}))) for key, inner in values.items()],
    )


def global_memory(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse memory/global.json."""
    shared = parsed.list_in(document, "common_patterns")
    parsed.add_keyed_list(memory(GLOBAL, "global_pattern"), "common_patterns", shared, global_pattern)
    parsed.add_list(document, "cross_repo_learnings", memory(GLOBAL, "learning"), LEARNINGS_CAP, learning)


def global_pattern(value: Object) -> Item | str:
    """Return a global pattern's keyed row."""
    f = Fields(value)
    pattern, at = f.text("pattern"), f.text("promoted_at")
    return "entry without a pattern" if pattern is None else plain_item(pattern, at, f.extra())


def learning(value: Object) -> Item:
    """Return a learning's list row: its pattern is the type."""
    f = Fields(value)
    at = f.text("captured_at")
    return Item((f.text("type"), at, at, f.extra()), epoch_of(at))
