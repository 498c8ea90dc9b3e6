"""One journal, followed through appends, rotations, truncation and replacement.

What is stored is decided here, in batches; `store` writes it. A file that is no longer at the path stays open for
a while: a writer may still append to it, and while it is open its inode number cannot be given to another file.
"""

from __future__ import annotations

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shipwrightd.database.connection import durable, transaction
from shipwrightd.journals import choose, locate, store
from shipwrightd.journals.align import WINDOW_LINES
from shipwrightd.journals.choose import View
from shipwrightd.journals.compare import How
from shipwrightd.journals.filing import Filing
from shipwrightd.journals.lines import ChangedError, open_existing, pick
from shipwrightd.journals.locate import START, Plan
from shipwrightd.journals.records import Stream
from shipwrightd.journals.settle import Rest
from shipwrightd.journals.store import Quarantined

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.journals.compare import Overlap
    from shipwrightd.journals.records import Chunk
    from shipwrightd.journals.sources import JournalSource

BATCH_RECORDS = 50_000 - 8_192  # a last chunk comes on top
BATCH_BYTES = 15 << 20  # likewise a last chunk of up to 17 MiB: 32 MiB at most in one transaction
AHEAD_BYTES = 256 << 10  # from here on the next chunk is worth a second thread
GRACE_S = 600.0  # how long a file that left the path is still read for late writers
MAX_DRAINING = 8  # descriptors; the oldest goes first


@dataclass(frozen=True, slots=True)
class Polled:
    """What one look at a journal did: `more` asks for another look now, `wait_s` for one then; `size` is in bytes."""

    records: int = 0
    quarantined: int = 0
    size: int = 0
    more: bool = False
    wait_s: float | None = None
    switched: str = ""  # how reading went over to another file, for the log
    commit_s: float = 0.0


