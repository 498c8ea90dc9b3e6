"""The real dashboard on the same files, answer by answer; only where it and Bun are there.

SHIPWRIGHT_CHECKOUT is a checkout of Shipwright, BUN the program `bun` where it is not on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from document_samples import costs, failure, failures
from projection import NOON, completed, event, published, reaped, spent, stage, started, told
from world import eventually

from shipwrightd.daemon.catch_up import backfill
from shipwrightd.dashboard import FailsError, RefusedError, answer
from shipwrightd.database import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator

BUN = os.environ.get("BUN") or shutil.which("bun")
SERVER = Path(os.environ.get("SHIPWRIGHT_CHECKOUT", "/nowhere")) / "dashboard" / "server.ts"
NOW = NOON + 5_400
DAY_S = 86_400
REAL = {  # below the fixtures, and a time soon after
    "small": ("small/dot-shipwright", 1_768_410_120),
    "malformed": ("malformed/events.jsonl", 1_768_910_000),
    "old": ("malformed/v1.10.0-run.events.jsonl", 1_767_700_000),
}
FIXED_CLOCK = """
const moment = Number(process.env.FIXED_NOW) * 1000, Real = Date;
globalThis.Date = class extends Real {
  constructor(...given) { given.length ? super(...given) : super(moment); }
  static now() { return moment; }
};
"""
PERIODS = (
    "",
    "?period=1",
    "?period=2",
    "?period=7",
    "?period=31",
    "?period=400",
    "?period=x",
    "?period=-3",
    "?period=1e9",
)
ADDRESSES = [
    *(
        f"/api/{name}{period}"
        for name in (
            "metrics/history",
            "metrics/dora-trend",
            "metrics/stage-performance",
            "metrics/throughput-trend",
            "costs/breakdown",
            "costs/trend",
        )
        for period in PERIODS
    ),
    *("/api/metrics/bottlenecks", "/api/metrics/failure-heatmap", "/api/queue/detailed", "/api/team"),
    *("/api/memory/patterns", "/api/memory/decisions", "/api/memory/global", "/api/memory/failures/7"),
    *(
        "/api/memory/failures/x",
        "/api/events/7",
        "/api/events/8/more",
        "/api/events/0",
        "/api/events/",
        "/api/events/7x",
    ),
    *(
        f"/api/activity?{query}"
        for query in (
            *("", "limit=3", "limit=900", "limit=x", "limit=-4", "limit=0", "offset=5", "offset=x", "offset=-5"),
            *("limit=3&offset=99999", "issue=7", "issue=8x", "issue=x", "issue=0", "type=all", "type=stage"),
            *(
                "type=pipeline.started",
                "type=nothing",
                "type=stage&issue=7&limit=2&offset=1",
                "limit=%35",
                "type=st+age",
            ),
        )
    ),
    "/api/team/activity",
]


def broken() -> list[bytes]:
    """Return lines a parser refuses, or reads otherwise than most, each with what the dashboard counts."""
    good = json.dumps(completed(500, issue=8)).encode()
    return [
        good[:-1] + b',"note":"\x1b[31mred"}',
        good[:-1] + b',"duration_s":007}',
        good[:-1] + b',"duration_s":85.}',
        good[:-1] + b',"note":"caf\xc3"}',
        good[:-1] + b',"result":"failure"}',
        good[: len(good) // 2],
        good + good,
        b'{"ts":"","ts_epoch":,"type":"pipeline.completed"}',
        b"",
        b"not json at all",
        json.dumps(event("memory.decision", 510, summary="s")).encode()[:-1] + b',"type":"adr"}',
        json.dumps(stage(520, "plan", "failed", error='tab\tnew\nline \\ "quoted" \u2028')).encode(),
        json.dumps(event("stage.completed", 530, stage="plan", duration_s=0.5, result="success")).encode(),
        json.dumps(stage(540, "12", duration_s=1_000, cost_usd=0.125)).encode(),
        json.dumps(spent(550, 0, input_tokens=1_000_000, model="Haiku")).encode(),
        json.dumps(spent(551, -1)).encode(),
        json.dumps(event("cost.record", 552, issue="#42", stage="plan", cost_usd=0.005)).encode(),
        json.dumps(event("cost.record", 553, issue=9, cost_usd=0.25)).encode(),
    ]


def runs() -> list[bytes]:
    """Return some weeks of runs, oldest first."""
    found = []
    for at in range(-60 * DAY_S, 0, 41_000):
        issue = at % 5 + 6
        result = "failure" if at % 3 == 0 else "success"
        date = {"ts": f"2026-01-{at % 28 + 1:02}T10:00:00Z"}
        found += [
            started(at, issue=issue),
            published("pipeline.started", at, issue=str(issue)),
            stage(at + 30, "intake", issue=issue, duration_s=at % 977, result="success"),
            told(at + 60, "build", issue=issue),
            stage(at + 90, "test", "failed", issue=issue, error="no", **date),
            stage(at + 120, "merge", issue=0, duration_s=(at % 1_801) / 7, result="success"),
            completed(at + 200, issue=issue, result=result, duration_s=at % 4_001, **date),
            reaped(at + 210, issue=issue),
            spent(at + 220, (at % 991) / 700, **date),
            event("pipeline.cost", at + 220, None, cost_usd=(at % 991) / 701, model="opus", **date),
        ]
    return [json.dumps(one).encode() for one in found]


def lay_out(home: Path) -> None:
    """Write the files of a home."""
    lines, odd = runs(), broken()
    for at, line in enumerate(odd):
        lines.insert(len(lines) - 40 * (at % 7), line)
    home.mkdir(parents=True)
    (home / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    job = {"issue": 7, "title": "Seven", "started_at": "2026-01-05T11:00:00Z"}
    documents: dict[str, Any] = {
        "daemon-state.json": {"active_jobs": [job], "queued": ["7", "acme/rocket:58"], "titles": {"8": "Eight"}},
        "costs.json": costs(1, 2),
        "memory/0123456789ab/failures.json": failures(failure("boom", 3, 1)),
        "memory/0123456789ab/decisions.json": {"decisions": [{"type": "adr", "summary": "s", "detail": "d"}]},
        "developer-registry.json": [developer("Ada", 10_000), developer("Bob", 100_000), developer("Eve", 90_000_000)],
    }
    for name, value in documents.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(json.dumps(value))
    sent = {"from_developer": "Ada", "from_machine": "m1"}
    team = [json.dumps(event("a.b", at, **sent)).encode() for at in range(130)]
    (home / "team-events.jsonl").write_bytes(b"\n".join(team) + b"\n")


def developer(name: str, silent_ms: int) -> dict[str, Any]:
    jobs = [{"issue": 7, "title": "Seven", "stage": "build"}]
    about = {"hostname": "h", "platform": "linux", "daemon_running": True, "daemon_pid": None, "events_since": 0}
    heard = {"last_heartbeat": NOW * 1_000 - silent_ms, "active_jobs": jobs, "queued": ["8"]}
    return {"developer_id": name, "machine_name": "m1", **about, **heard}


class Dashboard:
    """The real one, on a home of its own."""

    def __init__(self, folder: Path, now: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        clock = folder / "clock.js"
        clock.write_text(FIXED_CLOCK)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "DASHBOARD_"))}
        self.process = subprocess.Popen(
            [str(BUN), "--preload", str(clock), str(SERVER), str(self.port)],
            env={**kept, "HOME": str(folder), "FIXED_NOW": str(now)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def get(self, path: str) -> tuple[int, Any]:
        """Return the status and the JSON of an answer, 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                text = error.read()
            return error.code, json.loads(text) if error.code == 400 else None
        except OSError:
            return 0, None


