"""One journal, followed through appends, rotations, truncation and replacement.

Its files are read oldest first, each to its end, all by the same loop. A file whose inode and anchor are those of a
checkpoint is read on from there; any other is reconciled with what is stored. A file that lost its name stays open
for a while: a writer may still append to it, and while it is open its inode number cannot be given to another file.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shipwrightd.database import durable, transaction
from shipwrightd.decoding import Quarantined
from shipwrightd.journals import store
from shipwrightd.journals.lines import (
    START,
    ChangedError,
    Place,
    anchor_hash,
    open_files,
    read_at,
    resume_at,
    same_file,
)
from shipwrightd.journals.match import SURE_LINES, contains
from shipwrightd.journals.reconcile import groups_of, missing_at_end, newest_of, only, reconcile
from shipwrightd.journals.records import Records, decode_all
from shipwrightd.journals.settle import Clocks, Settling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.clock import Now
    from shipwrightd.decoding.events import Origin
    from shipwrightd.journals import JournalSource
    from shipwrightd.journals.reconcile import Known
    from shipwrightd.journals.records import Chunk
    from shipwrightd.journals.store import Generation

BATCH_LINES = 50_000 - 8_192  # a last chunk comes on top
BATCH_BYTES = 15 << 20  # likewise a last chunk of up to 17 MiB: 32 MiB at most in one transaction
AHEAD_BYTES = 256 << 10  # a chunk of this size makes it worth to decode the next one in a second thread
GRACE_S = 600.0  # how long a file without a name is still read for late writers
LASTING = {errno.EINVAL, errno.EEXIST, errno.ELOOP}  # tried again only when another file is at the path
MAX_NAMELESS = 8  # such files kept open; the oldest is closed first


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll did: `more` asks for another one now, `wait_s` for one then; `size` is in bytes."""

    records: int = 0
    quarantined: int = 0
    size: int = 0
    more: bool = False
    wait_s: float | None = None
    switched: str = ""  # how reading went over to another file, for the log
    commit_s: float = 0.0


class File(Records):
    """An open file of a journal."""

    def __init__(self, fd: int, origin: Origin, clocks: Clocks) -> None:
        super().__init__(fd, START, origin=origin)
        self.generation: int | None = None
        self.placed = False  # it is known how far it is stored
        self.settled = False  # what it grows by is new, without being compared
        self.opened = 0  # in which of the journal's rounds of discovery
        self.left = math.inf  # in which of them it was no longer at one of the journal's paths
        self.rank = 0.0  # order of the paths, oldest first
        self.inside = False  # it ends with a known line that others follow in a remembered file
        self.written_over = False  # its inode was read before, with other content
        self.torn_off = b""  # read but not decided when it was written over
        self.compared = False  # its end is to be checked when it is read
        self.compared_bytes = -1  # its size when it was reconciled
        self.retire_at = math.inf  # monotonic seconds
        self.settling = Settling(clocks)
        self.quiet: tuple[int, int] | None = None  # size and mtime when there was nothing to read
        self.error: OSError | None = None  # why it cannot be read

    @property
    def named(self) -> bool:
        """Tell whether it is at one of the journal's paths."""
        return self.left == math.inf


