"""Text for people: sizes, and text that cannot act on a terminal, wherever it came from.

Imports nothing of ours, so that everything may use it.
"""

from __future__ import annotations

import codecs
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
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_UNIT = 1024


def visible(text: str) -> str:
    """Return the text on one line, each control character written out as an escape."""
    return text.translate(_ESCAPES)


def size_of(count: int) -> str:
    """Return a number of bytes for people: 999 B, 1.5 MiB."""
    value = float(count)
    for unit in _UNITS:
        if value < _UNIT or unit == _UNITS[-1]:
            break
        value /= _UNIT
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def family(source: str) -> str:
    """Return what stands for a source and its like: memory/*/failures.json, heartbeats/*.json.

    There are as few of these as kinds of files, however many repositories and jobs there are.
    """
    parts = source.split("/")
    if len(parts) > 2:  # noqa: PLR2004 - one folder for each repository
        return "/".join([parts[0], "*", *parts[2:]])
    if parts[0] == "heartbeats":
        return "heartbeats/*.json"
    return source


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
