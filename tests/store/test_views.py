"""Views, through Python's own sqlite3 and the sqlite3 shell: the figures are those of the reports."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from conftest import ROOT
from projection import NOON, Books, completed, entry, event, reaped, spent, stage, started, told
from reports import DAY, question

from shipwrightd.daemon import catch_up
from shipwrightd.database import open_reader
from shipwrightd.reports import activity, costs, dora, failures, memory, runs, stages, team, throughput
from shipwrightd.reports.question import moment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

    from shipwrightd.reports.question import Question

DOCUMENT = (ROOT / "docs" / "views.md").read_text()
SECTIONS = dict(re.findall(r"^## (v_\w+)\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL))
VIEWS = "SELECT name FROM sqlite_schema WHERE type = 'view' AND name GLOB 'v_*' ORDER BY name"
SHELL = shutil.which("sqlite3")


def select(path: Path, query: str, *values: object) -> list[dict[str, Any]]:
    """Return the rows of a query as another program sees them, who opens the file read-only."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values)]


def plan(path: Path, query: str) -> str:
    return "\n".join(row["detail"] for row in select(path, f"EXPLAIN QUERY PLAN {query}"))


@pytest.fixture(scope="module", params=["small", "large"])
def corpus(request: pytest.FixtureRequest, fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of real files."""
    place = tmp_path_factory.mktemp(request.param).resolve()
    home = fixtures_dir / "small" / "dot-shipwright"
    if request.param == "large":
        home = place / "home"
        home.mkdir()
        journal = gzip.decompress((fixtures_dir / "large" / "events.jsonl.gz").read_bytes())
        (home / "events.jsonl").write_bytes(journal)
    catch_up.backfill(home, place / "shipwright.db")
    return place / "shipwright.db"


@pytest.fixture
def reader(corpus: Path) -> Iterator[apsw.Connection]:
    with closing(open_reader(corpus)) as db:
        yield db


def days(path: Path, view: str) -> list[str]:
    return [row["day"] for row in select(path, f"SELECT DISTINCT day FROM {view} ORDER BY day")]  # noqa: S608 - of ours


def whole(day: str) -> Question:
    """Return a question about one UTC day."""
    start = moment(day, 0, option="--since")
    return question(start + 400 * DAY, days=1, until=start + DAY)


def test_the_document_lists_every_view_and_exactly_its_columns(database: Path) -> None:
    assert sorted(SECTIONS) == [row["name"] for row in select(database, VIEWS)]
    for view, text in SECTIONS.items():
        told_of = re.findall(r"`(\w+)`", text.split("Columns:")[1].split("\n\n")[0])
        assert told_of == [row["name"] for row in select(database, "SELECT name FROM pragma_table_info(?)", view)], view


@pytest.mark.parametrize("view", SECTIONS)
def test_the_example_of_each_view_runs_on_an_empty_database(view: str, database: Path) -> None:
    (example,) = re.findall(r"```sql\n(.*?)```", SECTIONS[view], re.DOTALL)

    assert view in example
    assert len(select(database, example)) == (view == "v_budget_today")


@pytest.mark.parametrize("view", SECTIONS)
def test_the_shell_sees_what_python_sees(view: str, corpus: Path) -> None:
    """Digits aside: the shell writes fewer of them."""
    if SHELL is None:
        pytest.skip("no sqlite3 shell")
    query = f"SELECT * FROM {view} LIMIT 2000"  # noqa: S608 - of ours
    command = [SHELL, "-json", f"{corpus.as_uri()}?mode=ro", query]
    shown = subprocess.run(command, capture_output=True, text=True, check=True)

    rows = json.loads(shown.stdout or "[]", strict=False)

    assert [without_digits(row) for row in rows] == [without_digits(row) for row in select(corpus, query)]


def without_digits(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without what the shell writes otherwise, and without what the clock changes."""
    return {
        name: type(value) if isinstance(value, float) else value for name, value in row.items() if name != "silent_s"
    }


def test_delivery_of_a_day_and_a_week(books: Books, database: Path) -> None:
    books.events(started(0, 1), completed(7_200, 1))
    books.events(started(0, 2), reaped(3_600, 2, "failure"), started(7_200, 2), completed(14_400, 2))

    (day,) = select(database, "SELECT * FROM v_dora_daily")
    (week,) = select(database, "SELECT * FROM v_dora_weekly")

    assert day == {
        "day": "2026-01-05",
        "deploys": 2,
        "failures": 1,
        "change_failure_rate": pytest.approx(1 / 3),
        "lead_time_s": 10_800.0,
        "lead_times": 2,
        "time_to_recovery_s": 10_800.0,
        "recoveries": 1,
    }
    assert [*week.values()] == [*day.values()]


def test_delivery_of_each_day_is_that_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    rows = select(corpus, "SELECT * FROM v_dora_daily")

    assert rows
    for row in rows:
        found = dora.collect(reader, whole(row["day"])).period
        assert (row["deploys"], row["failures"]) == (found.deploys, found.failures)
        assert (row["lead_times"], row["recoveries"]) == (found.lead_time.samples, found.time_to_restore.samples)
        figures = (
            (row["change_failure_rate"], 100),
            (row["lead_time_s"], 1 / 3600),
            (row["time_to_recovery_s"], 1 / 3600),
        )
        assert [None if value is None else pytest.approx(value * unit, abs=0.0051) for value, unit in figures] == [
            found.change_failure_rate.value,
            found.lead_time.value,
            found.time_to_restore.value,
        ]


def test_delivery_of_each_week_is_that_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    for row in select(corpus, "SELECT strftime('%s', week) + 7 * 86400 AS until, * FROM v_dora_weekly"):
        found = dora.collect(reader, question(row["until"] + DAY, days=7, until=row["until"])).period
        assert (row["deploys"], row["failures"]) == (found.deploys, found.failures)


def test_throughput_of_each_day_is_that_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    rows = select(corpus, "SELECT * FROM v_throughput_daily")

    assert rows
    for row in rows:
        found = throughput.collect(reader, whole(row["day"]))
        assert (row["finished"], row["successful"], row["failed"]) == (found.finished, found.successful, found.failed)
        assert row["mean_success_duration_s"] == pytest.approx(found.mean_success_duration_s, abs=1e-6)


def test_money_of_each_day_is_that_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    rows = select(corpus, "SELECT * FROM v_cost_daily")

    assert rows
    for row in rows:
        found = costs.collect(reader, whole(row["day"])).total
        assert list(row.values())[1:] == [
            pytest.approx(found.cost_usd),
            found.entries,
            found.input_tokens,
            found.output_tokens,
        ]


@pytest.mark.parametrize("kind", ["model", "stage", "issue"])
def test_money_by_kind_is_that_of_the_report(kind: str, corpus: Path, reader: apsw.Connection) -> None:
    for day in days(corpus, "v_cost_daily"):
        asked = replace(whole(day), limit=1000)
        query = f"SELECT {kind} AS name, cost_usd, entries FROM v_cost_by_{kind} WHERE day = ?"  # noqa: S608 - of ours
        rows = select(corpus, query, day)
        found = getattr(costs.collect(reader, asked), f"by_{kind}")

        assert {(row["name"], row["entries"]): row["cost_usd"] for row in rows} == pytest.approx(
            {(line.name, line.entries): line.cost_usd for line in found if line.name is not None}
        )


def test_an_issue_that_is_no_number_keeps_its_text(books: Books, database: Path) -> None:
    books.entries(entry(0, issue=42), entry(1, issue="PROJ-7"))

    rows = select(database, "SELECT issue, cost_usd FROM v_cost_by_issue ORDER BY issue")

    assert [row["issue"] for row in rows] == [42, "PROJ-7"]


def test_today_stands_beside_the_budget(books: Books, database: Path) -> None:
    (now,) = books.rows("SELECT strftime('%s', 'now') + 0")
    books.entries(entry(int(now) - NOON, 3.0))
    books.db.execute("INSERT INTO budgets (id, daily_budget_usd, enabled) VALUES ('daily', 2, 1)")

    (row,) = select(database, "SELECT * FROM v_budget_today")

    found = costs.collect(books.db, question(int(now), days=1)).budget
    assert (row["spent_usd"], row["used_percent"], row["remaining_usd"]) == (3.0, 150.0, -1.0)
    assert (row["day"], row["exceeded"], row["enabled"]) == (found.day, found.exceeded, found.enabled)


@pytest.mark.parametrize("limit", [None, 0])
def test_without_a_limit_nothing_remains_and_nothing_is_exceeded(
    limit: float | None, books: Books, database: Path
) -> None:
    books.db.execute("INSERT INTO budgets (id, daily_budget_usd, enabled) VALUES ('daily', ?, 1)", (limit,))

    (row,) = select(database, "SELECT * FROM v_budget_today")

    assert list(row.values())[1:] == [0.0, None, None, None, None, None]


def test_stages_of_each_day_are_those_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    for day in days(corpus, "v_stage_performance"):
        rows = {row["stage"]: row for row in select(corpus, "SELECT * FROM v_stage_performance WHERE day = ?", day)}
        found = {one.stage: one for one in stages.collect(reader, whole(day)).stages if one.attempts + one.skipped}

        assert set(rows) == set(found)
        for name, one in found.items():
            row = rows[name]
            counted = [getattr(one, field) for field in ("attempts", "failed", "skipped", "timed")]
            assert [row[field] for field in ("attempts", "failed", "skipped", "timed")] == counted
            for field in ("mean_s", "median_s", "p95_s", "min_s", "max_s"):
                assert row[field] == pytest.approx(getattr(one, field), abs=0.00051), (day, name, field)


@pytest.mark.parametrize("number", [1, 2, 3, 20, 21, 40])
def test_percentiles_are_those_of_sqlite(number: int, books: Books, database: Path) -> None:
    books.events(started(0), *(stage(n, "test", duration_s=n * n % 17) for n in range(1, number + 1)))
    (row,) = select(database, "SELECT * FROM v_stage_performance")

    exact = books.rows("SELECT median(duration_s), percentile_cont(duration_s, 0.95) FROM pipeline_stages")

    assert row["timed"] == number
    assert (row["median_s"], row["p95_s"]) == pytest.approx(exact[0])


def test_an_attempt_without_a_duration_counts_in_all_but_the_durations(books: Books, database: Path) -> None:
    books.events(started(0), stage(1, "test", "failed"), stage(2, "test", duration_s=8), stage(3, "lint", "failed"))

    rows = select(database, "SELECT stage, attempts, failed, timed, mean_s, p95_s FROM v_stage_performance")

    assert [tuple(row.values()) for row in rows] == [("lint", 1, 1, 0, None, None), ("test", 2, 1, 1, 8.0, 8.0)]


def test_midnight_belongs_to_the_day_it_begins(books: Books, database: Path) -> None:
    midnight = 12 * 3_600
    books.events(started(0), stage(midnight - 1, "test", duration_s=1), stage(midnight, "test", duration_s=2))

    rows = select(database, "SELECT day, attempts, max_s FROM v_stage_performance ORDER BY day")

    assert [tuple(row.values()) for row in rows] == [("2026-01-05", 1, 1.0), ("2026-01-06", 1, 2.0)]


def test_durations_are_those_of_successful_attempts(books: Books, database: Path) -> None:
    books.events(started(0), stage(1, "test", "failed", duration_s=9), stage(2, "test", duration_s=3))
    books.events(stage(3, "lint", "skipped", duration_s=9))

    rows = select(database, "SELECT stage, attempts, skipped, timed, max_s FROM v_stage_performance")

    assert [tuple(row.values()) for row in rows] == [("lint", 0, 1, 0, None), ("test", 2, 0, 1, 3.0)]


def test_days_without_an_attempt_have_no_row(books: Books, database: Path) -> None:
    books.events(started(0), stage(1, "test", duration_s=1), stage(9 * DAY, "test", duration_s=2))

    assert days(database, "v_stage_performance") == ["2026-01-05", "2026-01-14"]


def test_a_time_far_away_does_not_keep_the_days_waiting(books: Books, database: Path) -> None:
    books.events(started(0), stage(1, "test"), stage(253_402_300_700 - NOON, "test"))

    assert days(database, "v_stage_performance") == ["2026-01-05", "9999-12-31"]


def test_failures_are_those_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    rows = select(corpus, "SELECT ended_at, issue, stage, attempt, error_class, error, run_id FROM v_failures")
    everything = question(4 * NOON, days=None, limit=100_000)
    found = [one for one in failures.collect(reader, everything).last if one.attempt is not None]

    assert rows
    assert [tuple(row.values()) for row in rows] == [
        (one.ended_at, one.issue, one.stage, one.attempt, one.error_class, one.error, one.run) for one in found
    ]


def test_runs_are_those_of_the_report_in_its_order(corpus: Path, reader: apsw.Connection) -> None:
    rows = select(corpus, "SELECT * FROM v_runs")
    found = runs.collect(reader, question(4 * NOON, days=None, limit=100_000)).runs

    assert rows
    for field in ("id", "issue", "status", "started_at", "ended_at", "duration_s", "failed_stage", "cost_usd"):
        assert [row[field] for row in rows] == [getattr(run, field) for run in found], field


def test_activity_is_that_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    query = "SELECT * FROM v_activity WHERE journal = 'own' ORDER BY id DESC LIMIT 2000"
    found = activity.collect(reader, question(4 * NOON, days=None, limit=2000)).events

    rows = select(corpus, query)
    assert rows
    for field in ("id", "ts", "type", "issue", "title", "stage", "result", "duration_s", "cost_usd", "model"):
        assert [row[field] for row in rows] == [getattr(one, field) for one in found], field


def test_activity_comes_newest_first(corpus: Path) -> None:
    times = [(row["ts_epoch"], row["id"]) for row in select(corpus, "SELECT ts_epoch, id FROM v_activity")]

    assert times == sorted(times, reverse=True)


def test_team_events_are_told_from_own_ones(books: Books, database: Path) -> None:
    books.events(event("daemon.poll", 0))
    told_by = {"from_developer": "Grace", "from_machine": "laptop"}
    books.lines([json.dumps(event("daemon.poll", 1, **told_by)).encode()], team=True)

    rows = select(database, "SELECT journal, developer, origin FROM v_activity")

    assert [tuple(row.values()) for row in rows] == [
        ("team", "Grace", "team-events.jsonl/Grace@laptop"),
        ("own", None, "events.jsonl"),
    ]


def test_an_issue_has_its_title(books: Books, database: Path) -> None:
    books.db.execute("INSERT INTO daemon_titles (id, title) VALUES ('7', 'Mend the gauge')")
    books.events(started(0, 7), event("daemon.poll", 1, issue=None))

    assert [row["title"] for row in select(database, "SELECT title FROM v_activity")] == [None, "Mend the gauge"]
    assert [row["title"] for row in select(database, "SELECT title FROM v_runs")] == ["Mend the gauge"]


@pytest.mark.parametrize(
    ("seconds", "presence"), [(20, "online"), (60, "idle"), (150, "offline"), (-500, "online"), (None, "offline")]
)
def test_presence_is_that_of_the_report(seconds: int | None, presence: str, books: Books, database: Path) -> None:
    (now,) = books.rows("SELECT strftime('%s', 'now') + 0")
    heartbeat = 0 if seconds is None else 1000 * (int(now) - seconds)
    books.db.execute(
        """INSERT INTO sessions (id, developer, machine, last_heartbeat_ms, active_jobs, queued)
        VALUES ('a@b', 'a', 'b', ?, '[{"issue":1}]', 'no JSON')""",
        (heartbeat,),
    )

    (row,) = select(database, "SELECT * FROM v_team")

    (found,) = team.collect(books.db, question(int(now))).sessions
    assert row["presence"] == found.presence == presence
    assert (row["last_seen"], row["active_jobs"], row["queued"]) == (found.last_seen, 1, 0)
    assert row["silent_s"] is None if seconds is None else max(0, seconds) <= row["silent_s"] < max(0, seconds) + 60


def test_remembered_failures_are_those_of_the_report(corpus: Path, reader: apsw.Connection) -> None:
    rows = {row.pop("id"): row for row in select(corpus, "SELECT * FROM v_memory_failures")}
    found = memory.collect(reader, question(4 * NOON, days=None, limit=1000)).failures

    assert set(rows) == {one.id for one in found}
    for one in found:
        row = rows[one.id]
        assert row.pop("pattern") == one.name
        assert row == {field: getattr(one, field) for field in row}


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (
            "SELECT * FROM v_dora_daily WHERE day >= '2026-01-01'",
            "metrics_name_period (name=? AND period=? AND period_",
        ),
        (
            "SELECT * FROM v_cost_daily WHERE day >= '2026-01-01'",
            "metrics_name_period (name=? AND period=? AND period_",
        ),
        ("SELECT * FROM v_cost_by_model WHERE day = '2026-01-01'", "(name=? AND period=? AND period_start=?"),
        ("SELECT * FROM v_failures WHERE ended_epoch > 1", "pipeline_stages_stage (stage=? AND ended_epoch>?"),
        ("SELECT * FROM v_runs LIMIT 20", "USING INDEX pipeline_runs_started_epoch"),
        ("SELECT * FROM v_runs WHERE started_epoch > 1", "pipeline_runs_started_epoch (started_epoch>?"),
        ("SELECT * FROM v_activity LIMIT 50", "USING INDEX events_ts_epoch"),
        ("SELECT * FROM v_activity WHERE ts_epoch > 1", "events_ts_epoch (ts_epoch>?"),
        ("SELECT * FROM v_activity WHERE type = 'x' LIMIT 50", "events_type_epoch (type=?"),
        ("SELECT * FROM v_activity WHERE issue = 7", "events_issue (issue=?"),
    ],
)
def test_a_period_is_looked_up_and_nothing_sorted_for_a_page(query: str, index: str, database: Path) -> None:
    found = plan(database, query)

    assert index in found
    assert not re.search(r"SCAN (e|r|p|m|metrics|events)$", found, re.MULTILINE)
    assert "LIMIT" not in query or "TEMP B-TREE" not in found


def test_a_day_of_stages_is_not_paid_with_all_days(books: Books, database: Path) -> None:
    """The figures of a day hang on the row of that day, so the other days' are never worked out."""
    found = plan(database, "SELECT * FROM v_stage_performance WHERE day = '2026-01-05'")

    assert found.index("SCAN d") < found.index("CORRELATED SCALAR SUBQUERY", found.index("SCAN d"))
    assert books.rows("SELECT count(*) FROM v_stage_performance") == [0]


def test_money_waits_for_no_report(books: Books, database: Path) -> None:
    books.events(spent(0), told(1, "build"))

    assert select(database, "SELECT cost_usd, entries FROM v_cost_daily") == [{"cost_usd": 0.25, "entries": 1}]
