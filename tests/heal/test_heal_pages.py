"""Real SQLite files with real damage to their bytes, read page by page: what is whole comes, what is not is a hole."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import apsw
import pytest

from shipwrightd.recovery.pages import HIGHEST, LOWEST, BrokenError, Pages, Reading, record, varint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from shipwrightd.recovery.pages import Record

PAGE = 1024
ROWS = 2_000
LEAVES = "SELECT pageno FROM dbstat WHERE name = 'events' AND pagetype = 'leaf' ORDER BY path"
ROOT = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
LONG = b"long" * 1_000  # a record of several pages
WIDE = "wide" * 200  # more than an entry of a tree without rowids has in its page


class File:
    """A database of many small pages: a table of rows of one size, one of long rows, and one without rowids."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "some.db"
        self.rows: list[tuple[int, Record]] = [(n, (None, f"row {n:06}", 1.5, n % 2)) for n in range(1, ROWS + 1)]
        self.entries: list[Record] = [(f"key {n:06}", n) for n in range(ROWS)]
        with closing(apsw.Connection(str(self.path))) as db:
            db.execute(f"PRAGMA page_size = {PAGE}")
            db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, name TEXT, share REAL, odd INTEGER)")
            db.execute("CREATE TABLE long (id INTEGER PRIMARY KEY, raw BLOB)")
            db.execute("CREATE TABLE keyed (key TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID")
            db.execute("BEGIN")
            db.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", [(n, *row[1:]) for n, row in self.rows])
            db.execute("INSERT INTO long VALUES (1, ?)", (LONG,))
            db.executemany("INSERT INTO keyed VALUES (?, ?)", self.entries)
            db.execute("INSERT INTO keyed VALUES (?, -1)", (WIDE,))
            db.execute("COMMIT")
            self.roots = {name: db.execute(ROOT, (name,)).get for name in ("events", "long", "keyed")}
            self.leaves: list[int] = [number for (number,) in db.execute(LEAVES)]

    def page(self, number: int) -> bytes:
        return self.path.read_bytes()[(number - 1) * PAGE : number * PAGE]

    def write(self, number: int, content: bytes, at: int = 0) -> None:
        with self.path.open("r+b") as file:
            file.seek((number - 1) * PAGE + at)
            file.write(content)

    def cells(self, number: int) -> list[int]:
        """Return where the cells of a leaf begin."""
        page = self.page(number)
        count = int.from_bytes(page[3:5])
        return [int.from_bytes(page[8 + 2 * i : 10 + 2 * i]) for i in range(count)]

    def read(self, name: str = "events") -> tuple[list[tuple[int, Record]], list[tuple[int, int]]]:
        """Return the rows of a table that are whole, and the holes between them."""
        reading = Reading()
        with closing(Pages(self.path)) as pages:
            rows = [(rowid, values) for rowid, values in pages.records(self.roots[name], reading) if rowid is not None]
        return rows, reading.holes

    def read_entries(self) -> tuple[list[Record], list[tuple[int, int]]]:
        reading = Reading()
        with closing(Pages(self.path)) as pages:
            return [values for _, values in pages.records(self.roots["keyed"], reading)], reading.holes

    def assert_all_but(self, lost: range) -> None:
        """Every row but those is read as it was, and those alone lie in holes."""
        rows, holes = self.read()
        assert rows == [row for row in self.rows if row[0] not in lost]
        inside = {n for after, to in holes for n in range(max(after, 0) + 1, min(to, ROWS) + 1)}
        assert inside == set(lost)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def ids_of(file: File, leaf: int) -> range:
    """Return the ids of the rows of a leaf: each takes as many bytes as the others."""
    ids = ids_of_cells(file.page(leaf), file.cells(leaf))
    return range(ids[0], ids[-1] + 1)


def ids_of_cells(page: bytes, cells: list[int]) -> list[int]:
    return [varint(page, varint(page, at)[1])[0] for at in cells]


def test_whole_trees_are_read_as_sqlite_reads_them(file: File) -> None:
    file.assert_all_but(range(0))
    assert file.read("long") == ([(1, (None, LONG))], [])
    found, holes = file.read_entries()
    assert sorted(found, key=str) == sorted([*file.entries, (WIDE, -1)], key=str)
    assert holes == []


# -- a leaf


def cell_count(file: File, leaf: int) -> range:
    file.write(leaf, b"\xff\xff", at=3)
    return ids_of_before(file)


def cell_place(file: File, leaf: int) -> range:
    file.write(leaf, (PAGE - 1).to_bytes(2), at=8)
    return ids_of_before(file)


