"""Events, newest first, a page at a time; and those that were stored since.

Newest first is the file's order backwards, not that of the clocks: the largest id first. A page continues below the id
where the previous one ended, so events stored in between do not shift it.

Without a filter the rows are read backwards. With filters, ids come from the index of the rarest one: the filter whose
newest ids reach furthest back. A page stops after MOST_STEPS of them, full or not, and its cursor continues there.
"""

import heapq
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any

import apsw
import orjson

from shipwrightd.clock import YEAR_10000, utc
from shipwrightd.reports import distinct
from shipwrightd.reports.question import Question, QuestionError

PAGE_EVENTS = 50
FOLLOWED_IDS = 1_000  # read and returned at a time while following
FIRST_IDS = 256  # taken from an index in the first step; each step takes four times as many, up to ...
MOST_IDS = 4_096
NEWEST_STEPS = 3  # before the period decides which blocks of ids to search
BLOCK_BITS = 14
MOST_STEPS = 12  # of a page with filters: some 38,000 ids
MOST_TYPES = 500  # that begin alike; more of them are not looked up in the index
LEAST, LARGEST = -(1 << 63), (1 << 63) - 1

SHOWN = """
SELECT e.id, e.ts, e.ts_epoch, e.type, e.issue,
    coalesce((SELECT t.title FROM daemon_titles AS t WHERE t.id = CAST(e.issue AS TEXT)),
        (SELECT j.title FROM daemon_jobs AS j WHERE j.id >= '#' || e.issue || '@' AND j.id < '#' || e.issue || 'A'
         ORDER BY j.id DESC LIMIT 1)),
    e.stage, e.result, e.duration_s, e.cost_usd, e.model, e.origin, e.extra
FROM json_each(?1) AS c CROSS JOIN events AS e ON e.id = c.value
ORDER BY e.id DESC"""
NEWEST = "SELECT max(id) FROM events"
OLDEST = "SELECT min(id) FROM events"
NEWEST_OWN = """
SELECT id FROM events NOT INDEXED
WHERE id < ? AND (origin < 'team-events.jsonl' OR origin >= 'team-events.jsonm') ORDER BY id DESC LIMIT 1"""
# The blocks of 2^?1 ids that hold the events of a period below ?2. Clocks differ, so they need not be in a row.
BLOCKS = """
SELECT DISTINCT id >> ?1 FROM events INDEXED BY events_ts_epoch
WHERE ts_epoch BETWEEN ?3 AND ?4 AND id < ?2"""
# Of the ids in the JSON array ?1 those of events that match: ?2 type, or its first part; ?3 issue; ?4 stage; ?5 model;
# ?6 developer or developer@machine, NULL for the events of this machine; from ?7 to ?8 seconds, NULL for any time, even
# none. '.' < '/', '@' < 'A', 'l' < 'm'.
MATCHING = """
SELECT e.id FROM json_each(?1) AS c CROSS JOIN events AS e ON e.id = c.value
WHERE (?2 IS NULL OR e.type = ?2 OR (e.type >= ?2 || '.' AND e.type < ?2 || '/'))
    AND (?3 IS NULL OR issue = ?3) AND (?4 IS NULL OR stage = ?4) AND (?5 IS NULL OR model = ?5)
    AND iif(?6 IS NULL, origin < 'team-events.jsonl' OR origin >= 'team-events.jsonm',
        origin = 'team-events.jsonl/' || ?6
        OR (origin >= 'team-events.jsonl/' || ?6 || '@' AND origin < 'team-events.jsonl/' || ?6 || 'A'))
    AND (?7 IS NULL OR ts_epoch BETWEEN ?7 AND ?8)
ORDER BY c.key"""

