"""Lines of a file become decided records: read ahead, split singly, stopped, and at a file without a last newline."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import line

from shipwrightd.decoding.events import JOURNAL, decode_lines
from shipwrightd.journals import lines
from shipwrightd.journals.lines import GIANT_HEAD_BYTES, MAX_LINE_BYTES, START, line_hashes, open_journal, position_at
from shipwrightd.journals.records import FEW_LINES, Chunk, Records, decode_all, records, singly

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shipwrightd.decoding import EventRow, Quarantined

OPEN_RECORD = b'{"ts":"2026-01-20T10:00:00Z","type":"t","goal":"one\n'
SPLIT = b'{"ts":"2026-01-05T09:00:00Z","ts_epoch":1767603600,"type":"test.split","note":"one\ntwo"}'
GOOD = line(7)[:-1]
PIECES = (
    *(GOOD, line(8)[:-1], SPLIT, SPLIT.replace(b"two", b"\n" * FEW_LINES), GOOD.replace(b",", b"\n,\n")),
    *(GOOD + GOOD, GOOD + SPLIT, SPLIT + GOOD, GOOD[:20], GOOD[:20] + GOOD, SPLIT[:-9], SPLIT[9:], GOOD[9:]),
    *(b"", b"  ", b"\r", GOOD + b"\r", b"no record", b"[1]", b"{", b"}", b"\x00\x00", b"\x00" + GOOD, b'"'),
)
FILES = st.lists(st.sampled_from(PIECES), max_size=12).map(b"\n".join)


@contextmanager
def holding(content: bytes) -> Iterator[int]:
    """Open a file of these bytes."""
    with tempfile.TemporaryFile(buffering=0) as file:
        file.write(content)
        yield file.fileno()


# -- reading ahead


def chunks(file: Path, *, ahead: bool) -> list[Chunk]:
    """Return all that can be decided before the end is known, and roll back after the first chunk once."""
    found = []
    with ThreadPoolExecutor(1) as pool:
        reader = Records(open_journal(file), START, origin=JOURNAL)
        reader.begin()
        for rolled_back in (True, False):
            while (chunk := reader.pull(final=False)) is not None:
                if ahead:
                    reader.pull_ahead(pool)
                    reader.unfinished()  # waits until it is read: which thread is faster must not matter
                reader.stored(chunk)
                if rolled_back:
                    reader.rollback()
                    assert (reader.position, reader.lines) == (START, 0)
                    break
                found.append(chunk)
        assert reader.undecided
        assert reader.leftover() == OPEN_RECORD + b"half"
        assert reader.unread_bytes == len(OPEN_RECORD + b"half")
        reader.close()
    return found


def test_reading_ahead_gives_the_same_chunks_and_leaves_the_same_undecided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "READ_BYTES", 500)  # a mebibyte in real life
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(line(seq) for seq in range(100)) + OPEN_RECORD + b"half")
    plain = chunks(file, ahead=False)

    assert len(plain) > 10
    assert chunks(file, ahead=True) == plain


def test_reading_ahead_needs_no_further_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ_BYTES", 500)
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(line(seq) for seq in range(100)))
    reader = Records(open_journal(file), START, origin=JOURNAL)
    first = reader.pull(final=False)
    with ThreadPoolExecutor(1) as pool:
        reader.pull_ahead(pool)
        reader.unfinished()
        file.write_bytes(b"")  # what was read ahead needs the file no more
        second = reader.pull(final=False)
    reader.close()

    assert first is not None
    assert second is not None
    assert first.end.offset < second.end.offset


# -- positions


def test_the_position_moves_only_when_a_chunk_is_stored_and_returns_with_the_transaction() -> None:
    with holding(line(1) + line(2)) as fd:
        reader = Records(fd, START, origin=JOURNAL)
        chunk = reader.pull(final=False)
        assert chunk is not None
        assert (reader.position, reader.lines) == (START, 0)
        reader.stored(chunk)
        assert (reader.position, reader.lines) == (position_at(fd, len(line(1) + line(2))), 2)
        reader.rollback()
        assert (reader.position, reader.lines) == (START, 0)
        again = reader.pull(final=False)
        assert again == chunk
        reader.restart_at(position_at(fd, len(line(1))), 1)
        rest = reader.pull(final=False)
        assert rest is not None
        assert rest.rows == chunk.rows[1:]


def test_a_leftover_is_skipped_with_its_half_line() -> None:
    content = line(1) + OPEN_RECORD + b"half"
    with holding(content) as fd:
        reader = Records(fd, START, origin=JOURNAL)
        while (chunk := reader.pull(final=False)) is not None:
            reader.stored(chunk)
        assert reader.leftover() == OPEN_RECORD + b"half"
        reader.skip_leftover()
        assert reader.leftover() == b""
        assert not reader.undecided
        assert reader.position == position_at(fd, len(content))


@pytest.mark.parametrize(("rest", "kept"), [(b"", False), (b"  \r", False), (b"half", True)])
def test_an_unfinished_line_is_kept_with_its_place_unless_it_is_blank(rest: bytes, *, kept: bool) -> None:
    with holding(line(1) + rest) as fd:
        reader = Records(fd, START, origin=JOURNAL)
        assert reader.pull(final=True) is not None
        assert reader.pull(final=True) is None
        found = reader.unfinished()
        assert (found is not None) is kept
        if found is not None:
            assert (found.offset, found.length, found.reason, found.raw) == (len(line(1)), 4, "unterminated", b"half")


def test_a_file_written_over_before_the_position_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line(1) + line(2))
    reader = Records(open_journal(path), START, origin=JOURNAL)
    chunk = reader.pull(final=False)
    assert chunk is not None
    reader.stored(chunk)
    assert reader.is_unchanged()
    path.write_bytes(line(1) + line(3))
    assert not reader.is_unchanged()
    reader.close()


# -- a whole file


def gathered(chunks: Sequence[Chunk]) -> tuple[list[bytes], list[EventRow], list[Quarantined], int]:
    """Return the lines, rows, rejects and number of salvaged rows of chunks."""
    return (
        [text for chunk in chunks for text in chunk.lines],
        [row for chunk in chunks for row in chunk.rows],
        [bad for chunk in chunks for bad in chunk.rejected],
        sum(chunk.salvaged for chunk in chunks),
    )


@given(FILES, st.data())
def test_a_stop_reads_a_file_as_if_it_ended_there(content: bytes, data: st.DataObject) -> None:
    stop = data.draw(st.integers(0, len(content) + 9))
    unterminated = data.draw(st.booleans())
    with holding(content) as fd, holding(content[:stop]) as cut:
        found = list(records(fd, JOURNAL, stop=stop, unterminated=unterminated))
        assert found == list(records(cut, JOURNAL, unterminated=unterminated))
    whole, half = content[:stop].split(b"\n")[:-1], content[:stop].rpartition(b"\n")[2]
    wanted = [*whole, half] if unterminated and half else whole
    assert gathered(found)[0] == wanted
    assert b"".join(chunk.hashes for chunk in found) == line_hashes(wanted)


@given(FILES, st.data())
def test_a_file_read_from_a_position_between_its_records_gives_the_rest(content: bytes, data: st.DataObject) -> None:
    content += b"\n" if content else b""
    with holding(content) as fd:
        whole = [group for chunk in records(fd, JOURNAL) for group in singly(chunk, JOURNAL)]
        first = data.draw(st.integers(0, len(whole)))
        position = position_at(fd, sum(group.size for group in whole[:first]))
        rest = list(records(fd, JOURNAL, position=position))
    assert gathered(rest)[0] == gathered(whole[first:])[0]
    assert sum(chunk.size for chunk in rest) == sum(group.size for group in whole[first:])


@pytest.mark.parametrize("unterminated", [False, True])
def test_a_last_line_without_newline_is_a_record_only_when_it_is_wanted(*, unterminated: bool) -> None:
    with holding(line(1) + line(2)[:-1]) as fd:
        found = list(records(fd, JOURNAL, unterminated=unterminated))
    assert len(gathered(found)[1]) == 1 + unterminated


def test_an_open_record_and_an_overlong_line_without_newline_end_a_file() -> None:
    giant = b"g" * (MAX_LINE_BYTES + 1)
    with holding(line(1) + OPEN_RECORD + giant) as fd:
        found = list(records(fd, JOURNAL, unterminated=True))
    offset = len(line(1))
    _, rows, rejected, _ = gathered(found)
    assert len(rows) == 1
    assert [(bad.offset, bad.length, bad.reason) for bad in rejected] == [
        (offset, len(OPEN_RECORD) - 1, "cut_record"),
        (offset + len(OPEN_RECORD), len(giant), "line_too_long"),
    ]
    assert rejected[1].raw == giant[:GIANT_HEAD_BYTES]


# -- one by one


@given(FILES)
def test_a_chunk_split_singly_holds_the_same_rows_and_rejects(content: bytes) -> None:
    content += b"\n" if content else b""
    with holding(content) as fd:
        for chunk in records(fd, JOURNAL):
            groups = list(singly(chunk, JOURNAL))
            assert gathered(groups) == gathered([chunk])
            assert sum(group.size for group in groups) == chunk.size
            assert all(group.count for group in groups)
            for bad in chunk.rejected:
                assert content.startswith(bad.raw, bad.offset)


@given(FILES)
def test_the_first_lines_of_a_group_wait_for_the_others(content: bytes) -> None:
    content += b"\n" if content else b""
    with holding(content) as fd:
        groups = [group for chunk in records(fd, JOURNAL) for group in singly(chunk, JOURNAL)]
    for group in groups:
        for count in range(1, group.count):
            assert not decode_lines(group.lines[:count], origin=JOURNAL, final=False).consumed


def test_plain_lines_are_split_without_being_decoded_again() -> None:
    with holding(b"".join(map(line, range(10)))) as fd:
        (chunk,) = records(fd, JOURNAL)
        assert [(group.lines, group.rows) for group in singly(chunk, JOURNAL)] == [
            ([text], [row]) for text, row in zip(chunk.lines, chunk.rows, strict=True)
        ]


def test_an_overlong_line_is_one_group() -> None:
    with holding(b"g" * (MAX_LINE_BYTES + 1) + b"\n" + line(1)) as fd:
        giant, rest = records(fd, JOURNAL)
        assert list(singly(giant, JOURNAL)) == [giant]
        assert [group.rows for group in singly(rest, JOURNAL)] == [rest.rows]


@given(FILES, st.integers(0, 50))
def test_lines_decoded_apart_from_their_file_are_rejected_at_their_place(content: bytes, offset: int) -> None:
    chunk = decode_all(content.split(b"\n"), JOURNAL, offset)
    assert chunk.size == len(content) + 1
    for bad in chunk.rejected:
        assert content.startswith(bad.raw, bad.offset - offset)
        assert bad.length == len(bad.raw)