class Journal:
    """Follows one journal. Not thread-safe; one per source and process."""

    def __init__(self, source: JournalSource, home: Path, *, settle_s: float) -> None:
        self.source = source
        self.names = frozenset((source.name, *source.siblings))
        self.settle_s = settle_s
        self.stop: Callable[[], bool] = lambda: False  # asked between the chunks of a batch, which ends early on yes
        self.problem: str | None = None  # what the database lacks of a file that was compared
        self._paths = source.files(home)
        self._refused: dict[str, OSError] = {}  # rotated files that cannot be opened
        self._files: list[File] = []  # oldest first
        self._seen: list[tuple[int, ...]] | None = None  # what was at the paths when they were opened
        self._round = 0  # of discovery
        self._clocks = Clocks()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="decode")

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        self._pool.shutdown()
        self._files = []

    def behind_bytes(self) -> int:
        """Return how many bytes the open files hold beyond what is stored; half a line counts."""
        return sum(file.unread_bytes for file in self._files)

    def age_s(self) -> float:
        """Return how long ago the file at the path was written to, 0 when that cannot be told."""
        with contextlib.suppress(OSError):
            return time.time() - self._paths[-1].stat().st_mtime
        return 0.0

    def refused(self) -> dict[str, str]:
        """Return the rotated files that cannot be read, and why."""
        failing = {self._paths[int(file.rank)].name: file.error for file in self._files if file.named and file.error}
        return {name: error.strerror or str(error) for name, error in (self._refused | failing).items()}

    def poll(self, db: apsw.Connection, now: Now) -> Polled:
        """Store at most one batch of what is new. Raises OSError and apsw.Error; nothing is lost by either.

        An error of one file stops no other one; that of a rotated file is in `refused`.
        """
        self._clocks.compare(now)
        for file in list(self._files):
            if not file.placed:
                continue
            try:
                polled = self._read(db, file, now) if self._is_readable(file, now) else None
            except OSError as error:  # of one file; the others may be read all the same
                file.error = error
                continue
            file.error = None
            if polled is not None:
                return polled
        if self._discover(db):
            return Polled(more=True)
        polled = self._place_next(db, now)
        if not polled.more:
            self._retire(db, now)
            for file in self._files:
                if file.error is not None and (self._is_at_path(file) or not file.named):
                    raise file.error
        return polled

    # -- reading

    def _is_readable(self, file: File, now: Now) -> bool:
        info = os.fstat(file.fd)
        grown = info.st_size != file.compared_bytes
        if not grown and not file.settled:
            file.settled = not file.inside and file.settling.is_settled(info, self.settle_s, now)
        # What a rotated file grows by may be no late line but a copy of the journal over an older one.
        rotated = file.rank < len(self._paths) - 1 and file.named
        copied = rotated and file.quiet is not None and info.st_size > file.quiet[0]
        if grown and (copied or not (file.settled and file.position.offset)):
            file.placed = False  # what it grew by may be stored already
            return False
        return file.quiet != (info.st_size, info.st_mtime_ns) or file.undecided

    def _read(self, db: apsw.Connection, file: File, now: Now) -> Polled | None:
        """Store one batch of a file; None when there is nothing to read."""
        info = os.fstat(file.fd)
        file.begin()
        try:
            chunk = file.pull(final=False)
            if chunk is None and file.undecided and self._is_final(file, now):
                chunk = file.pull(final=True)
        except ChangedError:
            self._lose_place(file)
            return None
        try:
            if chunk is None:
                if file.quiet != (info.st_size, info.st_mtime_ns):
                    file.retire_at = math.inf
                file.quiet = info.st_size, info.st_mtime_ns
                self._check_end(db, file)
                return None
            if not file.position.offset and self._waits(db, file):
                self._leave(file)
                return None
            with transaction(db):
                polled = self._store(db, file, chunk, now)
                stored = time.monotonic()
        except BaseException:
            self._leave(file)
            raise
        file.settling.restart()
        return replace(polled, commit_s=time.monotonic() - stored)

    def _leave(self, file: File) -> None:
        """Undo a batch; what was compared before a first line was read may be stored from another file by then."""
        file.rollback()
        if not file.position.offset:
            file.placed = False

    def _check_end(self, db: apsw.Connection, file: File) -> None:
        """After a file was compared and read, ask the database for its last records."""
        if file.compared and self._is_at_path(file):
            with contextlib.suppress(ChangedError):
                total, missing = missing_at_end(db, self.source, file)
                self.problem = None
                if missing:
                    self.problem = f"the database lacks {missing} of the last {total} records; run verify --repair"
            file.compared = False

    def _is_final(self, file: File, now: Now) -> bool:
        """Tell whether no more lines will come, so that an open record is decided as it is."""
        settled = file.settling.is_settled(os.fstat(file.fd), self.settle_s, now)
        if self._is_at_path(file):
            return settled
        return settled and all(other.placed or other.error for other in self._files)  # else the rest may be in one

    def _is_at_path(self, file: File) -> bool:
        return file.named and file.rank == len(self._paths) - 1

    def _lose_place(self, file: File) -> None:
        """Have a file compared that is no longer the one that was read."""
        file.torn_off = file.torn_off or file.leftover()
        file.restart_at(START, 0)
        file.placed, file.settled, file.written_over, file.quiet = False, False, True, None
        file.settling.restart()

    def _waits(self, db: apsw.Connection, file: File) -> bool:
        """Tell whether older files have to be read before the first line of this one.

        Asked after reading, so that what was copied and emptied meanwhile is seen.
        """
        self._discover(db)
        older = [other for other in self._files if other.rank < file.rank and not other.placed and not other.error]
        return any(os.fstat(other.fd).st_size for other in older)

    def _store(self, db: apsw.Connection, file: File, chunk: Chunk | None, now: Now) -> Polled:
        batch = store.BatchWriter(db, self.source, now)
        assert file.generation is not None  # noqa: S101 - set when the file was placed
        hashes: list[bytes] = []
        size = 0
        first = file.lines
        while chunk is not None:
            if chunk.size >= AHEAD_BYTES:
                file.pull_ahead(self._pool)
            batch.add_rows(chunk.rows, chunk.salvaged)
            if chunk.rejected:
                batch.quarantine(file.generation, chunk.rejected)
            file.stored(chunk)
            hashes.append(chunk.hashes)
            size += chunk.size
            if file.lines - first > BATCH_LINES or size > BATCH_BYTES or self.stop():
                break
            try:
                chunk = file.pull(final=False)
            except ChangedError:
                break  # what was read is complete; the next poll meets the change again
        store.move_generation(db, file.generation, file.position, file.lines, settled=file.settled)
        store.add_line_hashes(db, file.generation, first, b"".join(hashes))
        batch.finish()
        return Polled(batch.counts.records, batch.counts.quarantined, size, more=True)

    # -- which files there are

    def _discover(self, db: apsw.Connection) -> bool:
        """Open what is at the paths and not open yet; tell whether there was any."""
        seen = [_stat(path) for path in self._paths]
        if seen == self._seen:
            return False
        files, refused = open_files(self._paths)
        hidden = refused.get(self._paths[-1])
        fresh: list[File] = []
        try:
            known = {file.identity for file in self._files}
            remembered = store.generations(db, self.source.name)
            for fd in files.values() if hidden is None else ():
                info = os.fstat(fd)
                if (info.st_dev, info.st_ino) not in known:
                    fresh.append(File(fd, self.source.origin, self._clocks))
                    with _noted(fresh[-1]):
                        self._resume(fresh[-1], remembered)
        except BaseException:
            for file in fresh:
                file.close()
            raise
        finally:
            for fd in set(files.values()) - {file.fd for file in fresh}:
                os.close(fd)
        if hidden is not None:
            raise hidden
        self._refused = {path.name: error for path, error in refused.items()}
        self._seen = [_stat(path) for path in self._paths]
        self._arrange(fresh)
        if self._seen != seen or any(error.errno not in LASTING for error in refused.values()):
            self._seen = None  # renamed meanwhile, or refused for a moment
        return bool(fresh)

    def _resume(self, file: File, remembered: list[Generation]) -> None:
        """Go on from the checkpoint of a file that is known exactly: by its inode, and the anchor in its place."""
        same = [row for row in remembered if same_file(file.fd, row.place)]
        file.written_over = any(row.place.offset for row in same)
        for row in sorted(same, key=lambda row: -row.place.offset):
            position = resume_at(file.fd, row.place) if row.state != "replaced" else None
            if position is not None:
                file.restart_at(position, row.lines)
                file.generation, file.placed, file.settled = row.id, True, row.settled
                file.written_over = False
                return

    def _arrange(self, fresh: list[File]) -> None:
        """Sort the files by their paths; those that lost their name stay before what came after them.

        A new file at a rotated name may be a copy of what came before, or have been at the journal's path since:
        when they were last written to tells. Only the order of reading depends on that.
        """
        order = {entry[:2]: float(at) for at, entry in enumerate(self._seen or ()) if entry}
        self._round += 1
        for file in fresh:
            file.rank, file.opened = order.get(file.identity, 0.0), self._round
        next_rank = len(self._paths) - 1.0
        for file in reversed(self._files):
            if file.identity in order:
                file.rank, file.left = order[file.identity], math.inf
            else:
                if file.named:
                    file.retire_at = math.inf
                    file.left, written_ns = self._round, os.fstat(file.fd).st_mtime_ns
                    later = (other.rank for other in fresh if os.fstat(other.fd).st_mtime_ns > written_ns)
                    next_rank = min((next_rank, *later))
                file.rank = min(file.rank, math.ceil(next_rank) - 0.5)
            next_rank = min(next_rank, file.rank)
        self._files = sorted((*self._files, *fresh), key=lambda file: file.rank)

    def _retire(self, db: apsw.Connection, now: Now) -> None:
        """Give up on writers of files that left the path: keep half a line at the end, once, and close the nameless."""
        nameless = [file for file in self._files if not file.named and file.placed]
        for file in list(self._files):
            if self._is_at_path(file) or not file.placed:
                file.retire_at = math.inf
                continue
            file.retire_at = min(file.retire_at, now.monotonic + GRACE_S)
            surplus = not file.named and len(nameless) - nameless.index(file) > MAX_NAMELESS
            if (now.monotonic < file.retire_at and not surplus) or file.undecided:
                continue
            if (rest := file.unfinished()) and file.generation is not None:
                with transaction(db):
                    batch = store.BatchWriter(db, self.source, now)
                    batch.quarantine(file.generation, [rest])
                    batch.finish()
                    store.move_generation(db, file.generation, file.end, file.lines)
                file.skip_leftover()
            if not file.named:
                self._files.remove(file)
                file.close()

    # -- how far a file is stored

    def _place_next(self, db: apsw.Connection, now: Now) -> Polled:
        """Find out how far the oldest file is stored of which that is not known."""
        wait_s = self.settle_s if any(file.placed and file.undecided for file in self._files) else None
        blocked = False
        for file in list(self._files):
            if file.placed or (blocked and (file.named or file.generation is None)):
                continue
            polled = Polled()
            with _noted(file):
                polled = self._place(db, file, now)
            if polled.more:
                return polled
            if polled.wait_s is not None and not blocked:  # newer ones come after it, but for one that lost its name
                blocked, wait_s = True, polled.wait_s
        return Polled(wait_s=wait_s)

    def _place(self, db: apsw.Connection, file: File, now: Now) -> Polled:
        remembered = store.generations(db, self.source.name)
        intact = self._is_intact(db, file, remembered)
        info = os.fstat(file.fd)
        try:
            known = self._reconcile(db, file, remembered, intact=intact)
            whole = self._is_whole(file, info, now)
            was_read = any(row.place.offset for row in remembered)
            if was_read and not intact and not known.sure:
                if not known.hashes and not known.position.offset:
                    return Polled(wait_s=None if whole else self.settle_s / 4)
                if not whole and file.written_over:
                    return Polled(wait_s=self.settle_s / 4)
            lost = was_read and not intact and known.alike and not store.ends_with_gap(db, self.source.name)
            gap = lost and not self._is_left(db, file, remembered)
            self._adopt(db, file, known, now, gap=gap)
        except ChangedError:  # cut while it was compared
            return Polled(wait_s=self.settle_s / 4)
        file.compared, file.compared_bytes = bool(known.hashes), info.st_size
        file.inside = known.inside
        trusted = whole or not was_read or (intact and not known.sure)
        file.settled = not file.named or (trusted and not known.inside)
        polled = self._read(db, file, now) or Polled(more=True)
        return replace(polled, switched="continued" if known.sure else "new")

    def _is_intact(self, db: apsw.Connection, file: File, remembered: list[Generation]) -> bool:
        """Tell whether another file ends with the newest stored line and was at a path when this one was opened.

        Of a file that was empty when it was read first, tell whether there was such a one then.
        """
        read = [row for row in remembered if row.place.offset]
        newest = next((row for row in read if row.id == file.generation), newest_of(read))  # rather of this file itself
        if newest is None:
            return False
        others = [other for other in self._files if other is not file and other.placed and other.left > file.opened]
        if any(row.id == file.generation and not row.place.offset for row in remembered):
            return any(row.id < (file.generation or 0) for row in read)
        if any(other.generation == newest.id for other in others):
            return True
        end = store.line_hashes(db, newest.id)[-SURE_LINES:]
        return any(contains(store.line_hashes(db, other.generation), end) for other in others if other.generation)

    def _is_left(self, db: apsw.Connection, file: File, remembered: list[Generation]) -> bool:
        """Tell whether another file that is still to be placed holds lines that were read."""
        others = (other for other in self._files if other is not file and not other.placed)
        return any(self._reconcile(db, other, remembered, intact=False).sure for other in others)

    def _reconcile(self, db: apsw.Connection, file: File, remembered: list[Generation], *, intact: bool) -> Known:
        if not file.is_unchanged():
            self._lose_place(file)
        return reconcile(db, self.source, file, remembered, intact=intact)

    def _is_whole(self, file: File, info: os.stat_result, now: Now) -> bool:
        """Tell whether a file is all that it is meant to be.

        A rename changes ctime only, so another inode with mtime < ctime was renamed into place and not written to
        since (measured on ext4, tmpfs).
        """
        renamed = not file.written_over and info.st_mtime_ns < info.st_ctime_ns
        return not file.named or renamed or file.settling.is_settled(info, self.settle_s, now)

    def _adopt(self, db: apsw.Connection, file: File, known: Known, now: Now, *, gap: bool) -> None:
        """Store what is new before the last known line of a file, and where reading it goes on, in one transaction."""
        at_path = self._is_at_path(file)
        before = self._files[: self._files.index(file)]
        predecessor = before[-1] if before and before[-1].placed and not before[-1].named else None
        with durable(db), transaction(db):  # what was read of another file may be nowhere else now
            batch = store.BatchWriter(db, self.source, now)
            if predecessor is not None:
                self._rescue(batch, predecessor, predecessor.leftover(), known)
            self._rescue(batch, file, file.torn_off, known)
            here = store.current_generation(db, self.source.name)
            newest = here is None or self._is_newest(file, known, here)
            if gap:
                offset = here.place.offset if here else 0
                batch.gap("no_overlap", {"old_offset": offset, "new_size": os.fstat(file.fd).st_size})
            number = self._remember(db, file, known, "current" if newest else "rotated")
            self._store_unknown(batch, number, known)
            if here is not None and here.id != number and (newest or gap):
                store.set_state(db, here.id, "rotated")
            named = [other.generation for other in self._files if other.named and other is not file]
            store.replace_others(db, self.source.name, [*named, number] if file.named else named)
            batch.finish(number if newest else None, rearranged=at_path and known.rearranged)
        if predecessor is not None:
            predecessor.skip_leftover()
        file.generation = number
        file.torn_off = b""
        file.restart_at(known.position, known.count)
        file.placed, file.quiet = True, None

    def _is_newest(self, file: File, known: Known, here: Generation) -> bool:
        """Tell whether a file comes after the current one, or holds what was read of that one."""
        if self._is_at_path(file) or known.ends or same_file(file.fd, here.place):
            return True
        kept = [other for other in self._files if other.generation == here.id]
        return self._files.index(kept[0]) < self._files.index(file) if kept else known.of_newest

    def _rescue(self, batch: store.BatchWriter, old: File, left: bytes, known: Known) -> None:
        """Store what was read of a file and not decided, unless it is what another one goes on with."""
        if not left or read_at(known.fd, len(left), known.position.offset) == left:
            return
        whole, _, half = left.rpartition(b"\n")
        offset = old.position.offset
        if whole:
            chunk = decode_all(whole.split(b"\n"), self.source.origin, offset)
            batch.add_rows(chunk.rows, chunk.salvaged)
            batch.quarantine(old.generation, chunk.rejected)
        if half.strip():
            offset += len(left) - len(half)
            batch.quarantine(old.generation, [Quarantined(offset, len(half), "unterminated", half)])

    def _store_unknown(self, batch: store.BatchWriter, generation: int, known: Known) -> None:
        lines = known.lines[: known.count]
        if all(lines) and not known.missing:
            return
        for first, group in groups_of(self.source, known):
            if first >= known.count:
                break
            new = only(group, known.missing[first]) if first in known.missing else group
            if new is not group or not all(lines[first : first + group.count]):
                batch.add_rows(new.rows, new.salvaged)
                batch.quarantine(generation, new.rejected)

    def _remember(self, db: apsw.Connection, file: File, known: Known, state: str) -> int:
        """Write the checkpoint and the line hashes of a file; what it held before it was written over stays known."""
        position = known.position
        number = file.generation
        if number is not None and known.count < store.stored_lines(db, number):
            store.set_state(db, number, "replaced")
            number = None
        if number is None:
            place = Place(*file.identity, position.offset, anchor_hash(position.before), len(position.before))
            row = store.Generation(0, state, place, known.count, settled=False)
            number = store.add_generation(db, self.source.name, row)
        else:
            store.move_generation(db, number, position, known.count, settled=False)
            store.set_state(db, number, state)
            store.drop_line_hashes(db, number)
        hashes = known.hashes[: known.count] if known.lines else known.hashes
        store.add_line_hashes(db, number, known.count - len(hashes), hashes.tobytes())
        return number


@contextlib.contextmanager
def _noted(file: File) -> Iterator[None]:
    """Keep the OSError of a file that cannot be read; the others may be read all the same."""
    try:
        yield
    except OSError as error:
        file.error = error
    else:
        file.error = None


def _stat(path: Path) -> tuple[int, ...]:
    """Return what tells one file from another, and a change of its mode; empty for none."""
    try:
        info = path.stat()
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return ()
        if error.errno == errno.ELOOP:
            return (0, 0, error.errno)
        raise
    return info.st_dev, info.st_ino, info.st_mode, info.st_uid
