"""The fields of one JSON object, taken one by one into the types that columns have. Pure."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

from shipwrightd.documents.json_text import SIGNED_64, compact

if TYPE_CHECKING:
    from shipwrightd.documents.json_text import Json

NUMBER = re.compile(r"-?\d{1,300}(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)  # 007 and 1. too: jq lets them through
LONG_DURATION = re.compile(r"(?:(\d{1,9})d ?)?(?:(\d{1,9})h ?)?(?:(\d{1,9})m ?)?(?:(\d{1,9})s)?", re.ASCII)
QUOTED_ISSUE = re.compile(r'"?#?(\d{1,18})"?', re.ASCII)
INTEGER_DIGITS = 18  # of which any number fits 64 bits


class Fields:
    """Takes fields out of an object; what is not taken, or did not fit its column, is the extra."""

    def __init__(self, value: dict[str, Json]) -> None:
        """Take nothing yet; the object itself stays as it is."""
        self._rest = dict(value)

    def text(self, key: str) -> str | None:
        """Take a text; anything else stays in the extra."""
        value = self._rest.get(key)
        if value is None or isinstance(value, str):
            self._rest.pop(key, None)
            return value
        return None

    def bare_text(self, key: str) -> str | None:
        """Take a text without quotes that a writer put inside it; the original then stays in the extra."""
        value = self._rest.get(key)
        if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
            return value[1:-1]
        return self.text(key)

    def number(self, key: str) -> int | float | None:
        """Take a number, or a text that is one; anything else stays in the extra."""
        found = number_of(self._rest.get(key))
        if found is not None or self._rest.get(key) is None:
            self._rest.pop(key, None)
        return found

    def flag(self, key: str) -> int | None:
        """Take a truth value (true, "true", 1, ...) as 0 or 1; anything else stays in the extra."""
        value = self._rest.get(key)
        for answer, spellings in ((1, (True, "true", "1")), (0, (False, "false", "0"))):
            if value in spellings and not isinstance(value, float):
                del self._rest[key]
                return answer
        if value is None:
            self._rest.pop(key, None)
        return None

    def issue(self, key: str) -> int | str | None:
        """Take an issue: its number, None for none, other texts as they are.

        A number with quotes or # around it is that number, and the original stays in the extra.
        """
        value = self._rest.get(key)
        if not isinstance(value, str):
            found = number_of(value)
            if value is None or isinstance(found, int):
                self._rest.pop(key, None)
            return found or None if isinstance(found, int) else None
        bare = QUOTED_ISSUE.fullmatch(value)
        if bare is None:
            return self._odd_issue(key, value)
        if bare[1] == value:
            del self._rest[key]
        return int(bare[1]) or None

    def _odd_issue(self, key: str, value: str) -> str | None:
        if not value.strip('"'):
            if not value:
                del self._rest[key]
            return None
        if looks_numeric(value):  # the column would turn it into another number than it spells
            return None
        del self._rest[key]
        return value

    def json(self, key: str) -> str | None:
        """Take an array or object as compact JSON text; anything else stays in the extra."""
        value = self._rest.get(key)
        if isinstance(value, dict | list):
            return compact(self._rest.pop(key))
        if value is None:
            self._rest.pop(key, None)
        return None

    def epoch(self, key: str, ts: str | None) -> int | None:
        """Take seconds since 1970, or derive them from the ts text."""
        found = number_of(self._rest.get(key))
        if found is None or abs(found) >= SIGNED_64:
            return epoch_of(ts)
        del self._rest[key]
        return int(found)

    def extra(self) -> str | None:
        """Return all that was not taken as JSON text, None when that is nothing."""
        return compact(self._rest) if self._rest else None


def number_of(value: Json) -> int | float | None:
    """Return the number that a value is or spells, None when it is none that SQLite can hold."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        digits = value.lstrip("-").isdigit()
        value = int(value) if digits and len(value) <= INTEGER_DIGITS else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < SIGNED_64:
        return int(value)
    if abs(value) == float("inf") or (isinstance(value, int) and not -SIGNED_64 <= value < SIGNED_64):
        return None
    return value


def looks_numeric(text: str) -> bool:
    """Tell whether a column of numbers might take the text for one (a few more do, and none fewer).

    SQLite reads a text up to its first NUL, and takes the number before that for all of it.
    """
    try:
        float(text.partition("\0")[0])
    except ValueError:
        return False
    return True


def epoch_of(ts: str | None) -> int | None:
    """Return the seconds since 1970 of an ISO 8601 text, UTC unless it says otherwise; None if it is none."""
    if not ts:
        return None
    try:
        moment = dt.datetime.fromisoformat(ts)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return int(moment.timestamp())


def seconds_of(duration: str | None) -> int | None:
    """Return the seconds of a text such as "1h 15m 36s"; None if it is none."""
    match = LONG_DURATION.fullmatch(duration or "")
    if not match or not any(match.groups()):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return days * 86_400 + hours * 3_600 + minutes * 60 + seconds
