"""A database with its projections, to which tests add events and cost entries as they would arrive."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipwrightd.database import open_writer, transaction
from shipwrightd.decoding.events import JOURNAL, TEAM, decode_lines
from shipwrightd.journals.store import add_events, last_event_id
from shipwrightd.projections import project, rebuild
from shipwrightd.projections.costs import add_entries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

Event = dict[str, Any]
NOON = 1_767_614_400  # 2026-01-05T12:00:00Z, a Monday

ADD_ENTRY = """
INSERT INTO cost_entries (input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'costs.json')"""
EVERYTHING = (
    "SELECT * FROM pipeline_runs ORDER BY id",
    "SELECT * FROM pipeline_stages ORDER BY id",
    "SELECT * FROM metrics ORDER BY name, period, period_start, dimension",
    "SELECT * FROM run_outcomes ORDER BY ended_epoch, run_id",
    "SELECT * FROM projection_state",
    """SELECT input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, origin, event_id
    FROM cost_entries WHERE origin = 'costs.json' ORDER BY id""",
    """SELECT input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, origin, event_id
    FROM cost_entries WHERE origin = 'events.jsonl' ORDER BY event_id""",
)


class Books:
    """A database that stores events and entries, each call in one transaction."""

    def __init__(self, path: Path) -> None:
        self.db = open_writer(path)

    def events(self, *events: Event) -> None:
        """Store events as one batch."""
        self.lines([json.dumps(event).encode() for event in events])

    def lines(self, lines: Sequence[bytes], *, team: bool = False) -> None:
        """Store lines of a journal as one batch."""
        rows = decode_lines(lines, origin=TEAM if team else JOURNAL, final=True).rows
        with transaction(self.db):
            before = last_event_id(self.db)
            add_events(self.db, rows)
            if rows:
                project(self.db, before + 1, last_event_id(self.db))

    def one_by_one(self, *events: Event) -> None:
        """Store events, each a batch of its own."""
        for event in events:
            self.events(event)

    def entries(self, *entries: Event) -> None:
        """Store entries of costs.json."""
        keys = ("input_tokens", "output_tokens", "model", "stage", "issue", "cost_usd", "ts", "ts_epoch")
        with transaction(self.db):
            self.db.executemany(ADD_ENTRY, [[entry.get(key) for key in keys] for entry in entries])
            last: int = self.db.last_insert_rowid()
            add_entries(self.db, last - len(entries) + 1, last)

    def clear(self) -> None:
        """Delete all events and entries."""
        with transaction(self.db):
            self.db.execute("DELETE FROM events; DELETE FROM cost_entries")
            rebuild(self.db)

    def rebuild(self) -> None:
        """Derive all projections again."""
        with transaction(self.db):
            rebuild(self.db)

    def everything(self) -> list[list[Any]]:
        """Return all projections, row for row."""
        return [self.db.execute(query).fetchall() for query in EVERYTHING]

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return the rows of a query; single values where it has one column."""
        found = self.db.execute(query, values).fetchall()
        return [row[0] if len(row) == 1 else row for row in found]

    def statuses(self) -> list[str]:
        """Return the status of each run, in order."""
        return self.rows("SELECT status FROM pipeline_runs ORDER BY id")

    def stages(self) -> list[tuple[str, int, str]]:
        """Return stage, attempt and status of each attempt, in order."""
        return self.rows("SELECT stage, attempt, status FROM pipeline_stages ORDER BY id")

    def metric(self, name: str, start: str = "2026-01-05", dimension: str = "", period: str = "day") -> Any:
        """Return the value of a metric, None if there is no row."""
        query = """SELECT value FROM metrics
            WHERE name = ? AND period = ? AND period_start = ? AND dimension = ?"""
        found = self.rows(query, name, period, start, dimension)
        return found[0] if found else None


def event(kind: str, second: int, issue: object = 7, **fields: object) -> Event:
    """Return an event with fields of its own, at a second after noon."""
    made = {"ts": "2026-01-05T12:00:00Z", "ts_epoch": NOON + second, "type": kind, "issue": issue, **fields}
    return {key: value for key, value in made.items() if value is not None}


def published(kind: str, second: int, **payload: object) -> Event:
    """Return an event whose fields are JSON in a string, as the second of each pair is."""
    text = json.dumps(payload, separators=(",", ":"))
    return event(kind, second, issue=None, event_id=f"evt-{NOON + second}-1", payload=text)


def started(second: int, issue: object = 7, template: str = "fast", **fields: Any) -> Event:
    """Return a pipeline.started."""
    named = {"template": template, "pipeline": template, "model": "opus", "goal": "go", "machine": "m1"}
    return event("pipeline.started", second, issue, **{**named, **fields})


def doubled(second: int, issue: object = 7, template: str = "fast") -> Event:
    """Return the second pipeline.started of a run."""
    return published("pipeline.started", second, issue=str(issue), pipeline=template, goal="go")


def completed(second: int, issue: object = 7, result: str = "success", **fields: Any) -> Event:
    """Return a pipeline.completed."""
    named = {
        "duration_s": 60,
        "template": "fast",
        "input_tokens": 100,
        "output_tokens": 10,
        "total_cost": 0.5,
    }
    return event("pipeline.completed", second, issue, result=result, **{**named, **fields})


def reaped(second: int, issue: object = 7, result: str = "success", duration_s: int = 100) -> Event:
    """Return a daemon.reap."""
    return event("daemon.reap", second, issue, result=result, duration_s=duration_s)


def stage(second: int, name: str, outcome: str = "completed", issue: object = 7, **fields: object) -> Event:
    """Return a stage event with fields of its own."""
    return event(f"stage.{outcome}", second, issue, stage=name, **fields)


def told(second: int, name: str, outcome: str = "complete", issue: object = 7, timing: str = "5s") -> Event:
    """Return a stage event with a payload."""
    return published(f"stage.{outcome}", second, stage=name, issue=str(issue), timing=timing)


def spent(second: int, cost_usd: object = 0.25, name: str = "build", **fields: object) -> Event:
    """Return a cost.record; it has no issue."""
    named = {"input_tokens": 100, "output_tokens": 10, "model": "opus", "stage": name, "cost_usd": cost_usd}
    return event("cost.record", second, None, **{**named, **fields})


def entry(second: int, cost_usd: float = 0.25, name: str = "build", **fields: object) -> Event:
    """Return an entry of costs.json."""
    return {**spent(second, cost_usd, name), "issue": 7, **fields}


def cuts(total: int, sizes: Sequence[int]) -> Iterator[slice]:
    """Cut a sequence into batches of these sizes, and the rest as the last."""
    at = 0
    for size in sizes:
        if at >= total:
            return
        yield slice(at, at + size)
        at += size
    if at < total:
        yield slice(at, total)
