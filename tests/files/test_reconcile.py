"""Which lines of a file are stored, asked of real files and a real database that has read others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from world import Follower, World, line

from shipwrightd.decoding.events import JOURNAL
from shipwrightd.journals import JOURNALS, store
from shipwrightd.journals import reconcile as module
from shipwrightd.journals.lines import (
    READ_BYTES,
    START,
    ChangedError,
    line_hashes,
    open_journal,
    position_at,
    scan,
)
from shipwrightd.journals.match import SURE_LINES
from shipwrightd.journals.reconcile import groups_of, reconcile
from shipwrightd.journals.records import Records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shipwrightd.journals.reconcile import Known

GARBAGE = b"no record at all\n"
TIMELESS = b'{"type":"test.timeless","seq":77}\n'
SPLIT = b'{"ts":"2026-01-05T09:00:00Z","ts_epoch":1767603600,"type":"test.split","note":"one\ntwo"}\n'
READ = range(1, 21)
CUT = b'{"ts":"2026-01-05T09:00:00Z","type":"open'


def lines(*seqs: int) -> bytes:
    return b"".join(map(line, seqs))


OLD = lines(*READ) + GARBAGE + TIMELESS + SPLIT + lines(50, 50, 51)


@dataclass(slots=True)
class Asked:
    """A database that has read some files of a journal, and further files that are asked about."""

    folder: Path
    world: World
    follower: Follower
    intact: bool = False

    def open(self, content: bytes) -> Records:
        """Open a new file with this content."""
        path = self.folder / f"file.{len(list(self.folder.iterdir()))}"
        path.write_bytes(content)
        return Records(open_journal(path), START, origin=JOURNAL)

    def ask(self, content: bytes | Records) -> Known:
        """Reconcile a file."""
        file = content if isinstance(content, Records) else self.open(content)
        remembered = store.generations(self.follower.db, JOURNALS[0].name)
        known = reconcile(self.follower.db, JOURNALS[0], file, remembered, intact=self.intact)
        if not isinstance(content, Records):
            file.close()
        return known

    def forget(self) -> None:
        """Leave only the database to tell: as after a file left the window of line hashes."""
        self.follower.db.execute("UPDATE line_hashes SET hashes = zeroblob(length(hashes))")


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    """Return a database that has read lines 1 to 20 and some odd ones."""
    world = World(tmp_path)
    world.events.write_bytes(OLD)
    follower = Follower(world)
    follower.settle()
    (tmp_path / "asked").mkdir()
    yield Asked(tmp_path / "asked", world, follower)
    follower.close()


def unknown(known: Known) -> tuple[int, list[int]]:
    """Return how many lines come before the place to resume from, and which of them are not stored."""
    return known.count, [at for at in range(known.count) if not known.lines[at]]


# -- by the line hashes of remembered files


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (OLD, (27, [])),
        (OLD + lines(99), (27, [])),
        (OLD[len(lines(*range(1, 11))) :] + lines(99), (17, [])),  # a trim
        (OLD[len(lines(*range(1, 11))) :] + lines(99, 1), (19, [17])),  # what has a time and was there once is that
        (OLD[-len(lines(50, 50, 51)) :] + lines(99) + TIMELESS, (3, [])),  # but may be written again without one
        (lines(*range(1, 8), 99, *range(9, 21)) + GARBAGE + TIMELESS + SPLIT + lines(50, 50, 51), (27, [7])),
        (lines(*range(1, 16, 2)), (8, [])),
        (lines(*range(1, 16, 2), 99), (8, [])),  # what is behind the last known line is read as ever
        (lines(98, 99) + OLD, (29, [0, 1])),
        (lines(97, 98, 99), (0, [])),
        (b"", (0, [])),
    ],
)
def test_lines_of_a_remembered_file_are_known(asked: Asked, content: bytes, answer: tuple[int, list[int]]) -> None:
    known = asked.ask(content)
    assert unknown(known) == answer
    assert known.sure is (answer[0] > 0)
    size = sum(len(text) for text in content.splitlines(keepends=True)[: answer[0]])
    assert known.position.offset == size
    assert bytes(known.hashes) == line_hashes(content.split(b"\n")[:-1])


def test_every_remembered_file_is_asked(asked: Asked) -> None:
    """Also one that was replaced long ago."""
    for start in (100, 200, 300):
        asked.world.replace(lines(*range(start, start + 20)))
        asked.follower.settle()
    known = asked.ask(lines(*range(300, 320)) + OLD + lines(*range(200, 220), 999))
    assert unknown(known) == (67, [])
    assert known.ends


def test_growth_of_the_newest_file_holds_its_end_and_a_beginning_is_inside(asked: Asked) -> None:
    whole, part = asked.ask(OLD), asked.ask(OLD[: len(lines(*range(1, 11)))])
    assert (whole.ends, whole.inside) == (True, False)
    assert (part.ends, part.inside) == (False, True)
    grown = asked.ask(OLD[: len(lines(*range(1, 11)))] + lines(99))
    assert (grown.inside, unknown(grown)) == (False, (10, []))


@pytest.mark.parametrize(("count", "is_known"), [(SURE_LINES - 1, False), (SURE_LINES, True)])
def test_beside_an_intact_newest_file_only_strong_evidence_counts(asked: Asked, count: int, *, is_known: bool) -> None:
    """What is at a rotated name may be another file that has a few lines in common."""
    asked.intact = True
    content = lines(*range(3, 3 + count), *range(100, 130))
    assert unknown(asked.ask(content)) == ((count, []) if is_known else (0, []))


# -- lines without their newline, or with another one


@pytest.mark.parametrize("glued", [b"", line(99)[:-1], line(99), b'{"ts"'])
def test_reading_resumes_behind_a_known_line_that_lost_its_newline(asked: Asked, glued: bytes) -> None:
    content = lines(*range(1, 11))[:-1] + glued
    known = asked.ask(content)
    assert (known.count, known.position.offset) == (9, len(lines(*range(1, 11))) - 1)
    assert content.endswith(glued)
    assert known.position.before == content[: len(content) - len(glued)][-4096:]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_half_of_a_known_line_is_read_again(asked: Asked, cut: int) -> None:
    content = lines(*range(1, 11)) + line(11)[:cut]
    known = asked.ask(content)
    assert (known.count, known.position.offset) == (10, len(lines(*range(1, 11))))


def test_records_with_other_line_ends_are_stored_already(asked: Asked) -> None:
    content = OLD.replace(GARBAGE, b"").replace(b"\n", b"\r\n").replace(b"one\r\n", b"one\n")
    assert unknown(asked.ask(content + lines(99))) == (26, [])


# -- by the database


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (lines(*range(1, 16, 2)), (8, [])),
        (lines(*range(101, 140), *range(1, 16, 2)), (47, [*range(39)])),  # eight are enough
        (lines(1, 3, 99, 5), (4, [2])),  # or most
        (lines(1, 3, 5) + GARBAGE + lines(7, 9), (6, [])),
        (lines(1, 3, 5) + GARBAGE + GARBAGE + lines(7, 9), (7, [4])),  # quarantine has it once
        (lines(1, 3, 5) + b"other garbage\n" + lines(7, 9), (6, [3])),
        (lines(1, 3, 5) + TIMELESS + lines(7, 9), (6, [])),
        (lines(1, 3, 5) + TIMELESS + TIMELESS + lines(7, 9), (7, [4])),
        (lines(1, 3, 5) + SPLIT + lines(7, 9), (7, [])),
        (lines(1, 3, 5) + SPLIT.replace(b"two", b"2") + lines(7, 9), (7, [3, 4])),
        (lines(1, 3, 5, 50, 50, 50, 51), (7, [5])),  # stored twice
        (lines(97, 98, 99), (0, [])),
        (b"", (0, [])),
        (lines(1, 3, 5) + CUT, (3, [])),
        (lines(1, 3, 5) + b"x" * (17 << 20) + b"\n" + lines(7, 9), (6, [3])),
    ],
)
def test_what_is_stored_is_known_without_line_hashes(
    asked: Asked, content: bytes, answer: tuple[int, list[int]]
) -> None:
    asked.forget()
    assert unknown(asked.ask(content)) == answer


def test_a_record_of_many_lines_is_known_as_one(asked: Asked) -> None:
    many = lines(1, 3, 5).replace(b",", b"\n,\n").replace(b"{", b"{\n" + b"\n" * 20)
    assert unknown(asked.ask(many + lines(7, 9))) == (many.count(b"\n") + 2, [])


def test_reading_resumes_right_behind_a_record_of_many_lines(asked: Asked) -> None:
    """The next one is not complete yet when it is decided."""
    many = [text.replace(b"{", b"{" + b"\n" * 19) for text in (line(7), line(99))]
    known = asked.ask(lines(1, 3, 5) + many[0] + many[1])
    assert unknown(known) == (23, [])
    assert known.position.offset == len(lines(1, 3, 5) + many[0])


def test_pruned_rows_stay_away(asked: Asked) -> None:
    before = 1_767_600_011
    asked.follower.db.execute("DELETE FROM events WHERE ts_epoch < ?", (before,))
    asked.follower.db.execute("INSERT INTO pruned VALUES ('events.jsonl', ?, 10, '')", (before,))
    asked.forget()
    assert unknown(asked.ask(lines(*range(1, 21), 99))) == (20, [])


# -- a file of which the beginning is known


def test_lines_up_to_the_position_of_a_file_are_known(asked: Asked) -> None:
    file = asked.open(lines(900, 901) + lines(1, 3, 902, 5))
    file.restart_at(position_at(file.fd, len(lines(900, 901))), 2)
    known = asked.ask(file)
    file.close()
    assert unknown(known) == (6, [4])


def test_a_position_inside_a_line_stays_where_nothing_behind_it_is_known(asked: Asked) -> None:
    content = lines(900, 901) + line(902)[:-1] + lines(903)
    file = asked.open(content)
    position = position_at(file.fd, len(lines(900, 901)) + len(line(902)) - 1)
    file.restart_at(position, 2)
    known = asked.ask(file)
    file.close()
    assert (known.count, known.position, known.sure) == (2, position, True)


# -- too large to be compared whole


@pytest.fixture
def large(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Return it with each file over the bound."""
    monkeypatch.setattr(module, "COMPARED_BYTES", 10)
    return asked


