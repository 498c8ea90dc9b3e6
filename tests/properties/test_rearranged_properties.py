"""Random rearrangements of a journal's records, each version put in place by rename.

Distinct records: each is stored once, whatever the versions do. Equal records: never fewer than the version that holds
most of them, never more than were ever written, for whether one was moved or written again no file tells.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from versions import Rearranged, Stored, model_record, read_alone, seq_in
from world import World, line

from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = int(os.environ.get("SHIPWRIGHTD_EXAMPLES", "20"))
WAYS = pytest.mark.parametrize("live", [True, False], ids=["live", "down"])


@dataclass(frozen=True, slots=True)
class Record:
    """One record that was written, by its number; `seq` is that of the records it is equal to."""

    number: int
    seq: int
    pretty: bool = False

    def text(self) -> bytes:
        """Return its bytes, of several lines when it is pretty."""
        return model_record(self.seq) if self.pretty else line(self.seq)


Version = list[Record]


def _pieces(version: Version, size: int) -> list[Version]:
    return [version[at : at + size] for at in range(0, len(version), size)]


class Writer:
    """Draws versions, each made of what earlier ones hold and of new records."""

    def __init__(self, draw: st.DrawFn, *, equal: bool) -> None:
        self._draw = draw
        self._equal = equal
        self._numbers = itertools.count(1)
        self.versions: list[Version] = [self._block()]

    def _block(self) -> Version:
        """Return new records, some or all of several lines, where asked for some equal to others."""
        size = self._draw(st.integers(1, 30))
        every = self._draw(st.sampled_from([1000, 5, 2, 1]))
        equal_every = self._draw(st.sampled_from([7, 2])) if self._equal else 1000
        made = []
        for at in range(1, size + 1):
            number = next(self._numbers)
            seq = -(at % 3) - 1 if at % equal_every == 0 else number
            made.append(Record(number, seq, pretty=seq % every == 0))
        return made

    def _place(self, version: Version) -> int:
        return self._draw(st.integers(0, len(version)))

    def _alternate(self, left: Version, right: Version) -> Version:
        """Return both by turns, in pieces of one size."""
        size = self._draw(st.integers(1, 12))
        turns = itertools.zip_longest(_pieces(left, size), _pieces(right, size), fillvalue=list[Record]())
        return [record for turn in turns for piece in turn for record in piece]

    def _earlier(self) -> Version:
        return self._draw(st.sampled_from(self.versions))

    def _ways(self, now: Version) -> dict[str, Callable[[], Version]]:
        at = self._place(now)
        return {
            "append": lambda: now + self._block(),
            "prepend": lambda: self._block() + now,
            "trim": lambda: now[at:],
            "lose the end": lambda: now[:at],
            "drop": lambda: now[:at] + now[at + self._draw(st.integers(1, 20)) :],
            "insert": lambda: now[:at] + self._block() + now[at:],
            "alternate with new": lambda: self._alternate(now, self._block()),
            "alternate with earlier": lambda: self._alternate(self._earlier(), now),
            "restore": self._earlier,
            "restore and go on": lambda: self._earlier() + self._block(),
            "rebase": lambda: now[:at] + self._block() + now[at:] + self._block(),
            "branch": lambda: now[:at] + self._block(),
            "join": lambda: self._earlier() + now,
            "turn round": lambda: now[at:] + now[:at],
            "other": self._block,
        }

    def step(self) -> None:
        """Add a version; no record is in it twice."""
        now = self.versions[-1]
        for _ in range(self._draw(st.integers(1, 2))):
            ways = self._ways(now)
            now = ways[self._draw(st.sampled_from(sorted(ways)))]()
        self.versions.append(list(dict.fromkeys(now)))


@st.composite
def versions(draw: st.DrawFn, *, equal: bool) -> list[Version]:
    """Draw the versions of a journal, in the order in which they replace each other."""
    writer = Writer(draw, equal=equal)
    for _ in range(draw(st.integers(1, 6))):
        writer.step()
    return [version for version in writer.versions if version]


def read(folder: str, found: list[Version], *, live: bool) -> World:
    """Put the versions in place and read each."""
    world = World(Path(folder))
    journal = Rearranged(world, live=live)
    for version in found:
        journal.put([record.text() for record in version])
    journal.close()
    return world


def written(found: list[Version]) -> Iterator[Record]:
    """Yield each record once that any version holds."""
    yield from dict.fromkeys(itertools.chain.from_iterable(found))


@WAYS
@settings(max_examples=EXAMPLES)
@given(found=versions(equal=False))
def test_distinct_records_are_stored_once_however_the_journal_is_rearranged(
    found: list[Version], *, live: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = read(folder, found, live=live)
        wanted, stored = Counter(record.seq for record in written(found)), Counter(world.stored())
        assert (sorted(wanted - stored), sorted(stored - wanted)) == ([], []), "lost, doubled"
        alone = read_alone(b"".join(record.text() for record in written(found)))
        assert Stored(world.db_path).read() == alone, "each as it reads alone, nothing in quarantine"
        assert verify(world.home, world.db_path) == []


def repeats_behind_a_trim(before: Version, after: Version) -> bool:
    """Tell whether only equal records follow what a trim left: moved ones cannot be told from ones written again."""
    texts, lines = [record.seq for record in before], [record.seq for record in after]
    for kept in range(1, min(len(lines), len(texts)) + 1):
        if texts[-kept:] == lines[:kept] and lines[kept:] and all(seq < 0 for seq in lines[kept:]):
            return True
    return False


@WAYS
@settings(max_examples=EXAMPLES)
@given(found=versions(equal=True))
def test_equal_records_are_stored_as_often_as_one_version_holds_them_and_not_more_often_than_written(
    found: list[Version], *, live: bool
) -> None:
    assume(not any(repeats_behind_a_trim(before, found[at]) for at in range(len(found)) for before in found[:at]))
    with tempfile.TemporaryDirectory() as folder:
        world = read(folder, found, live=live)
        stored = Counter(world.stored())
        least: Counter[int] = Counter()
        for version in found:
            least |= Counter(record.seq for record in version)
        most = Counter(record.seq for record in written(found))
        assert (sorted(least - stored), sorted(stored - most)) == ([], []), "lost, doubled"
        assert world.query("SELECT count(*) FROM quarantine") == [(0,)]


@st.composite
def with_pieces(draw: st.DrawFn) -> list[list[bytes]]:
    """Draw versions of records of one line, with pieces of such lines before some, on their own or glued."""
    texts = []
    for version in draw(versions(equal=False)):
        lines = [line(record.seq) for record in version]
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, len(lines) - 1))
            piece = lines[at][: draw(st.integers(1, 60))]  # without its number
            lines[at] = piece + draw(st.sampled_from([b"", b"\n"])) + lines[at]
        texts.append(lines)
    return texts


@WAYS
@settings(max_examples=EXAMPLES)
@given(found=with_pieces())
def test_pieces_of_lines_make_no_record_stored_twice_or_not_at_all(found: list[list[bytes]], *, live: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        journal = Rearranged(world, live=live)
        for lines in found:
            journal.put(lines)
        journal.close()
        wanted = Counter({seq_in(text) for lines in found for text in lines})
        stored = Counter(world.stored())
        assert (sorted(wanted - stored), sorted(stored - wanted)) == ([], []), "lost, doubled"
