"""What the versions of a journal amount to: each record as often as it stands in the one version that holds it most."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.database.connection import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterable

# All of a row but its id and how it was read
RECORDS = """
SELECT id, ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, extra
FROM events WHERE origin = 'events.jsonl' AND id > ? ORDER BY id"""
PIECES = "SELECT id, raw FROM quarantine WHERE source = 'events.jsonl' AND state = 'kept' AND id > ? ORDER BY id"
DIGEST_BYTES = 12


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
