"""Text for people: control characters written as escapes, and numbers, sizes and durations in readable form.

Data from files and arguments must never reach a terminal raw. Imports nothing of ours, so every package may use it.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import sys
from typing import IO

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))  # C0, DEL and C1: they move cursors and set titles
_UNSEEN = (  # they turn or break lines, or have text that nobody sees
    *(0x00AD, 0x061C, 0x180E, 0x200B, 0x200E, 0x200F, 0xFEFF),
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)
_RAW_BYTES = range(0xDC80, 0xDD00)  # how Python holds bytes of a path that are no UTF-8
_ESCAPES = (
    {code: f"\\x{code:02x}" for code in _CONTROLS}
    | {code: f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}" for code in _UNSEEN}  # noqa: PLR2004
    | {code: f"\\x{code - 0xDC00:02x}" for code in _RAW_BYTES}
    | {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
)
_LINE_ENDS = "\n"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_AGES = (("s", 120.0, 1), ("min", 7_200.0, _MINUTE_S), ("h", 172_800.0, _HOUR_S))
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNIT = 1024
UNLIMITED = 10_000  # columns of an output that is no terminal: no line is cut
NARROW = 60  # columns; below, a table is not cut any further


def visible(text: str) -> str:
    """Return the text on one line, each control character replaced with its escape."""
    return text.translate(_ESCAPES)


def warn(message: str) -> None:
    """Print a message on one line of stderr; a stderr that is closed loses it."""
    with contextlib.suppress(OSError):
        print(f"shipwrightd: {visible(message)}", file=sys.stderr)  # noqa: T201 - the one place that does


def width() -> int:
    """Return how many columns a line on stdout may take."""
    if not sys.stdout.isatty():
        return UNLIMITED
    import shutil  # noqa: PLC0415 - loads compression libraries

    return max(NARROW, shutil.get_terminal_size().columns)


def family(source: str) -> str:
    """Return the name that a source shares with others of its kind: memory/*/failures.json, heartbeats/*.json.

    There are as many of these as kinds of files, regardless of the number of repositories and jobs.
    """
    parts = source.split("/")
    if len(parts) > 2:  # noqa: PLR2004 - one folder for each repository
        return "/".join([parts[0], "*", *parts[2:]])
    if parts[0] == "heartbeats":
        return "heartbeats/*.json"
    return source


def shortened(text: str, length: int) -> str:
    """Return the text, cut to `length` characters with dots at the end if it is longer."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def number(value: float | None) -> str:
    """Return a number with thousands separators, with two decimals only if it is not whole; `-` for None."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"


def percent(value: float | None) -> str:
    """Return a percentage with one decimal: 12.3 %."""
    return "-" if value is None else f"{value:.1f} %"


def money(value: float | None) -> str:
    """Return US dollars: $12.34, below one dollar $0.1234."""
    if value is None:
        return "-"
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.4f}"


def size_of(count: int) -> str:
    """Return a number of bytes in readable form: 999 B, 1.5 MiB."""
    value = float(count)
    for unit in _UNITS:
        if value < _UNIT or unit == _UNITS[-1]:
            break
        value /= _UNIT
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def age_of(seconds: float | None) -> str:
    """Return an age: 45 s, 3 min, 5 h, 12 d; `-` for None, `now` for one that clock differences explain."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "now" if seconds > -_DAY_S else "in the future"
    for unit, below, divisor in _AGES:
        if seconds < below:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / _DAY_S:,.0f} d"


def duration(seconds: float | None) -> str:
    """Return a duration in at most two units: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return "-"
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s" if seconds == int(seconds) else f"{seconds:.1f} s"
    value = round(seconds)
    large, name, small, small_name = (
        (_MINUTE_S, "min", 1, "s")
        if value < _HOUR_S
        else (_HOUR_S, "h", _MINUTE_S, "min")
        if value < 2 * _DAY_S
        else (_DAY_S, "d", _HOUR_S, "h")
    )
    rest = value % large // small
    return f"{value // large} {name}" + (f" {rest} {small_name}" if rest else "")


def short_duration(seconds: float | None) -> str:
    """Return a duration in at most seven characters up to a hundred days: 4.5s, 59s, 10m 26s, 2h 5m, 3d 4h."""
    if seconds is None:
        return "-"
    if 0 < seconds < _MINUTE_S / 6 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    value = round(seconds)
    if value < _MINUTE_S:
        return f"{value}s"
    if value < _HOUR_S:
        return f"{value // _MINUTE_S}m {value % _MINUTE_S}s"
    if value < 2 * _DAY_S:
        return f"{value // _HOUR_S}h {value % _HOUR_S // _MINUTE_S}m"
    return f"{value // _DAY_S:,}d {value % _DAY_S // _HOUR_S}h"


def as_json(value: object) -> str:
    """Return a value as indented JSON, keys in the order of its fields."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")  # the one control character that json leaves raw


def _json_escape(code: int) -> str:
    units = chr(code).encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


_JSON_ESCAPES = {code: _json_escape(code) for code in (*_CONTROLS, *_UNSEEN)} | {ord(_LINE_ENDS): _LINE_ENDS}


def harmless(text: str) -> str:
    """Return lines without what acts on a terminal; JSON stays the same JSON, its escapes spelled out."""
    return text.translate(_JSON_ESCAPES)


class Screen:
    """A terminal that takes lines meant for programs, JSON for one, in pieces of any length."""

    def __init__(self, out: IO[str]) -> None:
        """Write to `out`."""
        self._out = out

    def write(self, text: str) -> int:
        """Write the text, harmless; return its length."""
        self._out.write(harmless(text))
        return len(text)

    def flush(self) -> None:
        """Flush what was written."""
        self._out.flush()


class CsvScreen(Screen):
    """The same for CSV, where a line end inside a field could forge a line."""

    _quoted = False

    def write(self, text: str) -> int:
        """Write the text, harmless; return its length."""
        parts = text.split('"')
        for at in range(not self._quoted, len(parts), 2):
            parts[at] = parts[at].replace(_LINE_ENDS, r"\n")
        self._quoted ^= len(parts) % 2 == 0
        super().write('"'.join(parts))
        return len(text)


class Encoded:
    """Takes UTF-8, in pieces that may end inside a character, for a screen."""

    def __init__(self, screen: Screen) -> None:
        """Write to the screen."""
        self._screen = screen
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def write(self, piece: bytes) -> int:
        """Write the piece, harmless; return its length."""
        self._screen.write(self._decoder.decode(piece))
        return len(piece)

    def flush(self) -> None:
        """Flush what was written."""
        self._screen.flush()
