"""The dashboard's lists of events: the activity feed, the events of an issue, those of the team. Both readings."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from shipwrightd.dashboard import events as journal
from shipwrightd.dashboard.javascript import bounds, text, truthy
from shipwrightd.dashboard.request import FailsError, issue_of
from shipwrightd.reports.activity import Wanted, newest, search

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import apsw

    from shipwrightd.dashboard.events import Event
    from shipwrightd.dashboard.request import Asked

Answer = dict[str, Any]
LIMIT, MOST = 50, 200
TEAM_EVENTS = 100

ACTIVE_TITLES = (
    "SELECT CAST(issue AS TEXT), title FROM daemon_jobs WHERE present AND title <> '' ORDER BY started_at, id"
)
KNOWN_TITLES = "SELECT id, title FROM daemon_titles WHERE title <> ''"

# What may be meant; reading decides. Newest first. ?1 a type or its first part, ?2 an issue.
MAYBE = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra, id
FROM events
WHERE origin = 'events.jsonl'
    AND (?1 IS NULL OR type = ?1 OR (type >= ?1 || '.' AND type < ?1 || '/') OR instr(extra, '"type":'))
ORDER BY id DESC"""
MAYBE_OF_ISSUE = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra, id
FROM events INDEXED BY events_issue
WHERE origin = 'events.jsonl' AND issue IS ?2
    AND (?1 IS NULL OR type = ?1 OR (type >= ?1 || '.' AND type < ?1 || '/') OR instr(extra, '"type":'))
ORDER BY id DESC"""
# Only these can have a type that is no text, or none.
ODD_TYPES = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events WHERE origin = 'events.jsonl' AND (type IS NULL OR instr(extra, '"type":'))"""
PLAIN = "SELECT count(*) FROM events WHERE origin = 'events.jsonl' AND NOT salvaged"
SALVAGED = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events WHERE origin = 'events.jsonl' AND salvaged"""
BY_ID = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events WHERE id = ?"""

# Counted from an index alone where the journal is the only one.
OTHERS = "SELECT 1 FROM checkpoints WHERE source = 'team-events.jsonl' AND records > 0"
COUNT_ALL = "SELECT count(*) FROM events"
COUNT_OWN = "SELECT count(*) FROM events WHERE origin = 'events.jsonl'"
COUNT_OF_TYPE = """
SELECT (SELECT count(*) FROM events WHERE type = ?1 AND (NOT ?2 OR origin = 'events.jsonl'))
    + (SELECT count(*) FROM events
       WHERE type >= ?1 || '.' AND type < ?1 || '/' AND (NOT ?2 OR origin = 'events.jsonl'))"""
COUNT_OF_ISSUE = """
SELECT count(*) FROM events INDEXED BY events_issue
WHERE issue = ?1 AND (NOT ?2 OR origin = 'events.jsonl')
    AND (?3 IS NULL OR type = ?3 OR (type >= ?3 || '.' AND type < ?3 || '/'))"""

