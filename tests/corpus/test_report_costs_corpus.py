"""Money of real files: every figure is what a plain program adds up from the file, and nothing is counted twice."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from reports import DAY, question

from shipwrightd.database import transaction
from shipwrightd.documents.store import ingest_document
from shipwrightd.reports.costs import collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from projection import Books, Event

    from shipwrightd.reports.costs import Costs, Line

BATCH_LINES = 5_000
PERIODS = [None, 30, 7, 3.37, 1, 0.5]  # days; those that are not whole cut days in two


def records(path: Path) -> Iterator[Event]:
    """Return what a lenient JSON parser reads, numbers like 007 included."""
    raw = path.read_bytes()
    for line in (gzip.decompress(raw) if path.suffix == ".gz" else raw).split(b"\n"):
        try:
            yield json.loads(re.sub(r":0+(?=[0-9])", ":", line.decode("utf-8", "replace")), strict=False)
        except ValueError:
            continue


def feed(books: Books, path: Path) -> None:
    raw = path.read_bytes()
    lines = (gzip.decompress(raw) if path.suffix == ".gz" else raw).split(b"\n")
    for at in range(0, len(lines), BATCH_LINES):
        books.lines(lines[at : at + BATCH_LINES])


def take_costs(books: Books, raw: bytes) -> None:
    with transaction(books.db):
        ingest_document(books.db, "costs.json", raw, now="2026-02-01T00:00:00Z")


def added_up(entries: list[Event], key: Callable[[Event], Any]) -> dict[Any, tuple[float, int]]:
    """Return dollars, to a ten-thousandth, and the number of entries for each key."""
    found: dict[Any, tuple[float, int]] = {}
    for entry in entries:
        cost, number = found.get(key(entry), (0.0, 0))
        found[key(entry)] = (cost + float(entry["cost_usd"]), number + 1)
    return {name: (round(cost, 4), number) for name, (cost, number) in found.items()}


def told(lines: list[Line]) -> dict[Any, tuple[float, int]]:
    return {line.name: (round(line.cost_usd, 4), line.entries) for line in lines if line.entries}


def issue_of(entry: Event) -> int | str | None:
    text = str(entry.get("issue") or "")
    return (int(text) or None) if text.isdecimal() else text or None


def day_of(entry: Event) -> str:
    return dt.datetime.fromtimestamp(entry["ts_epoch"], dt.UTC).strftime("%Y-%m-%d")


def compare(found: Costs, entries: list[Event]) -> None:
    assert found.total.entries == len(entries)
    assert found.total.cost_usd == pytest.approx(sum(float(entry["cost_usd"]) for entry in entries), abs=1e-6)
    assert found.total.input_tokens == sum(int(entry["input_tokens"]) for entry in entries)
    assert found.total.output_tokens == sum(int(entry["output_tokens"]) for entry in entries)
    assert told(found.by_model) == added_up(entries, lambda entry: entry["model"] or None)
    assert told(found.by_stage) == added_up(entries, lambda entry: entry["stage"] or None)
    assert told(found.by_day) == added_up(entries, day_of)


def inside(entries: list[Event], now: int, days: float | None) -> list[Event]:
    since = 0 if days is None else now - round(days * DAY)
    return [entry for entry in entries if since <= entry["ts_epoch"] <= now]


@pytest.mark.parametrize("days", PERIODS)
def test_small_costs_what_costs_json_adds_up_to(books: Books, fixtures_dir: Path, days: float | None) -> None:
    home = fixtures_dir / "small" / "dot-shipwright"
    if not home.is_dir():
        pytest.skip("no set `small`")
    raw = (home / "costs.json").read_bytes()
    take_costs(books, raw)
    feed(books, home / "events.jsonl")
    now = max(record["ts_epoch"] for record in records(home / "events.jsonl"))

    entries = inside(json.loads(raw)["entries"], now, days)
    found = collect(books.db, question(now, days=days, limit=1_000))
    compare(found, entries)
    assert told(found.by_issue) == added_up(entries, issue_of)


def test_small_costs_the_sum_that_came_with_it(books: Books, fixtures_dir: Path) -> None:
    home = fixtures_dir / "small" / "dot-shipwright"
    if not home.is_dir():
        pytest.skip("no set `small`")
    truth = json.loads((fixtures_dir / "small" / "truth.json").read_bytes())["costs_json"]
    take_costs(books, (home / "costs.json").read_bytes())
    feed(books, home / "events.jsonl")

    total = collect(books.db, question(1 << 33, days=None)).total
    assert (round(total.cost_usd, 4), total.entries) == (truth["sum_usd"], truth["entries"])


def test_large_costs_each_record_once(books: Books, fixtures_dir: Path) -> None:
    path = fixtures_dir / "large" / "events.jsonl.gz"
    if not path.exists():
        pytest.skip("no set `large`")
    feed(books, path)
    costs = [record for record in records(path) if record.get("type") == "cost.record"]
    now = max(record["ts_epoch"] for record in costs) + 300

    for days in PERIODS:
        compare(collect(books.db, question(now, days=days)), inside(costs, now, days))
    for model in {record["model"] for record in costs}:
        chosen = [record for record in inside(costs, now, 3.37) if record["model"] == model]
        compare(collect(books.db, question(now, days=3.37, model=model)), chosen)
