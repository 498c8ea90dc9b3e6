"""The parts of a document (appended lists, keyed entries, rejected elements), and its fields as column values. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from shipwrightd.decoding.values import INT64_MAX, compact, entry_hash, looks_numeric, number_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipwrightd.decoding.values import Json

    Take = Callable[[Json], "Taken"]

Object = dict[str, "Json"]
Value = str | int | float | None
Row = tuple[Value, ...]
Key = tuple[str, ...]

QUOTED_ISSUE = re.compile(r'"?#?(\d{1,18})"?', re.ASCII)
FLAGS = {True: 1, "true": 1, "1": 1, False: 0, "false": 0, "0": 0}
SHAPES: dict[type, str] = {list: "a list", dict: "an object"}


class Bad(NamedTuple):
    """An element that cannot be a row, and the hash by which it is recognized when the document is read again."""

    reason: str
    position: int  # index in its list, 0 if it is in none
    raw: bytes  # the element as JSON
    hash: bytes


class List(NamedTuple):
    """An appended list; its writer keeps the last `cap` entries (0: all)."""

    name: str
    table: str
    scope: tuple[str, ...]  # the values that select its rows of the table
    cap: int
    hashes: list[bytes]  # of the content of each entry
    rows: list[Row | Bad]  # of each entry, or why it has none


class Keyed(NamedTuple):
    """All entries of a scope that the document holds now, by key."""

    table: str
    scope: tuple[str, ...]
    rows: dict[Key, Row]


@dataclass(frozen=True, slots=True)
class Item:
    """The row of an entry, the time of the entry in seconds, and its key if it is a keyed one."""

    row: Row
    epoch: int | None = None
    key: Key = ()


Entries = list[tuple["Json", Item | str]]  # elements of a document, each with its item or the reason why it has none


@dataclass(slots=True)
class Parsed:
    """The parts of a document. A part that is absent from it or has the wrong shape is not in here."""

    lists: list[List] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    newest_epoch: int | None = None

    def reject(self, reason: str, value: Json, position: int = 0) -> None:
        """Add an element of the document to the bad ones."""
        self.bad.append(_bad(reason, value, position))

    def has_shape(self, name: str, value: Json, shape: type) -> bool:
        """Return whether a value is a list or an object as it should be; reject any other."""
        if not isinstance(value, shape):
            self.reject(f"{name} is not {SHAPES[shape]}", value)
        return isinstance(value, shape)

    def field(self, document: Object, name: str, shape: type[list[Json] | Object]) -> Any:  # noqa: ANN401 - of that shape
        """Return a list or object of the document; None if it is absent, or after rejecting any other value."""
        value = document.get(name)
        return value if value is not None and self.has_shape(name, value, shape) else None

    def items(self, document: Object, name: str, to_item: Callable[[Json, int], Item | str]) -> Entries | None:
        """Return the elements of a list of the document with their items, or None as `field` does."""
        values = self.field(document, name, list)
        return None if values is None else [(value, to_item(value, at)) for at, value in enumerate(values)]

    def keyed_rows(self, name: str, entries: Entries) -> dict[Key, Row]:
        """Return keyed entries by key. Of several with one key the last counts; the others are rejected."""
        rows: dict[Key, Row] = {}
        origin: dict[Key, tuple[int, Json]] = {}
        for position, (value, item) in enumerate(entries):
            if isinstance(item, str):
                self.reject(f"{name}: {item}", value, position)
                continue
            if item.key in rows and rows[item.key] != item.row:
                # Hashed by key and number: such twins change together, and are the same twins afterwards.
                known_by = entry_hash([name, *item.key, len(self.bad)])
                first, other = origin[item.key]
                self.bad.append(Bad(f"{name}: same key again", first, compact(other).encode(), known_by))
            rows[item.key] = item.row
            origin[item.key] = (position, value)
        return rows


def list_rows(name: str, entries: Entries) -> list[Row | Bad]:
    """Return the row of each entry of an appended list, or why it has none."""
    return [
        _bad(f"{name}: {item}", value, position) if isinstance(item, str) else item.row
        for position, (value, item) in enumerate(entries)
    ]


def _bad(reason: str, value: Json, position: int) -> Bad:
    return Bad(reason, position, compact(value).encode(), entry_hash([reason, value]))


# -- fields of an object

Taken = tuple[Value, bool]  # a column's value, and whether nothing else of the field needs to be kept


def columns(value: Object, **types: Take) -> list[Any]:
    """Return the named fields of an object as column values.

    Last comes the extra: JSON text of all other fields and of those that do not fit, None if there are none.
    """
    taken = {name: take(value.get(name)) for name, take in types.items()}
    extra = {name: inner for name, inner in value.items() if name not in taken or not taken[name][1]}
    return [*(column for column, _ in taken.values()), compact(extra) if extra else None]


def text(value: Json) -> Taken:
    """Take a text."""
    return (value, True) if value is None or isinstance(value, str) else (None, False)


def bare_text(value: Json) -> Taken:
    """Take a text without quotes that a writer put inside it; the text as written is then kept."""
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1], False
    return text(value)


def number(value: Json) -> Taken:
    """Take a number, or a text that spells one."""
    found = number_of(value)
    return found, found is not None or value is None


def flag(value: Json) -> Taken:
    """Take a truth value (true, "true", 1, ...) as 0 or 1."""
    found = FLAGS.get(value) if isinstance(value, str | int) else None
    return found, found is not None or value is None


def json(value: Json) -> Taken:
    """Take an array or object as compact JSON text."""
    return (compact(value), True) if isinstance(value, dict | list) else (None, value is None)


def seconds(value: Json) -> Taken:
    """Take seconds since 1970."""
    found = number_of(value)
    return (None, False) if found is None or abs(found) > INT64_MAX else (int(found), True)


def issue(value: Json) -> Taken:
    """Take an issue: its number, None for 0 or empty, any other text as it is.

    A number with quotes or # around it is that number; the text as written is then kept.
    """
    if not isinstance(value, str):
        found = number_of(value)
        return (found or None, True) if isinstance(found, int) else (None, value is None)
    if bare := QUOTED_ISSUE.fullmatch(value):
        return int(bare[1]) or None, bare[1] == value
    if not value.strip('"'):
        return None, not value
    # The column would convert a text that looks numeric to a number that it does not spell.
    return (None, False) if looks_numeric(value) else (value, True)
