"""Write what changed in a document, together with its checkpoint, and verify a document against the tables.

Every function that writes expects the caller's transaction. `statements` has the
SQL of each table, in the column order of its parser.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from shipwrightd.decoding import Quarantined
from shipwrightd.decoding.values import HASH_BYTES, DocumentError
from shipwrightd.documents.fields import Bad, Entry, Keyed, List, Parsed, Scope
from shipwrightd.documents.kinds import Known, changes, parse_document, without_document
from shipwrightd.documents.lists import Remembered, is_gap, new_entries, remember
from shipwrightd.documents.statements import CHECKPOINT, KEYED_TABLES, LIST_TABLES, MOVE_CHECKPOINT
from shipwrightd.journals.store import add_gap, add_quarantine
from shipwrightd.projections import project_costs

if TYPE_CHECKING:
    import apsw

    from shipwrightd.documents.fields import Key, Row

COSTS = "cost_entries"
BAD = "!"  # the name under which the hashes of a document's bad elements are remembered
RAW_BYTES = 64 << 10  # how much of a bad element is kept; `length` is its size
DIGEST_BYTES = 16


@dataclass(slots=True)
class Outcome:
    """The result of reading one version of a document.

    `records` counts new rows, `changed` stored rows that were updated (also those marked
    as gone or back), `known` entries of the document that needed nothing. With `error` nothing
    was written: the bytes are not JSON, half written or broken.
    """

    records: int = 0
    changed: int = 0
    known: int = 0
    quarantined: int = 0
    gaps: int = 0
    error: str | None = None
    wait_s: float | None = None  # read again after that time: the file is half written, or missing for the first time


@dataclass(frozen=True, slots=True)
class Memory:
    """What a checkpoint remembers of a document's elements: its lists by name, and hashes of the bad ones."""

    lists: dict[str, Remembered]
    bad: frozenset[bytes] = frozenset()


def ingest_document(
    db: apsw.Connection, path: str, raw: bytes | None, *, now: str, confirmed_missing: bool = False
) -> Outcome:
    """Store what changed in a document, inside the caller's transaction.

    `path` is below the home. `raw` is None if there is no file, which counts only once it is
    confirmed. Bytes that were stored before cost one SELECT and write nothing.
    """
    if raw is None and not confirmed_missing:
        return Outcome()
    digest = None if raw is None else blake2b(raw, digest_size=DIGEST_BYTES).digest()
    stored, packed = db.execute(CHECKPOINT, (path,)).fetchone() or (None, None)
    if digest == stored:
        return Outcome()
    memory = unpack(packed)
    if raw is None:
        parsed = without_document(path)
        memory = Memory({name: Remembered(known.hashes) for name, known in memory.lists.items()})
    else:
        try:
            parsed = parse_document(path, raw)
        except DocumentError as error:
            return Outcome(error=str(error))
    writer = _Writer(db, path, now)
    memory = writer.write(parsed, memory)
    outcome = writer.outcome
    totals = (outcome.records, outcome.quarantined, outcome.gaps, parsed.newest_epoch)
    db.execute(MOVE_CHECKPOINT, (path, digest, pack(memory), *totals, now))
    return outcome


@dataclass(slots=True)
class _Writer:
    """Writes one version of a document and counts what changed."""

    db: apsw.Connection
    path: str
    now: str
    outcome: Outcome = field(default_factory=Outcome)

    def write(self, parsed: Parsed, memory: Memory) -> Memory:
        """Write the rows, quarantine and gaps of a document, and return what to remember of it."""
        lists = dict(memory.lists)
        rejected = [element for element in parsed.bad if element.hash not in memory.bad]
        for part in parsed.lists:
            lists[part.name], bad = self._write_list(part, lists.get(part.name, Remembered()))
            rejected += bad
        for keyed in parsed.keyed:
            self._write_keyed(keyed)
        kept = [Quarantined(bad.position, len(bad.raw), bad.reason, bad.raw[:RAW_BYTES]) for bad in rejected]
        add_quarantine(self.db, self.path, None, kept, self.now)
        self.outcome.quarantined += len(kept)
        return Memory(lists, frozenset(element.hash for element in parsed.bad))

    def _write_list(self, part: List, known: Remembered) -> tuple[Remembered, list[Bad]]:
        """Append the new entries of a list; return what to remember of it, and the bad ones among the new."""
        found = [entry.hash for entry in part.entries]
        new = new_entries(known, found, part.cap, lambda: count_stored(self.db, part))
        if is_gap(known, found, new):
            detail = {"known": known.present, "found": len(found)}
            add_gap(self.db, self.path, f"no overlap in {part.name}", detail, self.now)
            self.outcome.gaps += 1
        bad = self._append(part, [part.entries[i] for i in new])
        self.outcome.known += len(found) - len(new)
        return remember(known, found, part.cap), bad

    def _append(self, part: List, new: list[Entry]) -> list[Bad]:
        """Insert the new entries of a list and return the bad ones among them."""
        rows = [(*part.scope.values, *entry.row) for entry in new if not isinstance(entry.row, Bad)]
        self.db.executemany(LIST_TABLES[part.scope.table].insert, rows)
        self.outcome.records += len(rows)
        if rows and part.scope.table == COSTS:
            last = self.db.last_insert_rowid()
            project_costs(self.db, last - len(rows) + 1, last)
        return [entry.row for entry in new if isinstance(entry.row, Bad)]

    def _write_keyed(self, keyed: Keyed) -> None:
        """Make the stored rows of a scope equal to the document's entries."""
        table = KEYED_TABLES[keyed.scope.table]
        plan = changes(load_keyed(self.db, keyed.scope), keyed.rows, table.follow)
        self.db.executemany(table.insert, [(*keyed.scope.values, *key, *row) for key, row in plan.insert])
        self.db.executemany(table.update, [(*row, number) for number, row in plan.update])
        self.db.executemany(table.gone, [(number,) for number in plan.gone])
        self.outcome.records += len(plan.insert)
        self.outcome.changed += len(plan.update) + len(plan.gone)
        self.outcome.known += plan.same


