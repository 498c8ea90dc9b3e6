"""Every document of a real home: what the tables say is what the files say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from document_samples import known_documents

from shipwrightd.database import open_writer, transaction
from shipwrightd.decoding.values import parse_sequence
from shipwrightd.documents.kinds import kind_of
from shipwrightd.documents.store import ingest_document, verify_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    import apsw

NOW = "2026-01-14T17:02:00Z"
TABLES = (
    "budgets",
    "cost_entries",
    "cost_outcomes",
    "daemon_completed",
    "daemon_failures",
    "daemon_jobs",
    "daemon_queue",
    "daemon_state",
    "daemon_titles",
    "heartbeats",
    "memory_entries",
    "sessions",
)


@pytest.fixture
def real_home(fixtures_dir: Path) -> Path:
    folder = fixtures_dir / "small" / "dot-shipwright"
    if not folder.is_dir():
        pytest.skip(f"no small home at {folder}")
    return folder


@pytest.fixture
def db(database: Path, real_home: Path) -> Iterator[apsw.Connection]:
    """Return a database into which every document of the home went once."""
    connection = open_writer(database)
    for path in paths(real_home):
        with transaction(connection):
            outcome = ingest_document(connection, path, (real_home / path).read_bytes(), now=NOW)
        assert outcome.error is None
        assert outcome.quarantined == 0
    yield connection
    connection.close()


def rows(db: apsw.Connection, query: str, *values: str) -> list[Any]:
    return db.execute(query, values).fetchall()


def everything(db: apsw.Connection) -> list[list[Any]]:
    return [rows(db, f"SELECT * FROM {table}") for table in TABLES]  # noqa: S608 - names from the list above


def paths(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.json")))
    return [path for path in found if kind_of(path)]


def load(folder: Path, path: str) -> Any:
    file = folder / path
    return orjson.loads(file.read_bytes()) if file.exists() else {}


def test_every_document_is_read_and_agrees(db: apsw.Connection, real_home: Path) -> None:
    assert paths(real_home)
    for path in paths(real_home):
        assert verify_document(db, path, (real_home / path).read_bytes()) == []
    assert known_documents(db) == paths(real_home)


def test_the_same_bytes_again_write_nothing(db: apsw.Connection, real_home: Path) -> None:
    before = db.total_changes()
    for path in paths(real_home):
        with transaction(db):
            ingest_document(db, path, (real_home / path).read_bytes(), now="2026-01-15T00:00:00Z")
    assert db.total_changes() == before


def test_all_of_it_gone_and_back_leaves_every_row_as_it_was(db: apsw.Connection, real_home: Path) -> None:
    before = everything(db)
    for path in paths(real_home):
        with transaction(db):
            ingest_document(db, path, None, now=NOW)
    assert known_documents(db) == []
    assert db.execute("SELECT count(*) FROM sessions WHERE present").get == 0
    for path in paths(real_home):
        with transaction(db):
            ingest_document(db, path, (real_home / path).read_bytes(), now=NOW)
    assert everything(db) == before
    assert db.execute("SELECT count(*) FROM gaps").get == 0


def test_costs_add_up(db: apsw.Connection, real_home: Path) -> None:
    entries = load(real_home, "costs.json")["entries"]
    stored = db.execute(
        "SELECT count(*), sum(cost_usd), sum(input_tokens), max(ts_epoch) FROM cost_entries WHERE origin = 'costs.json'"
    ).fetchone()
    assert stored == (
        len(entries),
        pytest.approx(sum(entry["cost_usd"] for entry in entries)),
        sum(entry["input_tokens"] for entry in entries),
        max(entry["ts_epoch"] for entry in entries),
    )
    assert db.execute("SELECT sum(typeof(issue) NOT IN ('integer', 'null')) FROM cost_entries").get == 0


def test_developers_are_rows_by_developer_and_machine(db: apsw.Connection, real_home: Path) -> None:
    wanted = {
        f"{d['developer_id']}@{d['machine_name']}": (d["last_heartbeat"], d["daemon_running"], d["queued"])
        for d in load(real_home, "developer-registry.json")
    }
    stored = rows(db, "SELECT id, last_heartbeat_ms, daemon_running, queued FROM sessions WHERE present")
    assert {key: (beat, bool(runs), orjson.loads(queue)) for key, beat, runs, queue in stored} == wanted


def test_heartbeats_are_rows_by_file_name(db: apsw.Connection, real_home: Path) -> None:
    wanted = {
        path.stem: (beat["issue"], beat["stage"], beat["updated_at"])
        for path in sorted((real_home / "heartbeats").glob("*.json"))
        for beat in [orjson.loads(path.read_bytes())]
    }
    stored = rows(db, "SELECT id, issue, stage, updated_at FROM heartbeats")
    assert {key: tuple(rest) for key, *rest in stored} == wanted


def test_the_daemon_its_jobs_queue_and_history_are_rows(db: apsw.Connection, real_home: Path) -> None:
    state = load(real_home, "daemon-state.json")
    assert rows(db, "SELECT pid, last_poll FROM daemon_state") == [(state["pid"], state["last_poll"])]
    jobs = db.execute("SELECT issue, pid, title FROM daemon_jobs WHERE present ORDER BY started_at").fetchall()
    assert jobs == [(job["issue"], job["pid"], job["title"]) for job in state["active_jobs"]]
    assert [q for (q,) in db.execute("SELECT id FROM daemon_queue ORDER BY position")] == state["queued"]
    assert dict(rows(db, "SELECT id, title FROM daemon_titles")) == state.get("titles", {})
    done = rows(db, "SELECT issue, result, duration FROM daemon_completed ORDER BY id")
    assert done == [(job["issue"], job["result"], job["duration"]) for job in state["completed"]]
    assert db.execute("SELECT sum(duration_s IS NULL) FROM daemon_completed").get == 0
    failed = rows(db, "SELECT ts, class FROM daemon_failures ORDER BY id")
    assert failed == [(failure["ts"], failure["class"]) for failure in state["failure_history"]]


def test_a_queue_item_of_another_repository_has_its_number_and_repository(db: apsw.Connection) -> None:
    found = rows(db, "SELECT id, repo, issue FROM daemon_queue WHERE id LIKE '%:%'")
    assert all(key == f"{repo}:{issue}" for key, repo, issue in found)


def test_outcomes_repeated_in_each_value_are_stored_once(db: apsw.Connection, real_home: Path) -> None:
    values: list[Any] = list(parse_sequence((real_home / "cost-outcomes.json").read_bytes()))
    longest = max((value.get("outcomes", []) for value in values), key=len)
    stored = db.execute("SELECT pipeline_id, success FROM cost_outcomes WHERE kind = 'outcome' ORDER BY id").fetchall()
    assert stored == [(outcome["pipeline_id"], outcome["success"]) for outcome in longest]
    pipelines = db.execute("SELECT ts, issue, template FROM cost_outcomes WHERE kind = 'pipeline' ORDER BY id")
    wanted = [
        (value["ts"], int(value["issue"].strip('"#') or 0) or None, value["template"].strip('"'))
        for value in values
        if "ts" in value
    ]
    assert pipelines.fetchall() == wanted


def test_memory_of_each_repository_is_rows(db: apsw.Connection, real_home: Path) -> None:
    for folder in sorted(path for path in (real_home / "memory").iterdir() if path.is_dir()):
        query = "SELECT entry_type, pattern, frequency, extra FROM memory_entries WHERE repo_hash = ? ORDER BY id"
        stored = rows(db, query, folder.name)
        failures = {f["pattern"]: f["seen_count"] for f in load(folder, "failures.json").get("failures", [])}
        assert {p: n for kind, p, n, _ in stored if kind == "failure"} == failures
        decisions = [d["summary"] for d in load(folder, "decisions.json").get("decisions", [])]
        assert [p for kind, p, *_ in stored if kind == "decision"] == decisions
        numbers = load(folder, "metrics.json").get("baselines", {})
        assert {p: orjson.loads(e)["value"] for kind, p, _, e in stored if kind == "baseline"} == numbers
        sections = {p: orjson.loads(e) for kind, p, _, e in stored if kind == "pattern" and e}
        assert sections.get("project") == load(folder, "patterns.json").get("project")


def test_memory_of_all_repositories_is_under_global(db: apsw.Connection, real_home: Path) -> None:
    common = [entry["pattern"] for entry in load(real_home, "memory/global.json")["common_patterns"]]
    query = "SELECT pattern FROM memory_entries WHERE repo_hash = 'global' AND entry_type = ? ORDER BY id"
    assert [p for (p,) in rows(db, query, "global_pattern")] == common
    assert [p for (p,) in rows(db, query, "pattern")] == ["project"]
