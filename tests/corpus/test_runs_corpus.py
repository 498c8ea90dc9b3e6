"""Runs, stages and money of real journals, against what a person or a plain program reads out of them."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from shipwrightd.database import transaction
from shipwrightd.documents.store import ingest_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from projection import Books, Event

NOW = "2026-02-01T00:00:00Z"
BATCH_LINES = 5_000

# Of the journal that the next two tables were read from.
SMALL_SHA256 = "fc41860b0883acc82406edd58a969a983ba603e6f37cc3eceaa36079c9f964c9"

# What a person reads in it: the line of the start, issue, status, start, seconds, cost, where it failed.
# 45 fails its tests three times and says no more; 47 fails once and is tried again; 52 and 54 begin with a
# failure whose start was never written; 52 then stops for the budget and reports success; 55 just began.
SMALL_RUNS = [
    (29, 42, "success", "2026-01-05T09:00:33Z", 801, 0.1719, None),
    (53, 43, "success", "2026-01-05T09:00:58Z", 808, 0.1821, None),
    (344, 44, "success", "2026-01-06T10:01:34Z", 433, 0.2227, None),
    (408, 45, "failed", "2026-01-06T14:01:11Z", 919, None, "test"),
    (477, 46, "success", "2026-01-07T09:32:00Z", 1251, 5.3853, None),
    (603, 47, "failed", "2026-01-08T09:01:21Z", 230, None, "plan"),
    (617, 48, "success", "2026-01-08T09:02:48Z", 1079, 0.1854, None),
    (695, 47, "success", "2026-01-08T09:08:17Z", 163, 0.8776, None),
    (870, 45, "success", "2026-01-09T10:01:26Z", 499, 0.2019, None),
    (928, None, "success", "2026-01-09T15:01:20Z", 442, 0.1472, None),
    (1021, 50, "success", "2026-01-12T09:01:07Z", 1099, 0.1691, None),
    (1036, 49, "success", "2026-01-12T09:02:02Z", 1127, 0.1902, None),
    (1368, 52, "failed", "2026-01-13T09:29:50Z", 1810, 2.0101, "test"),
    (1385, 52, "success", "2026-01-13T13:00:59Z", 40, 0.0, None),
    (1418, 53, "success", "2026-01-14T09:01:22Z", 655, 0.1811, None),
    (1474, 54, "failed", "2026-01-14T15:50:00Z", 600, 0.0, "intake"),
    (1475, 54, "success", "2026-01-14T16:20:00Z", 1200, 0.954, None),
    (1482, 55, "running", "2026-01-14T16:43:00Z", None, None, None),
]
FULL = "intake plan design build test review pr merge"
FAST = "intake build test pr"
SMALL_STAGES = {
    29: FULL,
    53: FULL,
    344: FAST,
    408: "intake build test! build test! build test!",
    477: FULL,
    603: "intake plan!",
    617: "intake build test review pr merge",
    695: FAST,
    870: FAST,
    928: FAST,
    1021: "intake plan design build test pr merge",
    1036: FULL,
    1368: "test! review! build! build!",
    1418: FAST,
    1475: "intake",
    1482: "build?",
}
MARK = {"success": "", "failed": "!", "running": "?", "skipped": "-"}


def lines_of(path: Path) -> list[bytes]:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).split(b"\n")


def feed(books: Books, lines: list[bytes]) -> None:
    for at in range(0, len(lines), BATCH_LINES):
        books.lines(lines[at : at + BATCH_LINES])


def take_costs(books: Books, raw: bytes) -> None:
    with transaction(books.db):
        ingest_document(books.db, "costs.json", raw, now=NOW)


def money(books: Books) -> tuple[int, float, int]:
    """Return the number of entries, their sum, and how many of them were taken from events."""
    query = "SELECT count(*), round(sum(cost_usd), 4), sum(origin = 'events.jsonl') FROM cost_entries"
    found: tuple[int, float, int] = books.rows(query)[0]
    return found


# -- an independent reading of the same lines


def records(lines: list[bytes]) -> Iterator[Event]:
    """Return what a lenient JSON parser reads, numbers like 007 included."""
    for line in lines:
        try:
            yield json.loads(re.sub(r":0+(?=[0-9])", ":", line.decode("utf-8", "replace")), strict=False)
        except ValueError:
            continue


def plain(record: Event) -> tuple[str, int, str | None, bool] | None:
    """Return type, issue, stage, and whether all that stood in a payload."""
    kind, payload = record.get("type"), record.get("payload")
    if not isinstance(kind, str) or not kind.startswith(("pipeline.", "stage.", "daemon.reap")):
        return None
    if payload is None:
        return kind, int(record.get("issue") or 0), record.get("stage"), False
    found = dict(re.findall(r'"(issue|stage)":"([^"]*)"', payload))
    return kind, int(found["issue"]), found.get("stage"), True


def read_plainly(lines: list[bytes]) -> list[dict[str, Any]]:
    """Read runs as a person would: one after the other for each issue."""
    runs: list[dict[str, Any]] = []
    newest: dict[int, dict[str, Any]] = {}

    def begin(issue: int) -> dict[str, Any]:
        if issue in newest:
            newest[issue]["followed"] = True
        newest[issue] = {"issue": issue or None, "end": None, "reap": None, "stages": [], "followed": False}
        runs.append(newest[issue])
        return newest[issue]

    for record in records(lines):
        seen = plain(record)
        if seen is None:
            continue
        kind, issue, stage, told = seen
        run = newest.get(issue)
        if kind == "pipeline.started" and not told:
            begin(issue)
        elif kind == "pipeline.completed":
            run = begin(issue) if run is None or run["end"] or run["reap"] else run
            run["end"] = record["result"]
        elif kind == "daemon.reap":
            run = begin(issue) if run is None or run["reap"] else run
            run["reap"] = record["result"]
        elif kind.startswith("stage."):
            run = begin(issue) if run is None else run
            note_stage(run["stages"], stage or "", kind.removeprefix("stage."), told=told)
    return runs


def note_stage(stages: list[list[Any]], stage: str, word: str, *, told: bool) -> None:
    """Add to the attempts of a run: [stage, status, was only told in a payload so far]."""
    words = {"started": "running", "complete": "success", "completed": "success"}
    status = words.get(word, word)
    last = next((one for one in reversed(stages) if one[0] == stage), None)
    if last is not None and last[1] == "running" and status != "running":
        last[1:] = [status, told]
    elif last is not None and last[2] and not told and last[1] == status:
        last[2] = False
    else:
        stages.append([stage, status, told])


def status_of(run: dict[str, Any], last_stage: str | None) -> str:
    said = run["end"] or run["reap"]
    if said:
        return "success" if said == "success" else "failed"
    if last_stage == "failed":
        return "failed"
    return "abandoned" if run["followed"] else "running"


def expected(lines: list[bytes]) -> list[tuple[Any, ...]]:
    """Return issue, status and attempts of each run, as read plainly."""
    made = []
    for run in read_plainly(lines):
        stages = tuple((stage, status) for stage, status, _ in run["stages"])
        made.append((run["issue"], status_of(run, stages[-1][1] if stages else None), stages))
    return made


def found(books: Books) -> list[tuple[Any, ...]]:
    attempts: dict[int, list[tuple[str, str]]] = {}
    for run, stage, status in books.rows("SELECT run_id, stage, status FROM pipeline_stages ORDER BY id"):
        attempts.setdefault(run, []).append((stage, status))
    runs = books.rows("SELECT id, issue, status FROM pipeline_runs ORDER BY id")
    return [(issue, status, tuple(attempts.get(id_, ()))) for id_, issue, status in runs]


# -- small


def test_small_is_what_a_person_reads(books: Books, fixtures_dir: Path) -> None:
    home = fixtures_dir / "small" / "dot-shipwright"
    journal = home / "events.jsonl"
    if not journal.exists() or hashlib.sha256(journal.read_bytes()).hexdigest() != SMALL_SHA256:
        pytest.skip("the tables were read from another journal")
    take_costs(books, (home / "costs.json").read_bytes())
    feed(books, lines_of(journal))

    runs = """SELECT id, issue, status, started_at, duration_s, cost_usd, failed_stage
        FROM pipeline_runs ORDER BY id"""
    assert books.rows(runs) == SMALL_RUNS
    stages: dict[int, list[str]] = {}
    for run, stage, status in books.rows("SELECT run_id, stage, status FROM pipeline_stages ORDER BY id"):
        stages.setdefault(run, []).append(stage + MARK[status])
    assert {run: " ".join(names) for run, names in stages.items()} == SMALL_STAGES
    assert money(books) == (27, 87.6607, 0)


def test_small_costs_the_same_without_costs_json(books: Books, fixtures_dir: Path) -> None:
    home = fixtures_dir / "small" / "dot-shipwright"
    if not home.is_dir():
        pytest.skip("no set `small`")
    truth = json.loads((fixtures_dir / "small" / "truth.json").read_bytes())["costs_json"]
    total, usd = truth["entries"], truth["sum_usd"]
    costs = (home / "costs.json").read_bytes()
    told = {
        entry["issue"]
        for entry in json.loads(costs)["entries"]
        if entry["stage"] == "pipeline" and entry["input_tokens"]
    }

    feed(books, lines_of(home / "events.jsonl"))
    assert money(books) == (total, usd, total)
    linked = books.rows("""
        SELECT DISTINCT issue FROM cost_entries
        WHERE stage = 'pipeline' AND issue IS NOT NULL""")
    assert {str(issue) for issue in linked} == set(told) - {"", "52"}, "52 used no tokens, so nothing links it"

    take_costs(books, costs)
    assert money(books) == (total, usd, 0)


# -- all of them


@pytest.mark.parametrize(
    "name",
    ["small/dot-shipwright/events.jsonl", "large/events.jsonl.gz", "malformed/v1.10.0-run.events.jsonl"],
)
def test_runs_and_stages_are_those_of_a_plain_reading(books: Books, fixtures_dir: Path, name: str) -> None:
    path = fixtures_dir / name
    if not path.exists():
        pytest.skip(f"no {name}")
    lines = lines_of(path)
    feed(books, lines)
    last = max(record["ts_epoch"] for record in records(lines) if isinstance(record.get("ts_epoch"), int))

    silent = {  # the plain reading knows no time
        issue: "running"
        for issue, epoch in books.rows("SELECT issue, last_epoch FROM pipeline_runs WHERE aged")
        if epoch < last - 86_400
    }
    seen = [
        (issue, silent.get(issue, status) if status == "abandoned" else status, stages)
        for issue, status, stages in found(books)
    ]
    assert seen == expected(lines)


def test_large_has_the_money_and_the_figures_of_its_events(books: Books, fixtures_dir: Path) -> None:
    path = fixtures_dir / "large" / "events.jsonl.gz"
    if not path.exists():
        pytest.skip("no set `large`")
    lines = lines_of(path)
    feed(books, lines)
    costs = [record for record in records(lines) if record.get("type") == "cost.record"]

    total = round(sum(record["cost_usd"] for record in costs), 4)
    assert money(books) == (len(costs), total, len(costs))
    days: Counter[str] = Counter()
    for record in costs:
        days[record["ts"][:10]] += round(record["cost_usd"] * 1_000_000)
    query = "SELECT period_start, total FROM metrics WHERE name = ? AND period = 'day' AND dimension = ''"
    assert dict(books.rows(query, "cost_usd")) == days
    ends: Counter[str] = Counter()
    for status, ended_at in books.rows("SELECT status, ended_at FROM pipeline_runs"):
        ends[ended_at[:10]] += status == "success"
    assert dict(books.rows(query, "deploys")) == {day: number for day, number in ends.items() if number}


# -- costs beyond their cap


@pytest.mark.parametrize("order", ["events first", "snapshots first", "in turns"])
def test_costs_beyond_their_cap_are_counted_once(books: Books, fixtures_dir: Path, order: str) -> None:
    folder = fixtures_dir / "overflow" / "costs"
    if not folder.is_dir():
        pytest.skip("no set `overflow`")
    events = [line for line in lines_of(folder / "events.jsonl.gz") if line]
    snapshots = sorted(folder.glob("*.costs.json.gz"))
    if order == "events first":
        feed(books, events)
    for at, snapshot in enumerate(snapshots):
        take_costs(books, gzip.decompress(snapshot.read_bytes()))
        if order == "in turns":
            feed(books, events[at * 50 : at * 50 + 50])
    if order == "snapshots first":
        feed(books, events)

    truth = json.loads((fixtures_dir / "overflow" / "truth.json").read_bytes())
    assert money(books) == (truth["cost_entries"], truth["sum_usd"], 0)
    assert books.rows("SELECT count(DISTINCT event_id) FROM cost_entries") == [truth["cost_entries"]]


@pytest.mark.parametrize("first", ["events", "costs"])
def test_costs_that_fell_off_before_they_were_seen_come_from_the_events(
    books: Books, fixtures_dir: Path, first: str
) -> None:
    folder = fixtures_dir / "overflow" / "costs"
    if not folder.is_dir():
        pytest.skip("no set `overflow`")
    truth = json.loads((fixtures_dir / "overflow" / "truth.json").read_bytes())
    last = gzip.decompress(max(folder.glob("*.costs.json.gz")).read_bytes())
    kept = len(json.loads(last)["entries"])
    if first == "costs":
        take_costs(books, last)
    feed(books, lines_of(folder / "events.jsonl.gz"))
    if first == "events":
        take_costs(books, last)

    assert money(books) == (truth["cost_entries"], truth["sum_usd"], truth["cost_entries"] - kept)
