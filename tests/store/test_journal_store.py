"""How much is remembered of the files of a journal."""

from __future__ import annotations

from array import array
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from shipwrightd.database import open_writer
from shipwrightd.database.migrate import migrate
from shipwrightd.journals import store
from shipwrightd.journals.lines import Place, Position, anchor_hash
from shipwrightd.journals.store import REMEMBERED_LINES, WINDOW_LINES, Generation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import apsw

SOURCE = "events.jsonl"
REMEMBERED_FILES = 16  # of each state but the current one
PLACE = Place(1, 2, 3, anchor_hash(b"abc"), 3)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[apsw.Connection]:
    with closing(open_writer(tmp_path / "shipwright.db")) as db:
        migrate(db)
        yield db


def add(db: apsw.Connection, state: str = "rotated", place: Place = PLACE, source: str = SOURCE) -> int:
    """Remember one more file."""
    return store.add_generation(db, source, Generation(0, state, place, 1, settled=True))


def hashes(numbers: Sequence[int]) -> bytes:
    return array("Q", numbers).tobytes()


def remembered(db: apsw.Connection) -> dict[int, int]:
    """Return how many line hashes there are by file."""
    return dict(db.execute("SELECT generation, sum(length(hashes)) / 8 FROM line_hashes GROUP BY generation"))


@pytest.mark.parametrize("number", [1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_device_and_inode_may_have_all_64_bits(db: apsw.Connection, number: int) -> None:
    """Union and network file systems hash paths into inode numbers."""
    place = Place(number, number, 3, anchor_hash(b"abc"), 3)
    first = add(db, place=place)
    assert store.generations(db, SOURCE) == [Generation(first, "rotated", place, 1, settled=True)]


def test_files_of_a_journal_are_remembered_newest_first_with_where_they_are_stored_to(db: apsw.Connection) -> None:
    first, second, other = add(db), add(db, "current"), add(db, source="team-events.jsonl")
    store.move_generation(db, first, Position(5, b"abcde"), 7, settled=False)
    store.set_state(db, first, "replaced")
    store.move_checkpoint(db, SOURCE, second, store.Counts(), "")
    moved = Place(1, 2, 5, anchor_hash(b"abcde"), 5)
    assert store.generations(db, SOURCE) == [
        Generation(second, "current", PLACE, 1, settled=True),
        Generation(first, "replaced", moved, 7, settled=False),
    ]
    current = store.current_generation(db, SOURCE)
    assert current is not None
    assert current.id == second
    assert store.current_generation(db, "team-events.jsonl") is None
    assert [row.id for row in store.generations(db, "team-events.jsonl")] == [other]


def test_sixteen_files_of_each_state_are_remembered(db: apsw.Connection) -> None:
    current = add(db, "current")
    for state in ("rotated", "replaced"):
        for _ in range(REMEMBERED_FILES + 5):
            number = add(db, state)
            store.add_line_hashes(db, number, 0, hashes([number]))
    kept = store.generations(db, SOURCE)
    assert [row.state for row in kept].count("rotated") == REMEMBERED_FILES
    assert [row.state for row in kept].count("replaced") == REMEMBERED_FILES
    assert kept[-1].id == current, "the current one is never forgotten"
    newest = [row.id for row in kept if row.state == "replaced"]
    assert newest == list(range(max(newest), max(newest) - REMEMBERED_FILES, -1))


def test_line_hashes_of_a_forgotten_file_go_with_it_and_others_stay(db: apsw.Connection) -> None:
    other = add(db, source="team-events.jsonl")
    store.add_line_hashes(db, other, 0, hashes([1, 2]))
    numbers = []
    for _ in range(REMEMBERED_FILES + 2):
        numbers.append(add(db))
        store.add_line_hashes(db, numbers[-1], 0, hashes([numbers[-1]]))
    assert set(remembered(db)) == {other, *numbers[2:]}
    store.drop_line_hashes(db, numbers[-1])
    assert store.line_hashes(db, numbers[-1]) == array("Q")
    assert list(store.line_hashes(db, numbers[-2])) == [numbers[-2]]


@pytest.mark.parametrize("size", [1_000, 10_007, WINDOW_LINES, WINDOW_LINES + 1, 3 * WINDOW_LINES])
def test_the_last_65536_lines_of_a_file_are_remembered_in_order(db: apsw.Connection, size: int) -> None:
    """In whatever batches they were read."""
    number, other = add(db), add(db)
    store.add_line_hashes(db, other, 0, hashes([1]))
    lines = range(2 * WINDOW_LINES + 5)
    for first in range(0, len(lines), size):
        store.add_line_hashes(db, number, first, hashes(lines[first : first + size]))
    store.add_line_hashes(db, number, len(lines), b"")
    assert list(store.line_hashes(db, number)) == list(lines[-WINDOW_LINES:])
    assert remembered(db)[number] < WINDOW_LINES + size
    assert remembered(db)[other] == 1


def test_a_million_lines_of_all_files_are_remembered_and_the_oldest_files_forgotten(db: apsw.Connection) -> None:
    whole = hashes(range(WINDOW_LINES))
    numbers = []
    for state in ("rotated", "replaced"):
        for _ in range(REMEMBERED_FILES - 1):
            numbers.append(add(db, state))
            store.add_line_hashes(db, numbers[-1], 0, whole)
    number = add(db, "current")
    kept = -(-REMEMBERED_LINES // WINDOW_LINES)
    assert remembered(db) == dict.fromkeys(numbers[-kept:], WINDOW_LINES), "the one beyond the bound is kept whole"
    assert len(store.generations(db, SOURCE)) == len(numbers) + 1, "each is still known by its anchor"
    assert list(store.line_hashes(db, number)) == []


def test_files_without_line_hashes_push_none_out(db: apsw.Connection) -> None:
    first = add(db, "current")
    store.add_line_hashes(db, first, 0, hashes(range(WINDOW_LINES)))
    for _ in range(REMEMBERED_FILES):
        add(db)
    assert remembered(db) == {first: WINDOW_LINES}
