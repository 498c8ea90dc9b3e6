"""What the write side hands to the store: rows, and the bytes that could not become one.

Only shapes live here, and which rows say the same. How a line becomes a row is decided in decode.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

EVENT_COLUMNS: Final = (
    "ts",
    "ts_epoch",
    "type",
    "issue",
    "stage",
    "result",
    "duration_s",
    "cost_usd",
    "model",
    "origin",
    "salvaged",
    "extra",
)

# How a row was read, not what it says: a record that another was glued to later is salvaged by whoever reads it then.
SALVAGED: Final = EVENT_COLUMNS.index("salvaged")

# What numbers are stored as, whatever they are in the file.
REALS: Final = frozenset({EVENT_COLUMNS.index("duration_s"), EVENT_COLUMNS.index("cost_usd")})

# One event, in the order of EVENT_COLUMNS. A plain tuple: a hundred million of them are built.
EventRow = tuple[
    str | None,
    int | None,
    str | None,
    int | str | None,
    str | None,
    str | None,
    float | None,
    float | None,
    str | None,
    str,
    int,
    str | None,
]


def content_of(row: Sequence[object]) -> tuple[object, ...]:
    """Return an event without how it was read: what two reports of one event have in common."""
    return (*row[:SALVAGED], *row[SALVAGED + 1 :])


def row_hash(row: Sequence[object]) -> int:
    """Return a number that equal rows share, within this process; numbers count as their columns store them."""
    if row[6].__class__ is int or row[7].__class__ is int:  # duration_s, cost_usd
        row = [float(value) if at in REALS and isinstance(value, int) else value for at, value in enumerate(row)]
    return hash(content_of(row))


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes of a journal that are no event; they go to quarantine as they are."""

    first: int  # index of the first physical line
    count: int  # physical lines it touches
    start: int  # [start, end) within b"\n".join(lines[first : first + count])
    end: int
    reason: str  # one of the REJECTED_* terms

    def raw(self, lines: Sequence[bytes]) -> bytes:
        """Return the bytes, out of the lines in which they were found."""
        return b"\n".join(lines[self.first : self.first + self.count])[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that could not become a row, and where they are in their file."""

    offset: int
    length: int  # bytes; raw may hold only the first KiB
    reason: str
    raw: bytes


REJECTED_NOT_JSON: Final = "not_json"  # no record begins here
REJECTED_NOT_AN_OBJECT: Final = "not_an_object"  # valid JSON, but a number, string or list
REJECTED_CUT_RECORD: Final = "cut_record"  # begins like a record and never ends
REJECTED_NUL_BYTES: Final = "nul_bytes"  # what a power loss leaves in place of data
REJECTED_NO_TYPE_OR_TIME: Final = "no_type_or_time"  # readable, but nothing says it is an event
