"""docs/monitoring.md and docs/alerts.yml say what the program tells."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shipwrightd.daemon.callbacks import Turn
from shipwrightd.monitoring import process
from shipwrightd.monitoring.alarms import RAISED, Notice, Trouble, standing
from shipwrightd.monitoring.endpoint import Endpoint
from shipwrightd.monitoring.hook import payload
from shipwrightd.monitoring.metrics import Figures
from shipwrightd.status import prometheus
from shipwrightd.status.collect import collect

if TYPE_CHECKING:
    from shipwrightd.monitoring.exposition import Metric

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "monitoring.md").read_text()
ALERTS = DOCS / "alerts.yml"
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (both|run) \| (.+) \|$", re.MULTILINE)


def listed(metrics: list[Metric], where: str) -> list[tuple[str, str, str, str]]:
    return [(metric.name, metric.kind, where, metric.help) for metric in metrics]


def told(home: Path) -> list[tuple[str, str, str, str]]:
    """Return all metrics there are."""
    both = prometheus.metrics(collect(home, home / "none.db", [], 0.0))
    return [*listed(both, "both"), *listed([*Figures().metrics(0.0), *process.metrics(0.0)], "run")]


def test_each_metric_is_explained_in_its_own_words_and_no_other(home: Path) -> None:
    documented = [row for row in ROW.findall(TEXT) if row[0] != "shipwrightd_database_readable"]

    assert documented == told(home)


def test_the_endpoint_tells_no_metric_that_is_not_explained(home: Path) -> None:
    both = prometheus.metrics(collect(home, home / "none.db", [], 0.0))
    body = Endpoint(lambda: both, prometheus.build_info()).metrics().body

    assert set(re.findall(r"^# TYPE (\w+)", body, re.MULTILINE)) <= {row[0] for row in ROW.findall(TEXT)}


def test_alerts_ask_for_metrics_that_exist(home: Path) -> None:
    asked = set(re.findall(r"shipwrightd_\w+", ALERTS.read_text()))

    assert asked
    assert asked <= {name for name, *_ in told(home)}


def test_alerts_are_valid() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool, of the package prometheus, is not installed")
    done = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_payload_and_the_states_of_the_hook_are_listed() -> None:
    hook = TEXT.split("## The hook")[1]
    states = {each.state for each in standing(Turn(0, errors={"x": ""}, trouble=["x"], waiting="x"))}
    keys = payload(Notice(RAISED, Trouble("database_waiting"), 0.0), 0.0).keys()

    assert re.findall(r"^\| `(\w+)` \|", hook, re.MULTILINE) == [
        *["source_error", "database_waiting", "watching_degraded"],
        *keys,
    ]
    assert states == {"source_error", "database_waiting", "watching_degraded"}
