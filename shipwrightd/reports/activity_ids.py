"""Which events a question means: their ids, newest first. The statements, and the choice between them.

Newest is what stands last in the file: the largest id, whatever the clocks
said. The newest hundred thousand rows are looked at one by one, which fills most
pages. Where it does not, an index names the blocks of rows in which all the
rest must stand, and only these are looked at. So which index it is changes how
long that takes, and never the answer. (Looking at neighbours costs 0.1 us a
row, fetching them one by one through an index forty times that.)
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    import apsw

    from shipwrightd.reports.question import Question

PROBE_IDS = 131_072  # looked at first: a first load puts all team events behind the journal
BLOCK_BITS = 8  # a block is 256 ids
STRETCH_BLOCKS = 64  # looked at with one statement
NAMED_BLOCKS = 512  # of an issue, stage, model or developer, before the period bounds the rest
FEW_KINDS = 16  # of types looked up beside another index
KINDS = 500  # of types that begin alike; with more, types are no help in finding
OPEN = 253_402_300_800  # an end this late is none: the year 10000
LEAST, LARGEST = -(1 << 63), (1 << 63) - 1

NEWEST = "SELECT max(id) FROM events"

# ?1 to ?2 ids; ?3 type, or its first part; ?4 issue; ?5 stage; ?6 model; ?7 developer or developer@machine, NULL for
# what is this machine's own; ?8 to ?9 seconds, NULL for any time, even none. '.' < '/', '@' < 'A', 'l' < 'm'.
WALK = """
SELECT id FROM events NOT INDEXED
WHERE id >= ?1 AND id < ?2
    AND (?3 IS NULL OR type = ?3 OR (type >= ?3 || '.' AND type < ?3 || '/'))
    AND (?4 IS NULL OR issue = ?4)
    AND (?5 IS NULL OR stage = ?5)
    AND (?6 IS NULL OR model = ?6)
    AND iif(?7 IS NULL, origin < 'team-events.jsonl' OR origin >= 'team-events.jsonm',
        origin = 'team-events.jsonl/' || ?7
        OR (origin >= 'team-events.jsonl/' || ?7 || '@' AND origin < 'team-events.jsonl/' || ?7 || 'A'))
    AND (?8 IS NULL OR ts_epoch BETWEEN ?8 AND ?9)
ORDER BY id DESC"""
# In which blocks of ids something stands: a step down the index at a time where the index is in order of ids ...
LAST_OF_ISSUE = "SELECT id FROM events INDEXED BY events_issue WHERE issue = ? AND id < ? ORDER BY id DESC LIMIT 1"
LAST_OF_STAGE = "SELECT id FROM events INDEXED BY events_stage WHERE stage = ? AND id < ? ORDER BY id DESC LIMIT 1"
LAST_OF_MODEL = "SELECT id FROM events INDEXED BY events_model WHERE model = ? AND id < ? ORDER BY id DESC LIMIT 1"
LAST_OF_ORIGIN = """
SELECT id FROM events INDEXED BY events_team
WHERE origin = ? AND id < ? AND origin GLOB 'team-events.jsonl/*' ORDER BY id DESC LIMIT 1"""
LAST_OF_TYPE = "SELECT id FROM events INDEXED BY events_type WHERE type = ? AND id < ? ORDER BY id DESC LIMIT 1"
# ... and all of the period where it is in order of time. ?1 bits of an id that count within a block; ?2 below.
OF_TYPE_AND_TIME = """
SELECT DISTINCT id >> ?1 FROM events INDEXED BY events_type_epoch
WHERE type = ?3 AND ts_epoch BETWEEN ?4 AND ?5 AND id < ?2"""
OF_TIME = """
SELECT DISTINCT id >> ?1 FROM events INDEXED BY events_ts_epoch
WHERE ts_epoch BETWEEN ?3 AND ?4 AND id < ?2"""

# The types that are ?1 or begin with ?1 and a dot, one step in the index for each; at most ?2.
TYPES = """
WITH RECURSIVE found (type) AS (
    SELECT min(type) FROM events WHERE type >= ?1 || '.' AND type < ?1 || '/'
    UNION ALL
    SELECT (SELECT min(e.type) FROM events AS e WHERE e.type > found.type AND e.type < ?1 || '/')
    FROM found WHERE found.type IS NOT NULL
    LIMIT ?2
)
SELECT ?1 UNION ALL SELECT type FROM found WHERE type IS NOT NULL"""

# The origins of developer ?1, at any machine or, where it names one, at that.
ORIGINS = """
WITH RECURSIVE found (origin) AS (
    SELECT min(origin) FROM events INDEXED BY events_team
    WHERE origin GLOB 'team-events.jsonl/*'
        AND origin >= 'team-events.jsonl/' || ?1 || '@' AND origin < 'team-events.jsonl/' || ?1 || 'A'
    UNION ALL
    SELECT (SELECT min(e.origin) FROM events AS e INDEXED BY events_team
            WHERE e.origin GLOB 'team-events.jsonl/*'
                AND e.origin > found.origin AND e.origin < 'team-events.jsonl/' || ?1 || 'A')
    FROM found WHERE found.origin IS NOT NULL
)
SELECT 'team-events.jsonl/' || ?1 UNION ALL SELECT origin FROM found WHERE origin IS NOT NULL"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an event must be to be meant; None for anything."""

    type: str | None = None
    issue: int | str | None = None
    stage: str | None = None
    model: str | None = None
    developer: str | None = None  # None: this machine's own
    first: int | None = None  # seconds; with it and `last`, an event without a time is not meant
    last: int | None = None

    @property
    def values(self) -> tuple[int | str | None, ...]:
        """What WALK takes from ?3 on."""
        return self.type, self.issue, self.stage, self.model, self.developer, self.first, self.last


