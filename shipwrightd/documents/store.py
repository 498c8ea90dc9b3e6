"""What a document says, put into the tables together with its checkpoint.

Every function that writes expects the caller's transaction. The statements of
each table stand in documents_sql, in the column order of its parser.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from shipwrightd.documents.json_text import HASH_BYTES, DocumentError
from shipwrightd.documents.kinds import Known, changes, parse_document, without_document
from shipwrightd.documents.lists import Added, Remembered, added, remember
from shipwrightd.documents.parts import Bad, Entry
from shipwrightd.documents.statements import CHECKPOINT, KEYED_TABLES, LIST_TABLES, MOVE_CHECKPOINT, PRESENT_DOCUMENTS
from shipwrightd.decoding.rows import Quarantined
from shipwrightd.journals.store import add_gap, add_quarantine
from shipwrightd.projections import project_costs

if TYPE_CHECKING:
    import apsw

    from shipwrightd.documents.parts import Key, Keyed, List, Parsed, Scope

COSTS = "cost_entries"
BAD = "!"  # under this name the marks of a document's bad elements are remembered
RAW_BYTES = 64 << 10  # how much of a bad element is kept; `length` tells its size
DIGEST_BYTES = 16


@dataclass(slots=True)
class Outcome:
    """What a look at a document came to.

    `records` counts new rows, `changed` known rows that were written again (also those marked
    as gone or back), `known` entries of the document that needed nothing. With `error` nothing
    was written: the bytes are no JSON, be it torn or broken.
    """

    records: int = 0
    changed: int = 0
    known: int = 0
    quarantined: int = 0
    gaps: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a checkpoint keeps of a document's elements."""

    lists: dict[str, Remembered]
    bad: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at one document: where what comes of it is written and counted."""

    db: apsw.Connection
    path: str
    now: str
    outcome: Outcome


def known_documents(db: apsw.Connection) -> list[str]:
    """Return the paths of the documents that were there when last looked at."""
    return [path for (path,) in db.execute(PRESENT_DOCUMENTS)]


def ingest_document(
    db: apsw.Connection, path: str, raw: bytes | None, *, now: str, confirmed_missing: bool = False
) -> Outcome:
    """Bring the tables in line with a document, inside the caller's transaction.

    `path` is below the home, `raw` is None when nothing is there: that counts once it is
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
        memory = Memory({name: replace(known, ended=True) for name, known in memory.lists.items()}, frozenset())
    else:
        try:
            parsed = parse_document(path, raw)
        except DocumentError as error:
            return Outcome(error=str(error))
    look = Look(db, path, now, Outcome())
    memory = write_parsed(look, parsed, memory)
    totals = (look.outcome.records, look.outcome.quarantined, look.outcome.gaps, parsed.newest_epoch)
    db.execute(MOVE_CHECKPOINT, (path, digest, pack(memory), *totals, now))
    return look.outcome


def write_parsed(look: Look, parsed: Parsed, memory: Memory) -> Memory:
    """Write what a parsed document changes, and return what to remember of it."""
    lists = dict(memory.lists)
    rejected = [item for item in parsed.bad if item.mark not in memory.bad]
    for part in parsed.lists:
        lists[part.name], bad = write_list(look, part, lists.get(part.name, Remembered(())))
        rejected += bad
    for keyed in parsed.keyed:
        follow_keyed(look, keyed)
    kept = [Quarantined(bad.position, len(bad.raw), bad.reason, bad.raw[:RAW_BYTES]) for bad in rejected]
    add_quarantine(look.db, look.path, None, kept, look.now)
    look.outcome.quarantined += len(kept)
    return Memory(lists, frozenset(item.mark for item in parsed.bad))


def write_list(look: Look, part: List, known: Remembered) -> tuple[Remembered, list[Bad]]:
    """Append what is new in a list; return what to remember of it, and the bad ones among the new entries."""
    found = [entry.hash for entry in part.entries]
    more = added(known.hashes, found, part.cap)
    sure = more.sure and bool(known.hashes)  # nothing remembered: never read, or the books were lost
    new = more.new if sure else unstored(look.db, part, more)
    if more.torn_off and not known.ended and len(new) == len(found):
        detail = {"known": len(known.hashes), "found": len(found)}
        add_gap(look.db, look.path, f"no overlap in {part.name}", detail, look.now)
        look.outcome.gaps += 1
    bad = append(look, part, [part.entries[i] for i in new])
    look.outcome.known += len(found) - len(new)
    return remember(known, found, new), bad


