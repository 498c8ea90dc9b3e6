r"""Decode physical lines of an event journal to event rows.

Nearly every line is good, and there are a hundred million of them: they take one tight loop, which checks
cheaply that a line is ordinary and stops at the first that is not. Odd but valid lines (repeated keys, long
numbers, numbers in quotes) are read carefully, one at a time; lines that are not JSON go to salvage.

Columns take what they can hold and `extra` keeps the rest, so that nothing in a line is lost:

- A text column gets the digits of a number; a value that the column cannot hold (a list, true) makes it
  NULL. Whenever the column differs from the file, `extra` keeps the file's value under that key.
- A "ts_epoch" that is not a number is derived from "ts". An "issue" of 0 or "" is none; a number in quotes is
  a number.
- NULL stands for null and for an absent key alike, and for a "ts" or "ts_epoch" of "".
- NUL characters in a text column become U+2400, because SQL text ends at a NUL. `extra` keeps them.
- Numbers whose digits 64 bits cannot hold are text.
- Halves of surrogate pairs (an escape like "\ud800" alone) become the six characters of that escape.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from shipwrightd.decoding import EVENT_COLUMNS, REJECTED_NOT_AN_OBJECT, EventRow, Rejected
from shipwrightd.decoding.exact_json import JsonText, exact_fields, render_pairs, standard_fields
from shipwrightd.decoding.salvage import BLANK, Record, read_record, salvage
from shipwrightd.decoding.values import BOM, INT64_MAX, INT64_MIN, epoch_of, looks_numeric

_BLOCK_LINES: Final = 512  # searched at once for what the loop cannot see


@dataclass(frozen=True, slots=True)
class Origin:
    """Where lines come from: the `origin` of their rows."""

    label: str
    team: bool = False  # rows add the developer and machine that sent them


JOURNAL: Final = Origin("events.jsonl")
TEAM: Final = Origin("team-events.jsonl", team=True)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The result of decoding: every byte of a line that is not blank is in a row or in a rejected range."""

    rows: list[EventRow]  # in file order
    rejected: list[Rejected]  # in file order
    salvaged: int  # rows that salvage produced
    consumed: int  # physical lines decided; fewer than given only if the last ones are an unfinished record


def decode_lines(lines: Sequence[bytes], *, origin: Origin, final: bool) -> Decoded:
    """Decode physical lines, given without their newline. Never raises, whatever they contain.

    Unless final, a record that may continue after the last line is not consumed: pass it again with more lines,
    or as final when enough time has passed. That concerns at most salvage.JOIN_LINES lines.
    """
    work = _Pass(lines, origin, final=final)
    consumed = work.run()
    return Decoded(work.rows, work.rejected, work.salvaged, consumed)


@dataclass(slots=True)
class _Pass:
    lines: Sequence[bytes]
    origin: Origin
    final: bool = field(kw_only=True)
    rows: list[EventRow] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    salvaged: int = 0

    def run(self) -> int:
        """Decode lines until all are decided or the rest must wait; return the number of lines decided."""
        at = 0
        while at < len(self.lines):
            stop = min(at + _BLOCK_LINES, len(self.lines))
            for edge in (*_suspects(self.lines, at, stop), stop):
                while at <= edge and at < stop:
                    if not self.origin.team:
                        at += _decode_good(self.lines[at:edge], self.origin.label, self.rows)
                    if at < stop:
                        following = self._one(at)
                        if following == at:
                            return at
                        at = following
        return at

    def _one(self, at: int) -> int:
        """Decode a line of any kind, and those that belong to it; return the next line, the same one to wait."""
        line = self.lines[at].strip(BLANK)
        if line.startswith(BOM):
            line = line.removeprefix(BOM).strip(BLANK)
        if not line:
            return at + 1
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            fields = standard_fields(line)
            if fields is None:
                return self._salvage(at)
            self._add(fields)
            return at + 1
        if not isinstance(value, dict):
            self.rejected.append(Rejected(at, 1, 0, len(self.lines[at]), REJECTED_NOT_AN_OBJECT))
        elif _is_plain(line, value):
            self._add(value.items())
        elif fields := exact_fields(line.decode()):
            self._add(fields)
        else:  # nested deeper than the interpreter's stack
            self._add(read_record(line) or [("extra", line.decode())], salvaged=1)
        return at + 1

    def _salvage(self, at: int) -> int:
        result = salvage(self.lines, at, final=self.final)
        if result is None:
            return at
        for piece in result.found:
            if isinstance(piece, Record):
                self._add(piece.fields, salvaged=1)
            else:
                self.rejected.append(piece)
        return result.next

    def _add(self, fields: Iterable[tuple[str, Any]], salvaged: int = 0) -> None:
        self.salvaged += salvaged
        self.rows.append(_event_row(fields, self.origin, salvaged=salvaged))


