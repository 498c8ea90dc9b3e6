"""docs/monitoring.md and docs/alerts.yml agree with the program."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from scrape import Scraped

from shipwrightd.daemon import Batch, PassReport
from shipwrightd.daemon.catch_up import backfill
from shipwrightd.monitoring.hook import RAISED, Notice, Trouble, open_troubles, payload
from shipwrightd.monitoring.metrics import Endpoint
from shipwrightd.status import collect, prometheus

DOCS = Path(__file__).parent.parent / "docs"
TEXT = (DOCS / "monitoring.md").read_text()
ALERTS = DOCS / "alerts.yml"
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (both|run) \| (.+) \|$", re.MULTILINE)


def rows(text: str, where: str) -> list[tuple[str, str, str, str]]:
    """Return name, kind and help of the metrics in an exposition, with where they come from."""
    scraped = Scraped(text)
    return [(name, kind, where, scraped.help[name]) for name, kind in scraped.kinds.items()]


def served(home: Path) -> list[tuple[str, str, str, str]]:
    """Return all metrics there are."""
    (home / "events.jsonl").write_text('{"ts_epoch":1789999990,"type":"a"}\n')
    both = home.parent / "shipwright.db"
    backfill(home, both)
    status = collect(home, both, ["events.jsonl"], 1_790_000_000.0)
    status = replace(
        status, daemon=replace(status.daemon, alive=True, command="run", started_at="2026-01-01T00:00:00Z")
    )
    endpoint = Endpoint(lambda: status)
    endpoint.notify(Batch("events.jsonl", 1, 1, 0.0))
    endpoint.notify(PassReport(0, errors={"events.jsonl": ""}))
    of_status = rows(prometheus.exposition(prometheus.metrics(status)), "both")
    return [*of_status, *rows(endpoint.serve_metrics().body, "run")[len(of_status) :]]


def test_each_metric_is_explained_in_its_own_words_and_no_other(home: Path) -> None:
    on_linux = sys.platform == "linux"  # where the library knows the process
    assert [row for row in ROW.findall(TEXT) if on_linux or not row[0].startswith("process_")] == served(home)


def test_alerts_ask_for_metrics_that_exist(home: Path) -> None:
    asked = set(re.findall(r"shipwrightd_\w+", ALERTS.read_text()))

    assert asked
    assert asked <= {name for name, *_ in served(home)}


def test_alerts_are_valid() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool, of the package prometheus, is not installed")
    done = subprocess.run(["promtool", "check", "rules", ALERTS], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_the_payload_and_the_states_of_the_hook_are_listed() -> None:
    hook = TEXT.split("## The hook")[1]
    states = {each.state for each in open_troubles(PassReport(0, errors={"x": ""}, trouble=["x"], waiting="x"))}
    keys = payload(Notice(RAISED, Trouble("database_waiting"), 0.0), 0.0).keys()

    assert re.findall(r"^\| `(\w+)` \|", hook, re.MULTILINE) == [
        *["source_error", "database_waiting", "watching_degraded"],
        *keys,
    ]
    assert states == {"source_error", "database_waiting", "watching_degraded"}
