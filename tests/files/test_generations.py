"""Where reading stands, as the database holds it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from shipwrightd.database.connection import open_writer
from shipwrightd.journals import store
from shipwrightd.journals.lines import Position

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("number", [1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_device_and_inode_may_have_all_64_bits(database: Path, number: int) -> None:
    """Union and network file systems hash paths into inode numbers."""
    with closing(open_writer(database)) as db:
        first = store.add_generation(db, "events.jsonl", (number, number), Position(3, b"abc"), 1)
        store.end_generation(db, first, "rotated")
        (found,) = store.other_generations(db, "events.jsonl")
        assert (found.place.device, found.place.inode) == (number, number)
        store.identify_generation(db, first, (1, number))
        (found,) = store.other_generations(db, "events.jsonl")
        assert (found.place.device, found.place.inode) == (1, number)
