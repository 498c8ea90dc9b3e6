"""A database with a past that the files have forgotten, and ways to damage it."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import apsw
import orjson
from projection import EVERYTHING, completed, started
from world import Follower, World, doubles

from shipwrightd import database, projections
from shipwrightd.daemon.catch_up import backfill
from shipwrightd.database import open_writer, transaction
from shipwrightd.maintenance.verify import verify
from shipwrightd.recovery import open_database
from shipwrightd.recovery.rebuild import RecoveryOptions

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 8_192
ROOT = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
PAGES_OF = "SELECT pageno, pagetype FROM dbstat WHERE name = ? ORDER BY pageno"
ALL_EVENTS = "SELECT * FROM events ORDER BY id"
KEPT_TABLES = (
    "SELECT * FROM quarantine",
    "SELECT * FROM gaps",
    "SELECT * FROM cost_outcomes",
    "SELECT * FROM sessions",
    "SELECT * FROM heartbeats",
)
EARLY, KEPT = 1200, 300  # lines that were written before the trim, and left by it


class Past:
    """A world whose journal was trimmed: most of its events are in the database alone."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.path = self.world.db_path
        world = self.world
        world.append(EARLY)
        self.tell([pair for n in range(60) for pair in (started(n * 10, n), completed(n * 10 + 5, n))])
        with world.events.open("ab") as file:
            file.write(b"not a record\n")
        self.costs = [
            {"input_tokens": n, "model": "opus", "cost_usd": 0.25, "ts_epoch": 1_767_600_000 + n} for n in range(400)
        ]
        self.document("costs.json", {"entries": self.costs[:350]})
        self.document(
            "heartbeats/job-1.json", {"pid": 1, "issue": 7, "stage": "build", "updated_at": "2026-01-05T08:00:00Z"}
        )
        follower = Follower(world)
        follower.settle()
        world.trim(KEPT)
        follower.settle()
        world.append(50)
        self.document("costs.json", {"entries": self.costs[200:]})
        follower.settle()
        follower.close()
        self.events: list[Any] = self.rows(ALL_EVENTS)
        self.others = [self.rows(sql) for sql in KEPT_TABLES]
        self.projections = [self.rows(sql) for sql in EVERYTHING]

    def tell(self, events: list[dict[str, Any]]) -> None:
        """Append events to the journal."""
        with self.world.events.open("ab") as file:
            file.write(b"".join(orjson.dumps(event) + b"\n" for event in events))

    def document(self, name: str, value: object) -> None:
        """Put a document in its place."""
        path = self.world.home / name
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_bytes(orjson.dumps(value))
        temporary.rename(path)

    def copy_to(self, folder: Path) -> Past:
        """Return the same past at another place."""
        shutil.copytree(self.world.home.parent, folder)
        made = object.__new__(Past)
        made.world = object.__new__(World)
        made.world.__dict__ |= self.world.__dict__
        made.world.home = folder / "home"
        made.world.events = made.world.home / "events.jsonl"
        made.world.db_path = folder / "db" / "shipwright.db"
        made.path = made.world.db_path
        made.costs, made.events = self.costs, self.events
        made.others, made.projections = self.others, self.projections
        return made

    def rows(self, sql: str) -> list[Any]:
        """Ask the database."""
        with closing(database.open_reader(self.path)) as db:
            return list(db.execute(sql))

    def pages(self, name: str, kind: str = "leaf") -> list[int]:
        """Return the numbers of the pages of a table or index."""
        with closing(apsw.Connection(str(self.path))) as db:
            return [number for number, found in db.execute(PAGES_OF, (name,)) if found == kind]

    def write(self, page: int, content: bytes, at: int = 0) -> None:
        """Write over a page, from a byte of it on."""
        with self.path.open("r+b") as file:
            file.seek((page - 1) * PAGE + at)
            file.write(content)

    def heal(self, *, met: str | None = None) -> dict[str, Any]:
        """Run a backfill, and return what it recorded of a recovery, an empty dict for none.

        With `met` heal first, as the daemon does when it meets damage that no check finds.
        """
        if met:
            db, lock = open_database(self.path, self.world.home, options=RecoveryOptions(damage=met))
            db.close()
            lock.release()
        backfill(self.world.home, self.path)
        with closing(database.open_reader(self.path)) as db:
            cursor = db.execute("SELECT * FROM recoveries ORDER BY id DESC LIMIT 1")
            row = cursor.fetchone()
            return (
                dict(
                    zip(
                        (name for name, *_ in db.execute("SELECT name FROM pragma_table_info('recoveries')")),
                        row,
                        strict=True,
                    )
                )
                if row
                else {}
            )

    def set_aside(self) -> list[Path]:
        """Return the damaged files that were set aside."""
        return sorted(
            p for p in self.path.parent.glob("shipwright.db.corrupt-*") if p.name[-4:] not in {"-wal", "-shm"}
        )

    # -- what must hold afterwards

    def assert_whole(self, lost: range = range(0)) -> None:
        """Every event but those of the lost ids is there once: under its id, or behind all others if it was put back.

        Everything else is as it is derived again, and while nothing is lost as it was.
        """
        wanted = [row for row in self.events if row[0] not in lost]
        found = self.rows(ALL_EVENTS)
        kept = [row for row in found if row[0] <= self.events[-1][0]]
        assert set(kept) <= set(wanted)
        assert Counter(row[1:] for row in found) == Counter(row[1:] for row in wanted)
        ((refilled,),) = self.rows("SELECT coalesce(sum(refilled), 0) FROM recoveries")
        assert len(found) - len(kept) == refilled
        if not lost:
            assert [self.rows(sql) for sql in EVERYTHING] == self.projections
        self.assert_consistent()

    def assert_consistent(self) -> None:
        """Assert that nothing is stored twice, the files agree, and the projections equal a rebuild."""
        assert doubles(self.world.stored()) == []
        assert [d.text for d in verify(self.world.home, self.path)] == []
        before = [self.rows(sql) for sql in EVERYTHING]
        with closing(open_writer(self.path)) as db:
            assert db.execute("PRAGMA integrity_check").get == "ok"
            with transaction(db):
                projections.rebuild(db)
        assert [self.rows(sql) for sql in EVERYTHING] == before
        assert not list(self.path.parent.glob("*.heal*"))


def garbage(size: int, seed: int = 1) -> bytes:
    """Return bytes that mean nothing."""
    return random.Random(seed).randbytes(size)
