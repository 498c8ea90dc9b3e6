"""A salvaged database compared with the files: what they hold and it lacks is put back, in its place.

Files are right about what they hold, the database about everything else. A
line that was stored has its row already, unless that was lost with its page.
"""

from __future__ import annotations

import os
from array import array
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from shipwrightd.decoding.events import decode_lines
from shipwrightd.decoding.rows import row_hash
from shipwrightd.journals import store
from shipwrightd.journals.store import Counts
from shipwrightd.recovery import store as store_heal
from shipwrightd.recovery.align import NONE, pair_up
from shipwrightd.recovery.old_align import HASH_BYTES, WINDOW_LINES
from shipwrightd.recovery.old_compare import known_up_to, repeated_from
from shipwrightd.recovery.old_lines import ChangedError, open_existing, position_at, read_at, resume_behind
from shipwrightd.recovery.old_locate import START
from shipwrightd.recovery.old_records import Stream, quarantined

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.decoding.rows import EventRow
    from shipwrightd.journals.sources import JournalSource
    from shipwrightd.journals.store import Generation
    from shipwrightd.recovery.old_records import Chunk

ENDLESS = (1 << 63) - 1


@dataclass(slots=True)
class File:
    """One file of a journal, read up to where it was read before, or to its end."""

    stream: Stream
    limit: int  # bytes
    last: bool  # more lines may come
    history: bytes = b""

    def pieces(self) -> Iterator[tuple[list[EventRow], list[Quarantined]]]:
        """Yield rows and what cannot be one. Raises ChangedError when the file changes meanwhile."""
        while (chunk := self.stream.pull(final=not self.last)) is not None:
            if chunk.end.offset > self.limit:
                yield self._beginning()
                return
            yield self._take(chunk)
        if self.limit != ENDLESS and self.stream.position.offset < self.limit:
            yield self._beginning()  # lines that were decided when more had come are undecided at the end

    def _take(self, chunk: Chunk) -> tuple[list[EventRow], list[Quarantined]]:
        self.stream.stored(chunk)
        self.history = (self.history + chunk.hashes)[-WINDOW_LINES * HASH_BYTES :]
        return chunk.rows, chunk.quarantined

    def _beginning(self) -> tuple[list[EventRow], list[Quarantined]]:
        """Return what the lines up to the limit came to, in the middle of a chunk. Raises ChangedError."""
        at = self.stream.position.offset
        data = read_at(self.stream.fd, self.limit - at, at)
        if len(data) < self.limit - at:
            raise ChangedError
        lines = data.split(b"\n")[:-1]
        decoded = decode_lines(lines, origin=self.stream.origin, final=True)
        return decoded.rows, quarantined(decoded, lines, at)


@dataclass(slots=True)
class Lines:
    """What the files of a journal hold: a mark for each row, in order, and what could not be one."""

    marks: array[int] = field(default_factory=lambda: array("Q"))
    rejected: list[Quarantined] = field(default_factory=list)
    least: int = ENDLESS  # ts_epoch
    most: int = -ENDLESS

    def take(self, rows: Sequence[EventRow], rejected: Sequence[Quarantined]) -> None:
        """Add what a piece of a file came to."""
        self.marks.extend([row_hash(row) for row in rows])
        self.rejected += rejected
        times = [row[1] for row in rows if row[1] is not None]
        if times:
            self.least = min(self.least, *times)
            self.most = max(self.most, *times)