def _decode_good(lines: Sequence[bytes], label: str, rows: list[EventRow]) -> int:  # noqa: C901
    """Append the rows of the first lines as long as these are ordinary; return how many.

    One long function on purpose: a line costs about two microseconds, and each call would add a tenth of one.
    """
    loads, dumps = orjson.loads, orjson.dumps
    append, before, numbers = rows.append, len(rows), (int, float)
    try:
        for line in lines:
            event = loads(line)
            # Each key has a colon, and the time has two: a sum that fits leaves none for a repeated key.
            if line.count(b":") - 2 != len(event) and not _keys_differ(line, event):
                break
            pop = event.pop
            ts, ts_epoch, kind = pop("ts", ""), pop("ts_epoch", None), pop("type", None)
            if ts[13:20:3] != "::Z" or ts_epoch.__class__ is not int or kind.__class__ is not str:
                break
            issue, stage, result = pop("issue", None), pop("stage", None), pop("result", None)
            duration_s, cost_usd, model = pop("duration_s", None), pop("cost_usd", None), pop("model", None)
            if issue is not None:
                if issue.__class__ is not int:
                    break
                if issue == 0:
                    issue = None
            if stage is not None and stage.__class__ is not str:
                break
            if result is not None and result.__class__ is not str:
                break
            if model is not None and model.__class__ is not str:
                break
            if duration_s is not None and duration_s.__class__ not in numbers:
                break
            if cost_usd is not None and cost_usd.__class__ not in numbers:
                break
            extra = dumps(event).decode() if event else None
            append((ts, ts_epoch, kind, issue, stage, result, duration_s, cost_usd, model, label, 0, extra))
    except (orjson.JSONDecodeError, TypeError, AttributeError, KeyError):
        # Not JSON, not an object, a time that is not a text, or nested too deep to be written: _one() handles each.
        pass
    return len(rows) - before


def _keys_differ(line: bytes, event: dict[str, Any]) -> bool:
    """Return whether no key of a flat object can be repeated: as many `":` as keys, escaped quotes not counted.

    White space before a colon hides a key from the count, whatever stands before it.
    """
    return (
        line.count(b'":') - line.count(b'\\":') == len(event)
        and b'\\\\"' not in line
        and b" :" not in line
        and b"\t:" not in line
        and b"\r:" not in line
    )


# Parsed values do not show that long digit runs, tiny exponents or escaped NULs were in the text. One
# translation lets a plain search find them, many lines at a time.
_CLASSES: Final = bytes.maketrans(b"0123456789.E", b"00000000000e")
_LONG_NUMBER: Final = b"0" * 17  # with its point; a double holds 15 digits whatever they are
_TINY_NUMBER: Final = b"0e-000"
_NUL_ESCAPE: Final = b"\\u0000"


def _suspects(lines: Sequence[bytes], start: int, stop: int) -> list[int]:
    """Return the lines with content that the loop for good lines would not notice."""
    if not _is_suspect(b"\n".join(lines[start:stop])):
        return []
    return [at for at in range(start, stop) if _is_suspect(lines[at])]


def _is_suspect(text: bytes) -> bool:
    classes = text.translate(_CLASSES)
    return _LONG_NUMBER in classes or _TINY_NUMBER in classes or _NUL_ESCAPE in text