def ids_of_before(file: File) -> range:
    """Return the ids between those of the leaves around the third one."""
    return range(ids_of(file, file.leaves[1])[-1] + 1, ids_of(file, file.leaves[3])[0])


def one_length(file: File, leaf: int) -> range:
    """Let a row seem to go on beyond its page."""
    at = file.cells(leaf)[0]
    number = ids_of(file, leaf)[0]
    file.write(leaf, b"\x87\x40", at=at)  # 960 bytes, and its id is another
    return range(number, number + 1)


def one_size(file: File, leaf: int) -> range:
    """Let a row seem larger than the file."""
    at = file.cells(leaf)[1]
    number = ids_of(file, leaf)[1]
    file.write(leaf, b"\xff\xff\xff\x7f", at=at)
    return range(number, number + 1)


def one_header(file: File, leaf: int) -> range:
    """Let the header of a row end behind the row."""
    page = file.page(leaf)
    at = file.cells(leaf)[2]
    number, start = varint(page, varint(page, at)[1])
    file.write(leaf, b"\x7f", at=start)
    return range(number, number + 1)


def one_kind(kind: int) -> Callable[[File, int], range]:
    """Let the third value of a row be of that kind."""

    def damage(file: File, leaf: int) -> range:
        page = file.page(leaf)
        at = file.cells(leaf)[3]
        number, start = varint(page, varint(page, at)[1])
        file.write(leaf, bytes([kind]), at=start + 3)
        return range(number, number + 1)

    return damage


def one_place(file: File, leaf: int) -> range:
    """Let one row have an id that belongs to no row of this page."""
    page = file.page(leaf)
    at = file.cells(leaf)[4]
    _, at_id = varint(page, at)
    number, end = varint(page, at_id)
    file.write(leaf, bytes([0x80] * (end - at_id - 1) + [1]), at=at_id)
    return range(number, number + 1)


def one_order(file: File, leaf: int) -> range:
    """Let one row have an id that a row far behind it in the page has: all others have the better claim."""
    page = file.page(leaf)
    cells = file.cells(leaf)
    _, at_id = varint(page, cells[4])
    number, end = varint(page, at_id)
    _, at_other = varint(page, cells[9])
    file.write(leaf, page[at_other : at_other + end - at_id], at=at_id)
    return range(number, number + 1)


@pytest.mark.parametrize(
    "damage",
    [
        cell_count,
        cell_place,
        one_length,
        one_size,
        one_header,
        pytest.param(one_kind(10), id="a kind that there is not"),
        pytest.param(one_kind(0), id="a kind of another size"),
        pytest.param(one_kind(0x7F), id="a text that ends elsewhere"),
        one_place,
        one_order,
    ],
)
def test_damage_to_a_leaf_costs_the_rows_that_it_hit_and_no_others(
    file: File, damage: Callable[[File, int], range]
) -> None:
    lost = damage(file, file.leaves[2])
    assert len(lost) > 0
    file.assert_all_but(lost)


def test_rows_at_both_ends_of_a_leaf_may_be_gone(file: File) -> None:
    leaf = file.leaves[0]
    ids, cells, page = ids_of(file, leaf), file.cells(leaf), file.page(leaf)
    for at in (cells[0], cells[-1]):
        _, start = varint(page, varint(page, at)[1])
        file.write(leaf, b"\x7f", at=start)
    rows, holes = file.read()
    assert rows == [row for row in file.rows if row[0] not in {ids[0], ids[-1]}]
    assert sorted(holes) == [(LOWEST, ids[0]), (ids[-2], ids[-1])]


def test_cell_too_many_between_two_rows_makes_no_hole(file: File) -> None:
    leaf = file.leaves[-1]
    cells = file.cells(leaf)
    assert 8 + 2 * len(cells) + 2 < min(cells), "there is space for one more"
    inside = file.page(leaf).index(b"row ", cells[1])
    file.write(leaf, (len(cells) + 1).to_bytes(2), at=3)
    file.write(leaf, b"".join(at.to_bytes(2) for at in [*cells[:2], inside, *cells[2:]]), at=8)
    assert file.read() == (file.rows, [])


# -- what leads to leaves


def test_page_that_leads_back_to_its_own_root_ends_the_walk(file: File) -> None:
    root = file.roots["events"]
    assert file.page(root)[0] == 5
    file.write(root, root.to_bytes(4), at=8)
    rows, holes = file.read()
    assert rows == file.rows[: len(rows)]
    assert holes == [(rows[-1][0], HIGHEST)]


def test_page_whose_keys_fall_leads_nowhere(file: File) -> None:
    root = file.roots["events"]
    page = file.page(root)
    first, second = page[12:14], page[14:16]
    file.write(root, second + first, at=12)
    assert file.read() == ([], [(LOWEST, HIGHEST)])