class Refill:
    """Puts back what the files of one journal hold and the database lost. Expects the caller's transaction."""

    def __init__(self, db: apsw.Connection, source: JournalSource, holes: Sequence[tuple[int, int]], now: Now) -> None:
        self._db = db
        self._source = source
        self._holes = holes
        self._now = now
        self._ids = array("q")
        self._kept_books = False
        self._counts = Counts()  # of what had never been stored

    def run(self, home: Path, *, books_whole: bool) -> int:
        """Compare and put back; returns how many events. Raises OSError, ChangedError.

        Without whole books, or where a file is none of those they speak of,
        all lines of the files are compared, and reading goes on behind them.
        """
        name = self._source.name
        with ExitStack() as stack:
            files = open_existing(self._source.files(home))
            for fd in files.values():
                stack.callback(os.close, fd)
            known = self._known() if books_whole else []
            limits = [max((p.place.offset for p in known if _is_at(fd, p)), default=0) for fd in files.values()]
            self._kept_books = bool(known) and all(
                limit or not os.fstat(fd).st_size for limit, fd in zip(limits, files.values(), strict=True)
            )
            if not self._kept_books:
                limits = [ENDLESS] * len(files)
            for at, (fd, newer) in enumerate(pairwise(files.values())):
                repeated = repeated_from(fd, newer)
                limits[at] = min(limits[at], repeated) if repeated < os.fstat(fd).st_size else limits[at]
            refilled = self._refill(list(files.values()), limits)
            if not self._kept_books:
                store_heal.forget_books(self._db, name)
                self._write_books(list(files.values()))
                store.move_checkpoint(self._db, name, None, self._counts, self._now.text)
        return refilled

    def _known(self) -> list[Generation]:
        here = store.current_generation(self._db, self._source.name)
        if here is None or not store_heal.history_is_whole(self._db, self._source.name, here.lines):
            return []
        return [here, *store.other_generations(self._db, self._source.name)]

    def _refill(self, fds: list[int], limits: list[int]) -> int:
        lines = Lines()
        self._files = [
            File(Stream(fd, START, origin=self._source.origin), limit, i == len(fds) - 1)
            for i, (fd, limit) in enumerate(zip(fds, limits, strict=True))
        ]
        for file in self._files:
            for rows, rejected in file.pieces():
                lines.take(rows, rejected)
        stored = array("Q")
        for number, *values in self._db.execute(
            store_heal.EVENTS_BETWEEN, (lines.least, lines.most, self._source.name)
        ):
            self._ids.append(number)
            stored.append(row_hash(values))
        pairs = pair_up(stored, lines.marks)
        if not self._kept_books and len(stored) and pairs and max(pairs) == NONE:
            store.add_gap(self._db, self._source.name, "no_overlap", {}, self._now.text)
            self._counts.gaps += 1
        places = self._places(pairs, len(stored))
        self._put_back(places, lines.marks, fds, limits)
        self._quarantine(lines.rejected)
        return len(places)

    def _places(self, pairs: list[int], stored: int) -> dict[int, tuple[int, bool]]:
        """Return for each line without a row the id that it gets, and whether it takes the place of a row there."""
        found: dict[int, tuple[int, bool]] = {}
        fresh: list[int] = []
        i = 0
        while i < len(pairs):
            if pairs[i] != NONE:
                i += 1
                continue
            end = next((k for k in range(i, len(pairs)) if pairs[k] != NONE), len(pairs))
            before = pairs[i - 1] if i else -1
            behind = pairs[end] if end < len(pairs) else stored
            ids = self._free_between(before, behind, stored)[i - end :]
            left = range(i, end - len(ids))
            found.update({k: (number, False) for k, number in zip(range(end - len(ids), end), ids, strict=True)})
            odd = range(before + 1, behind)
            if self._kept_books and behind < stored and left and len(odd) == len(left):
                # They were stored: what stands in their place says something else because a bit of it was lost.
                found.update({k: (self._ids[row], True) for k, row in zip(left, odd, strict=True)})
            else:
                fresh += left
            i = end
        self._counts.records = len(fresh)
        number = max(self._db.execute(store_heal.MAX_ID).get, *(to for _, to in self._holes), 0)
        found.update({k: (number + nth, False) for nth, k in enumerate(fresh, 1)})
        return found

    def _free_between(self, before: int, behind: int, stored: int) -> list[int]:
        """Return the ids without an event in the holes between two rows, named by their index."""
        low = self._ids[before] if before >= 0 else 0
        high = self._ids[behind] - 1 if behind < stored else ENDLESS
        found: list[int] = []
        for after, to in self._holes:
            if max(after, low) < min(to, high):
                found += store_heal.missing_ids(self._db, max(after, low), min(to, high))
        return found

    def _put_back(
        self, places: dict[int, tuple[int, bool]], marks: Sequence[int], fds: list[int], limits: list[int]
    ) -> None:
        """Read the files once more, for what has a place. Raises ChangedError when they hold something else now."""
        if not places:
            return
        at = 0
        missing = len(places)
        for file in [
            File(Stream(fd, START, origin=self._source.origin), limit, old.last)
            for fd, limit, old in zip(fds, limits, self._files, strict=True)
        ]:
            for rows, _ in file.pieces():
                for i, row in enumerate(rows, at):
                    if i in places:
                        if row_hash(row) != marks[i]:
                            raise ChangedError
                        number, instead = places[i]
                        (store_heal.replace_event if instead else store.add_event)(self._db, number, row)
                        missing -= 1
                at += len(rows)
        if missing:
            raise ChangedError

    def _quarantine(self, rejected: list[Quarantined]) -> None:
        kept = Counter(store.quarantined(self._db, self._source.name))
        new = []
        for piece in rejected:
            kept[piece.raw] -= 1
            if kept[piece.raw] < 0:
                new.append(piece)
        store.add_quarantine(self._db, self._source.name, None, new, self._now.text)
        self._counts.quarantined = len(new)

    def _write_books(self, fds: list[int]) -> None:
        """Let reading go on behind what was compared."""
        name = self._source.name
        for file in self._files:
            stream = file.stream
            position, lines = stream.position, stream.lines
            if file.limit != ENDLESS:  # what the next file repeats is not read from this one either
                whole = known_up_to(stream.fd, os.fstat(stream.fd).st_size)
                position, lines = position_at(stream.fd, whole.offset), whole.known
            number = store.add_generation(self._db, name, stream.identity, position, lines)
            if file.last:
                store.replace_history(self._db, name, stream.lines, file.history)
                store_heal.set_current(self._db, name, number, self._now.text)
            else:
                store.end_generation(self._db, number, "rotated")
        if not fds:
            store_heal.set_current(self._db, name, None, self._now.text)


def _is_at(fd: int, known: Generation) -> bool:
    return resume_behind(fd, known.place) is not None
