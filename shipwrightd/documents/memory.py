"""Parsers of the files below memory/: bytes and the name of their folder to rows. Pure.

A keyed row is root_cause, fix, stage, frequency, seen_count, frequency_base,
first_seen, last_seen, extra; its key is section and pattern. A row of a list is
pattern, first_seen, last_seen, extra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.decoding.values import compact, epoch_of
from shipwrightd.documents.fields import Fields, Item, KeyedRow, ListRow, Object, Parsed, Row, Scope, Value, of_object

if TYPE_CHECKING:
    from shipwrightd.decoding.values import Json


GLOBAL = "global"
KNOWN_ISSUES = "known_issues"
DECISIONS_CAP = 100
LEARNINGS_CAP = 50
FREQUENCY, SEEN_COUNT, BASE, FIRST_SEEN, LAST_SEEN = 3, 4, 5, 6, 7  # indices in a keyed row


def memory(repo: str, entry_type: str) -> Scope:
    """Return the scope of one type of entry of one repository."""
    return Scope("memory_entries", (repo, entry_type))


def plain_row(first_seen: Value, last_seen: Value, extra: Value) -> Row:
    """Return a keyed row of an entry that is not a failure."""
    return (None, None, None, None, None, None, first_seen, last_seen, extra)


@of_object
def failures(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/failures.json."""
    parsed.add_keyed(memory(repo, "failure"), "failures", parsed.list_in(document, "failures"), failure)


def failure(value: Json, _position: int) -> Item:
    """Return a failure's keyed row as if it were seen for the first time."""
    if not isinstance(value, dict):
        return "entry is not an object"
    f = Fields(value)
    pattern, last_seen = f.text("pattern"), f.text("last_seen")
    if pattern is None:
        return "entry without a pattern"
    seen = f.number("seen_count")
    times = seen if isinstance(seen, int) else None
    head = (f.text("root_cause"), f.text("fix"), f.text("stage"), times, seen, 0)
    return KeyedRow(("", pattern), (*head, last_seen, last_seen, f.extra()), epoch_of(last_seen))


def follow(known: Row, found: Row) -> Row:
    """Return the row to store for a keyed entry, given its stored and its found row.

    `first_seen` never changes. A failure's count starts over when Shipwright pruned it and saw
    it again, which shows as a later last_seen without a higher count, because otherwise each
    sighting raises the count. Then the count before is added to the base. The total never
    decreases (an older copy of the file may be put back).
    """
    row = list(found)
    row[FIRST_SEEN] = known[FIRST_SEEN] if known[FIRST_SEEN] is not None else found[FIRST_SEEN]
    base, total = known[BASE], known[FREQUENCY]
    if isinstance(base, int):
        was, now = count(known), count(found)
        if 0 < now <= was and is_later(known[LAST_SEEN], found[LAST_SEEN]):
            base += was
        row[BASE] = base
        row[FREQUENCY] = max(total, base + now) if isinstance(total, int) else base + now or None
    return tuple(row)


def count(row: Row) -> int:
    """Return how often a failure was seen, 0 if the file has no whole number for it."""
    seen = row[SEEN_COUNT]
    return seen if isinstance(seen, int) else 0


def is_later(known: Value, found: Value) -> bool:
    """Return whether the second of two UTC texts is the later one."""
    return isinstance(known, str) and isinstance(found, str) and found > known


@of_object
def decisions(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/decisions.json."""
    values = parsed.list_in(document, "decisions")
    parsed.add_list("decisions", memory(repo, "decision"), values, DECISIONS_CAP, to_row=decision)


def decision(value: Object) -> ListRow:
    """Return a decision's list row: its pattern is the summary."""
    f = Fields(value)
    at = f.text("recorded_at")
    return ListRow((f.text("summary"), at, at, f.extra()), epoch_of(at))


@of_object
def patterns(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/patterns.json: each section by its name, each known issue by its text."""
    issues = parsed.list_in(document, KNOWN_ISSUES) or []
    captured = Fields(document).text("captured_at")
    sections: list[Json] = [{key: item} for key, item in document.items() if key not in (KNOWN_ISSUES, "captured_at")]

    def item(value: Json, _position: int) -> Item:
        if isinstance(value, str):
            return KeyedRow((KNOWN_ISSUES, value), plain_row(None, None, None))
        if not isinstance(value, dict) or len(value) != 1:
            return "known issue is not a text"
        return section(value, captured)

    parsed.add_keyed(memory(repo, "pattern"), "patterns", [*sections, *issues], item)


def section(value: Object, at: str | None) -> KeyedRow:
    """Return the keyed row of an object with one field; a value that is not an object is kept under "value"."""
    key, inner = next(iter(value.items()))
    extra = compact(inner if isinstance(inner, dict) else {"value": inner})
    return KeyedRow(("", key), plain_row(at, at, extra), epoch_of(at))


@of_object
def bootstrap(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse memory/patterns.json, beside the folders: one pattern "project" of all repositories."""
    f = Fields(document)
    at = f.text("detected_at")
    item = KeyedRow(("", "project"), plain_row(at, at, f.extra()), epoch_of(at))
    parsed.add_keyed(memory(GLOBAL, "pattern"), "patterns", [document], lambda *_: item)


@of_object
def baselines(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/metrics.json."""
    found = document.get("baselines")
    if not isinstance(found, dict):
        if found is not None:
            parsed.reject("baselines is not an object", found)
        return
    at = Fields(document).text("last_updated")

    def item(value: Json, _position: int) -> Item:
        key, inner = next(iter(value.items())) if isinstance(value, dict) else ("", None)
        row = plain_row(at, at, compact({"value": inner}))
        return KeyedRow(("", key), row, epoch_of(at))

    parsed.add_keyed(memory(repo, "baseline"), "baselines", [{key: number} for key, number in found.items()], item)


@of_object
def architecture(parsed: Parsed, document: Object, repo: str) -> None:
    """Parse memory/<hash>/architecture.json, written by a model: each field is a section, whatever its value."""
    sections: list[Json] = [{key: {"value": inner}} for key, inner in document.items()]

    def item(value: Json, _position: int) -> Item:
        return section(value, None) if isinstance(value, dict) else "section is not an object"

    parsed.add_keyed(memory(repo, "architecture"), "architecture", sections, item)


@of_object
def global_memory(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse memory/global.json."""
    values = parsed.list_in(document, "common_patterns")
    parsed.add_keyed(memory(GLOBAL, "global_pattern"), "common_patterns", values, global_pattern)
    values = parsed.list_in(document, "cross_repo_learnings")
    parsed.add_list("cross_repo_learnings", memory(GLOBAL, "learning"), values, LEARNINGS_CAP, to_row=learning)


def global_pattern(value: Json, _position: int) -> Item:
    """Return a global pattern's keyed row."""
    if not isinstance(value, dict):
        return "entry is not an object"
    f = Fields(value)
    pattern, at = f.text("pattern"), f.text("promoted_at")
    if pattern is None:
        return "entry without a pattern"
    return KeyedRow(("", pattern), plain_row(at, at, f.extra()), epoch_of(at))


def learning(value: Object) -> ListRow:
    """Return a learning's list row: its pattern is the type."""
    f = Fields(value)
    at = f.text("captured_at")
    return ListRow((f.text("type"), at, at, f.extra()), epoch_of(at))