def test_tree_without_rowids_loses_what_hangs_on_a_damaged_page_alone(file: File) -> None:
    root = file.roots["keyed"]
    assert file.page(root)[0] == 2
    file.write(root, (1 << 30).to_bytes(4), at=8)
    found, holes = file.read_entries()
    assert holes == [(LOWEST, HIGHEST)]
    assert set(found) < {*file.entries, (WIDE, -1)}
    assert len(found) > ROWS // 4


def test_entry_that_is_damaged_is_told_and_the_others_of_its_page_come(file: File) -> None:
    root = file.roots["keyed"]
    page = file.page(root)
    at = int.from_bytes(page[12:14])
    _, start = varint(page, at + 4)
    file.write(root, b"\x7f", at=start)
    found, holes = file.read_entries()
    assert holes == [(LOWEST, HIGHEST)]
    assert len(found) == ROWS
    assert set(found) < {*file.entries, (WIDE, -1)}


# -- long rows


def test_long_row_whose_pages_end_early_is_a_hole(file: File) -> None:
    root = file.roots["long"]
    page = file.page(root)
    at = file.cells(root)[0]
    following = PAGE - 4
    assert int.from_bytes(page[following:]) > 1
    file.write(root, bytes(4), at=following)
    assert file.read("long") == ([], [(LOWEST, HIGHEST)])
    file.write(root, page)
    assert file.read("long")[0] == [(1, (None, LONG))]
    moved = PAGE - 40  # its beginning would end behind the page
    file.write(root, page[at : at + 40], at=moved)
    file.write(root, moved.to_bytes(2), at=8)
    assert file.read("long") == ([], [(LOWEST, HIGHEST)])


# -- records


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x00", id="no header"),
        pytest.param(b"\x03\x01", id="a header beyond its record"),
        pytest.param(b"\x02\x07\x00\x00", id="half a number"),
        pytest.param(b"\x02\x0a", id="no type"),
        pytest.param(b"\x02\x0b", id="no type either"),
        pytest.param(b"\x02\x01\x05\x06", id="more than its header says"),
        pytest.param(b"\x02\x02\x05", id="less than its header says"),
        pytest.param(b"\x02\x81\x01", id="a type that goes on in the body"),
        pytest.param(b"\x02\x0f\xff", id="text that is not UTF-8"),
    ],
)
def test_bytes_that_are_no_record_are_refused(payload: bytes) -> None:
    with pytest.raises(BrokenError, match=r"header|record|number|value"):
        record(payload)


# -- the log


def with_a_log(file: File) -> tuple[apsw.Connection, Path]:
    """Commit three transactions into the log; return a connection that keeps it there."""
    db = apsw.Connection(str(file.path))
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA wal_autocheckpoint = 0")
    for nth in range(3):
        db.execute("INSERT INTO events VALUES (?, 'late', 2.5, 0)", (ROWS + 1 + nth,))
    return db, file.path.with_name("some.db-wal")


def late(file: File) -> list[int]:
    return [rowid for rowid, values in file.read()[0] if values[1] == "late"]


def test_transactions_before_a_damaged_one_in_the_log_count_and_those_behind_it_do_not(file: File) -> None:
    db, log = with_a_log(file)
    with closing(db):
        content = log.read_bytes()
        frames = range(32, len(content), 24 + PAGE)
        commits = [at for at in frames if int.from_bytes(content[at + 4 : at + 8])]
        assert late(file) == [ROWS + 1, ROWS + 2, ROWS + 3]
        found = []
        for at in commits:
            log.write_bytes(content[: at + 100] + b"\x55\xaa" + content[at + 102 :])
            found.append(late(file))
        assert found == [[], [ROWS + 1], [ROWS + 1, ROWS + 2]]
        log.write_bytes(content)


def test_log_whose_header_does_not_add_up_counts_for_nothing(file: File) -> None:
    db, log = with_a_log(file)
    with closing(db):
        content = log.read_bytes()
        log.write_bytes(content[:13] + bytes([content[13] ^ 1]) + content[14:])
        assert late(file) == []
        assert [row[0] for row in file.read()[0]] == list(range(1, ROWS + 1))
        log.write_bytes(content)


def test_ids_that_are_read_rise(file: File) -> None:
    """Whatever one byte of a leaf says, no row comes twice and none out of order."""
    leaf = file.leaves[5]
    whole = file.page(leaf)
    ours = set(file.rows)
    for at in range(0, PAGE, 29):
        file.write(leaf, whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        rows, _ = file.read()
        assert all(one[0] < two[0] for one, two in pairwise(rows))
        assert len(ours - set(rows)) <= len(ids_of(file, file.leaves[4]))
