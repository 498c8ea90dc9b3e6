"""What a document is taken apart into: appended lists, keyed entries, and elements that are neither. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.documents.json_text import compact, decode, entry_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipwrightd.documents.json_text import Json

Value = str | int | float | None
Row = tuple[Value, ...]
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scope:
    """The rows that one document answers for: a table, and what narrows it down."""

    table: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Bad:
    """An element that cannot be a row, and the hash by which a re-read knows it again."""

    reason: str
    position: int  # index in its list, 0 where it is in none
    raw: bytes  # the element as JSON
    mark: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an appended list: its hash and its row, or why it has none."""

    hash: bytes
    row: Row | Bad
    epoch: int | None


@dataclass(frozen=True, slots=True)
class List:
    """An appended list; its writer keeps the last `cap` entries (0: as many as it likes)."""

    name: str
    scope: Scope
    cap: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Keyed:
    """All entries of a scope that the document holds now, by key."""

    scope: Scope
    rows: dict[Key, Row]


@dataclass(slots=True)
class Parsed:
    """A document taken apart. A part that is absent from it, or has the wrong shape, is not in here."""

    lists: list[List] = field(default_factory=list)
    keyed: list[Keyed] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    newest_epoch: int | None = None

    def see(self, epoch: int | None) -> int | None:
        """Take note of the time of an entry, and return it."""
        if epoch is not None and (self.newest_epoch is None or epoch > self.newest_epoch):
            self.newest_epoch = epoch
        return epoch

    def reject(self, reason: str, value: Json, position: int = 0) -> Bad:
        """Add an element to the bad ones."""
        found = bad(reason, value, position)
        self.bad.append(found)
        return found

    def whole(self, raw: bytes) -> dict[str, Json] | None:
        """Return the object a document is, or None after rejecting what it is instead."""
        value = decode(raw)
        if isinstance(value, dict):
            return value
        self.reject("the document is not an object", value)
        return None

    def part(self, whole: dict[str, Json], name: str) -> list[Json] | None:
        """Return a list of the document; None when it is absent, or after rejecting another shape."""
        value = whole.get(name)
        if value is None or isinstance(value, list):
            return value
        self.reject(f"{name} is not a list", value)
        return None

    def add_list(
        self,
        name: str,
        scope: Scope,
        values: list[Json],
        cap: int,
        *,
        to_row: Callable[[dict[str, Json]], Stamped],
    ) -> None:
        """Add an appended list of objects."""
        entries = []
        for position, value in enumerate(values):
            mark = entry_hash(value)
            if isinstance(value, dict):
                stamped = to_row(value)
                entries.append(Entry(mark, stamped.row, self.see(stamped.epoch)))
            else:
                entries.append(Entry(mark, bad(f"{name}: entry is not an object", value, position), None))
        self.lists.append(List(name, scope, cap, tuple(entries)))

    def add_keyed(self, scope: Scope, name: str, values: list[Json], to_item: Callable[[Json, int], Item]) -> None:
        """Add keyed entries. Of several with one key the last counts; others that differ are rejected."""
        rows: dict[Key, Row] = {}
        origin: dict[Key, tuple[int, Json]] = {}
        for position, value in enumerate(values):
            item = to_item(value, position)
            if isinstance(item, str):
                self.reject(f"{name}: {item}", value, position)
                continue
            if item.key in rows and rows[item.key] != item.row:
                # Marked by key and number: such twins change together, and are the same twins after it.
                mark = entry_hash([name, *item.key, len(self.bad)])
                first, other = origin[item.key]
                self.bad.append(Bad(f"{name}: same key again", first, compact(other).encode(), mark))
            rows[item.key] = item.row
            origin[item.key] = (position, value)
            self.see(item.epoch)
        self.keyed.append(Keyed(scope, rows))


@dataclass(frozen=True, slots=True)
class Stamped:
    """A row and the time of its entry, seconds."""

    row: Row
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class KeyedRow:
    """A row, its key, and the time of its entry, seconds."""

    key: Key
    row: Row
    epoch: int | None = None


Item = KeyedRow | str  # a text says why there is no row


def bad(reason: str, value: Json, position: int = 0) -> Bad:
    """Return an element that cannot be a row."""
    return Bad(reason, position, compact(value).encode(), entry_hash([reason, value]))
