"""Reports as a user meets them: formats, the files in place of a database, and clear words for what is wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from projection import completed, event, reaped, spent, stage, started
from reports import report
from rich.cells import cell_len

from shipwrightd.reports import SUBJECTS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

NOW = "2026-01-06T00:00:00Z"
REPORTS = ("dora", "costs", "activity", "stages", "runs", "team", "memory", "throughput", "failures")
WITH_PERIOD = ("dora", "costs", "activity", "stages", "runs", "throughput", "failures")
NOTHING_AT_ALL = {
    "team": "Sessions in the developer registry: 0.",
    "memory": "Entries in memory: 0.",
}
# The real home of the checks, 10 days of it.
SMALL_NOW = "2026-01-14T17:02:00Z"


@pytest.fixture
def filled(home: Path) -> Path:
    """Return a home with a little of everything, not yet in a database."""
    events = [
        started(0, 1),
        stage(1, "plan", "started", 1),
        stage(9, "plan", "completed", 1, duration_s=8, result="success"),
        stage(10, "build", "failed", 1, duration_s=1, error="no compiler", error_class="environment"),
        reaped(11, 1, "failure"),
        started(20, 1),
        completed(90, 1),
        spent(91),
        event("daemon.poll", 100, None, issues_found=2),
    ]
    (home / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in events))
    (home / "budget.json").write_text('{"daily_budget_usd": 5, "enabled": true}')
    memory = home / "memory" / "25bf8e1a2393"
    memory.mkdir(parents=True)
    failure = {"stage": "build", "pattern": "no compiler", "seen_count": 2, "last_seen": "2026-01-05T12:00:10Z"}
    (memory / "failures.json").write_text(json.dumps({"failures": [failure]}))
    developer = {"developer_id": "Ada", "machine_name": "m1", "last_heartbeat": 1_767_614_400_000}
    (home / "developer-registry.json").write_text(json.dumps([developer]))
    return home


def backfill(home: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "shipwrightd", "backfill", "--home", str(home)], check=True, capture_output=True
    )


def answer(home: Path, name: str, *options: str) -> dict[str, Any]:
    done = report(home, name, "--format", "json", "--now", NOW, *options)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", REPORTS)
def test_without_a_database_the_files_answer_the_same(filled: Path, name: str) -> None:
    files = answer(filled, name)
    backfill(filled)
    database = answer(filled, name)

    assert (files.pop("source"), database.pop("source")) == ("files", "database")
    assert files == database


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_has_a_table_json_and_csv(filled: Path, name: str) -> None:
    backfill(filled)
    table = report(filled, name, "--now", NOW)
    found = answer(filled, name)
    rows = list(csv.reader(io.StringIO(report(filled, name, "--format", "csv", "--now", NOW).stdout)))

    assert (table.returncode, table.stderr) == (0, "")
    assert len(table.stdout.splitlines()) > 3
    assert (found["report"], found["now"]) == (name, NOW)
    assert len(rows) > 1
    assert {len(row) for row in rows} == {len(rows[0])}


@pytest.mark.parametrize("name", REPORTS)
def test_an_empty_home_is_told_of_in_words(home: Path, name: str) -> None:
    backfill(home)
    done = report(home, name)

    assert done.returncode == 0
    assert done.stdout.startswith(f"No {SUBJECTS[name]}")
    assert NOTHING_AT_ALL.get(name, "There are no events.") in done.stdout


@pytest.mark.parametrize("name", WITH_PERIOD)
def test_a_period_before_all_data_names_what_was_looked_for_and_what_there_is(filled: Path, name: str) -> None:
    backfill(filled)
    done = report(filled, name, "--since", "2020-01-01", "--until", "2020-01-31")

    assert done.returncode == 0
    assert "from 2020-01-01T00:00:00Z until 2020-02-01T00:00:00Z" in done.stdout
    assert "Events exist from 2026-01-05T12:00:00Z to 2026-01-05T12:01:40Z." in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--days", "0"], "--days"),
        (["--since", "yesterday"], "not a time"),
        (["--since", "2026-01-03", "--until", "2026-01-01"], "the period is empty"),
        (["--days", "3", "--since", "2026-01-01"], "exclude each other"),
        (["--now", "noon"], "--now noon: not a time"),
        (["--format", "xml"], "table"),
        (["--days", "many"], "--days"),
    ],
)
def test_options_that_make_no_sense_end_with_one_line_and_code_2(home: Path, options: list[str], words: str) -> None:
    done = report(home, "dora", *options)

    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_an_unknown_report_is_named(home: Path) -> None:
    done = report(home, "velocity")

    assert done.returncode == 2
    assert "velocity" in done.stderr
    assert "report --help" in done.stderr


def test_without_files_and_database_there_is_nothing_to_read(tmp_path: Path) -> None:
    done = report(tmp_path / "nowhere", "dora")

    assert done.returncode == 66
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["missing", "garbage", "foreign", "empty", "no records", "directory"])
def test_whatever_the_database_is_the_files_still_answer_and_one_line_says_so(filled: Path, kind: str) -> None:
    path = filled / "shipwrightd" / "shipwright.db"
    path.parent.mkdir(mode=0o700)
    if kind == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif kind == "foreign":
        sqlite3.connect(path).executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1);")
    elif kind == "empty":
        path.touch()
    elif kind == "directory":
        path.mkdir()
    elif kind == "no records":
        subprocess.run([sys.executable, "-m", "shipwrightd", "migrate", "--home", str(filled)], check=True)

    done = report(filled, "dora", "--format", "json", "--now", NOW)

    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert "reading the files instead" in done.stderr
    assert json.loads(done.stdout)["source"] == "files"
    assert json.loads(done.stdout)["period"]["deploys"] == 1


def test_reading_the_files_leaves_nothing_behind(filled: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = sorted(path.relative_to(filled) for path in filled.rglob("*"))

    report(filled, "dora", environment={**os.environ, "TMPDIR": str(temporary)})

    assert sorted(path.relative_to(filled) for path in filled.rglob("*")) == before
    assert list(temporary.iterdir()) == []


def test_the_real_home_answers_from_files_as_from_the_database(tmp_path: Path, fixtures_dir: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(fixtures_dir / "small" / "dot-shipwright", home, copy_function=shutil.copyfile)
    for folder in (home, *home.rglob("*/")):
        folder.chmod(0o700)
    found = []
    for _ in ("files", "database"):
        done = [report(home, name, "--format", "json", "--now", SMALL_NOW) for name in REPORTS]
        found.append([{**json.loads(one.stdout), "source": ""} for one in done])
        backfill(home)

    assert found[0] == found[1]


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_tables_of_the_real_home_fit_the_terminal(tmp_path: Path, fixtures_dir: Path, columns: int) -> None:
    home = tmp_path / "home"
    shutil.copytree(fixtures_dir / "small" / "dot-shipwright", home, copy_function=shutil.copyfile)
    for folder in (home, *home.rglob("*/")):
        folder.chmod(0o700)
    backfill(home)
    environment = {**os.environ, "COLUMNS": str(columns), "PYTHONUTF8": "1"}
    for name in (*REPORTS, "runs 1368", "stages --stage build", "memory --search fuel"):
        done = report(home, *name.split(), "--now", SMALL_NOW, environment=environment)

        assert (done.returncode, done.stderr) == (0, ""), name
        table = [line for line in done.stdout.splitlines() if line.startswith(" ")]
        assert not [line for line in table if cell_len(line) > columns], name


def test_a_reader_that_has_enough_ends_a_report_from_files_quietly(filled: Path) -> None:
    command = [sys.executable, "-m", "shipwrightd", "report", "failures", "--now", NOW, "--home", str(filled)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as asked:
        assert asked.stdout is not None
        assert asked.stderr is not None
        asked.stdout.close()
        assert len(asked.stderr.read().splitlines()) == 1  # that the files are read
        assert asked.wait() == 141


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "costs", "--model", "a\udcff"],
        ["report", "activity", "-f", "--type", "\udcff"],
        ["api", "/api/\udcff"],
    ],
)
def test_a_text_that_is_no_utf8_is_told_on_one_line(filled: Path, arguments: list[str]) -> None:
    backfill(filled)
    command = [sys.executable, "-m", "shipwrightd", *arguments, "--home", str(filled)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "not UTF-8" in done.stderr


def test_figures_from_a_database_that_is_behind_say_so(filled: Path) -> None:
    backfill(filled)
    assert report(filled, "dora").stderr == ""
    line = json.dumps(completed(3600, 9)) + "\n"
    with (filled / "events.jsonl").open("a") as file:
        file.write(line)
    os.utime(filled / "events.jsonl", (0, 0))

    done = report(filled, "dora")

    assert f"{len(line)} bytes" in done.stderr
    assert "shipwrightd backfill" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_csv_of_nothing_says_so_beside_it(home: Path) -> None:
    backfill(home)
    done = report(home, "runs", "--format", "csv")

    assert (done.returncode, done.stdout) == (0, "")
    assert "No runs until" in done.stderr


def test_a_database_that_turns_out_damaged_halfway_is_replaced_by_the_files(filled: Path) -> None:
    backfill(filled)
    path = filled / "shipwrightd" / "shipwright.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        page, size = db.execute(
            "SELECT rootpage, (SELECT * FROM pragma_page_size) FROM sqlite_schema WHERE name = 'run_outcomes'"
        ).fetchone()
    db.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)

    done = report(filled, "dora", "--format", "json", "--now", NOW)

    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert "is damaged: reading the files instead" in done.stderr
    assert json.loads(done.stdout)["period"]["deploys"] == 1
