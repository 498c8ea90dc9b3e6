"""Bytes in quarantine: the list, and each piece in full."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database import explained, open_reader
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
    """Bytes of a source that could not be decoded, and their position."""

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
        """The bytes as text, those that are not UTF-8 as escapes."""
        return self.raw.decode(errors="backslashreplace")

    def as_json(self) -> dict[str, object]:
        """Return the fields by name; the bytes as text and, exactly, as base64."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "raw"}
        return {**fields, "text": self.text, "raw_base64": base64.b64encode(self.raw).decode()}


def pieces(db_path: Path) -> list[Piece]:
    """Return all pieces, recovered ones too, oldest first, each with the beginning of its bytes."""
    return _query(db_path, LIST, PREVIEW_BYTES)


def piece(db_path: Path, number: int) -> Piece:
    """Return one piece with all its bytes. Raises MissingError if there is none with that number."""
    rows = _query(db_path, SHOW, number)
    if not rows:
        raise MissingError(f"no piece {number} in quarantine", hint="`shipwrightd quarantine list` lists all pieces")
    return rows[0]


def _query(db_path: Path, sql: str, value: int) -> list[Piece]:
    try:
        with contextlib.closing(open_reader(db_path)) as db:
            return [Piece(*row) for row in db.execute(sql, (value,))]
    except apsw.Error as error:
        raise explained(db_path, error) from error
