"""What happened: the events, newest first, a page at a time; and those that came since.

Newest first is the file's order backwards, never that of a clock. A page goes
on where the one before ended by the id of its last event, so nothing that is
stored in between shifts it. `activity_ids` finds which events are meant.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from shipwrightd.clock import utc
from shipwrightd.reports.activity_ids import LARGEST, matching, newest, walk, wanted
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import apsw

    from shipwrightd.reports.question import Question

PAGE_EVENTS = 50
STEP_IDS = 1_000  # looked at, and handed on, at a time while following

SHOWN = """
SELECT e.id, e.ts, e.ts_epoch, e.type, e.issue,
    coalesce((SELECT t.title FROM daemon_titles AS t WHERE t.id = CAST(e.issue AS TEXT)),
        (SELECT j.title FROM daemon_jobs AS j WHERE j.id >= '#' || e.issue || '@' AND j.id < '#' || e.issue || 'A'
         ORDER BY j.id DESC LIMIT 1)),
    e.stage, e.result, e.duration_s, e.cost_usd, e.model, e.origin, e.extra
FROM json_each(?1) AS c CROSS JOIN events AS e ON e.id = c.value
ORDER BY e.id DESC"""


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as the file has it."""

    id: int  # larger is newer
    ts: str | None  # UTC as written, else made of ts_epoch
    type: str | None
    issue: int | str | None
    title: str | None  # of the issue, as far as the daemon knows it
    stage: str | None
    result: str | None
    duration_s: float | None
    cost_usd: float | None
    model: str | None
    origin: str  # events.jsonl, or team-events.jsonl/developer@machine
    extra: dict[str, Any] | str | None  # all other fields; their text where no parser takes it


@dataclass(frozen=True, slots=True)
class Activity:
    """One page of events, newest first."""

    events: list[Event]
    next_cursor: str | None  # for the page after this one; None at the end
    has_more: bool

    @property
    def empty(self) -> bool:
        """Tell whether the page holds nothing."""
        return not self.events


def collect(db: apsw.Connection, question: Question) -> Activity:
    """Answer with one page. Raises QuestionError for a cursor that no page gave."""
    if question.cursor is not None and question.offset:
        raise QuestionError("--cursor and --offset exclude each other")
    below = newest(db) + 1 if question.cursor is None else cursor_of(question.cursor)
    size = PAGE_EVENTS if question.limit is None else question.limit
    first, after = question.offset, question.offset + size
    ids = list(islice(matching(db, wanted(question), below), first, after + 1))
    events = shown(db, ids[:size])
    more = len(ids) > size
    return Activity(events, str(ids[size - 1]) if more else None, more)


def cursor_of(text: str) -> int:
    """Return the id that a cursor says to go on below. Raises QuestionError for what is no cursor."""
    if not re.fullmatch(r"[0-9]{1,19}", text, re.ASCII) or not 0 < int(text) <= LARGEST:
        raise QuestionError(f"--cursor {text}: not a cursor; take next_cursor of the page before")
    return int(text)


def since(db: apsw.Connection, question: Question, after: int) -> Iterator[tuple[int, list[Event]]]:
    """Yield what was stored behind an id, oldest first: up to which id that is, and the events that are meant."""
    want, last = wanted(question), newest(db)
    while after < last:
        end = min(after + STEP_IDS, last)
        found = shown(db, list(walk(db, want, after + 1, end + 1)))
        yield end, found[::-1]
        after = end


def shown(db: apsw.Connection, ids: list[int]) -> list[Event]:
    """Return the events of these ids, newest first."""
    return [_event(found) for found in db.execute(SHOWN, (json.dumps(ids),))]


def _event(found: tuple[Any, ...]) -> Event:
    number, ts, epoch, *fields, extra = found
    values = (number, utc(epoch) if ts is None else ts, *fields, _extra(extra))
    return Event(*values)


def _extra(text: str | None) -> dict[str, Any] | str | None:
    if text is None:
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return found if isinstance(found, dict) else text


def rows(answer: Activity) -> Iterable[dict[str, Any]]:
    """Return one row an event; `extra` is JSON."""
    return map(row, answer.events)


def row(event: Event) -> dict[str, Any]:
    """Return an event as one row; `extra` is JSON."""
    extra = event.extra
    text = orjson.dumps(extra).decode() if isinstance(extra, dict) else extra
    return {**asdict(event), "extra": text}
