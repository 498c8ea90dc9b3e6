"""Lists longer than their caps, played snapshot by snapshot: nothing is lost, nothing doubled."""

from __future__ import annotations

import gzip
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest

from shipwrightd.database import open_writer, transaction
from shipwrightd.documents.store import ingest_document, verify_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    import apsw

    from shipwrightd.documents.store import Outcome

NOW = "2026-02-01T00:00:00Z"
REPO = "4165a89ff787"
COSTS = """
SELECT input_tokens, output_tokens, model, stage, coalesce(issue, ''), cost_usd, ts, ts_epoch
FROM cost_entries WHERE origin = 'costs.json' ORDER BY id"""
GAPS = "SELECT count(*) FROM gaps"


@pytest.fixture
def db(database: Path) -> Iterator[apsw.Connection]:
    connection = open_writer(database)
    yield connection
    connection.close()


def rows(db: apsw.Connection, query: str, *values: str) -> list[Any]:
    return db.execute(query, values).fetchall()


def take(db: apsw.Connection, path: str, raw: bytes) -> Outcome:
    with transaction(db):
        return ingest_document(db, path, raw, now=NOW)


def snapshots(folder: Path) -> list[tuple[int, bytes]]:
    """Return the snapshots of a folder in order, with the number of calls before each."""
    found = sorted(path for path in folder.iterdir() if path.name[0].isdigit())
    return [(int(path.name.split(".")[0]), gzip.decompress(path.read_bytes())) for path in found]


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def cost(entry: dict[str, object]) -> tuple[object, ...]:
    issue = entry["issue"]
    assert isinstance(issue, str)
    number = "" if issue in {"", "0"} else int(issue)
    head = (entry["input_tokens"], entry["output_tokens"], entry["model"], entry["stage"])
    return (*head, number, entry["cost_usd"], entry["ts"], entry["ts_epoch"])


@pytest.mark.parametrize("step", [1, 2, 3, 10, 19])
def test_every_cost_ever_recorded_is_stored_once_in_order(db: apsw.Connection, fixtures_dir: Path, step: int) -> None:
    folder = fixtures_dir / "overflow" / "costs"
    played = snapshots(folder)
    for _, raw in [*played[::step], played[-1]]:
        take(db, "costs.json", raw)
        assert verify_document(db, "costs.json", raw) == []
    truth = [cost(entry) for entry in lines(folder / "truth.jsonl.gz")]
    assert list(db.execute(COSTS)) == truth
    total = sum(float(str(entry["cost_usd"])) for entry in lines(folder / "truth.jsonl.gz"))
    assert db.execute("SELECT sum(cost_usd) FROM cost_entries").get == pytest.approx(total, abs=1e-9)
    assert db.execute(GAPS).get == 0


def test_costs_without_an_overlap_are_all_stored_and_the_hole_is_recorded(
    db: apsw.Connection, fixtures_dir: Path
) -> None:
    played = dict(snapshots(fixtures_dir / "overflow" / "costs"))
    assert take(db, "costs.json", played[200]).records == 200
    outcome = take(db, "costs.json", played[1400])
    assert (outcome.records, outcome.gaps) == (1000, 1)
    assert db.execute("SELECT source, reason FROM gaps").fetchall() == [("costs.json", "no overlap in entries")]


def test_an_older_snapshot_put_back_and_taken_away_doubles_nothing(db: apsw.Connection, fixtures_dir: Path) -> None:
    folder = fixtures_dir / "overflow" / "costs"
    played = dict(snapshots(folder))
    for number in (900, 1250, 700, 1250, 50, 1400, 1000, 1400):
        take(db, "costs.json", played[number])
    assert list(db.execute(COSTS)) == [cost(entry) for entry in lines(folder / "truth.jsonl.gz")]
    assert db.execute(GAPS).get == 0


@pytest.mark.parametrize("step", [1, 2, 5])
def test_every_decision_is_stored_once_in_order(db: apsw.Connection, fixtures_dir: Path, step: int) -> None:
    folder = fixtures_dir / "overflow" / "decisions"
    played = snapshots(folder)
    path = f"memory/{REPO}/decisions.json"
    for _, raw in [*played[::step], played[-1]]:
        take(db, path, raw)
        assert verify_document(db, path, raw) == []
    stored = rows(
        db,
        "SELECT pattern, first_seen, json_extract(extra, '$.detail') FROM memory_entries "
        "WHERE repo_hash = ? AND entry_type = 'decision' ORDER BY id",
        REPO,
    )
    truth = [(c["summary"], c["recorded_at"], c["detail"]) for c in lines(folder / "calls.jsonl.gz")]
    assert stored == truth


def test_every_outcome_is_stored_once_in_order(db: apsw.Connection, fixtures_dir: Path) -> None:
    folder = fixtures_dir / "overflow" / "outcomes"
    for _, raw in snapshots(folder):
        take(db, "cost-outcomes.json", raw)
        assert verify_document(db, "cost-outcomes.json", raw) == []
    stored = rows(
        db,
        "SELECT pipeline_id, cost_usd, success, ts_epoch FROM cost_outcomes WHERE kind = 'outcome' ORDER BY id",
    )
    truth = [(o["pipeline_id"], o["cost_usd"], o["success"], o["ts_epoch"]) for o in lines(folder / "truth.jsonl.gz")]
    assert stored == truth


def test_every_failure_stays_with_all_its_sightings(db: apsw.Connection, fixtures_dir: Path) -> None:
    folder = fixtures_dir / "overflow" / "failures"
    path = f"memory/{REPO}/failures.json"
    played = snapshots(folder)
    for _, raw in played:
        take(db, path, raw)
        assert verify_document(db, path, raw) == []
    sightings = Counter(str(call["pattern"]) for call in lines(folder / "calls.jsonl.gz"))
    stored = rows(db, "SELECT pattern, frequency FROM memory_entries WHERE entry_type = 'failure'")
    assert dict(stored) == dict(sightings)
    standing = {entry["pattern"]: entry["seen_count"] for entry in orjson.loads(played[-1][1])["failures"]}
    present = rows(db, "SELECT pattern, seen_count FROM memory_entries WHERE present = 1")
    assert dict(present) == standing