def wanted(question: Question) -> Wanted:
    """Return what a question about events means."""
    since, until = question.period.since, question.period.until
    timed = since is not None or until < OPEN
    return Wanted(
        type=question.type,
        issue=question.issue,
        stage=question.stage,
        model=question.model,
        developer=question.developer,
        first=(LEAST if since is None else since) if timed else None,
        last=(until - 1 if until < OPEN else LARGEST) if timed else None,
    )


def newest(db: apsw.Connection) -> int:
    """Return the id of the newest event of all, 0 when there is none."""
    found: int | None = db.execute(NEWEST).get
    return found or 0


Named = tuple[str, "list[Any]"]  # a statement that finds the last id of a value, and values of which any will do


def matching(db: apsw.Connection, want: Wanted, below: int) -> Iterator[int]:
    """Yield the ids below `below` of the events that are meant, the newest first."""
    probed = below - PROBE_IDS
    yield from walk(db, want, probed, below)
    found = blocks(db, want, probed)
    for first, end in [(LEAST, probed)] if found is None else stretches(found):
        yield from walk(db, want, first, min(end, probed))


def walk(db: apsw.Connection, want: Wanted, first: int, below: int) -> Iterator[int]:
    """Yield the ids from `first` up to but not with `below` that are meant, newest first, looking at each row."""
    for (number,) in db.execute(WALK, (first, below, *want.values)):
        yield number


def stretches(found: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Join neighbours of the blocks, which come in falling order, to stretches of ids; ends are not part of them."""
    first = end = None
    for block in found:
        if first is None or end is None:
            first, end = block, block + 1
        elif first - 1 <= block <= first and end - block <= STRETCH_BLOCKS:
            first = block
        else:
            yield first << BLOCK_BITS, end << BLOCK_BITS
            first, end = block, block + 1
    if first is not None and end is not None:
        yield first << BLOCK_BITS, end << BLOCK_BITS


def blocks(db: apsw.Connection, want: Wanted, below: int) -> Iterator[int] | None:
    """Return the blocks that hold all events below `below` that are meant, the last first; None: any may.

    A block may come twice, and may hold none.
    """
    types = None if want.type is None else kinds(db, want.type)
    named = _named(db, want)
    if not named:
        return _of_time_or_type(db, want, types, below)
    if types is not None and len(types) <= FEW_KINDS:
        named.append((LAST_OF_TYPE, types))
    return _of_named(db, want, types, named, below)


def _named(db: apsw.Connection, want: Wanted) -> list[Named]:
    """Return the indexes, but for that of types, that tell where the events stand, and what to look for in each."""
    values = ((LAST_OF_ISSUE, want.issue), (LAST_OF_STAGE, want.stage), (LAST_OF_MODEL, want.model))
    found: list[Named] = [(last, [value]) for last, value in values if value is not None]
    if want.developer is not None:
        found.append((LAST_OF_ORIGIN, [origin for (origin,) in db.execute(ORIGINS, (want.developer,))]))
    return found


def _of_named(
    db: apsw.Connection, want: Wanted, types: list[str] | None, named: list[Named], below: int
) -> Iterator[int]:
    for count, block in enumerate(_shared(db, named, below)):
        if want.first is not None and count == NAMED_BLOCKS:  # there are many: from here on the period bounds them
            below = min(below, (block + 1) << BLOCK_BITS)
            yield from _of_time_or_type(db, want, types, below) or ()
            return
        yield block


def _shared(db: apsw.Connection, named: list[Named], below: int) -> Iterator[int]:
    """Yield the blocks in which every one of the indexes has one of its values, the last first."""
    while True:
        lasts = [
            max((id_ for value in values if (id_ := db.execute(last, (value, below)).get) is not None), default=None)
            for last, values in named
        ]
        ids = [id_ for id_ in lasts if id_ is not None]
        if len(ids) < len(named):
            return
        low, high = min(ids) >> BLOCK_BITS, max(ids) >> BLOCK_BITS
        if low == high:
            yield low
        below = (low if low == high else low + 1) << BLOCK_BITS


def _of_time_or_type(db: apsw.Connection, want: Wanted, types: list[str] | None, below: int) -> Iterator[int] | None:
    if types is not None and want.first is None:
        return heapq.merge(*(_steps(db, LAST_OF_TYPE, kind, below) for kind in types), reverse=True)
    if want.first is None:
        return None
    if types is None:
        return _falling(db.execute(OF_TIME, (BLOCK_BITS, below, want.first, want.last)))
    return _falling(
        row for kind in types for row in db.execute(OF_TYPE_AND_TIME, (BLOCK_BITS, below, kind, want.first, want.last))
    )


def _steps(db: apsw.Connection, last: str, value: int | str | None, below: int) -> Iterator[int]:
    """Yield the blocks below an id that an index holds the value in, the last first, as they are asked for."""
    while (found := db.execute(last, (value, below)).get) is not None:
        yield found >> BLOCK_BITS
        below = found >> BLOCK_BITS << BLOCK_BITS


def _falling(found: Iterable[tuple[Any, ...]]) -> Iterator[int]:
    return iter(sorted({block for (block,) in found}, reverse=True))


def kinds(db: apsw.Connection, prefix: str) -> list[str] | None:
    """Return the types that a prefix means, itself included; None when they are too many to be of help."""
    found = [kind for (kind,) in db.execute(TYPES, (prefix, KINDS + 1))]
    return found if len(found) <= KINDS else None
