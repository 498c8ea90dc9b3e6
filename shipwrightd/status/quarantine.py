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
PIECES = """
SELECT id, source, generation, offset, length, reason, seen_at, state, iif(?1, raw, substr(raw, 1, ?2))
FROM quarantine WHERE ?1 IS NULL OR id = ?1 ORDER BY id"""


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


def pieces(db_path: Path, number: int | None = None) -> list[Piece]:
    """Return all pieces, recovered ones too, oldest first, each with the beginning of its bytes; or one, in full.

    Raises MissingError if there is none with that number.
    """
    try:
        with contextlib.closing(open_reader(db_path)) as db:
            found = [Piece(*row) for row in db.execute(PIECES, (number, PREVIEW_BYTES))]
    except apsw.Error as error:
        raise explained(db_path, error) from error
    if number is not None and not found:
        raise MissingError(f"no piece {number} in quarantine", hint="`shipwrightd quarantine list` lists all pieces")
    return found
