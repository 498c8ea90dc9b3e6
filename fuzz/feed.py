"""Bytes as decisions: the first ones say how, the rest is what."""

from __future__ import annotations


class Feed:
    """Takes small numbers from the front of some bytes; zeros when there are none left."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """Take one byte."""
        value = self._data[self._at] if self._at < len(self._data) else 0
        self._at += 1
        return value

    def upto(self, most: int) -> int:
        """Take a number from 0 to most, which is at most 255."""
        return self.byte() % (most + 1)

    def rest(self) -> bytes:
        """Take all that is left."""
        return self._data[self._at :]

    def cuts(self, size: int, most: int) -> list[int]:
        """Take up to `most` places in something of this size, ascending."""
        return sorted(self.byte() * size // 255 for _ in range(self.upto(most)))
