"""`status --format prometheus`: the same answer as metrics, from databases as they stand."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from scrape import Scraped

from shipwrightd import __version__
from shipwrightd.database import open_writer
from shipwrightd.database.lock import WriterLock, lock_path
from shipwrightd.monitoring.metrics import Histogram
from shipwrightd.status import collect
from shipwrightd.status.prometheus import exposition, metric, metrics

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_790_000_000.0
CHECKPOINT = """
INSERT INTO checkpoints
    (source, kind, records, salvaged, quarantined, gaps, newest_epoch, committed_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
QUARANTINED = """
INSERT INTO quarantine (source, offset, length, reason, raw, seen_at, state)
VALUES (?, 0, 1, 'no JSON', x'7b', '', ?)"""
ERROR = "INSERT INTO source_errors (source, error, since) VALUES (?, ?, '2026-01-01T00:00:00Z')"
HEAVY = ("typer", "rich", "structlog", "watchdog", "subprocess")
NETWORK = ("prometheus_client", "socket", "http.server")  # comes with the library, and with nothing else
NASTY = 'a"b\\c\nd\x1b[2J\u2028\udcff é'
CONVENTION = re.compile(r"shipwrightd_[a-z]+(_[a-z]+)*")


def put(database: Path, sql: str, *rows: tuple[object, ...]) -> None:
    db = open_writer(database)
    db.executemany(sql, rows)
    db.close()


def ask(database: Path, home: Path) -> Scraped:
    return Scraped(exposition(metrics(collect(home, database, ["events.jsonl"], NOW))))


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "shipwrightd", "status", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_holds_what_status_knows(home: Path, database: Path) -> None:
    (home / "events.jsonl").write_text('{"ts_epoch":1789999990,"type":"a"}\n{"half')
    put(database, CHECKPOINT, ("events.jsonl", "journal", 7, 3, 2, 1, 1_789_999_000, "2026-09-21T13:46:00Z"))
    put(database, QUARANTINED, ("events.jsonl", "kept"), ("events.jsonl", "recovered"))

    found = ask(database, home)

    expected = {
        "records_total": 7,
        "salvaged_total": 3,
        "quarantined_total": 2,
        "quarantine_pieces": 1,
        "gaps_total": 1,
        "lag_bytes": 41,
        "errors": 0,
        "newest_record_timestamp_seconds": 1_789_999_000,
        "last_commit_timestamp_seconds": 1_789_998_360,
    }
    named = {name: found.value(f"shipwrightd_source_{name}", source="events.jsonl") for name in expected}
    assert named == expected
    assert found.value("shipwrightd_source_lag_seconds") > 0
    assert found.value("shipwrightd_build_info", version=__version__) == 1
    assert found.value("shipwrightd_database_schema_version") >= 7
    wal = database.with_name(database.name + "-wal")
    size = found.value("shipwrightd_database_size_bytes") - found.value("shipwrightd_database_wal_size_bytes")
    assert size == database.stat().st_size
    assert found.value("shipwrightd_database_wal_size_bytes") == (wal.stat().st_size if wal.exists() else 0)


def test_up_means_that_a_daemon_follows(home: Path, database: Path) -> None:
    assert ask(database, home).value("shipwrightd_up") == 0
    for command, up in (("run", 1), ("backfill", 0)):
        lock = WriterLock(lock_path(database))
        lock.acquire({"pid": 1, "command": command, "started_at": "2026-09-21T13:46:00Z", "version": "1"})
        try:
            found = ask(database, home)
        finally:
            lock.release()
        assert found.value("shipwrightd_up") == up
        assert found.value("shipwrightd_daemon_start_time_seconds") == 1_789_998_360


def test_repositories_and_jobs_make_no_new_series_and_no_name_of_theirs_is_told(home: Path, database: Path) -> None:
    names = [f"memory/secret{number}/failures.json" for number in range(50)]
    names += [f"heartbeats/secret {number}.json" for number in range(50)]
    put(database, CHECKPOINT, *[(name, "document", 2, 0, 0, 0, None, None) for name in names])
    put(database, ERROR, *[(name, "a secret error") for name in names[:60]], ("", "a secret error"))

    found = ask(database, home)

    sources = {sample.labels["source"] for sample in found.samples if "source" in sample.labels}
    assert sources == {"memory/*/failures.json", "heartbeats/*.json"}
    assert found.value("shipwrightd_source_records_total", source="heartbeats/*.json") == 100
    assert found.value("shipwrightd_source_errors", source="memory/*/failures.json") == 50
    assert found.value("shipwrightd_source_errors", source="heartbeats/*.json") == 10
    assert not [label for label in found.labels() if "secret" in label]


def test_without_a_database_there_is_still_an_answer(home: Path) -> None:
    found = ask(home / "none.db", home)

    assert (found.value("shipwrightd_up"), found.value("shipwrightd_database_size_bytes")) == (0, 0)


def test_names_follow_the_conventions(home: Path, database: Path) -> None:
    (home / "events.jsonl").write_text("x\n")
    found = ask(database, home)

    for name, kind in found.kinds.items():
        assert CONVENTION.fullmatch(name)
        assert name.endswith("_total") == (kind == "counter")
        assert found.help[name]


def test_promtool_has_nothing_to_say(home: Path, database: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool, of the package prometheus, is not installed")
    (home / "events.jsonl").write_text("x\n")
    said = subprocess.run(
        ["promtool", "check", "metrics"],
        input=call("--format", "prometheus", "--home", home, "--db", database).stdout,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


# -- as text


def test_a_label_comes_through_with_controls_written_out() -> None:
    scraped = Scraped(exposition([metric("x", "text", {NASTY: 1.5})]))

    assert list(scraped.labels()) == ['a"b\\c\\nd\\x1b[2J\\u2028\\xff é']


def test_help_stays_on_its_line() -> None:
    scraped = Scraped(exposition([metric("x", "one\ntwo \\ three", 1)]))

    assert scraped.help == {"shipwrightd_x": "one\ntwo \\ three"}


@pytest.mark.parametrize("value", [0, 1, -1, 0.1, 1e-9, 123456789012.5, 2**53, 1e300, float("inf"), float("-inf")])
def test_a_number_comes_through_exactly(value: float) -> None:
    assert Scraped(exposition([metric("x", "text", value)])).value("shipwrightd_x") == value


def test_what_is_not_known_is_left_out() -> None:
    assert exposition([metric("x", "text", None), metric("y_total", "text", {}), metric("z", "text", {})]) == ""


def test_a_histogram_counts_up_to_each_bound_with_the_bound() -> None:
    histogram = Histogram((0.5, 1, 10))
    for value in (0.5, 0.6, 1, 10, 11, 1000):
        histogram.observe(value)

    scraped = Scraped(exposition([histogram.metric("x", "text")]))

    assert scraped.kinds == {"shipwrightd_x": "histogram"}
    assert [scraped.value("shipwrightd_x_bucket", le=le) for le in ("0.5", "1", "10", "+Inf")] == [1, 3, 4, 6]
    assert (scraped.value("shipwrightd_x_count"), scraped.value("shipwrightd_x_sum")) == (6, 1023.1)


# -- as a command


def test_each_format_comes_the_quick_way_as_it_does_through_typer(home: Path, database: Path) -> None:
    assert database.exists()
    for form in ("prometheus", "table"):
        quick, full = (call("--format", form, "--home", home, *more) for more in ((), ("--",)))
        assert (quick.returncode, quick.stderr) == (0, "")
        assert quick.stdout == full.stdout


@pytest.mark.parametrize(
    ("form", "avoided"), [("prometheus", HEAVY), ("table", HEAVY + NETWORK), ("json", HEAVY + NETWORK)]
)
def test_it_loads_no_library_it_does_not_need(home: Path, database: Path, form: str, avoided: tuple[str, ...]) -> None:
    """A collector asks often."""
    assert database.exists()
    code = (
        "import sys; from shipwrightd.__main__ import guarded; "
        f"guarded(['status', '--format={form}', '--home', {str(home)!r}]); "
        f"print([m for m in {avoided!r} if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--format", "xml"], "'xml' is not one of"), (["--json", "--format", "prometheus"], "exclude each other")],
)
def test_a_wrong_format_is_wrong_usage(options: list[str], said: str) -> None:
    done = call(*options)

    assert done.returncode == 2
    assert said in done.stderr


def test_a_file_for_a_collector_is_replaced_whole_and_may_be_read_by_it(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "shipwrightd.prom"
    for command in (("--out", file), (f"--out={file}", "--check"), ("--out", file, "--")):
        file.write_text("half a fi")
        done = call("--format", "prometheus", "--home", home, *command)
        assert (done.returncode, done.stdout, done.stderr) == (int("--check" in command), "", "")
        assert Scraped(file.read_text()).value("shipwrightd_up") == 0
        assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir() if path != home] == [file.name]


@pytest.mark.parametrize("place", ["none/x.prom", ".", "home/x.prom", "home/shipwrightd/shipwright.db"])
def test_a_file_that_cannot_or_must_not_be_written_is_one_line_and_73(home: Path, database: Path, place: str) -> None:
    before = database.read_bytes()
    done = call("--format", "prometheus", "--home", home, "--out", home.parent / place)

    assert done.returncode == 73
    assert re.fullmatch(r"shipwrightd: [^\n]+\n", done.stderr)
    assert database.read_bytes() == before
    assert not (home / "x.prom").exists()