# The ids below ?2 with a value, or all, newest first.
ALL = "SELECT id FROM events NOT INDEXED WHERE ? IS NULL AND id < ? ORDER BY id DESC"
OF_ISSUE = "SELECT id FROM events INDEXED BY events_issue WHERE issue = ? AND id < ? ORDER BY id DESC"
OF_STAGE = "SELECT id FROM events INDEXED BY events_stage WHERE stage = ? AND id < ? ORDER BY id DESC"
OF_MODEL = "SELECT id FROM events INDEXED BY events_model WHERE model = ? AND id < ? ORDER BY id DESC"
OF_TYPE = "SELECT id FROM events INDEXED BY events_type WHERE type = ? AND id < ? ORDER BY id DESC"
OF_ORIGIN = """
SELECT id FROM events INDEXED BY events_team
WHERE origin = ? AND id < ? AND origin GLOB 'team-events.jsonl/*' ORDER BY id DESC"""
TYPES = "SELECT min(type) FROM events WHERE type >= ? AND type < ?"
ORIGINS = """
SELECT min(origin) FROM events INDEXED BY events_team
WHERE origin >= ? AND origin < ? AND origin GLOB 'team-events.jsonl/*'"""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as in the file."""

    id: int  # larger is newer
    ts: str | None  # UTC as written, else made of ts_epoch
    type: str | None
    issue: int | str | None
    title: str | None  # of the issue, if the daemon's state has it
    stage: str | None
    result: str | None
    duration_s: float | None
    cost_usd: float | None
    model: str | None
    origin: str  # events.jsonl, or team-events.jsonl/developer@machine
    extra: dict[str, Any] | str | None  # all other fields; their text if it cannot be parsed


@dataclass(frozen=True, slots=True)
class Activity:
    """One page of events, newest first."""

    events: list[Event]
    next_cursor: str | None  # for the next page; None at the end
    has_more: bool

    @property
    def empty(self) -> bool:
        """Tell whether no event matches, on this page or a later one."""
        return not self.events and not self.has_more


Filter = tuple[str, "list[Any]"]  # a statement that returns the ids of one value, and the values of which any matches


def collect(db: apsw.Connection, question: Question) -> Activity:
    """Return one page. Raises QuestionError for a cursor that no page gave."""
    if question.cursor is not None and question.offset:
        raise QuestionError("--cursor and --offset exclude each other")
    cursor = question.cursor
    if cursor is not None and not (re.fullmatch(r"[0-9]{1,19}", cursor, re.ASCII) and 0 < int(cursor) <= LARGEST):
        raise QuestionError(f"--cursor {cursor}: not a cursor; take next_cursor of the previous page")
    below = newest(db) + 1 if cursor is None else int(cursor)
    size = PAGE_EVENTS if question.limit is None else question.limit
    end = question.offset + size
    ids: list[int] = []
    next_cursor = None
    bounded = bool(filters(db, question)) and not question.offset
    for step, (start, matching) in enumerate(search(db, question, below), 1):
        ids += matching
        if len(ids) > end:
            next_cursor = str(ids[end - 1])
            break
        if bounded and step >= MOST_STEPS and start > LEAST:
            next_cursor = str(start)
            break
    return Activity(shown(db, ids[question.offset : end]), next_cursor, next_cursor is not None)


def since(db: apsw.Connection, question: Question, after: int) -> Iterator[tuple[int, list[Event]]]:
    """Yield the matching events stored after an id, oldest first, some at a time, each with the last id searched."""
    last = newest(db)
    while after < last:
        end = min(after + FOLLOWED_IDS, last)
        yield end, shown(db, matching_of(db, question, range(end, after, -1)))[::-1]
        after = end


def newest(db: apsw.Connection) -> int:
    """Return the largest id of an event, 0 if there are none."""
    return db.execute(NEWEST).get or 0


def values_of(question: Question) -> tuple[int | str | None, ...]:
    """Return the parameters of MATCHING from ?2 on; with a period, an event without a time does not match."""
    since, until = question.period.since, question.period.until
    times: tuple[int | None, int | None] = (None, None)
    if since is not None or until < YEAR_10000:
        times = (LEAST if since is None else since, until - 1 if until < YEAR_10000 else LARGEST)
    return question.type, question.issue, question.stage, question.model, question.developer, *times


def search(db: apsw.Connection, question: Question, below: int) -> Iterator[tuple[int, list[int]]]:
    """Yield the matching ids below `below`, newest first, in steps: the lowest id of the step, and its matches."""
    named = filters(db, question)
    timed = values_of(question)[-1] is not None
    lowest = db.execute(OLDEST).get
    blocks: list[int] | None = None
    for step in count():
        while blocks and blocks[-1] << BLOCK_BITS >= below:
            blocks.pop()
        if lowest is None or below <= lowest or blocks == []:
            return
        if blocks:
            below = min(below, (blocks[-1] + 1) << BLOCK_BITS)
        size = min(FIRST_IDS << 2 * step, MOST_IDS)
        ids, start = rarest(db, named or [(ALL, [None])], below, size)
        matching = matching_of(db, question, ids)
        yield start, matching
        below = start
        if step == NEWEST_STEPS and timed:
            blocks = sorted(block for (block,) in db.execute(BLOCKS, (BLOCK_BITS, below, *values_of(question)[-2:])))
        elif not matching and question.developer is None:  # a first load stores all team events in a row
            own = db.execute(NEWEST_OWN, (below,)).get
            below = below if own is None else own + 1


def filters(db: apsw.Connection, question: Question) -> list[Filter]:
    """Return the filters of which there is an index."""
    values = ((OF_ISSUE, question.issue), (OF_STAGE, question.stage), (OF_MODEL, question.model))
    named: list[Filter] = [(statement, [value]) for statement, value in values if value is not None]
    if question.developer is not None:
        origin = f"team-events.jsonl/{question.developer}"  # at any machine or, if it names one, at that
        named.append((OF_ORIGIN, [origin, *distinct(db, ORIGINS, f"{origin}@", f"{origin}A")]))
    if question.type is not None:
        parts = distinct(db, TYPES, f"{question.type}.", f"{question.type}/")
        types = [question.type, *islice(parts, MOST_TYPES)]
        if len(types) <= MOST_TYPES:
            named.append((OF_TYPE, types))
    return named


def rarest(db: apsw.Connection, named: list[Filter], below: int, size: int) -> tuple[list[int], int]:
    """Return the newest `size` ids below `below` of the rarest filter, and the id down to which these are all."""
    best: tuple[list[int], int] | None = None
    for statement, values in named:
        each = [(id_ for (id_,) in db.execute(statement, (value, below))) for value in values]
        ids = list(islice(heapq.merge(*each, reverse=True), size))
        start = ids[-1] if len(ids) == size else LEAST
        if best is None or (start, len(ids)) < (best[1], len(best[0])):
            best = ids, start
    return best or ([], LEAST)


def matching_of(db: apsw.Connection, question: Question, ids: Iterable[int]) -> list[int]:
    """Return those of some ids whose events match, in their order."""
    return [id_ for (id_,) in db.execute(MATCHING, (json.dumps(list(ids)), *values_of(question)))]


def shown(db: apsw.Connection, ids: list[int]) -> list[Event]:
    """Return the events with these ids, newest first."""
    events = []
    for id_, ts, epoch, *fields, text in db.execute(SHOWN, (json.dumps(ids),)):
        try:
            extra = orjson.loads(text)
        except orjson.JSONDecodeError:
            extra = None
        time = utc(epoch) if ts is None else ts
        values = (id_, time, *fields, extra if isinstance(extra, dict) else text)
        events.append(Event(*values))
    return events


def rows(answer: Activity) -> Iterable[dict[str, Any]]:
    """Return one row an event; `extra` is JSON."""
    return map(row, answer.events)


def row(event: Event) -> dict[str, Any]:
    """Return an event as one row; `extra` is JSON."""
    extra = event.extra
    text = orjson.dumps(extra).decode() if isinstance(extra, dict) else extra
    return {**asdict(event), "extra": text}
