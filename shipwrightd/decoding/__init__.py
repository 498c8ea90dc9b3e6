"""Event rows, the bytes of a journal that could not become one, and which rows have the same content. Pure."""

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

# How a row was read, not its content: a record is salvaged if another was glued to it before it was read.
SALVAGED: Final = EVENT_COLUMNS.index("salvaged")

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
    """Return the content of a row, which is equal for two readings of one event: all columns but `salvaged`."""
    return (*row[:SALVAGED], *row[SALVAGED + 1 :])


def row_hash(row: Sequence[object]) -> int:
    """Return a number that equal rows share, within this process; numbers count as their columns store them."""
    duration_s, cost_usd = row[6:8]
    if duration_s.__class__ is int or cost_usd.__class__ is int:  # the columns store doubles
        reals = (float(value) if isinstance(value, int) else value for value in (duration_s, cost_usd))
        row = (*row[:6], *reals, *row[8:])
    return hash(content_of(row))


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bytes of a journal that are not an event; they go to quarantine unchanged."""

    first: int  # index of the first physical line
    count: int  # physical lines it touches
    start: int  # [start, end) within b"\n".join(lines[first : first + count])
    end: int
    reason: str  # one of the REJECTED_* terms

    def raw(self, lines: Sequence[bytes]) -> bytes:
        """Return the bytes, given the lines that were decoded."""
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
