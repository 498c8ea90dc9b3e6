"""Keyed entries: what changed is updated, what is gone stays, what returns is present again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from document_samples import (
    FAILURES,
    NOW,
    PATTERNS,
    checkpoint,
    failure,
    failures,
    known_documents,
    memory,
    quarantine,
    take,
)

from shipwrightd.database import open_writer, transaction
from shipwrightd.documents.store import Outcome, ingest_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw


@pytest.fixture
def db(database: Path) -> Iterator[apsw.Connection]:
    connection = open_writer(database)
    yield connection
    connection.close()


# -- keyed entries


def test_what_vanishes_stays_and_what_returns_is_present_again(db: apsw.Connection) -> None:
    registry = [{"developer_id": "Ada", "machine_name": "b1"}, {"developer_id": "Bo", "machine_name": "b2"}]
    present = "SELECT id, present FROM sessions ORDER BY id"
    take(db, "developer-registry.json", registry)
    assert take(db, "developer-registry.json", registry[:1]) == Outcome(changed=1, known=1)
    assert db.execute(present).fetchall() == [("Ada@b1", 1), ("Bo@b2", 0)]
    take(db, "developer-registry.json", registry)
    assert db.execute(present).fetchall() == [("Ada@b1", 1), ("Bo@b2", 1)]


def test_a_changed_entry_is_updated_and_its_unknown_fields_are_kept(db: apsw.Connection) -> None:
    entry = {
        "developer_id": "Ada",
        "machine_name": "b1",
        "last_heartbeat": 1_768_410_105_000,
        "events_since": 0,
    }
    take(db, "developer-registry.json", [entry])
    take(db, "developer-registry.json", [entry | {"last_heartbeat": 0, "daemon_running": True, "mood": ["x"]}])
    row = db.execute("SELECT developer, machine, last_heartbeat_ms, daemon_running, extra FROM sessions").fetchone()
    assert row == ("Ada", "b1", 0, 1, '{"events_since":0,"mood":["x"]}')
    assert checkpoint(db, "developer-registry.json") == (1, 0, 0, 1_768_410_105)


def test_a_file_that_is_gone_leaves_its_row(db: apsw.Connection) -> None:
    take(db, "heartbeats/fast.json", {"pid": 1, "issue": 59})
    assert known_documents(db) == ["heartbeats/fast.json"]
    assert take(db, "heartbeats/fast.json", None) == Outcome(changed=1)
    assert take(db, "heartbeats/fast.json", None) == Outcome()
    assert known_documents(db) == []
    assert db.execute("SELECT id, issue, present FROM heartbeats").fetchall() == [("fast", 59, 0)]


def test_a_file_never_seen_that_is_missing_leaves_no_trace(db: apsw.Connection) -> None:
    before = db.total_changes()
    assert take(db, "budget.json", None) == Outcome()
    assert db.total_changes() == before


def test_one_heartbeat_gone_leaves_the_others(db: apsw.Connection) -> None:
    take(db, "heartbeats/fast.json", {"pid": 1})
    take(db, "heartbeats/job-5.json", {"pid": 2})
    take(db, "heartbeats/fast.json", None)
    assert db.execute("SELECT id FROM heartbeats WHERE present").fetchall() == [("job-5",)]


def test_repositories_do_not_touch_each_other(db: apsw.Connection) -> None:
    take(db, "memory/aaa/failures.json", failures(failure("x", 1, 1)))
    take(db, "memory/bbb/failures.json", failures(failure("x", 4, 1)))
    take(db, "memory/aaa/failures.json", None)
    rows = db.execute("SELECT repo_hash, frequency, present FROM memory_entries ORDER BY repo_hash").fetchall()
    assert rows == [("aaa", 1, 0), ("bbb", 4, 1)]


def test_a_finished_job_stays_as_one_that_ran(db: apsw.Connection) -> None:
    job = {"issue": 51, "pid": 7, "started_at": "2026-01-12T09:28:10Z", "repo": "", "title": "T", "goal": "G"}
    again = job | {"started_at": "2026-01-12T10:00:00Z"}
    take(db, "daemon-state.json", {"active_jobs": [job], "queued": ["56"], "completed": []})
    take(db, "daemon-state.json", {"active_jobs": [again], "queued": [], "completed": [{"issue": 51}]})
    assert db.execute("SELECT issue, present FROM daemon_jobs ORDER BY started_at").fetchall() == [
        (51, 0),
        (51, 1),
    ]
    assert db.execute("SELECT id, present FROM daemon_queue").fetchall() == [("56", 0)]
    assert db.execute("SELECT issue FROM daemon_completed").fetchall() == [(51,)]


# -- failures


def test_a_sighting_more_is_the_file_count(db: apsw.Connection) -> None:
    for count in (1, 2, 7):
        take(db, FAILURES, failures(failure("a", count, count)))
    assert memory(db) == {"a": (7, 7, 1)}


def test_a_failure_that_was_pruned_and_returns_keeps_its_earlier_sightings(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 5, 1), failure("b", 1, 1)))
    take(db, FAILURES, failures(failure("b", 1, 1)))
    take(db, FAILURES, failures(failure("b", 1, 1), failure("a", 1, 9)))
    assert memory(db) == {"a": (6, 1, 1), "b": (1, 1, 1)}
    take(db, FAILURES, failures(failure("b", 1, 1), failure("a", 2, 10)))
    assert memory(db)["a"] == (7, 2, 1)


def test_a_failure_pruned_and_seen_again_between_two_looks_is_counted(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 1, 1)))
    take(db, FAILURES, failures(failure("a", 1, 2)))
    assert memory(db) == {"a": (2, 1, 1)}


@pytest.mark.parametrize("meanwhile", [None, failures(), failures(failure("a", 2, 1))])
def test_a_failure_put_back_as_it_was_counts_as_before(db: apsw.Connection, meanwhile: object) -> None:
    take(db, FAILURES, failures(failure("a", 5, 3)))
    take(db, FAILURES, meanwhile)
    assert memory(db)["a"][0] == 5
    take(db, FAILURES, failures(failure("a", 5, 3)))
    assert memory(db) == {"a": (5, 5, 1)}


def test_a_note_on_a_fix_is_no_sighting(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 2, 3)))
    take(db, FAILURES, failures(failure("a", 2, 3, fix="restart", times_fix_applied=1)))
    assert memory(db) == {"a": (2, 2, 1)}
    assert db.execute("SELECT fix, first_seen, extra FROM memory_entries").fetchone() == (
        "restart",
        "2026-01-14T16:00:03Z",
        '{"times_fix_applied":1}',
    )


def test_a_count_that_is_no_number_is_kept_and_harmless(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 3, 1)))
    take(db, FAILURES, failures(failure("a", 3, 2) | {"seen_count": "often"}))
    take(db, FAILURES, failures(failure("a", 4, 3)))
    assert memory(db) == {"a": (4, 4, 1)}


# -- the rest of memory


def test_known_issues_are_patterns_by_their_text(db: apsw.Connection) -> None:
    document = {"repo": "acme/rocket", "captured_at": "2026-01-05T08:30:00Z", "project": {"type": "node"}}
    take(db, PATTERNS, document | {"known_issues": ["project", "leaks", 7]})
    rows = db.execute("SELECT section, pattern, first_seen, extra FROM memory_entries ORDER BY id").fetchall()
    assert rows == [
        ("", "repo", "2026-01-05T08:30:00Z", '{"value":"acme/rocket"}'),
        ("", "project", "2026-01-05T08:30:00Z", '{"type":"node"}'),
        ("known_issues", "project", None, None),
        ("known_issues", "leaks", None, None),
    ]
    assert [raw for _, _, raw in quarantine(db)] == [b"7"]


def test_baselines_architecture_and_learnings_are_rows(db: apsw.Connection) -> None:
    take(
        db,
        "memory/aaa/metrics.json",
        {"baselines": {"build_duration_s": 655}, "last_updated": "2026-01-14T09:28:29Z"},
    )
    take(db, "memory/aaa/architecture.json", {"layers": ["a"], "patterns": {"x": 1}})
    take(
        db,
        "memory/global.json",
        {"cross_repo_learnings": [{"repo": "r", "type": "review", "captured_at": "t"}]},
    )
    rows = db.execute(
        "SELECT repo_hash, entry_type, pattern, last_seen, extra FROM memory_entries ORDER BY id"
    ).fetchall()
    assert rows == [
        ("aaa", "baseline", "build_duration_s", "2026-01-14T09:28:29Z", '{"value":655}'),
        ("aaa", "architecture", "layers", None, '{"value":["a"]}'),
        ("aaa", "architecture", "patterns", None, '{"value":{"x":1}}'),
        ("global", "learning", "review", "t", '{"repo":"r"}'),
    ]


# -- what is no entry


@pytest.mark.parametrize(
    ("path", "document", "reason"),
    [
        ("developer-registry.json", ["Ada"], "registry: entry is not an object"),
        ("developer-registry.json", {"Ada": 1}, "the document is not a list"),
        ("daemon-state.json", {"active_jobs": [7]}, "active_jobs: entry is not an object"),
        ("daemon-state.json", {"queued": [{"issue": 7}]}, "queued: item is neither text nor number"),
        ("daemon-state.json", {"queued": 7}, "queued is not a list"),
        ("daemon-state.json", {"titles": {"56": 7}}, "titles: title is not a text"),
        (FAILURES, {"failures": ["build"]}, "failures: entry is not an object"),
        (PATTERNS, {"known_issues": [7]}, "patterns: known issue is not a text"),
        ("memory/0123456789ab/metrics.json", {"baselines": [7]}, "baselines is not an object"),
        ("memory/global.json", {"common_patterns": ["p"]}, "common_patterns: entry is not an object"),
        ("memory/global.json", {"common_patterns": [{}]}, "common_patterns: entry without a pattern"),
        ("budget.json", [], "the document is not an object"),
    ],
)
def test_what_is_no_entry_is_quarantined_once_and_says_why(
    db: apsw.Connection, path: str, document: object, reason: str
) -> None:
    assert take(db, path, document).quarantined == 1
    assert [why for _, why, _ in quarantine(db)] == [reason]
    with transaction(db):
        again = ingest_document(db, path, orjson.dumps(document) + b"\n", now=NOW)
    assert (again.quarantined, again.records, again.error) == (0, 0, None)
