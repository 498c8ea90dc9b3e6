"""Documents as Shipwright writes them, what is stored of them, and one look at one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from shipwrightd.database import transaction
from shipwrightd.documents.store import Outcome, ingest_document

if TYPE_CHECKING:
    from typing import Any

    import apsw

NOW = "2026-01-14T17:02:00Z"
MEMORY = "SELECT pattern, frequency, seen_count, present FROM memory_entries ORDER BY id"
FAILURES = "memory/0123456789ab/failures.json"
PATTERNS = "memory/0123456789ab/patterns.json"


def take(db: apsw.Connection, path: str, value: object) -> Outcome:
    """Ingest a document, given as a value, as bytes, or as None for a file that is gone."""
    raw = value if isinstance(value, bytes) or value is None else orjson.dumps(value)
    with transaction(db):
        return ingest_document(db, path, raw, now=NOW)


def known_documents(db: apsw.Connection) -> list[str]:
    """Return the paths of the documents that existed when they were last read."""
    query = "SELECT source FROM checkpoints WHERE kind = 'document' AND digest IS NOT NULL ORDER BY source"
    return [path for (path,) in db.execute(query)]


def cost(number: int, **fields: object) -> dict[str, object]:
    epoch = 1_767_600_000 + number
    entry: dict[str, object] = {"input_tokens": number, "output_tokens": 1, "model": "opus", "stage": "build"}
    return entry | {"issue": "42", "cost_usd": 0.25, "ts": "2026-01-05T08:00:00Z", "ts_epoch": epoch} | fields


def costs(*numbers: int) -> dict[str, object]:
    return {"entries": [cost(number) for number in numbers], "summary": {}}


def stored_costs(db: apsw.Connection) -> list[int]:
    return [number for (number,) in db.execute("SELECT input_tokens FROM cost_entries ORDER BY id")]


def failure(pattern: str, count: int, second: int, **fields: object) -> dict[str, object]:
    entry: dict[str, object] = {
        "stage": "test",
        "pattern": pattern,
        "root_cause": "",
        "fix": "",
        "seen_count": count,
    }
    return entry | {"last_seen": f"2026-01-14T16:00:{second:02}Z"} | fields


def failures(*entries: dict[str, object]) -> dict[str, object]:
    return {"failures": list(entries)}


def memory(db: apsw.Connection) -> dict[str, tuple[Any, ...]]:
    """Return frequency, seen_count and present by pattern."""
    rows: list[Any] = db.execute(MEMORY).fetchall()
    return {pattern: tuple(rest) for pattern, *rest in rows}


def quarantine(db: apsw.Connection) -> list[tuple[Any, ...]]:
    return db.execute("SELECT source, reason, raw FROM quarantine ORDER BY id").fetchall()


def gaps(db: apsw.Connection) -> int:
    found: int = db.execute("SELECT count(*) FROM gaps").get
    return found


def checkpoint(db: apsw.Connection, path: str) -> tuple[Any, ...] | None:
    return db.execute(
        "SELECT records, quarantined, gaps, newest_epoch FROM checkpoints WHERE source = ?", (path,)
    ).fetchone()
