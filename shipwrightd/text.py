"""Text on its way to a terminal: nothing that came from a file or an argument may act on it.

Imports nothing of ours, so that everything may use it.
"""

from __future__ import annotations

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))  # C0, DEL and C1: they move cursors and set titles
_UNSEEN = (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)  # turn or break lines
_RAW_BYTES = range(0xDC80, 0xDD00)  # how Python holds bytes of a path that are no UTF-8
_ESCAPES = (
    {code: f"\\x{code:02x}" for code in _CONTROLS}
    | {code: f"\\u{code:04x}" for code in _UNSEEN}
    | {code: f"\\x{code - 0xDC00:02x}" for code in _RAW_BYTES}
    | {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}
)


def visible(text: str) -> str:
    """Return the text on one line, each control character written out as an escape."""
    return text.translate(_ESCAPES)


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
