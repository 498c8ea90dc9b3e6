"""What the versions of a journal amount to: each record as often as it stands in the one version that holds it most."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from world import Follower

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.database import open_reader
from shipwrightd.maintenance.verify import verify

if TYPE_CHECKING:
    from collections.abc import Iterable

    from world import World

# All of a row but its id and how it was read
RECORDS = """
SELECT id, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, extra
FROM events WHERE origin = 'events.jsonl' AND id > ? ORDER BY id"""
PIECES = "SELECT id, raw FROM quarantine WHERE source = 'events.jsonl' AND state = 'kept' AND id > ? ORDER BY id"
DIGEST_BYTES = 12
EPOCH = 1_767_600_000


def digest(row: tuple[object, ...]) -> bytes:
    """Return what stands for a row's content."""
    return blake2b(repr(row).encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).digest()


@dataclass(slots=True)
class Contents:
    """How often each record and each quarantined piece occurs, by digest."""

    records: Counter[bytes] = field(default_factory=Counter)
    pieces: Counter[bytes] = field(default_factory=Counter)

    def raise_to(self, other: Contents) -> None:
        """Take another's counts where they are larger."""
        for mine, theirs in ((self.records, other.records), (self.pieces, other.pieces)):
            for key, count in theirs.items():
                mine[key] = max(mine[key], count)


class Stored:
    """What a database holds, read a part at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = {RECORDS: 0, PIECES: 0}
        self.all = Contents()

    def read(self) -> Contents:
        """Return what was stored since the last call."""
        new = Contents()
        with closing(open_reader(self._path)) as db:
            for sql, counts, total in (
                (RECORDS, new.records, self.all.records),
                (PIECES, new.pieces, self.all.pieces),
            ):
                for key, *content in db.execute(sql, (self._last[sql],)):
                    counts[digest(tuple(content))] += 1
                    self._last[sql] = key
                total.update(counts)
        return new


def read_alone(version: bytes) -> Contents:
    """Return what one version of the journal holds, read into a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        (home / "events.jsonl").write_bytes(version)
        path = Path(folder) / "db" / "shipwright.db"
        backfill(home, path)
        return Stored(path).read()


def wanted_of(versions: Iterable[bytes]) -> Contents:
    """Return what the database must hold after all these versions."""
    wanted = Contents()
    for version in versions:
        wanted.raise_to(read_alone(version))
    return wanted


def surplus(left: Counter[bytes], right: Counter[bytes]) -> int:
    """Return how many `left` has more than `right`, key by key."""
    return sum(count - right[key] for key, count in left.items() if count > right[key])


class Rearranged:
    """A journal whose versions replace each other; each is read before the next one comes.

    `live`: one follower reads them all. Otherwise each is read by one that starts and ends, as `backfill` does.
    Each record of a version names its `seq`; equal records have the same one.
    """

    def __init__(self, world: World, *, live: bool) -> None:
        self.world = world
        self.live = live
        self.versions: list[list[bytes]] = []
        self._follower: Follower | None = None

    def put(self, records: list[bytes]) -> None:
        """Put a version in place by rename and see that it is read."""
        self.versions.append(records)
        self.world.replace(b"".join(records))
        self.read()

    def read(self) -> None:
        """Read what is there."""
        follower = self._follower or Follower(self.world)
        follower.settle()
        if self.live:
            self._follower = follower
        else:
            follower.close()

    def close(self) -> None:
        """End."""
        if self._follower is not None:
            self._follower.close()

    def largest(self) -> Counter[int]:
        """Return how often each sequence number occurs in the one version that holds it most."""
        largest: Counter[int] = Counter()
        for records in self.versions:
            largest |= Counter(seq_in(record) for record in records)
        return largest

    def check(self, *, gaps: int = 0) -> None:
        """Assert that each record is stored as often as wanted, unchanged, and that nothing else is reported."""
        wanted, stored = self.largest(), Counter(self.world.stored())
        lost, doubled = wanted - stored, stored - wanted
        assert (lost.total(), doubled.total()) == (0, 0), f"lost {sorted(lost)[:9]}, doubled {sorted(doubled)[:9]}"
        alone = wanted_of(b"".join(records) for records in self.versions)
        assert Stored(self.world.db_path).read() == alone, "records as each version alone gives them"
        assert self.world.query("SELECT count(*) FROM gaps") == [(gaps,)]
        assert [difference.text for difference in verify(self.world.home, self.world.db_path)] == []


def seq_in(record: bytes) -> int:
    """Return the sequence number in a record, of one line or several."""
    return int(record.partition(b'"seq":')[2].partition(b",")[0].rstrip(b"}\n"))


def model_record(seq: int) -> bytes:
    """Return an event whose value is pretty-printed JSON with bare newlines, as v1.x writes `intelligence.model`."""
    ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(EPOCH + seq))
    value = '{\n  \\"model\\": \\"haiku\\",\n  \\"reason\\": \\"budget constrained\\",\n  \\"complexity\\": 5\n}'
    head = f'{{"ts":"{ts}","ts_epoch":{EPOCH + seq},"type":"intelligence.model","seq":{seq},"stage":"plan"'
    return f'{head},"recommended":"{value}"}}\n'.encode()
