"""Write what changed in a document, together with its checkpoint, and verify a document against the tables.

Every function that writes expects the caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, NamedTuple

from shipwrightd.decoding import Quarantined
from shipwrightd.decoding.values import HASH_BYTES, DocumentError
from shipwrightd.documents.fields import Bad, Keyed, List, Parsed
from shipwrightd.documents.kinds import kind_of, parse_document
from shipwrightd.documents.lists import Remembered, is_gap, new_entries, remember
from shipwrightd.journals.store import add_gap, add_quarantine
from shipwrightd.projections.costs import add_entries

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

    from shipwrightd.documents.fields import Key, Row

COSTS = "cost_entries"
BAD = "!"  # the name under which the hashes of a document's bad elements are remembered
RAW_BYTES = 64 << 10  # how much of a bad element is kept; `length` is its size
DIGEST_BYTES = 16

CHECKPOINT = "SELECT digest, entries FROM checkpoints WHERE source = ?"
MOVE_CHECKPOINT = """
INSERT INTO checkpoints
(source, kind, digest, entries, records, quarantined, gaps, newest_epoch, committed_at)
VALUES (?1, 'document', ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (source) DO UPDATE SET
    digest       = excluded.digest,
    entries      = excluded.entries,
    records      = records + excluded.records,
    quarantined  = quarantined + excluded.quarantined,
    gaps         = gaps + excluded.gaps,
    newest_epoch = max(coalesce(newest_epoch, excluded.newest_epoch),
                       coalesce(excluded.newest_epoch, newest_epoch)),
    committed_at = excluded.committed_at"""

FREQUENCY, SEEN_COUNT, BASE, FIRST_SEEN, LAST_SEEN = 3, 4, 5, 6, 7  # indices in a row of memory_entries


def follow(known: Row, found: Row) -> Row:
    """Return the row of memory_entries to store, given the stored and the found row of an entry.

    `first_seen` never changes. A failure's count starts over when Shipwright pruned it and saw
    it again, which shows as a later last_seen without a higher count, because otherwise each
    sighting raises the count. Then the count before is added to the base. The total never
    decreases (an older copy of the file may be put back).
    """
    row = list(found)
    row[FIRST_SEEN] = found[FIRST_SEEN] if known[FIRST_SEEN] is None else known[FIRST_SEEN]
    base, total = known[BASE], known[FREQUENCY]
    if isinstance(base, int):
        was, now = (seen if isinstance(seen := row[SEEN_COUNT], int) else 0 for row in (known, found))
        before, after = known[LAST_SEEN], found[LAST_SEEN]
        is_later = isinstance(before, str) and isinstance(after, str) and after > before
        if 0 < now <= was and is_later:
            base += was
        row[BASE] = base
        row[FREQUENCY] = max(total, base + now) if isinstance(total, int) else base + now or None
    return tuple(row)


class Table(NamedTuple):
    """The statements for one part of documents, in the column order of its parser.

    Of an appended list, `load` returns the columns, in order, and `write` takes scope, columns. Of keyed entries,
    `load` returns id, `keys` key columns, columns, present; `write` takes scope, key, columns, present, and replaces
    a stored row unless there is an `update`, which takes columns, present, id; and `follow` returns the row to store,
    given the stored and the found row of an entry.
    """

    load: str
    write: str
    update: str | None = None
    keys: int = 1
    follow: Callable[[Row, Row], Row] = lambda _, found: found


LIST_TABLES = {
    "cost_entries": Table(
        write="""
INSERT INTO cost_entries
(input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, extra, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'costs.json')""",
        load="""
SELECT input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, extra
FROM cost_entries WHERE origin = 'costs.json' ORDER BY id""",
    ),
    "cost_outcomes": Table(
        write="""
INSERT INTO cost_outcomes (kind, pipeline_id, issue, cost_usd, success, model, template, ts, ts_epoch, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        load="""
SELECT pipeline_id, issue, cost_usd, success, model, template, ts, ts_epoch, extra
FROM cost_outcomes WHERE kind = ? ORDER BY id""",
    ),
    "daemon_completed": Table(
        write="""
INSERT INTO daemon_completed
(issue, result, exit_code, duration, duration_s, completed_at, completed_epoch, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        load="""
SELECT issue, result, exit_code, duration, duration_s, completed_at, completed_epoch, extra
FROM daemon_completed ORDER BY id""",
    ),
    "daemon_failures": Table(
        write="INSERT INTO daemon_failures (class, ts, ts_epoch, extra) VALUES (?, ?, ?, ?)",
        load="SELECT class, ts, ts_epoch, extra FROM daemon_failures ORDER BY id",
    ),
    "memory_entries": Table(
        write="""
INSERT INTO memory_entries (repo_hash, entry_type, pattern, first_seen, last_seen, extra)
VALUES (?, ?, ?, ?, ?, ?)""",
        load="""
SELECT pattern, first_seen, last_seen, extra
FROM memory_entries WHERE repo_hash = ? AND entry_type = ? ORDER BY id""",
    ),
}

KEYED_TABLES = {
    "memory_entries": Table(
        load="""
SELECT id, section, pattern, root_cause, fix, stage, frequency, seen_count, frequency_base,
    first_seen, last_seen, extra, present
FROM memory_entries WHERE repo_hash = ? AND entry_type = ? ORDER BY id""",
        write="""
INSERT INTO memory_entries (repo_hash, entry_type, section, pattern, root_cause, fix, stage,
    frequency, seen_count, frequency_base, first_seen, last_seen, extra, present)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        update="""
UPDATE memory_entries
SET root_cause = ?, fix = ?, stage = ?, frequency = ?, seen_count = ?, frequency_base = ?, first_seen = ?,
    last_seen = ?, extra = ?, present = ?
WHERE id = ?""",
        keys=2,
        follow=follow,
    ),
    "sessions": Table(
        load="""
SELECT id, id, developer, machine, hostname, platform, last_heartbeat_ms, daemon_running,
    daemon_pid, active_jobs, queued, extra, present
FROM sessions""",
        write="""
REPLACE INTO sessions (id, developer, machine, hostname, platform, last_heartbeat_ms,
    daemon_running, daemon_pid, active_jobs, queued, extra, present)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
    ),
    "budgets": Table(
        load="SELECT id, id, daily_budget_usd, enabled, extra, present FROM budgets",
        write="REPLACE INTO budgets (id, daily_budget_usd, enabled, extra, present) VALUES (?, ?, ?, ?, ?)",
    ),
    "daemon_state": Table(
        load="SELECT id, id, pid, started_at, last_poll, config, extra, present FROM daemon_state",
        write="""
REPLACE INTO daemon_state (id, pid, started_at, last_poll, config, extra, present) VALUES (?, ?, ?, ?, ?, ?, ?)""",
    ),
    "daemon_jobs": Table(
        load="""
SELECT id, id, issue, repo, pid, worktree, title, goal, started_at, extra, present FROM daemon_jobs""",
        write="""
REPLACE INTO daemon_jobs (id, issue, repo, pid, worktree, title, goal, started_at, extra, present)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
    ),
    "daemon_queue": Table(
        load="SELECT id, id, issue, repo, position, extra, present FROM daemon_queue",
        write="REPLACE INTO daemon_queue (id, issue, repo, position, extra, present) VALUES (?, ?, ?, ?, ?, ?)",
    ),
    "daemon_titles": Table(
        load="SELECT id, id, title, extra, present FROM daemon_titles",
        write="REPLACE INTO daemon_titles (id, title, extra, present) VALUES (?, ?, ?, ?)",
    ),
    "heartbeats": Table(
        load="""
SELECT id, pid, issue, stage, iteration, memory_mb, cpu_pct, last_activity, updated_at,
    updated_epoch, extra, present
FROM heartbeats WHERE id = ?""",
        write="""
REPLACE INTO heartbeats (id, pid, issue, stage, iteration, memory_mb, cpu_pct, last_activity, updated_at,
    updated_epoch, extra, present)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        keys=0,
    ),
}


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


def ingest_document(db: apsw.Connection, path: str, raw: bytes | None, *, now: str) -> Outcome:
    """Store what changed in a document, inside the caller's transaction.

    `path` is below the home. `raw` is None if there is no file. Bytes that were stored before cost one SELECT and
    write nothing.
    """
    digest = None if raw is None else blake2b(raw, digest_size=DIGEST_BYTES).digest()
    stored, packed = db.execute(CHECKPOINT, (path,)).fetchone() or (None, None)
    if digest == stored:
        return Outcome()
    try:
        parsed = parse_document(path, raw)
    except DocumentError as error:
        return Outcome(error=str(error))
    memory = unpack(packed)
    if raw is None:  # as if each list were seen empty
        memory = Memory({name: Remembered(known.hashes) for name, known in memory.lists.items()})
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
        """Write the rows, quarantine and gaps of a document, and return its new memory."""
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
        found = part.hashes
        new = new_entries(known, found, part.cap, lambda: count_stored(self.db, part))
        if is_gap(known, found, new):
            detail = {"known": known.present, "found": len(found)}
            add_gap(self.db, self.path, f"no overlap in {part.name}", detail, self.now)
            self.outcome.gaps += 1
        added = [part.rows[i] for i in new]
        rows = [(*part.scope, *row) for row in added if not isinstance(row, Bad)]
        self.db.executemany(LIST_TABLES[part.table].write, rows)
        if part.table == COSTS:
            last = self.db.last_insert_rowid()
            add_entries(self.db, last - len(rows) + 1, last)
        self.outcome.records += len(rows)
        self.outcome.known += len(found) - len(new)
        return remember(known, found, part.cap), [row for row in added if isinstance(row, Bad)]

    def _write_keyed(self, keyed: Keyed) -> None:
        """Make the stored rows of a scope equal to the document's entries."""
        table = KEYED_TABLES[keyed.table]
        plan = changes(self.db, keyed)
        new = [change for change in plan if change.id is None]
        if table.update:
            updates = [(*c.row, c.present, c.id) for c in plan if c.id is not None]
            self.db.executemany(table.update, updates)
        writes = new if table.update else plan
        self.db.executemany(table.write, [(*keyed.scope, *c.key, *c.row, c.present) for c in writes])
        self.outcome.records += len(new)
        self.outcome.changed += len(plan) - len(new)
        self.outcome.known += len(keyed.rows) - sum(change.present for change in plan)


def count_rows(db: apsw.Connection, path: str) -> int:
    """Return how many rows the tables hold of a document, whatever its file holds; 0 for a path of no kind."""
    kind = kind_of(path)
    scopes = kind.scopes(path).items() if kind else ()
    tables = (((LIST_TABLES if part.cap is not None else KEYED_TABLES)[part.table], scope) for part, scope in scopes)
    return sum(1 for table, scope in tables for _ in db.execute(table.load, scope))


def count_stored(db: apsw.Connection, part: List) -> Counter[bytes]:
    """Return how many rows are stored for each entry of a list, by the entry's hash; reads the whole table."""
    rows = {content: row for content, row in zip(part.hashes, part.rows, strict=True) if not isinstance(row, Bad)}
    wanted = set(rows.values())
    stored = Counter(row for row in db.execute(LIST_TABLES[part.table].load, part.scope) if row in wanted)
    return Counter({content: stored[row] for content, row in rows.items()})


@dataclass(frozen=True, slots=True)
class Change:
    """A keyed row to write, its id (None for a new one), and whether the document has the entry."""

    id: int | str | None
    key: Key
    row: Row
    present: bool = True


def changes(db: apsw.Connection, keyed: Keyed) -> list[Change]:
    """Return the changes that make the stored rows of a scope equal to the document's entries."""
    table = KEYED_TABLES[keyed.table]
    end = 1 + table.keys
    stored = {row[1:end]: row for row in db.execute(table.load, keyed.scope)}  # of equal keys the newest
    plan = []
    for key, found in keyed.rows.items():
        if (row := stored.pop(key, None)) is None:
            plan.append(Change(None, key, found))
        elif (after := table.follow(row[end:-1], found)) != row[end:-1] or not row[-1]:
            plan.append(Change(row[0], key, after))
    return plan + [Change(row[0], key, row[end:-1], present=False) for key, row in stored.items() if row[-1]]


def pack(memory: Memory) -> bytes | None:
    """Return a memory as bytes: for each list a line such as "entries 5 of 7", then its 7 hashes."""
    bad = {BAD: Remembered(tuple(sorted(memory.bad)))} if memory.bad else {}
    parts = {**memory.lists, **bad}.items()
    lines = [
        b"%b %d of %d\n" % (name.encode(), known.present, len(known.hashes)) + b"".join(known.hashes)
        for name, known in parts
    ]
    return b"".join(lines) or None


def unpack(packed: bytes | None) -> Memory:
    """Return the memory that `pack` wrote; also reads the format of earlier releases, the list as last seen."""
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
        parsed = parse_document(path, raw)
    except DocumentError as error:
        return [f"{path}: {error}"]
    _, packed = db.execute(CHECKPOINT, (path,)).fetchone() or (None, None)
    memory = unpack(packed)
    differences = [text for part in parsed.lists for text in verify_list(db, part, memory)]
    differences += [text for keyed in parsed.keyed for text in verify_keyed(db, keyed)]
    return [f"{path}: {text}" for text in differences]


def verify_list(db: apsw.Connection, part: List, memory: Memory) -> list[str]:
    """Return the differences between a list and the last rows of its table that hold all its entries."""
    stored: list[Row] = list(db.execute(LIST_TABLES[part.table].load, part.scope))
    wanted = [row for row in part.rows if not isinstance(row, Bad)]
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
    gone = (Counter(known.hashes) - Counter(part.hashes)).total()
    differences = {
        "entries are in the database more often than in the document": sum(row in unmatched for row in others),
        "rows of the database are not entries of the document and were none before": len(others) - gone,
    }
    return [f"{part.name}: {number} {text}" for text, number in differences.items() if number > 0]


def verify_keyed(db: apsw.Connection, keyed: Keyed) -> list[str]:
    """Return the differences between keyed entries and the rows that are present."""
    plan = changes(db, keyed)
    where = " ".join((keyed.table, *keyed.scope))
    new, gone = sum(change.id is None for change in plan), sum(not change.present for change in plan)
    differences = {
        "missing from the database": new,
        "differ from the database": len(plan) - new - gone,
        "are in the database only": gone,
    }
    return [f"{where}: {number} entries {text}" for text, number in differences.items() if number]
