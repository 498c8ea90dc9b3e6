"""Events as the dashboard reads them from events.jsonl, put together again from their columns and the rest.

Two readings of the same rows. The original's: the last of two equal keys counts, as JSON.parse has it, and lines
that it refuses are not there. Ours: an event is what its columns say, and what was salvaged is there like the rest.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from typing import TYPE_CHECKING, Any, Final

from shipwrightd.dashboard.issues import ALWAYS_NAMED
from shipwrightd.dashboard.javascript import number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import apsw

Event = dict[str, Any]

KEYS: Final = ("ts", "ts_epoch", "type", "issue", "stage", "result", "duration_s", "cost_usd", "model")
EXACT_DIGITS: Final = 15  # any number of as many is kept as one
_DIGITS: Final = re.compile(r"-?[0-9]+\.?[0-9]*", re.ASCII)
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
AS_IT_WAS: Final = "_bytes"  # the line in base64, of one with invalid UTF-8

# ?1 a JSON array of types; ?2 seconds. In order of the file.
OF_TYPES = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events INDEXED BY events_type
WHERE type IN (SELECT value FROM json_each(?1)) AND origin = 'events.jsonl'
ORDER BY id"""
OF_TYPES_SINCE = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events INDEXED BY events_type_epoch
WHERE type IN (SELECT value FROM json_each(?1)) AND ts_epoch >= ?2 AND origin = 'events.jsonl'
ORDER BY id"""
OF_ISSUE = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, salvaged, extra
FROM events WHERE issue = ?1 AND origin = 'events.jsonl' ORDER BY id"""


def read(row: Sequence[Any]) -> Event:
    """Return a row as the event it is."""
    event, rest = _halves(row)
    return {**event, **{key: value for key, value in rest.items() if key not in event and key != AS_IT_WAS}}


def read_original(row: Sequence[Any]) -> Event | None:
    """Return a row as JSON.parse reads its line, None where it refuses that.

    It never sees invalid UTF-8, which is salvaged here: of such a line the bytes are kept.
    """
    event, rest = _halves(row)
    if not row[9]:
        return as_written({**event, **rest}, rest)
    kept = rest.get(AS_IT_WAS)
    return _parsed(kept) if isinstance(kept, str) else None


def as_written(event: Event, rest: Event) -> Event:
    """Return an event with its numbers as its emitter wrote them, as far as that shows.

    Shipwright's main emitter puts no quotes around a number. So digits that are text are a number that 64 bits do
    not hold; or, where they do, the line is of the small emitter, which quotes everything and gives no ts_epoch.
    """
    digits = {key: value for key, value in rest.items() if isinstance(value, str) and _DIGITS.fullmatch(value)}
    quoted = [value for value in digits.values() if _is_held(value)]
    if quoted and "ts_epoch" not in rest and event.get("ts_epoch") == _seconds(event.get("ts")):
        whole = event.get("issue")
        named = {"issue": str(whole)} if whole and "issue" not in rest else {}
        return {key: value for key, value in {**event, **named}.items() if key != "ts_epoch"}
    return {**event, **{key: float(value) for key, value in digits.items() if _as_number(value)}}


def _is_held(digits: str) -> bool:
    return len(digits) <= EXACT_DIGITS


def _as_number(digits: str) -> bool:
    return not _is_held(digits) and _JSON_NUMBER.fullmatch(digits) is not None


def _seconds(ts: object) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(str(ts))
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def _parsed(kept: str) -> Event | None:
    try:
        line = base64.b64decode(kept).decode("utf-8", "replace")
        found = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _refuse(constant: str) -> Any:  # noqa: ANN401 - never returns
    raise ValueError(constant)


def _halves(row: Sequence[Any]) -> tuple[Event, Event]:
    """Return what the columns say, and all that stands in extra; of equal keys the last."""
    event = {key: value for key, value in zip(KEYS, row, strict=False) if value is not None}
    rest = _object(row[10])
    if "issue" not in event and "issue" not in rest and "payload" not in rest and event.get("type") in ALWAYS_NAMED:
        event["issue"] = 0
    return event, rest


def _object(extra: str | None) -> Event:
    try:
        found = json.loads(extra) if extra else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def since(db: apsw.Connection, types: Iterable[str], cutoff: float) -> list[Event]:
    """Return the events of these types, as the original reads them, in order of the file, from `cutoff` on.

    A cutoff of NaN cuts nothing off.
    """
    wanted = frozenset(types)
    listed = json.dumps(sorted(wanted))
    if math.isnan(cutoff) or cutoff <= 0:
        rows = db.execute(OF_TYPES, (listed,))
    else:
        rows = db.execute(OF_TYPES_SINCE, (listed, cutoff))
    events = (read_original(row) for row in rows)
    return [event for event in events if event and _is_of(event, wanted) and not epoch(event) < cutoff]


def _is_of(event: Event, types: frozenset[str]) -> bool:
    kind = event.get("type")
    return isinstance(kind, str) and kind in types


def of_issue(db: apsw.Connection, issue: int) -> Iterator[Event]:
    """Yield the events of an issue in order of the file."""
    return (read(row) for row in db.execute(OF_ISSUE, (issue,)))


def of_issue_original(db: apsw.Connection, issue: int) -> Iterator[Event]:
    """Yield what the original finds of an issue: where the line gives it as a number."""
    events = (read_original(row) for row in db.execute(OF_ISSUE, (issue,)))
    return (event for event in events if event and is_number(event.get("issue"), issue))


def is_number(value: object, wanted: float) -> bool:
    """Tell whether value === wanted."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == wanted


def epoch(event: Event) -> float:
    """Return ts_epoch || 0."""
    found = number(event.get("ts_epoch"))
    return 0 if math.isnan(found) and not isinstance(event.get("ts_epoch"), str) else found
