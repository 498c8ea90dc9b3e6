"""Salvage records from lines that the strict parser refuses.

Works on physical lines, beginning with one that is not valid JSON, and accounts for every byte up to the end
of a line: each belongs to a record or is rejected. One line can hold several pieces (a cut record with one
glued to it, NUL bytes of a power loss), and one record can take several lines (a raw newline in a value).
"""

import base64
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from shipwrightd import decoding
from shipwrightd.decoding import Rejected
from shipwrightd.decoding.damaged_record import scan_fields
from shipwrightd.decoding.exact_json import Fields, Pairs, exact_fields, prefix
from shipwrightd.decoding.values import BOM

JOIN_LINES: Final = 256  # physical lines one decision may take; the longest real record has 7
JOIN_BYTES: Final = 1 << 20
BLANK: Final = b" \t\r\n\v\f"

_RECORD_START: Final = re.compile(rb'\{"ts":"|(?<=\})\{"type":"')
_SKIPPED: Final = re.compile(rb"(?:[ \t\r\n\v\f]|\xef\xbb\xbf)*")
_NULS: Final = re.compile(rb"\x00+")
_ESCAPED_BYTES: Final = 64
_ESCAPED_END: Final = re.compile(rb'(?<!\\)(?:\\\\)*\\"\}+$')
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}")
_EMBEDDED_BYTES: Final = 4096  # an event quoted inside a message is short
_EMBEDDED_TRIES: Final = 64  # keeps the time linear in the length
_CLOSING_BYTES: Final = 1 << 20  # work spent on finding the line that ends a record

# Where bytes of an invalid encoding were replaced, the record as it was, in base64.
ORIGINAL_KEY: Final = "_bytes"


@dataclass(frozen=True, slots=True)
class Record:
    """One salvaged event, and the bytes it was read from (as in Rejected)."""

    first: int
    count: int
    start: int
    end: int
    fields: Fields  # in file order


@dataclass(frozen=True, slots=True)
class Salvaged:
    """The records and rejected bytes of some lines, in file order."""

    found: list[Record | Rejected]
    next: int  # the first line that is not decided yet


def salvage(lines: Sequence[bytes], first: int, *, final: bool) -> Salvaged | None:
    """Salvage line `first` and those that belong to it; return None if that needs lines that are not read yet.

    Never takes more than JOIN_LINES lines or JOIN_BYTES bytes behind the first, and never waits when final.
    """
    walk = _Walk(lines, first, final=final)
    stop = walk.run()
    return None if stop is None else Salvaged(walk.found, stop)


def read_record(piece: bytes, *, lax: bool = False) -> Fields | None:
    """Parse bytes as one record and return its fields, None if the bytes do not end like a record."""
    record = piece.strip(BLANK)
    if not record.endswith(b"}"):
        return None
    text = record.decode(errors="replace")
    fields = exact_fields(text) or scan_fields(text, lax=lax)
    if fields and text.encode() != record:
        fields.append((ORIGINAL_KEY, base64.b64encode(piece).decode()))
    return fields


def is_event(fields: Fields) -> bool:
    """Return whether the fields are those of an event: it has a type or a time."""
    kind = next((value for key, value in fields if key == "type"), None)
    time = next((value for key, value in fields if key == "ts"), None)
    return kind not in (None, "") or (isinstance(time, str) and _TIME.match(time) is not None)


