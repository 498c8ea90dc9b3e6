"""What could not become a record: the list, and each piece as it was."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database.connection import explained, open_reader
from shipwrightd.errors import MissingError

if TYPE_CHECKING:
    from pathlib import Path

PREVIEW_BYTES = 120

LIST = """
SELECT id, source, generation, offset, length, reason, seen_at, state, substr(raw, 1, ?)
FROM quarantine ORDER BY id"""
SHOW = """
SELECT id, source, generation, offset, length, reason, seen_at, state, raw
FROM quarantine WHERE id = ?"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that were kept because they could not be read, and where they stood."""

    id: int
    source: str
    generation: int | None
    offset: int
    length: int  # in the file; raw may be shorter
    reason: str
    seen_at: str
    state: str  # kept | recovered
    raw: bytes

    @property
    def text(self) -> str:
        """The bytes as text; those that are no UTF-8 are written as escapes."""
        return self.raw.decode(errors="backslashreplace")

    def as_json(self) -> dict[str, object]:
        """Return the fields under their names; the bytes as text and, exactly, as base64."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "raw"}
        return {**fields, "text": self.text, "raw_base64": base64.b64encode(self.raw).decode()}


def pieces(db_path: Path) -> list[Piece]:
    """Return all that is or was in quarantine, oldest first, each with the beginning of its bytes."""
    return _query(db_path, LIST, PREVIEW_BYTES)


def piece(db_path: Path, number: int) -> Piece:
    """Return one piece whole. MissingError when there is none of that number."""
    found = _query(db_path, SHOW, number)
    if not found:
        raise MissingError(
            f"nothing in quarantine has the number {number}", hint="`shipwrightd quarantine list` shows those there are"
        )
    return found[0]


def _query(db_path: Path, sql: str, value: int) -> list[Piece]:
    try:
        with contextlib.closing(open_reader(db_path)) as db:
            return [Piece(*row) for row in db.execute(sql, (value,))]
    except apsw.Error as error:
        raise explained(db_path, error) from error
