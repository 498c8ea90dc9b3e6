"""Reports asked with --compat: the figures of the dashboard's recorded answers, in the reports' own shape."""

from __future__ import annotations

import importlib
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from reports import question

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.database.connection import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_768_410_120  # of the recorded answers
NAMES = ("dora", "costs", "stages", "throughput", "failures", "team", "memory")


@pytest.fixture(scope="module")
def small(fixtures_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return a database of the small set, and its recorded answers."""
    source = fixtures_dir / "small"
    if not source.is_dir():
        pytest.skip(f"no {source}")
    folder = tmp_path_factory.mktemp("compat")
    shutil.copytree(source / "dot-shipwright", folder / "home", copy_function=shutil.copyfile)
    backfill(folder / "home", folder / "db" / "shipwright.db")
    db = open_reader(folder / "db" / "shipwright.db")
    yield db, lambda file: json.loads((source / "oracle" / file).read_text())
    db.close()


def compat(db: Any, name: str, **asked: Any) -> Any:
    report = importlib.import_module(f"shipwrightd.reports.compat.{name}")
    return report.collect(db, question(NOW, compat=True, **asked))


@pytest.mark.parametrize(("days", "file"), [(7, "metrics_history.json"), (30, "metrics_history_period_30.json")])
def test_dora_has_the_four_measures_of_the_dashboard(small: Any, days: int, file: str) -> None:
    db, told = small
    grades = told(file)["dora_grades"]
    period = compat(db, "dora", days=days).period
    ours = (period.deployment_frequency, period.lead_time, period.change_failure_rate, period.time_to_restore)

    assert [(one.value, one.unit, one.grade) for one in ours] == [tuple(one.values()) for one in grades.values()]


def test_dora_has_the_weeks_of_the_dashboard(small: Any) -> None:
    db, told = small
    weeks = [week["grades"] for week in told("metrics_dora-trend_period_30.json")["weeks"]]
    ours = compat(db, "dora", days=30).weeks

    assert [week.deployment_frequency.value for week in ours] == [week["deploy_freq"]["value"] for week in weeks]
    assert [week.lead_time.grade for week in ours] == [week["lead_time"]["grade"] for week in weeks]


def test_costs_are_those_of_the_dashboard(small: Any) -> None:
    db, told = small
    breakdown = told("costs_breakdown_period_30.json")
    ours = compat(db, "costs", days=30)

    assert ours.total.cost_usd == breakdown["total"]
    assert {line.name: line.cost_usd for line in ours.by_model} == breakdown["byModel"]
    assert {line.name: line.cost_usd for line in ours.by_stage} == breakdown["byStage"]
    days = {day["date"]: day["cost"] for day in told("costs_trend_period_30.json")["daily"]}
    assert {line.name: line.cost_usd for line in ours.by_day if line.name in days} == days


def test_stages_are_those_of_the_dashboard(small: Any) -> None:
    db, told = small
    ours = compat(db, "stages", days=7)
    shown = [(one.stage, one.mean_s, one.min_s, one.max_s, one.timed, one.trend_percent) for one in ours.stages]
    keys = ("name", "avgDuration", "minDuration", "maxDuration", "count", "trend")

    assert shown == [
        tuple(one[key] for key in keys) for one in told("metrics_stage-performance_period_7.json")["stages"]
    ]
    assert [one.stage for one in ours.bottlenecks] == [
        one["stage"] for one in told("metrics_bottlenecks.json")["bottlenecks"]
    ]


def test_throughput_is_that_of_the_dashboard(small: Any) -> None:
    db, told = small
    ours = compat(db, "throughput", days=7)
    days = {day.day: (day.successful, day.failed) for day in ours.by_day}

    for day in told("metrics_history.json")["daily_counts"]:
        assert days[day["date"]] == (day["completed"], day["failed"])


def test_failures_are_the_heatmap_of_the_dashboard(small: Any) -> None:
    db, told = small
    heatmap: dict[str, dict[str, int]] = {}
    for cell in compat(db, "failures", days=None).heatmap:
        heatmap.setdefault(cell.stage, {})[cell.day] = cell.failed_attempts

    assert heatmap == told("metrics_failure-heatmap.json")["heatmap"]


def test_team_has_those_whom_the_dashboard_shows(small: Any) -> None:
    db, told = small
    team = told("team.json")
    ours = compat(db, "team")

    assert {(one.id, one.presence) for one in ours.sessions} == {
        (f"{one['developer_id']}@{one['machine_name']}", one["_presence"]) for one in team["developers"]
    }
    assert (ours.online, ours.active_jobs, ours.queued) == tuple(list(team.values())[1:])


def test_memory_has_the_one_unknown_failure_of_the_dashboard(small: Any) -> None:
    db, told = small
    shown = told("memory_patterns.json")["patterns"]

    assert [(one.name, one.frequency) for one in compat(db, "memory").failures] == [
        (one["pattern"], one["frequency"]) for one in shown
    ]


@pytest.mark.parametrize("name", NAMES)
def test_compat_gives_what_the_report_itself_shows_and_lists(small: Any, name: str) -> None:
    db, _ = small
    report = importlib.import_module(f"shipwrightd.reports.{name}")
    ours, theirs = report.collect(db, question(NOW)), compat(db, name)

    assert type(ours) is type(theirs)
    assert len({tuple(row) for row in report.rows(theirs)}) <= 1, "rows of one shape"