@dataclass(slots=True)
class _Walk:
    lines: Sequence[bytes]
    first: int
    final: bool = field(kw_only=True)
    found: list[Record | Rejected] = field(default_factory=list)
    taken: int = 0  # bytes of the lines behind the first

    def run(self) -> int | None:
        """Continue to the end of a physical line; return the index of the next one, None to wait for more lines."""
        line, at = self.first, 0
        while True:
            data = self.lines[line]
            cuts = _cuts(data)
            while at < len(data) and (at := _after_blank(data, at)) < len(data):
                stop = cuts[bisect_right(cuts, at)]
                if not self._decide(line, at, stop):
                    break
                at = stop
            else:
                return line + 1
            joined = self._join(line, at)
            if joined is None:
                return None
            line, at = joined
            if at == 0:
                return line

    def _decide(self, line: int, at: int, stop: int) -> bool:
        """Decide one piece of a line; return False if it is the beginning of a record that the line does not end."""
        data = self.lines[line]
        if data[at] == 0:
            self._reject((line, at), (line, stop), decoding.REJECTED_NUL_BYTES)
        elif not data.startswith(b"{", at):
            self._reject((line, at), (line, stop), decoding.REJECTED_NOT_JSON)
        elif fields := read_record(data[at:stop]):
            self._take(fields, (line, at), (line, stop))
        elif leading := _leading_record(data[at:stop]):
            fields, size = leading
            self._take(fields, (line, at), (line, at + size))
            self._reject((line, at + size), (line, stop), decoding.REJECTED_NOT_JSON)
        elif stop < len(data):
            self._reject((line, at), (line, stop), decoding.REJECTED_CUT_RECORD)
        else:
            return False
        return True

    def _join(self, line: int, at: int) -> tuple[int, int] | None:
        """Find the end of a record that continues after its line; return where to continue, None to wait."""
        parts = [self.lines[line][at:]]
        brackets = parts[0].rstrip(BLANK).endswith((b"{", b"[", b",", b":"))
        spent = 0
        bound = self.first + JOIN_LINES
        end = line + 1
        while end < min(len(self.lines), bound):
            data = self.lines[end]
            if self.taken + len(data) > JOIN_BYTES or _begins_record(data):
                break
            self.taken += len(data)
            stop = _cuts(data)[0]
            parts.append(data[:stop])
            if spent <= _CLOSING_BYTES and _may_close(parts[-1], brackets=brackets):
                piece = b"\n".join(parts)
                spent += len(piece)
                if fields := read_record(piece):
                    self._take(fields, (line, at), (end, stop))
                    return end, stop
            if stop < len(data):
                self._reject((line, at), (end, stop), decoding.REJECTED_CUT_RECORD)
                return end, stop
            end += 1
        else:
            if end < bound and not self.final:
                return None
        last = (end - 1, len(self.lines[end - 1]))
        if fields := read_record(b"\n".join(parts), lax=True):
            self._take(fields, (line, at), last)
        else:
            self._reject((line, at), last, decoding.REJECTED_CUT_RECORD)
        return end, 0

    def _take(self, fields: Fields, start: tuple[int, int], stop: tuple[int, int]) -> None:
        if is_event(fields):
            self.found.append(Record(*self._place(start, stop), fields))
        else:
            self._reject(start, stop, decoding.REJECTED_NO_TYPE_OR_TIME)

    def _reject(self, start: tuple[int, int], stop: tuple[int, int], reason: str) -> None:
        self.found.append(Rejected(*self._place(start, stop), reason))

    def _place(self, start: tuple[int, int], stop: tuple[int, int]) -> tuple[int, int, int, int]:
        (first, at), (last, end) = start, stop
        before = sum(len(self.lines[line]) + 1 for line in range(first, last))
        return first, last - first + 1, at, before + end


def _after_blank(data: bytes, at: int) -> int:
    skipped = _SKIPPED.match(data, at)
    return skipped.end() if skipped else at


def _cuts(data: bytes) -> list[int]:
    """Return where pieces of a line end: around NUL bytes, before each record glued to another, at the end."""
    cuts = {len(data)}
    for nuls in _NULS.finditer(data):
        cuts.update(nuls.span())
    cuts.update(_record_starts(data))
    return sorted(cuts - {0}) if data else [0]


def _record_starts(data: bytes) -> list[int]:
    """Return where records begin inside a line, without complete ones quoted in the text of another."""
    starts = []
    quoted_to = 0
    for number, found in enumerate(_RECORD_START.finditer(data)):
        start = found.start()
        if start < quoted_to:
            continue
        size = _embedded_size(data, start) if start > 0 and number < _EMBEDDED_TRIES else 0
        quoted_to = start + size
        if not size:
            starts.append(start)
    return starts


def _embedded_size(data: bytes, start: int) -> int:
    """Return the length of an object that is part of a message, as text follows it; 0 if it can be a record."""
    _, size = _first_value(data[start : start + _EMBEDDED_BYTES])
    rest = _after_blank(data, start + size)
    glued = rest == len(data) or data[rest] == 0 or _RECORD_START.match(data, rest)
    return 0 if glued else size


def _leading_record(piece: bytes) -> tuple[Fields, int] | None:
    """Return the fields and length of a complete record that other bytes follow."""
    value, size = _first_value(piece) if b"}" in piece else (None, 0)
    fields = read_record(piece[:size]) if isinstance(value, Pairs) else None
    return (fields, size) if fields and is_event(fields) else None


def _first_value(data: bytes) -> tuple[object, int]:
    """Return the JSON value that the bytes begin with and its length, 0 if they do not begin with one."""
    text = data.decode(errors="surrogateescape")
    value, end = prefix(text, 0)
    return value, len(text[: max(end, 0)].encode(errors="surrogateescape"))


def _begins_record(data: bytes) -> bool:
    """Return whether an event begins with this line, so that no earlier one can continue in it."""
    body = data.strip(BLANK).removeprefix(BOM)
    if body.startswith((b'{"ts":', b"\x00")):
        return True
    if not (body.startswith(b"{") and body.endswith(b"}")):
        return False
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return "ts" in value or "type" in value


def _may_close(part: bytes, *, brackets: bool) -> bool:
    """Return whether a record can end with this line; a cheap check, so that few lines are parsed.

    A line without a quote ends no string; it can end a record only if that was not inside one.
    """
    body = part.rstrip(BLANK)
    if not body.endswith(b"}") or not (brackets or b'"' in body):
        return False
    # The quote before the closing braces may be part of a text that continues.
    return _ESCAPED_END.search(body, max(0, len(body) - _ESCAPED_BYTES)) is None
