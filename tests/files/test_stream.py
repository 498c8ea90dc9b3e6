"""A stream that reads ahead in another thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from world import line

from shipwrightd.decoding.events import JOURNAL
from shipwrightd.journals import lines
from shipwrightd.journals.lines import Position, open_journal
from shipwrightd.journals.records import Chunk, Stream

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

OPEN_RECORD = b'{"ts":"2026-01-20T10:00:00Z","type":"t","goal":"one\n'


def chunks(file: Path, *, ahead: bool) -> list[Chunk]:
    """Return all that can be decided before the end is known, and undo the first chunk once on the way."""
    found = []
    with ThreadPoolExecutor(1) as pool:
        stream = Stream(open_journal(file), Position(0, b""), origin=JOURNAL)
        mark = stream.mark()
        for rolled_back in (True, False):
            while (chunk := stream.pull(final=False)) is not None:
                if ahead:
                    stream.pull_ahead(pool)
                    stream.unfinished()  # waits until it is read: which thread is faster must not matter
                stream.stored(chunk)
                if rolled_back:
                    stream.restore(mark)
                    break
                found.append(chunk)
        assert stream.undecided
        assert stream.leftover() == OPEN_RECORD + b"half"
        stream.close()
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
    stream = Stream(open_journal(file), Position(0, b""), origin=JOURNAL)
    first = stream.pull(final=False)
    with ThreadPoolExecutor(1) as pool:
        stream.pull_ahead(pool)
        ahead = stream.end.offset
        second = stream.pull(final=False)
    stream.close()

    assert first is not None
    assert second is not None
    assert first.end.offset < second.end.offset <= ahead