def test_a_file_at_the_bound_is_compared_whole(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPARED_BYTES", len(OLD))
    assert len(asked.ask(OLD).lines) == 27
    assert len(asked.ask(OLD + b"x").lines) == 0


def test_a_large_file_is_known_by_an_anchor_in_its_place(large: Asked) -> None:
    known = large.ask(OLD + lines(99))
    assert (known.count, known.position.offset, known.sure, known.ends) == (27, len(OLD), True, True)


@pytest.mark.parametrize("cut", [1, 10, 20])
def test_a_large_trim_is_known_by_its_first_lines(large: Asked, cut: int) -> None:
    content = OLD[len(lines(*range(1, cut + 1))) :]
    known = large.ask(content + lines(99))
    assert (known.count, known.position.offset, known.sure) == (27 - cut, len(content), True)


def test_a_large_file_is_known_by_its_last_lines(large: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WINDOW_LINES", 30)
    before = lines(*range(200, 300))
    known = large.ask(before + OLD + lines(99))
    assert (known.count, known.position.offset, known.sure) == (127, len(before + OLD), True)


def test_a_large_file_with_nothing_in_common_is_new(large: Asked) -> None:
    known = large.ask(lines(*range(200, 300)))
    assert (known.count, known.position, known.sure) == (0, START, False)


# -- files that change meanwhile


def test_a_file_that_is_cut_while_it_is_compared_is_changed(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    file = asked.open(OLD + b"x" * READ_BYTES + b"\n" + lines(99))
    (path,) = asked.folder.iterdir()

    def cut_behind_a_block(fd: int) -> Iterator[object]:
        for block in scan(fd):
            os.truncate(path, 100)
            yield block

    monkeypatch.setattr(module, "scan", cut_behind_a_block)
    with pytest.raises(ChangedError):
        asked.ask(file)
    file.close()


@pytest.mark.parametrize("content", [OLD, lines(*range(1, 16, 2), 99)])
def test_a_file_that_is_written_over_after_it_was_compared_is_changed(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    file = asked.open(content)
    (path,) = asked.folder.iterdir()

    def write_over_at_the_end(fd: int) -> Iterator[object]:
        yield from scan(fd)
        path.write_bytes(content.replace(b"test.tick", b"test.tock"))

    monkeypatch.setattr(module, "scan", write_over_at_the_end)
    with pytest.raises(ChangedError):
        asked.ask(file)
    file.close()


# -- what is decided together


def test_groups_are_the_records_of_the_compared_lines(asked: Asked) -> None:
    content = lines(1) + SPLIT + GARBAGE + b"\n" + lines(2)
    file = asked.open(content + CUT)
    known = asked.ask(file)
    groups = list(groups_of(JOURNALS[0], known))
    assert [(first, group.count, len(group.rows), len(group.rejected)) for first, group in groups] == [
        (0, 1, 1, 0),
        (1, 2, 1, 0),
        (3, 1, 0, 1),
        (4, 1, 0, 0),
        (5, 1, 1, 0),
    ]
    begin = position_at(file.fd, len(lines(1)))
    assert [first for first, _ in groups_of(JOURNALS[0], known, 1, begin)] == [1, 3, 4, 5]
    file.close()


def test_groups_end_with_the_compared_lines(asked: Asked) -> None:
    file = asked.open(lines(1, 2, 3))
    known = asked.ask(file)
    (path,) = asked.folder.iterdir()
    with path.open("ab") as writer:
        writer.write(lines(4, 5))
    assert [first for first, _ in groups_of(JOURNALS[0], known)] == [0, 1, 2]
    path.write_bytes(lines(1, 9, 3))
    with pytest.raises(ChangedError):
        list(groups_of(JOURNALS[0], known))
    file.close()
