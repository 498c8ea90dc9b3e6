"""`shipwrightd api` as a process: what it prints, and what it says where there is no answer."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from projection import completed, event, started

if TYPE_CHECKING:
    from pathlib import Path

    from projection import Books


def api(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "shipwrightd", "api", *arguments, "--home", str(home), "--now", "2026-01-05T13:00:00Z"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )


@pytest.fixture
def made(books: Books, home: Path) -> Path:
    """Return a home with a database of one run, and of a triage whose last type is a number."""
    books.events(started(0), completed(60), event("daemon.triage", 70))
    books.lines([b'{"ts":"2026-01-05T12:01:20Z","ts_epoch":1767614480,"type":"daemon.triage","issue":7,"type":5}'])
    books.db.execute("INSERT INTO checkpoints (source, kind, records) VALUES ('events.jsonl', 'journal', 4)")
    return home


@pytest.mark.parametrize("address", ["/api/metrics/history?period=30", "http://127.0.0.1:8767/api/metrics/history"])
def test_an_answer_is_json(made: Path, address: str) -> None:
    done = api(made, address)

    assert (done.returncode, json.loads(done.stdout)["total_completed"]) == (0, 1)


def test_an_unknown_path_lists_the_known_ones_with_code_2(made: Path) -> None:
    done = api(made, "/api/nothing")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "/api/metrics/history, " in done.stderr


def test_what_the_dashboard_refuses_gets_its_message_with_code_2(made: Path) -> None:
    done = api(made, "/api/events/first")

    assert (done.returncode, done.stdout) == (2, "")
    assert "Invalid issue number" in done.stderr


def test_where_the_dashboard_fails_only_compat_has_no_answer(made: Path) -> None:
    right, done = api(made, "/api/activity?type=stage"), api(made, "/api/activity?type=stage", "--compat")

    assert (right.returncode, json.loads(right.stdout)["total"]) == (0, 0)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the dashboard answers 500 to this: an event has the type 5" in done.stderr


def test_without_a_database_the_files_answer(home: Path) -> None:
    (home / "events.jsonl").write_bytes(json.dumps(completed(0)).encode() + b"\n")

    done = api(home, "/api/metrics/history", "--compat")

    assert (done.returncode, json.loads(done.stdout)["total_completed"]) == (0, 1)
