"""The parts of a document (appended lists, keyed entries, rejected elements) and the fields of an entry. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.decoding.values import (
    INT64_MAX,
    compact,
    entry_hash,
    epoch_of,
    looks_numeric,
    number_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shipwrightd.decoding.values import Json

    ToItem = Callable[["Object"], "Item | str"]  # a text is the reason why there is no row

Object = dict[str, "Json"]
Value = str | int | float | None
Row = tuple[Value, ...]
Key = tuple[str, ...]

QUOTED_ISSUE = re.compile(r'"?#?(\d{1,18})"?', re.ASCII)
FLAGS = {True: 1, "true": 1, "1": 1, False: 0, "false": 0, "0": 0}


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that one part of a document accounts for: a table, and the values that select the rows."""

    table: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bad:
    """An element that cannot be a row, and the hash by which it is recognized when the document is read again."""

    reason: str
    position: int  # index in its list, 0 if it is in none
    raw: bytes  # the element as JSON
    hash: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an appended list: the hash of its content, and its row or why it has none."""

    hash: bytes
    row: Row | Bad


@dataclass(frozen=True, slots=True)
class List:
    """An appended list; its writer keeps the last `cap` entries (0: all)."""

    name: str
    scope: Scope
    cap: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Keyed:
    """All entries of a scope that the document holds now, by key."""

    scope: Scope
    rows: dict[Key, Row]


@dataclass(frozen=True, slots=True)
class Item:
    """The row of an entry, the time of the entry in seconds, and its key if it is a keyed one."""

    row: Row
    epoch: int | None = None
    key: Key = ()


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

    def list_in(self, document: Object, name: str) -> list[Json] | None:
        """Return a list of the document; None if it is absent, or after rejecting any other value."""
        value = document.get(name)
        if value is None or isinstance(value, list):
            return value
        self.reject(f"{name} is not a list", value)
        return None

    def add_list(self, document: Object, name: str, scope: Scope, cap: int, to_item: Callable[[Object], Item]) -> None:
        """Add the appended list of objects that the document has under a name."""
        values = self.list_in(document, name)
        if values is None:
            return
        entries = []
        for position, value in enumerate(values):
            if isinstance(value, dict):
                row: Row | Bad = self._row_of(to_item(value))
            else:
                row = _bad(f"{name}: entry is not an object", value, position)
            entries.append(Entry(entry_hash(value), row))
        self.lists.append(List(name, scope, cap, tuple(entries)))

    def add_keyed_list(self, scope: Scope, name: str, values: list[Json] | None, to_item: ToItem) -> None:
        """Add a list of objects as keyed entries, or nothing for None."""
        if values is not None:
            items = [to_item(value) if isinstance(value, dict) else "entry is not an object" for value in values]
            self.add_keyed(scope, name, zip(values, items, strict=True))

    def add_keyed(self, scope: Scope, name: str, entries: Iterable[tuple[Json, Item | str]]) -> None:
        """Add keyed entries: each an element of the document, and its item or the reason why it has none.

        Of several with one key the last counts; the others are rejected.
        """
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
            rows[item.key] = self._row_of(item)
            origin[item.key] = (position, value)
        self.keyed.append(Keyed(scope, rows))

    def _row_of(self, item: Item) -> Row:
        """Return the row of an item, and raise `newest_epoch` to its time."""
        if item.epoch is not None and (self.newest_epoch is None or item.epoch > self.newest_epoch):
            self.newest_epoch = item.epoch
        return item.row


def _bad(reason: str, value: Json, position: int) -> Bad:
    return Bad(reason, position, compact(value).encode(), entry_hash([reason, value]))


class Fields:
    """Takes fields out of an object as column values; what is not taken, or does not fit its column, is the extra."""

    def __init__(self, value: Object) -> None:
        """Start with nothing taken; the object itself does not change."""
        self._rest = dict(value)

    def text(self, key: str) -> str | None:
        """Take a text; anything else stays in the extra."""
        value = self._rest.get(key)
        if value is not None and not isinstance(value, str):
            return None
        self._rest.pop(key, None)
        return value

    def bare_text(self, key: str) -> str | None:
        """Take a text without quotes that a writer put inside it; the text as written then stays in the extra."""
        value = self._rest.get(key)
        if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
            return value[1:-1]
        return self.text(key)

    def number(self, key: str) -> int | float | None:
        """Take a number, or a text that spells one; anything else stays in the extra."""
        value = self._rest.get(key)
        number = number_of(value)
        if number is not None or value is None:
            self._rest.pop(key, None)
        return number

    def flag(self, key: str) -> int | None:
        """Take a truth value (true, "true", 1, ...) as 0 or 1; anything else stays in the extra."""
        value = self._rest.get(key)
        flag = FLAGS.get(value) if isinstance(value, str | int) else None
        if flag is not None or value is None:
            self._rest.pop(key, None)
        return flag

    def issue(self, key: str) -> int | str | None:
        """Take an issue: its number, None for 0 or empty, any other text as it is.

        A number with quotes or # around it is that number; the text as written then stays in the extra.
        """
        value = self._rest.get(key)
        issue: int | str | None
        if not isinstance(value, str):
            number = number_of(value)
            issue, fits = (number, True) if isinstance(number, int) else (None, value is None)
        elif bare := QUOTED_ISSUE.fullmatch(value):
            issue, fits = int(bare[1]), bare[1] == value
        elif not value.strip('"'):
            issue, fits = None, not value
        elif looks_numeric(value):  # the column would convert it to a number that it does not spell
            issue, fits = None, False
        else:
            issue, fits = value, True
        if fits:
            self._rest.pop(key, None)
        return issue or None

    def json(self, key: str) -> str | None:
        """Take an array or object as compact JSON text; anything else stays in the extra."""
        value = self._rest.get(key)
        if isinstance(value, dict | list):
            return compact(self._rest.pop(key))
        if value is None:
            self._rest.pop(key, None)
        return None

    def epoch(self, key: str, ts: str | None) -> int | None:
        """Take seconds since 1970, or derive them from the ts text."""
        number = number_of(self._rest.get(key))
        if number is None or abs(number) > INT64_MAX:
            return epoch_of(ts)
        del self._rest[key]
        return int(number)

    def extra(self) -> str | None:
        """Return all that was not taken as JSON text, None if everything was."""
        return compact(self._rest) if self._rest else None
