"""What the fields of an event say that have no column of their own; pure.

A payload is JSON inside a string, written without escaping the goal of a run:
where it is no JSON, what stands between its known keys is taken as it is.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NamedTuple

import orjson

from shipwrightd.decoding import values

Issue = int | str | None

# How the fields of a told stage stand unless something about them is odd: nothing escaped within the values.
STAGE_FIELDS: Final = re.compile(
    r'{"event_id":"[^"]*","payload":"{\\"stage\\":\\"([^"\\]+)\\",\\"issue\\":\\"(\d{1,18})\\",'
    r'\\"timing\\":\\"([^"\\]*)\\"}"}',
    re.ASCII,
).fullmatch
NOTHING: Final[dict[str, Any]] = {}
DIGITS: Final = re.compile(r"-?\d{1,18}", re.ASCII)


class Payload(NamedTuple):
    """What publish_event adds to an event of the pipeline."""

    issue: Issue
    stage: str | None
    seconds: float | None
    template: str | None
    goal: str | None


def payload_of(extra: str | None) -> Payload | None:
    """Return the payload in the other fields of an event, None if there is none."""
    if extra is None or '"payload":' not in extra:
        return None
    raw = fields_of(extra).get("payload")
    if isinstance(raw, dict):
        fields = raw
    elif isinstance(raw, str):
        fields = _read(raw)
    else:
        return None
    return Payload(
        issue_of(fields.get("issue")),
        text(fields.get("stage")) or None,
        seconds_of(text(fields.get("timing"))),
        text(fields.get("pipeline")),
        text(fields.get("goal")),
    )


def stage_of(extra: str | None) -> tuple[Issue, str | None, float | None] | None:
    """Return issue, stage and seconds of a stage told of in a payload, None if there is none.

    A shorter way for the one event in three that is of this kind.
    """
    plain = STAGE_FIELDS(extra) if extra else None
    if plain is None:
        payload = payload_of(extra)
        return None if payload is None else payload[:3]
    stage, issue, timing = plain.groups()
    return int(issue) or None, stage, seconds_of(timing)


def _read(raw: str) -> dict[str, Any]:
    try:
        value = orjson.loads(raw)
    except ValueError:
        return {key: found for key in ("issue", "stage", "timing", "pipeline", "goal") if (found := _between(raw, key))}
    return value if isinstance(value, dict) else {}


def _between(raw: str, key: str) -> str | None:
    """Return what stands behind a key, up to the next quote; of the goal, which comes last, all of it."""
    _, found, rest = raw.partition(f'"{key}":"')
    if not found:
        return None
    return rest.removesuffix('"}') if key == "goal" else rest.partition('"')[0]


def fields_of(extra: str | None) -> dict[str, Any]:
    """Return the fields of an event that have no column."""
    if extra is None:
        return NOTHING
    try:
        value = orjson.loads(extra)
    except ValueError:  # a number that no reader takes
        return NOTHING
    return value if isinstance(value, dict) else NOTHING


def issue_of(value: object) -> Issue:
    """Return an issue as events.issue holds it: None for 0 and empty, text where it is no number."""
    if isinstance(value, str) and DIGITS.fullmatch(value):
        return int(value) or None
    if isinstance(value, int) and abs(value) <= values.INT64_MAX:
        return int(value) or None
    return text(value) or None


@functools.lru_cache(maxsize=4096)
def seconds_of(timing: str | None) -> float | None:
    """Return the seconds of a timing such as "1h 2m 3s", None if it is none."""
    found = values.seconds_of(timing)
    return number(timing) if found is None else found


def text(value: object) -> str | None:
    """Return a value as the text of a column."""
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()


def number(value: object) -> float | None:
    """Return a value as a number that SQLite can hold, None if it is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not abs(value) <= values.INT64_MAX:
        return None
    return value


def integer(value: object) -> int | None:
    """Return a value as a whole number, None if it is none."""
    found = number(value)
    return None if found is None else int(found)