@pytest.fixture(scope="module", params=["made here", "small", "malformed", "old"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Return the dashboard on a home, a database of the same files, and the time of both."""
    if BUN is None or not SERVER.is_file():
        pytest.skip("needs bun, on PATH or named by BUN, and SHIPWRIGHT_CHECKOUT")
    folder = tmp_path_factory.mktemp("live")
    home = folder / ".shipwright"
    now = NOW
    if request.param == "made here":
        lay_out(home)
    else:
        name, now = REAL[request.param]
        source = request.getfixturevalue("fixtures_dir") / name
        if not source.exists():
            pytest.skip(f"no {source}")
        if source.is_dir():
            shutil.copytree(source, home, copy_function=shutil.copyfile)
        else:
            home.mkdir()
            shutil.copyfile(source, home / "events.jsonl")
    backfill(home, folder / "elsewhere" / "shipwright.db")
    db = open_reader(folder / "elsewhere" / "shipwright.db")
    dashboard = Dashboard(folder, now)
    try:
        eventually(lambda: dashboard.get("/api/health")[0], what="the dashboard does not answer")
        yield dashboard, db, now
    finally:
        dashboard.process.terminate()
        dashboard.process.wait(10)
        db.close()


@pytest.mark.parametrize("path", ADDRESSES)
def test_compat_is_what_the_dashboard_answers_now(pair: Any, path: str) -> None:
    dashboard, db, now = pair
    status, wanted = dashboard.get(path)
    if status == 400:
        with pytest.raises(RefusedError, match=wanted["error"]):
            answer(db, path, now, compat=True)
    elif status == 500:
        with pytest.raises(FailsError):
            answer(db, path, now, compat=True)
    else:
        found = answer(db, path, now, compat=True)
        assert (status, in_order(path, found, wanted)) == (200, in_order(path, wanted, wanted))


def in_order(path: str, found: Any, wanted: Any) -> Any:
    """Return an answer without what the database cannot tell; see docs/dashboard.md."""
    if path == "/api/memory/decisions":
        return sorted(found["decisions"], key=str)
    if path == "/api/team":
        return {**found, "developers": sorted(found["developers"], key=lambda one: str(one["last_heartbeat"]))}
    if path == "/api/team/activity":
        pairs = zip(found, wanted, strict=True)
        return [{key: one[key] for key in one if key != "ts_epoch" or key in there} for one, there in pairs]
    return found