def _is_plain(line: bytes, event: dict[str, Any]) -> bool:
    """Return whether the parsed values equal the line's content: no key repeated, nothing nested or rounded."""
    if not _keys_differ(line, event):
        return False
    suspect = _is_suspect(line)
    for value in event.values():
        if isinstance(value, (dict, list)) or (isinstance(value, float) and suspect):
            return False
        if isinstance(value, int) and value > INT64_MAX:
            return False
    return True


_Field = tuple[Any, bool]  # the column's value, and whether it is partial, so that `extra` keeps the value too

_NUMBERS: Final = (int, float)
_INTEGER: Final = re.compile("-?[0-9]+")
_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}.*)?", re.ASCII)


def _event_row(fields: Iterable[tuple[str, Any]], origin: Origin, *, salvaged: int) -> EventRow:
    """Return the row of any event: a column takes its key's first value, extra the rest in file order."""
    columns: dict[str, Any] = {}
    extra = []
    for key, value in fields:
        column = _COLUMNS.get(key)
        if column is None or key in columns:
            extra.append((key, value))
            continue
        columns[key], partly = column(value)
        if partly:
            extra.append((key, value))
    ts, ts_epoch, kind, issue, stage, result, duration_s, cost_usd, model = map(columns.get, EVENT_COLUMNS[:9])
    if ts_epoch is None and ts and _TIME.fullmatch(ts):
        ts_epoch = epoch_of(ts)
    label = _team_origin(origin.label, extra) if origin.team else origin.label
    rest = _extra(extra) if extra else None
    return ts, ts_epoch, kind, issue, stage, result, duration_s, cost_usd, model, label, salvaged, rest


def _extra(fields: list[tuple[str, Any]]) -> str:
    """Write the fields as JSON text, repeated keys included."""
    by_key = dict(fields)
    if len(by_key) < len(fields) or any(isinstance(value, JsonText) for value in by_key.values()):
        return render_pairs(fields)
    return orjson.dumps(by_key).decode()


def _team_origin(label: str, extra: list[tuple[str, Any]]) -> str:
    sender = {key: value for key, value in reversed(extra) if value and value.__class__ is str}
    developer, machine = sender.get("from_developer", "unknown"), sender.get("from_machine", "unknown")
    return f"{label}/{developer}@{machine}".replace("\0", "\u2400")


def _time(value: object) -> _Field:
    if isinstance(value, JsonText) or not isinstance(value, str):
        return None, value is not None
    return _words(value or None)


def _words(value: object) -> _Field:
    if value.__class__ is str and "\0" not in value:
        return value, False
    if isinstance(value, str) and not isinstance(value, JsonText):
        return value.replace("\0", "\u2400"), True
    return (str(value), True) if value.__class__ in _NUMBERS else (None, value is not None)


def _integer(value: object) -> _Field:
    """Return a whole number, also from quotes; a fraction is cut off."""
    if value.__class__ is int:
        return value, False
    if isinstance(value, str) and _INTEGER.fullmatch(value) and len(value) <= len(str(INT64_MIN)):
        whole = int(value)
        return (whole, str(whole) != value) if INT64_MIN <= whole <= INT64_MAX else (None, True)
    if isinstance(value, float) and INT64_MIN <= value <= INT64_MAX:
        whole = math.floor(value)
        return whole, whole != value
    return None, value not in (None, "")


def _issue(value: object) -> _Field:
    """Return an issue's number if it has one, else its text; 0 and an empty text are no issue."""
    whole, partly = _integer(value)
    if whole is None or (partly and isinstance(value, float)):
        text, partly = _words(value)
        if text and looks_numeric(text):  # the column would convert it to a number that it does not spell
            return None, True
        return text or None, partly
    return whole or None, partly


def _measure(value: object) -> _Field:
    if value.__class__ in _NUMBERS:
        return value, False
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        real = float(value)
        whole = int(value) if _INTEGER.fullmatch(value) and abs(real) < INT64_MAX else real
        return (whole, True) if math.isfinite(real) else (None, True)
    return None, value is not None


_COLUMNS: Final[dict[str, Callable[[object], _Field]]] = {
    "ts": _time,
    "ts_epoch": _integer,
    "type": _words,
    "issue": _issue,
    "stage": _words,
    "result": _words,
    "duration_s": _measure,
    "cost_usd": _measure,
    "model": _words,
}