class Journal:
    """Follows one journal. Not thread-safe; one per source and process."""

    def __init__(self, source: JournalSource, home: Path, *, settle_s: float) -> None:
        self.source = source
        self.names = frozenset((source.name, *source.siblings))
        self._paths = source.files(home)
        self.settle_s = settle_s
        self.stop: Callable[[], bool] = lambda: False  # asked between the chunks of a batch, which ends early on yes
        self._queue: list[Stream] = []  # read in this order; the last one is, or was, at the path
        self._draining: list[Stream] = []
        self._seen: tuple[int, ...] | None = None  # signature of the path when all was read
        self._empty: tuple[int, ...] | None = None  # signature of a new file that holds no whole line
        self._changed = False  # the open file's bytes are not what was read
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="decode")
        self._rest = Rest()
        self._stood: locate.Standing | None = None  # what stood where when the open file was new
        self._at_path = False  # the last of the opened files is the one at the path

    def close(self) -> None:
        """Let all files go."""
        for stream in (*self._queue, *self._draining):
            stream.close()
        self._pool.shutdown()
        self._queue, self._draining = [], []

    def poll(self, db: apsw.Connection, now: Now) -> Polled:
        """Store at most one batch of what is new. Raises OSError and apsw.Error; nothing is lost by either."""
        self._rest.compare_clocks(now)
        info = self._look()
        signature = _signature(info) if info else None
        if signature and signature == self._seen and self._queue and not self._queue[-1].undecided:
            return self._drain(db, now)
        try:
            if self._queue and (polled := self._read_queue(db, now)) is not None:
                return polled
        except OSError:  # a file that left the path, as on a network file system: it is tried again for a while
            if info is None or self._queue[-1].identity == (info.st_dev, info.st_ino):
                raise
        if (info is None and self._queue) or (signature and signature == self._empty):
            return self._drain(db, now)
        here = self._queue[-1].identity if self._queue else None
        if here is None or self._changed or (info and here != (info.st_dev, info.st_ino)):
            return self._resolve(db, now)
        if not self._queue[-1].undecided:
            self._seen = signature
            return self._drain(db, now)
        return Polled(wait_s=self.settle_s)

    def behind_bytes(self) -> int:
        """Return how many bytes the open files hold beyond what is stored; half a line counts."""
        return sum(stream.behind_bytes for stream in self._queue)

    def age_s(self) -> float:
        """Return how long ago the file at the path was written to, 0 when that cannot be told."""
        with contextlib.suppress(OSError):
            if info := self._look():
                return time.time() - info.st_mtime
        return 0.0

    def _look(self) -> os.stat_result | None:
        try:
            return self._paths[-1].stat()
        except (FileNotFoundError, NotADirectoryError):
            return None

    # -- reading what is open

    def _read_queue(self, db: apsw.Connection, now: Now) -> Polled | None:
        """Read one batch from the first open file; None when all of them are read to the end."""
        stream = self._queue[0]
        last = len(self._queue) == 1
        final = not last or (stream.undecided and self._rest.is_settled(os.fstat(stream.fd), self.settle_s, now))
        self._changed = False  # what was written over may have been written back since
        try:
            polled = self._commit(db, stream, now, final=final)
        except ChangedError:
            if self._go_back(db, stream, now):
                return Polled(more=True, switched="passed_over")
            self._changed = True
            if stream.undecided:
                self._rest.forget()
            return None
        if polled is not None:
            self._rest.forget()
            return polled
        if last:
            return None
        with contextlib.suppress(ChangedError):  # cut while it was compared: the next look compares it again
            self._advance(db, now)
        return Polled(more=True)

    def _drain(self, db: apsw.Connection, now: Now) -> Polled:
        """Read what late writers put into files that left the path."""
        failed: OSError | None = None
        for stream in list(self._draining):
            try:
                with contextlib.suppress(ChangedError):
                    polled = self._commit(db, stream, now, final=True, late=True)
                    if polled is not None:
                        return polled
            except OSError as error:  # of one file; the others may be read all the same
                failed = failed or error
            if now.monotonic >= stream.retire_at or len(self._draining) > MAX_DRAINING:
                self._retire(db, stream, now)
        if failed is not None:
            raise failed
        return Polled()

    def _commit(
        self, db: apsw.Connection, stream: Stream, now: Now, *, final: bool, late: bool = False
    ) -> Polled | None:
        """Store one batch from a stream, with the position behind it; None when there is nothing."""
        mark = stream.mark()
        chunk = stream.pull(final=final)
        try:
            if self._go_back(db, stream, now):  # looked for after reading: what was copied and emptied before is seen
                return Polled(more=True, switched="passed_over")
            if chunk is None:
                return None
            with transaction(db):
                polled = self._store(db, stream, chunk, now, late=late)
                stored = time.monotonic()
        except BaseException:
            stream.restore(mark)
            raise
        return replace(polled, commit_s=time.monotonic() - stored)

    def _store(self, db: apsw.Connection, stream: Stream, chunk: Chunk | None, now: Now, *, late: bool) -> Polled:
        filing = Filing(db, self.source, now)
        hashes: list[bytes] = []
        size = lines = 0
        while chunk is not None:
            if chunk.size >= AHEAD_BYTES:
                stream.pull_ahead(self._pool)
            filing.add_rows(chunk.rows, chunk.salvaged)
            filing.quarantine(stream.generation, chunk.quarantined)
            stream.stored(chunk)
            hashes.append(chunk.hashes)
            size += chunk.size
            lines += chunk.lines
            if lines > BATCH_RECORDS or size > BATCH_BYTES or self.stop():
                break
            try:
                chunk = stream.pull(final=False)
            except ChangedError:
                break  # what was read is whole; the next look finds the change again
        assert stream.generation is not None  # noqa: S101 - set when the stream was made
        store.move_generation(db, stream.generation, stream.position, stream.lines)
        if not late:
            store.add_history(db, self.source.name, stream.lines - lines, b"".join(hashes))
        filing.finish()
        return Polled(filing.counts.records, filing.counts.quarantined, size, more=True)

    # -- going from one file to another

    def _advance(self, db: apsw.Connection, now: Now) -> None:
        """Go on to the next open file: the first is read to its end and no longer at the path."""
        old, new, *_ = self._queue
        plan = choose.repeated(db, self.source.name, new.fd)
        overlap = plan.overlap if plan is not None else None
        if plan is not None and overlap is not None:
            new = Stream(new.fd, plan.position, origin=self.source.origin)
        with durable(db), transaction(db):  # what was read of the old file may stand nowhere else now
            if old.generation is not None:
                store.end_generation(db, old.generation, "rotated")
            self._begin(db, new, Filing(db, self.source, now), overlap)
        self._queue[1] = new
        self._stood = None
        self._keep_draining(self._queue.pop(0), now)

    def _go_back(self, db: apsw.Connection, here: Stream, now: Now) -> bool:
        """Read siblings first that were passed over for the one open file, of which nothing was read yet."""
        if self._queue != [here] or here.position.offset:
            return False
        others = store.other_generations(db, self.source.name)
        try:
            siblings, standing = locate.passed_over(here.fd, self._paths, others, self._held(), self._stood)
        except ChangedError:  # reading it finds out, too
            return False
        if not siblings:
            self._stood = standing
            return False
        with contextlib.ExitStack() as opened:
            for fd in siblings:
                opened.callback(os.close, fd)
            streams = [Stream(fd, START, origin=self.source.origin) for fd in (*siblings, here.fd)]
            with durable(db), transaction(db):
                if here.generation is not None:
                    store.end_generation(db, here.generation, "replaced")
                self._begin(db, streams[0], Filing(db, self.source, now), None)
            opened.pop_all()
        self._queue, self._stood = streams, standing
        return True

    def _begin(self, db: apsw.Connection, stream: Stream, filing: Filing, overlap: Overlap | None) -> None:
        """Record a stream as the current one, with the history its file begins with and what was edited in that."""
        name = self.source.name
        window = b""
        if overlap is not None:
            stream.lines = overlap.known
            filing.add_lines(pick(stream.fd, overlap.unknown), stream.position.offset)
            window = overlap.window[-WINDOW_LINES:].tobytes()
        stream.generation = store.add_generation(db, name, stream.identity, stream.position, stream.lines)
        store.replace_history(db, name, stream.lines, window)
        filing.finish(stream.generation)

    def _keep_draining(self, stream: Stream, now: Now) -> None:
        stream.retire_at = now.monotonic + GRACE_S
        self._draining.append(stream)

    def _retire(self, db: apsw.Connection, stream: Stream, now: Now) -> None:
        """Close a file nobody writes to any more; half a line at its end is kept in quarantine, once."""
        rest = stream.unfinished()
        with transaction(db):
            if rest.strip():
                filing = Filing(db, self.source, now)
                kept = Quarantined(stream.position.offset, stream.unfinished_bytes, "unterminated", rest)
                filing.quarantine(stream.generation, [kept])
                filing.finish()
                if stream.generation is not None:
                    store.move_generation(db, stream.generation, stream.end, stream.lines)
        self._draining.remove(stream)
        stream.close()

    # -- finding the place again

    def _view(self, files: list[int], now: Now) -> View:
        return View(
            files,
            at_path=self._at_path,
            most_siblings=len(self._paths) - 1,
            reading=bool(self._queue),
            held=self._held(),
            is_whole=lambda fd, place: self._rest.is_whole(fd, place, self.settle_s, now),
        )

    def _held(self) -> set[locate.Inode]:
        return {draining.identity for draining in self._draining}

    def _resolve(self, db: apsw.Connection, now: Now) -> Polled:
        """Find out where to go on after a start or a change, and take it up."""
        found = open_existing(self._paths)
        self._at_path = self._paths[-1] in found
        files = list(found.values())
        if not files:
            return Polled()
        used: list[int] = []
        try:
            plan = choose.choose(db, self.source, self._view(files, now))
            if plan is None:
                return Polled()
            if plan.how in {How.WAIT, How.EMPTY}:
                self._empty = _signature(os.fstat(files[-1])) if plan.how is How.EMPTY and self._at_path else None
                return Polled(wait_s=self.settle_s / 4 if plan.how is How.WAIT else None)
            if not self._queue and not self._draining:  # after a start
                used += self._reopen(db, files[: plan.first], now)
            self._adopt(db, plan, files, now)
            used += files[plan.first :]
        except ChangedError:  # cut while it was compared
            return Polled(wait_s=self.settle_s / 4)
        finally:
            for fd in set(files) - set(used):
                os.close(fd)
        self._changed = False
        self._rest.forget()
        self._seen = self._empty = None
        return Polled(more=True, switched=plan.how.name.lower())

    def _reopen(self, db: apsw.Connection, siblings: list[int], now: Now) -> list[int]:
        """After a start, watch finished siblings for lines that came late; returns the descriptors in use."""
        others = store.other_generations(db, self.source.name)
        streams = []
        for fd in siblings:
            if found := locate.find_generation(fd, others):
                other, position = found
                streams.append(Stream(fd, position, origin=self.source.origin, lines=other.lines))
                streams[-1].generation = other.id
        for stream in streams:  # none of them before all are known: a failure has all descriptors closed
            self._keep_draining(stream, now)
        return [stream.fd for stream in streams]

    def _adopt(self, db: apsw.Connection, plan: Plan, files: list[int], now: Now) -> None:
        """Queue the planned files and record where reading stands now."""
        old = self._queue[0] if self._queue else None
        first = Stream(files[plan.first], plan.position, origin=self.source.origin)
        later = [Stream(fd, START, origin=self.source.origin) for fd in files[plan.first + 1 :]]
        queued = {stream.identity for stream in (first, *later)}
        if plan.how is How.ANCHOR:
            self._go_on(db, first, old, now)
        else:
            self._take_over(db, plan, first, old, now)
        for known in [stream for stream in self._draining if stream.identity in queued]:
            self._draining.remove(known)  # it is read again, from where the plan says
            known.close()
        if old is not None and (old.identity in queued or self._changed):
            old.close()
        elif old is not None:
            old.forget()
            self._keep_draining(old, now)
        for unread in self._queue[1:]:
            unread.close()
        self._queue = [first, *later]
        self._stood = None

    def _go_on(self, db: apsw.Connection, stream: Stream, old: Stream | None, now: Now) -> None:
        """Read on from the anchor; a file that lost its place to a copy may still be written to."""
        here = store.current_generation(db, self.source.name)
        assert here is not None  # noqa: S101 - its anchor was found
        stream.generation, stream.lines = here.id, here.lines
        if stream.identity != (here.place.device, here.place.inode):
            kept: int | None = None
            with durable(db), transaction(db):
                store.identify_generation(db, here.id, stream.identity)
                if old is not None:
                    filing = Filing(db, self.source, now)
                    filing.rescue(old, stream)
                    filing.finish()
                    kept = store.add_generation(db, self.source.name, old.identity, old.end, old.lines)
                    store.end_generation(db, kept, "replaced")
            if old is not None:
                old.generation = kept

    def _take_over(self, db: apsw.Connection, plan: Plan, stream: Stream, old: Stream | None, now: Now) -> None:
        """Begin with a file that took another's place, in one transaction."""
        here = store.current_generation(db, self.source.name)
        with durable(db), transaction(db):
            filing = Filing(db, self.source, now)
            if here is not None:
                store.end_generation(db, here.id, "replaced")
            if old is not None:
                filing.rescue(old, stream)
            if plan.how is How.NOTHING and here is not None:
                filing.gap("no_overlap", {"old_offset": here.place.offset, "new_size": os.fstat(stream.fd).st_size})
            self._begin(db, stream, filing, plan.overlap)


def _signature(info: os.stat_result) -> tuple[int, ...]:
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns
