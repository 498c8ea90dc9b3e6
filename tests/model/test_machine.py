"""The whole journal engine on real files against a model that only counts: random writers, rotations, stops."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import apsw
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from world import Follower, World, doubles, line, seq_of

if TYPE_CHECKING:
    from collections.abc import Iterator

CURRENT = "generations WHERE state = 'current' AND source = 'events.jsonl'"
ALIKE_ROWS = "events WHERE type = 'test.alike'"
CHILD_S = 20.0
ALIKE = b'{"ts":"2026-01-05T09:00:00Z","ts_epoch":1767603600,"type":"test.alike"}\n'
COUNTS = st.integers(1, 40)
LEAST = 10  # lines that are left, or as they were: fewer would be too little to tell from chance
EXAMPLES = int(os.environ.get("SHIPWRIGHTD_EXAMPLES", "10"))  # histories; the long run sets more


class JournalMachine(RuleBasedStateMachine):
    """What writers and rotations do to a journal, and a follower that may stop at any time.

    Promise with truncation and replacement: a line that a look could have seen
    is stored once; what came and went between two looks may be missing. A trim
    that loses lines must keep ten, and an edit must leave ten lines as they were
    before the last one read: below eight, a match could be chance.

    Beside numbered lines there are some that are all alike; each of them is a row.
    What got lost behind lines that were read is told as a gap, and nothing else is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.world = World(self.folder)
        self.follower: Follower | None = Follower(self.world)
        self.half = b""
        self.old: BinaryIO | None = None  # what a slow writer has open
        self.opened_at = 0  # the last line written by then
        # The first line that a race took out of the file that reading has not left yet. No precondition may ask for it:
        # when the engine takes a file as meant is a matter of time.
        self.raced = 0
        self.out_of_reach: set[int] = set()  # lines that a race took out of the file, or that never were whole
        self.alike = 0  # lines written that are all the same
        self.alike_cut = False  # some went before a look could see them, or cannot be told from earlier ones
        self.lost: set[int] = set()  # lines that went before a look could see them
        self.proven = False  # some of them with all that was read before
        self.stored: set[int] = set()  # at the last look
        self.before: set[int] = set()  # lines stored at the last look, if the file at the path was read by then
        self.opened: set[int] = set()  # lines read of the file that was open by then, or all where none was read
        self.replaced = False  # a file may have nothing in common with what was read
        self.torn = 0  # the line that lost its newline, until the file was read again
        self.short = False  # a file of few lines was replaced since the last whole look
        self.misdated = False  # a file has a wrong time since then, so it may be read in another order

    def teardown(self) -> None:
        self._finish_half()
        if self.old is not None:
            self.old.close()
        if self.follower is None:
            self.follower = Follower(self.world)
        self.world.append(1)  # that a file is gone for good is known when another one has a line
        self.follower.settle()
        self._looked()
        stored = self.world.stored()
        alike = self._count(ALIKE_ROWS)
        gaps = self._count("gaps")
        self.follower.close()
        assert doubles(stored) == []
        assert set(self.world.in_files()) <= set(stored)
        assert self._is_in_order(stored)
        assert self._most_alike() <= alike <= self.alike
        if not self.lost and not self.out_of_reach and not self.alike_cut:
            assert alike == self.alike
        if self.proven:
            assert gaps
        if not self.replaced and not self.lost and not self.out_of_reach:
            assert not gaps
        shutil.rmtree(self.folder)

    def _count(self, what: str) -> int:
        return int(str(self.world.query(f"SELECT count(*) FROM {what}")[0][0]))  # noqa: S608 - words of our own

    def _is_in_order(self, stored: list[int]) -> bool:
        """Tell whether rows stand in the order of each file; an edited line came when it was edited."""
        rank = {seq: at for at, seq in enumerate(stored)}
        for name in ("events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.3"):
            path = self.world.home / name
            texts = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
            ranks = [rank[seq] for text in texts if b'"edited"' not in text and (seq := seq_of(text)) in rank]
            if ranks != sorted(ranks):
                return False
        return True

    def _looked(self, *, whole: bool = True) -> None:
        """Note what no look can see any more, and after a whole look whether the engine can know."""
        stored, standing = set(self.world.stored()), self._standing()
        self.lost -= stored  # in a file that is open a later look could see it
        there = stored | standing | self.out_of_reach
        if self.half:
            there.add(self.world.written)
        lost = set(range(1, self.world.written + 1)) - there - self.lost
        self.lost |= lost
        if self.stored and not self.stored & standing:
            self.replaced = True  # nothing that was read is left, so that a gap is told
            self.alike_cut |= self._count(ALIKE_ROWS) > 0  # and an equal line may be one that was read
        self.stored = stored
        if self.before and not self.before & standing:
            self.replaced = True
            gone = whole and bool(lost) and not any(seq in standing for seq in stored if seq < min(lost))
            self.proven |= gone and self._most_alike() < LEAST - 2  # so many could be those that were read
        self.replaced |= bool(self.opened) and not self.opened & standing
        self._note_read()
        if self._is_current():
            self.raced = 0  # reading has gone over to what the race left
            if whole:
                self.torn, self.short, self.misdated = 0, False, False

    def _is_current(self) -> bool:
        """Tell whether the file at the path is the one that is read."""
        path = self.world.events
        return path.exists() and bool(self._count(f"{CURRENT} AND inode = {path.stat().st_ino}"))

    def _standing(self) -> set[int]:
        """Return the numbers of all lines in the files, those glued to half a line as well."""
        texts = [path.read_bytes() for path in self.world.home.glob("events.jsonl*")]
        return {int(seq) for text in texts for seq in re.findall(rb'"seq":(\d+)', text)}

    def _most_alike(self) -> int:
        """Return how many equal lines the file has that holds most of them."""
        files = self.world.home.glob("events*")
        return max((path.read_bytes().splitlines(keepends=True).count(ALIKE) for path in files), default=0)

    def _leaves_too_little(self, keep: int) -> bool:
        """Tell whether a line that lost its newline would be left with too little before it to tell it from chance."""
        kept = [int(seq) for seq in re.findall(rb'"seq":(\d+)', self.world.tail(keep))]
        return self.torn in kept and kept.index(self.torn) < LEAST

    def _is_misread(self, lines: int) -> bool:
        """Note that a file of so many lines replaces another; tell whether it could be read before that one."""
        few = min(lines, len(self.world.in_file())) < LEAST
        self.short |= few and not self.misdated
        return few and self.misdated

    def _at_path(self) -> list[bytes]:
        return self.world.in_file() if self.world.events.exists() else []

    def _note_cut(self, keep: int) -> None:
        """Equal lines are read when the numbered one behind them is."""
        lines, stored = self.world.in_file(), set(self.world.stored())
        for at, text in enumerate(lines[:-keep]):
            behind = next((seq for later in lines[at:] if (seq := seq_of(later)) is not None), None)
            self.alike_cut |= text + b"\n" == ALIKE and behind not in stored

    def _note_read(self) -> None:
        self.before = set(self.world.stored()) if self._count(f"{CURRENT} AND offset > 0") else set()
        if self._is_current():
            numbers = {seq for text in self._at_path() if (seq := seq_of(text))}
            self.opened = numbers & self.before or numbers or self.opened

    @contextlib.contextmanager
    def _what_goes(self) -> Iterator[None]:
        """Note when lines leave the files and nothing is left of what was read, or may be read when they have left."""
        before = self._standing()
        yield
        if before - self._standing() and not set(self.world.stored()) & self._standing():
            self.replaced = self.alike_cut = True

    def _finish_half(self) -> None:
        if self.half and self.world.events.exists():
            with self.world.events.open("ab") as file:
                file.write(self.half)
        self.half = b""

    @rule(count=COUNTS)
    def append(self, count: int) -> None:
        self._finish_half()
        self.world.append(count)

    @rule(count=st.integers(1, 5))
    def append_alike(self, count: int) -> None:
        """Equal lines, between numbered ones: without these a place among them is any place."""
        self._finish_half()
        with self.world.events.open("ab") as file:
            file.write(ALIKE * count)
        self.alike += count
        self.world.append(1)

    @rule(cut=st.integers(1, 60))
    def append_half_a_line(self, cut: int) -> None:
        self._finish_half()
        self.world.written += 1
        whole = line(self.world.written)
        with self.world.events.open("ab") as file:
            file.write(whole[:cut])
        self.half = whole[cut:]

    @rule(keep=st.integers(1, 60), late=st.integers(0, 5))
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def trim(self, keep: int, late: int) -> None:
        torn = self.world.events.read_bytes()[-1:] not in {b"", b"\n"}
        if (torn and keep < LEAST) or self._leaves_too_little(keep) or self._is_misread(keep):
            return
        late = 0 if self.raced or torn else late
        first = self.raced or self.world.written + 1
        kept = [seq for text in self.world.in_file()[-keep:] if (seq := seq_of(text)) is not None]
        if (self.raced or late) and sum(seq < first for seq in kept) < LEAST:
            return
        if late:
            self.raced = first
            self.out_of_reach |= set(range(self.world.written + 1, self.world.written + late + 1))
        self._note_cut(keep)
        with self._what_goes():
            self.world.trim(keep, late=late)

    @rule(keep=st.integers(LEAST, 60), looks=st.booleans())
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def trim_in_place(self, keep: int, *, looks: bool) -> None:
        if self.raced or self._leaves_too_little(keep):
            return
        self.alike_cut = True
        self._looked(whole=False)  # while what was there still is
        kept = self.world.tail(keep)
        with self.world.events.open("r+b") as file:
            file.truncate(0)
            if looks and self.follower is not None:
                self.follower.look()
                self._note_read()
            file.write(kept)

    @rule()
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def rotate(self) -> None:
        with self._what_goes():
            self.world.rotate()

    @rule()
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def copy_and_replace(self) -> None:
        if self._is_misread(LEAST):
            return
        self.world.replace(self.world.events.read_bytes() + b"".join(self.world.lines(3)))

    @rule(count=st.integers(1, 9), torn=st.booleans())
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def lose_the_end(self, count: int, *, torn: bool) -> None:
        """As the power takes it: some lines, and maybe the newline before them; what comes next is glued then."""
        lines = self.world.events.read_bytes().splitlines(keepends=True)
        stored = set(self.world.stored())
        left = lines[:-count]
        if self.raced or not left or seq_of(left[-1]) is None or sum(seq_of(text) in stored for text in left) < LEAST:
            return
        self._looked(whole=False)  # while what was there still is
        self.alike_cut = True
        os.truncate(self.world.events, len(b"".join(left)) - torn)
        if torn:
            self.torn = seq_of(left[-1]) or 0

    @rule(at=st.integers(0, 100))
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def edit_one_line(self, at: int) -> None:
        if self.raced:
            return
        lines = self.world.events.read_bytes().splitlines(keepends=True)
        stored = set(self.world.stored())
        read = [i for i, text in enumerate(lines) if seq_of(text) in stored]
        if read and at < read[-1] - LEAST:
            self.world.written += 1  # longer than what it replaces: else only a full comparison could tell
            lines[at] = line(self.world.written, edited=True)
            self.alike_cut = True
            self.world.replace(b"".join(lines))

    @rule()
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def delete_and_recreate(self) -> None:
        self.world.events.unlink()
        self.world.append(2)
        self.replaced = self.alike_cut = True

    @rule()
    @precondition(lambda self: self.follower is not None)
    def look(self) -> None:
        assert self.follower is not None
        self.follower.look()
        self._looked()

    @rule(steps=st.integers(1, 4))
    @precondition(lambda self: self.follower is not None)
    def look_in_part(self, steps: int) -> None:
        """Leave off between two steps of a look; what comes next happens there."""
        assert self.follower is not None
        for _ in range(steps):
            self.follower.poll()
        self._looked(whole=False)

    @rule(statement=st.integers(0, 40))
    @precondition(lambda self: self.follower is not None)
    def look_with_a_full_disk(self, statement: int) -> None:
        """Before the n-th statement, once; the follower goes on with the next look."""
        assert self.follower is not None
        left = [statement]

        def refuse(_cursor: object, _sql: str, _values: object) -> bool:
            left[0] -= 1
            if left[0] == -1:
                raise apsw.FullError
            return True

        self.follower.db.exec_trace = refuse
        with contextlib.suppress(apsw.FullError):
            self.follower.look()
        self.follower.db.exec_trace = None
        self._looked(whole=False)

    @rule(count=st.integers(1, 5), steps=st.integers(0, 4), starts=st.booleans())
    @precondition(lambda self: self.follower is not None and self.world.events.exists() and not self.half)
    def move_away_and_back(self, count: int, steps: int, *, starts: bool) -> None:
        """Between two steps of a look; a file that is open is read wherever it is."""
        assert self.follower is not None
        self.follower.settle()
        self._looked()
        info = self.world.events.stat()
        followed = self._count(f"{CURRENT} AND offset BETWEEN 1 AND {info.st_size} AND inode = {info.st_ino}")
        if starts:
            followed = followed and steps  # the first of them opens it
            self.follower.restart()
        self.world.append(count)
        for _ in range(steps):
            self.follower.poll()
        away = self.world.events.rename(self.folder / "away.jsonl")
        self.world.append(count, path=away)
        self.follower.look()
        if followed:
            assert {seq_of(text) for text in away.read_bytes().splitlines()[-count:]} <= set(self.world.stored())
        away.rename(self.world.events)
        self._looked(whole=False)

    @rule()
    @precondition(lambda self: self.follower is not None)
    def stop(self) -> None:
        assert self.follower is not None
        self.follower.close()
        self.follower = None

    @rule()
    @precondition(lambda self: self.half)
    def crash_in_the_middle_of_a_line(self) -> None:
        """Leave it at that; the next line is glued to it."""
        self.out_of_reach.add(self.world.written)
        self.half = b""
        self.world.append(1)

    @rule()
    @precondition(lambda self: self.world.events.exists() and self.old is None)
    def open_slowly(self) -> None:
        self.old = self.world.events.open("ab", buffering=0)
        self.opened_at = self.world.written

    @rule(count=st.integers(1, 5))
    @precondition(lambda self: self.old is not None and not self.half)
    def write_late(self, count: int) -> None:
        """To whatever has become of the file; nobody else gets it when it has no name any more."""
        assert self.old is not None
        with self.old as old:
            self.old = None
            named = bool(os.fstat(old.fileno()).st_nlink)
            kept = sum((seq_of(text) or self.opened_at + 1) <= self.opened_at for text in self._at_path())
            if self.raced or (not named and kept < LEAST):
                return
            if not named:
                self.replaced = True  # nothing else goes on from there
                self.out_of_reach |= set(range(self.world.written + 1, self.world.written + count + 1))
            old.write(b"".join(self.world.lines(count)))

    @rule()
    @precondition(lambda self: self.world.events.exists() and not self.half)
    def copy_and_truncate(self) -> None:
        if self.raced:
            return
        self.world.copy_and_truncate()
        self.replaced = self.alike_cut = True  # when the copy is pushed out, too, before it was read to its end

    @rule(by_s=st.sampled_from([-90_000, -1, 1, 90_000]))
    @precondition(lambda self: self.world.events.exists())
    def set_the_clock(self, by_s: int) -> None:
        """Time stamps of the file lie in the past or the future."""
        if self.short:
            return
        self.misdated = True
        stamp = time.time() + by_s
        os.utime(self.world.events, (stamp, stamp))

    @rule()
    @precondition(lambda self: self.follower is not None)
    def kill(self) -> None:
        assert self.follower is not None
        self.follower.kill()
        self.follower = None

    @rule(statement=st.integers(0, 60))
    @precondition(lambda self: self.follower is None)
    def start_and_be_killed(self, statement: int) -> None:
        """Look in a process of its own that is gone before one of its statements."""
        child = os.fork()
        if child == 0:
            faulthandler.dump_traceback_later(CHILD_S, exit=True)  # a look that never ends is told, not waited for
            left = [statement]

            def count(_cursor: object, _sql: str, _values: object) -> bool:
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return True

            apsw.connection_hooks.append(lambda db: setattr(db, "exec_trace", count))
            try:
                Follower(self.world).look()
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "a look that never ends"
        if self.world.db_path.exists():
            self._looked()

    @rule()
    @precondition(lambda self: self.follower is None)
    def start(self) -> None:
        self.follower = Follower(self.world)
        self.follower.look()
        self._looked()

    @invariant()
    def nothing_is_doubled(self) -> None:
        assert doubles(self.world.stored()) == []


TestJournal = JournalMachine.TestCase
TestJournal.settings = settings(max_examples=EXAMPLES, stateful_step_count=40)