def count_stored(db: apsw.Connection, part: List) -> Counter[bytes]:
    """Return how many rows are stored for each entry of a list, by the entry's hash; reads the whole table."""
    rows = {entry.hash: entry.row for entry in part.entries if not isinstance(entry.row, Bad)}
    wanted = set(rows.values())
    stored = Counter(row for row in db.execute(LIST_TABLES[part.scope.table].load, part.scope.values) if row in wanted)
    return Counter({content: stored[row] for content, row in rows.items()})


def load_keyed(db: apsw.Connection, scope: Scope) -> dict[Key, Known]:
    """Return the stored rows of a scope by key; of several with one key the newest."""
    table = KEYED_TABLES[scope.table]
    rows = {}
    for row in db.execute(table.load, scope.values):
        key, columns = row[1 : 1 + table.keys], row[1 + table.keys : -1]
        rows[tuple(key)] = Known(row[0], tuple(columns), present=bool(row[-1]))
    return rows


def pack(memory: Memory) -> bytes | None:
    """Return what to remember as bytes: for each list a line such as "entries 5 of 7", then its 7 hashes."""
    parts = {name: (known.present, known.hashes) for name, known in memory.lists.items()}
    if memory.bad:
        parts[BAD] = (0, tuple(sorted(memory.bad)))
    packed = []
    for name, (present, hashes) in parts.items():
        packed.append(f"{name} {present} of {len(hashes)}\n".encode())
        packed += hashes
    return b"".join(packed) or None


def unpack(packed: bytes | None) -> Memory:
    """Return what `pack` was given; also reads what earlier releases remembered, the list as last seen."""
    lists: dict[str, Remembered] = {}
    bad: frozenset[bytes] = frozenset()
    rest = packed or b""
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, flag_or_present, *_, length = head.decode().split(" ")
        size = int(length) * HASH_BYTES
        hashes = tuple(rest[i : i + HASH_BYTES] for i in range(0, size, HASH_BYTES))
        rest = rest[size:]
        if name == BAD:
            bad = frozenset(hashes)
        elif b" of " in head:
            lists[name] = Remembered(hashes, int(flag_or_present))
        else:  # the flag was 1 if the list was since seen empty or gone
            lists[name] = Remembered(hashes, 0 if flag_or_present == "1" else len(hashes))
    return Memory(lists, bad)


def verify_document(db: apsw.Connection, path: str, raw: bytes | None) -> list[str]:
    """Return the differences between a document and the tables; `raw` is None if there is no file.

    Keyed entries that are present must equal the document's, value by value. A list must be
    stored in full; rows among its own that are not in it must be entries that left it.
    """
    try:
        parsed = without_document(path) if raw is None else parse_document(path, raw)
    except DocumentError as error:
        return [f"{path}: {error}"]
    _, packed = db.execute(CHECKPOINT, (path,)).fetchone() or (None, None)
    memory = unpack(packed)
    found = [line for part in parsed.lists for line in verify_list(db, part, memory)]
    found += [line for keyed in parsed.keyed for line in verify_keyed(db, keyed)]
    return [f"{path}: {line}" for line in found]


def verify_list(db: apsw.Connection, part: List, memory: Memory) -> list[str]:
    """Return the differences between a list and the last rows of its table that hold all its entries."""
    stored: list[Row] = list(db.execute(LIST_TABLES[part.scope.table].load, part.scope.values))
    wanted = [entry.row for entry in part.entries if not isinstance(entry.row, Bad)]
    if stored[len(stored) - len(wanted) :] == wanted:
        return []
    if missing := (Counter(wanted) - Counter(stored)).total():
        return [f"{part.name}: {missing} of {len(wanted)} entries are not in the database"]
    unmatched = Counter(wanted)
    left, others = len(wanted), []
    while left:
        row = stored.pop()
        if unmatched[row] > 0:
            unmatched[row] -= 1
            left -= 1
        else:
            others.append(row)
    known = memory.lists.get(part.name, Remembered())
    gone = (Counter(known.hashes) - Counter(entry.hash for entry in part.entries)).total()
    says = (
        (sum(row in unmatched for row in others), "entries are in the database more often than in the document"),
        (len(others) - gone, "rows of the database are not entries of the document and were none before"),
    )
    return [f"{part.name}: {number} {text}" for number, text in says if number > 0]


def verify_keyed(db: apsw.Connection, keyed: Keyed) -> list[str]:
    """Return the differences between keyed entries and the rows that are present."""
    plan = changes(load_keyed(db, keyed.scope), keyed.rows, KEYED_TABLES[keyed.scope.table].follow)
    where = " ".join((keyed.scope.table, *keyed.scope.values))
    says = (
        (len(plan.insert), "missing from the database"),
        (len(plan.update), "differ from the database"),
        (len(plan.gone), "are in the database only"),
    )
    return [f"{where}: {number} entries {text}" for number, text in says if number]
