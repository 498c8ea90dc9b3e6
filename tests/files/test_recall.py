"""What of a file the database holds, asked row by row of real files and a real database."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from world import Follower, World, line

from shipwrightd.journals import recall as module
from shipwrightd.journals.compare import How
from shipwrightd.journals.lines import open_journal
from shipwrightd.journals.locate import Plan
from shipwrightd.journals.recall import recall
from shipwrightd.journals.sources import JOURNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Asked = Callable[..., Plan]

GARBAGE = b"no record at all\n"
TIMELESS = b'{"type":"test.timeless","seq":77}\n'
SPLIT = b'{"ts":"2026-01-05T09:00:00Z","ts_epoch":1767603600,"type":"test.split","note":"one\ntwo"}\n'


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    """Return a function that asks of a file with this content, after lines 1 to 20 and some odd ones were read."""
    world = World(tmp_path)
    world.events.write_bytes(lines(*range(1, 21)) + GARBAGE + TIMELESS + SPLIT + lines(50, 50, 51))
    follower = Follower(world)
    follower.settle()
    opened: list[int] = []

    def ask(content: bytes, plan: Plan | None = None) -> Plan:
        path = tmp_path / f"file.{len(opened)}"
        path.write_bytes(content)
        opened.append(open_journal(path))
        return recall(follower.db, JOURNALS[0], opened[-1], plan or Plan(How.NOTHING))

    yield ask
    for fd in opened:
        os.close(fd)
    follower.close()


def lines(*seqs: int) -> bytes:
    return b"".join(map(line, seqs))


def said(plan: Plan) -> tuple[int, list[int]] | None:
    """Return how many lines are known and which of them are not, None for nothing."""
    return None if plan.overlap is None else (plan.overlap.known, plan.overlap.unknown)


@pytest.mark.parametrize(
    ("content", "known"),
    [
        (lines(*range(1, 16, 2)), (8, [])),
        (lines(*range(1, 16, 2), 99), (8, [])),  # what is behind the last known line is read as ever
        (lines(*range(101, 140), *range(1, 16, 2)), (47, [*range(39)])),  # eight are enough
        (lines(*range(101, 140), *range(1, 14, 2)), None),  # seven among many are not
        (lines(1, 3, 99, 5), (4, [2])),  # unless they are most
        (lines(1, 3, 98, 99), None),
        (lines(1, 98), None),
        (lines(1), None),  # one may be chance
        (lines(97, 98, 99), None),
        (b"", None),
        (lines(1, 3, 5) + GARBAGE + lines(7, 9), (6, [])),
        (lines(1, 3, 5) + GARBAGE + GARBAGE + lines(7, 9), (7, [4])),  # quarantine has it once
        (lines(1, 3, 5) + b"other garbage\n" + lines(7, 9), (6, [3])),
        (lines(1, 3, 5) + TIMELESS + lines(7, 9), (6, [])),
        (lines(1, 3, 5) + TIMELESS + TIMELESS + lines(7, 9), (7, [4])),
        (lines(1, 3, 5) + SPLIT + lines(7, 9), (7, [])),
        (lines(1, 3, 5) + SPLIT.replace(b"two", b"2") + lines(7, 9), (7, [3, 4])),
        (lines(1, 3, 5) + b"\n  \n" + lines(7, 9), (7, [])),
        (lines(1, 3, 5, 50, 50, 50, 51), (7, [5])),  # stored twice
        (lines(1, 3, 5, 99, 50), (3, [])),  # one that was written twice may be written again
        (lines(1, 3, 5, 99, 50, 51), (6, [3])),
        (lines(50, 50, 51, 51), (3, [])),
        (lines(1, 3, 5) + b'{"ts":"2026-01-05T09:00:00Z","type":"open', (3, [])),
        (lines(1, 3, 5) + b"x" * (17 << 20) + b"\n" + lines(7, 9), (6, [3])),
        (
            lines(1, 3, 5) + b'{"ts":"2026-01-05T09:00:00Z","type":"open\n' + b"x" * (17 << 20) + b"\n" + lines(7, 9),
            (7, [3, 4]),
        ),
    ],
)
def test_what_is_stored_is_known_and_the_rest_before_it_is_not(
    asked: Asked, content: bytes, known: tuple[int, list[int]] | None
) -> None:
    plan = asked(content)
    assert said(plan) == known
    if plan.overlap is None:
        assert plan.how is How.NOTHING
    else:
        end = sum(len(text) for text in content.splitlines(keepends=True)[: plan.overlap.known])
        assert (plan.how, plan.position.offset, plan.overlap.offset) == (How.OVERLAP, end, end)


def test_a_record_of_many_lines_is_known_as_one(asked: Asked) -> None:
    many = lines(1, 3, 5).replace(b",", b"\n,\n").replace(b"{", b"{\n" + b"\n" * 20)
    assert said(asked(many + lines(7, 9))) == (many.count(b"\n") + 2, [])


def test_reading_goes_on_right_behind_a_record_of_many_lines(asked: Asked) -> None:
    """The next one is not whole yet when it is decided."""
    many = [text.replace(b"{", b"{" + b"\n" * 19) for text in (line(7), line(99))]
    plan = asked(lines(1, 3, 5) + many[0] + many[1])
    assert said(plan) == (23, [])
    assert plan.position.offset == len(lines(1, 3, 5) + many[0])


def test_a_file_that_is_too_large_is_not_asked_for(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    content = lines(*range(1, 21))
    monkeypatch.setattr(module, "MOST_BYTES", len(content))
    assert said(asked(content)) == (20, [])
    monkeypatch.setattr(module, "MOST_BYTES", len(content) - 1)
    assert said(asked(content)) is None


@pytest.mark.parametrize("how", [How.WAIT, How.EMPTY, How.ANCHOR])
def test_what_is_not_in_doubt_is_not_asked(asked: Asked, how: How) -> None:
    assert asked(lines(*range(1, 21)), Plan(how)) == Plan(how)