def unstored(db: apsw.Connection, part: List, more: Added) -> tuple[int, ...]:
    """Return which of the entries that seem new the database does not hold yet.

    Asked only when the overlap fails, which happens when a file is edited or an old copy
    is put back: its entries may be known from before what the checkpoint remembers.
    """
    table = LIST_TABLES[part.scope.table]
    standing = Counter(entry.hash for entry in part.entries)
    missing: dict[bytes, int] = {}
    for entry in (part.entries[i] for i in more.new):
        if entry.hash not in missing:
            same = () if isinstance(entry.row, Bad) else db.execute(table.count, (*part.scope.values, *entry.row))
            missing[entry.hash] = standing[entry.hash] - sum(number for (number,) in same)
    new = []
    for i in reversed(more.new):  # of equal entries the last ones are the new ones
        mark = part.entries[i].hash
        if missing[mark] > 0:
            missing[mark] -= 1
            new.append(i)
    return tuple(reversed(new))


def append(look: Look, part: List, new: list[Entry]) -> list[Bad]:
    """Insert new entries of a list and return the bad ones among them."""
    rows = [(*part.scope.values, *entry.row) for entry in new if not isinstance(entry.row, Bad)]
    look.db.executemany(LIST_TABLES[part.scope.table].insert, rows)
    look.outcome.records += len(rows)
    if rows and part.scope.table == COSTS:
        last = look.db.last_insert_rowid()
        project_costs(look.db, last - len(rows) + 1, last)
    return [entry.row for entry in new if isinstance(entry.row, Bad)]


def load_keyed(db: apsw.Connection, scope: Scope) -> dict[Key, Known]:
    """Return the stored rows of a scope by key; of several with one key the newest."""
    table = KEYED_TABLES[scope.table]
    rows = {}
    for row in db.execute(table.load, scope.values):
        key, columns = row[1 : 1 + table.keys], row[1 + table.keys : -1]
        rows[tuple(key)] = Known(row[0], tuple(columns), present=bool(row[-1]))
    return rows


def follow_keyed(look: Look, keyed: Keyed) -> None:
    """Make the stored rows of a scope what the document says, and count what that took."""
    table = KEYED_TABLES[keyed.scope.table]
    plan = changes(load_keyed(look.db, keyed.scope), keyed.rows, table.follow)
    look.db.executemany(table.insert, [(*keyed.scope.values, *key, *row) for key, row in plan.insert])
    look.db.executemany(table.update, [(*row, number) for number, row in plan.update])
    look.db.executemany(table.gone, [(number,) for number in plan.gone])
    look.outcome.records += len(plan.insert)
    look.outcome.changed += len(plan.update) + len(plan.gone)
    look.outcome.known += plan.same


def pack(memory: Memory) -> bytes | None:
    """Return what to remember as bytes: for each list a line (name, ended, length), then its hashes."""
    parts = {name: (r.ended, r.hashes) for name, r in memory.lists.items()}
    if memory.bad:
        parts[BAD] = (False, tuple(sorted(memory.bad)))
    if not parts:
        return None
    packed = []
    for name, (ended, hashes) in parts.items():
        packed.append(f"{name} {int(ended)} {len(hashes)}\n".encode())
        packed += hashes
    return b"".join(packed)


def unpack(packed: bytes | None) -> Memory:
    """Return what pack was given."""
    lists: dict[str, Remembered] = {}
    bad: frozenset[bytes] = frozenset()
    rest = packed or b""
    while rest:
        head, _, rest = rest.partition(b"\n")
        name, ended, length = head.decode().split(" ")
        size = int(length) * HASH_BYTES
        hashes = tuple(rest[i : i + HASH_BYTES] for i in range(0, size, HASH_BYTES))
        rest = rest[size:]
        if name == BAD:
            bad = frozenset(hashes)
        else:
            lists[name] = Remembered(hashes, ended=ended == "1")
    return Memory(lists, bad)