TEAM_RECORDS = "SELECT records FROM checkpoints WHERE source = 'team-events.jsonl'"
TEAM = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events WHERE origin >= 'team-events.jsonl/' AND origin < 'team-events.jsonl0'
ORDER BY id DESC LIMIT ?"""


def activity_original(db: apsw.Connection, asked: Asked) -> Answer:
    """Answer /api/activity as the original does. Raises FailsError for a type filter it fails at."""
    kind = asked.text("type", "all")
    wanted = None if kind == "all" else kind
    issue = _issue(asked)
    found: Iterator[Event] = (event for _, event in seen_original(db, wanted, issue))
    if wanted is None and issue is None:
        length = _length(db)
    else:
        found = iter(events := list(found))
        length = len(events)
    return _page(asked, found, length, active_titles(db))


def seen_original(db: apsw.Connection, kind: str | None, issue: int | None) -> Iterator[tuple[int, Event]]:
    """Yield the events that the original finds of a type and an issue, newest first, each with its id.

    Raises FailsError for a type where it fails at one.
    """
    if kind is not None:
        _refuse_odd_types(db)
    rows = db.execute(MAYBE_OF_ISSUE, (kind, issue or None)) if issue is not None else db.execute(MAYBE, (kind,))
    for row in rows:
        event = journal.read_original(row)
        if event is None or (kind is not None and not _is_of(event.get("type"), kind)):
            continue
        if issue is None or journal.is_number(event.get("issue"), issue):
            yield row[11], event


def active_titles(db: apsw.Connection) -> dict[str, str]:
    """Return the titles of the issues that the daemon works at, the only ones the original knows."""
    return _titles(db.execute(ACTIVE_TITLES))


def _is_of(found: object, kind: str) -> bool:
    return isinstance(found, str) and (found == kind or found.startswith(kind + "."))


def _refuse_odd_types(db: apsw.Connection) -> None:
    for event in map(journal.read_original, db.execute(ODD_TYPES)):
        if event is not None and not isinstance(event.get("type"), str):
            raise FailsError(f"an event has the type {text(event.get('type'))}, which is no text")


def _length(db: apsw.Connection) -> int:
    plain: int = db.execute(PLAIN).get
    return plain + sum(journal.read_original(row) is not None for row in db.execute(SALVAGED))


def _page(asked: Asked, found: Iterator[Event], length: int, titles: dict[str, str]) -> Answer:
    """Return the page that limit and offset mean of so many events."""
    limit, offset, first, last = page(asked, length)
    return {
        "events": [titled(event, titles) for event in islice(found, first, last)],
        "total": length,
        "hasMore": offset + limit < length,
    }


def page(asked: Asked, length: int) -> tuple[float, float, int, int]:
    """Return limit and offset as they were read, and the places of the page."""
    limit, offset = asked.integer("limit", LIMIT), asked.integer("offset", 0)
    limit = limit if math.isnan(limit) else min(limit, MOST)
    return limit, offset, *bounds(offset, offset + limit, length)


def titled(event: Event, titles: dict[str, str]) -> Event:
    """Return an event with the title of its issue, empty where that is not known; none without an issue."""
    rest = {key: value for key, value in event.items() if key != "issueTitle"}
    return {**rest, "issueTitle": titles.get(text(event["issue"]), "")} if truthy(event.get("issue")) else rest


def _titles(rows: Iterable[tuple[Any, ...]]) -> dict[str, str]:
    return {issue: title for issue, title in rows if issue}


def _issue(asked: Asked) -> int | None:
    return issue_of(asked.text("issue", ""))


def activity(db: apsw.Connection, asked: Asked) -> Answer:
    """Answer /api/activity with all events by their own type."""
    kind = asked.text("type", "all")
    wanted = Wanted(type=None if kind == "all" else kind, issue=_issue(asked))
    length = _count(db, wanted)
    ids = (id_ for _, matching in search(db, wanted, newest(db) + 1) for id_ in matching)
    found = (journal.read(row) for id_ in ids for row in db.execute(BY_ID, (id_,)))
    titles = {**_titles(db.execute(KNOWN_TITLES)), **active_titles(db)}
    return _page(asked, found, length, titles)


def _count(db: apsw.Connection, wanted: Wanted) -> int:
    mixed = db.execute(OTHERS).get is not None
    if wanted.issue is not None:
        return int(db.execute(COUNT_OF_ISSUE, (wanted.issue, mixed, wanted.type)).get)
    if wanted.type is not None:
        return int(db.execute(COUNT_OF_TYPE, (wanted.type, mixed)).get)
    return int(db.execute(COUNT_OWN if mixed else COUNT_ALL).get)


def events_of_issue(db: apsw.Connection, asked: Asked) -> Answer:
    """Answer /api/events/N."""
    return {"events": list(journal.of_issue(db, asked.issue(3)))}


def events_of_issue_original(db: apsw.Connection, asked: Asked) -> Answer:
    """Answer /api/events/N as the original does."""
    return {"events": list(journal.of_issue_original(db, asked.issue(3)))}


def team_activity(db: apsw.Connection, _asked: Asked) -> list[Event]:
    """Answer /api/team/activity: the last hundred team events, the oldest first."""
    return [journal.read(row) for row in _team_rows(db)]


def team_activity_original(db: apsw.Connection, _asked: Asked) -> list[Event]:
    """Answer /api/team/activity as the original does: of the last hundred lines those it can read."""
    return [event for row in _team_rows(db) if (event := journal.read_original(row)) is not None]


def _team_rows(db: apsw.Connection) -> list[tuple[Any, ...]]:
    stored = db.execute(TEAM_RECORDS).get or 0  # so that nobody looks further back than there is something
    return db.execute(TEAM, (min(TEAM_EVENTS, stored),)).fetchall()[::-1]
