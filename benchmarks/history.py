"""A year of a busy machine: its home and the database of it, made once: python -m benchmarks.history FOLDER [COUNT].

As dense as real journals: of a hundred lines 28 tell of stages, 8 of money and
1.5 of a run's end. The same seed makes the same files, byte for byte.
"""

from __future__ import annotations

import contextlib
import heapq
import random
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from benchmarks.generate import GOALS, MODELS, payload
from benchmarks.measure import shipwrightd
from shipwrightd.database import migrate, open_reader
from shipwrightd.errors import DatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.generate import Event

SEED = 20260105
START = 1_735_689_600  # 2025-01-01T00:00:00Z
SPAN_S = 365 * 86_400
EVENTS_A_RUN = 61.8  # of this mix, polls included
POLLS_A_RUN = 8
TEAM_SHARE = 100  # one line of team events for so many of the journal
FLOWS = {
    "fast": ("intake", "build", "test", "pr"),
    "hotfix": ("intake", "build", "test", "pr"),
    "standard": ("intake", "plan", "design", "build", "test", "review", "compound_quality", "pr", "merge"),
    "full": (
        *("intake", "plan", "design", "build", "test", "review", "compound_quality", "pr", "merge"),
        *("deploy", "validate", "monitor"),
    ),
}
SECONDS = {"intake": 20, "plan": 90, "design": 120, "build": 900, "test": 280, "compound_quality": 240}
USUAL_SECONDS = 60
CLASSES = ("infrastructure", "logic", "configuration", "unknown")
DEVELOPERS = tuple(f"dev{number}" for number in range(8))


@dataclass(frozen=True, slots=True)
class History:
    """What was made: the home, its journal, the database."""

    home: Path
    journal: Path
    database: Path


def run(rng: random.Random, begin: int, issue: int, failed: deque[int]) -> Iterator[Event]:
    """Yield the events of one run in the order of time; an issue that failed is left in `failed`."""
    template = rng.choices(tuple(FLOWS), (5, 1, 4, 1))[0]
    model = rng.choices(MODELS, (1, 5, 3))[0]
    at = begin
    yield from opening(rng, at, issue, template, model)
    stages = FLOWS[template]
    failing = rng.choice(stages[1:]) if rng.random() < 0.14 else ""
    for stage in stages:
        yield at, "intelligence.model", {"stage": stage, "complexity": 5, "model": model, "source": "heuristic"}
        if stage != "build":
            yield at, "stage.started", {"issue": issue, "stage": stage}
        else:
            yield at, "memory.inject", {"stage": stage}
        took = max(1, round(rng.lognormvariate(0, 0.6) * SECONDS.get(stage, USUAL_SECONDS)))
        if stage == "build":
            yield at + took // 2, "pipeline.vitals_check", {"issue": issue, "health_score": 80, "verdict": "continue"}
        at += took
        if rng.random() < 0.66:
            yield at, "cost.record", spent(rng, model, stage, 1.0)
        yield from stage_end(rng, at, took, issue, stage, failing=stage == failing)
        if stage == failing:
            yield from failed_end(rng, at + 1, at - begin, issue, stage)
            failed.append(issue)
            return
    yield from good_end(rng, at + 1, at - begin, issue, (template, model))


def opening(rng: random.Random, at: int, issue: int, template: str, model: str) -> Iterator[Event]:
    """Yield what the daemon and the pipeline say before the first stage."""
    guess = {"complexity": rng.randrange(10), "risk_level": "low", "success_probability": rng.randrange(100)}
    yield at, "intelligence.analysis", {**guess, "recommended_template": template}
    yield at, "daemon.triage", {"issue": issue, "score": rng.randrange(100), "priority": 9, "age": 12}
    yield at, "pm.recommend", {"issue": issue}
    yield at, "daemon.spawn", {"issue": issue, "pid": rng.randrange(400_000), "repo": "local"}
    yield at, "reasoning.trace", {"job_id": f"pipeline-{issue}", "complexity": "high", "template": template}
    named = {"issue": issue, "template": template, "complexity": guess["complexity"], "machine": "buildbox-1"}
    yield at, "pipeline.started", {**named, "pipeline": template, "model": model, "goal": rng.choice(GOALS)}
    yield at, "pipeline.started", payload(at, rng, {"issue": str(issue), "pipeline": template})


def stage_end(  # noqa: PLR0913 - what two lines are made of
    rng: random.Random, at: int, took: int, issue: int, stage: str, *, failing: bool
) -> Iterator[Event]:
    """Yield the two lines that end a stage; of a good build only the first is ever written."""
    told = payload(at, rng, {"stage": stage, "issue": str(issue), "timing": f"{took}s"})
    yield at, "stage.failed" if failing else "stage.complete", told
    own = {"issue": issue, "stage": stage, "duration_s": took}
    if failing:
        yield at, "stage.failed", {**own, "error": "AssertionError: a == b", "error_class": rng.choice(CLASSES)}
    elif stage == "build":
        yield at, "memory.metric", {"metric": "build_duration_s", "value": took}
    else:
        yield at, "stage.completed", {**own, "result": "success"}


def failed_end(rng: random.Random, at: int, took: int, issue: int, stage: str) -> Iterator[Event]:
    """Yield what follows a failed stage; most failing pipelines never report their end."""
    yield at, "memory.failure", {"stage": stage, "pattern": f"AssertionError {rng.randrange(500)}"}
    yield at, "retry.classified", {"issue": issue, "class": "unknown"}
    if rng.random() < 0.4:
        done = {"issue": issue, "result": "failure", "duration_s": took, "iterations": 1, "failed_stage": stage}
        yield at, "pipeline.completed", {**done, "error_class": rng.choice(CLASSES)}
    yield at + 2, "daemon.reap", {"issue": issue, "result": "failure", "duration_s": took}
    yield at + 2, "daemon.failure_classified", {"issue": issue, "class": rng.choice(CLASSES)}
    yield at + 2, "daemon.retry", {"issue": issue, "retry": 1, "max": 2}


def good_end(rng: random.Random, at: int, took: int, issue: int, named: tuple[str, str]) -> Iterator[Event]:
    """Yield what a pipeline says when all went well."""
    template, model = named
    money = spent(rng, model, "pipeline", 2.0)
    tokens = {name: money[name] for name in ("input_tokens", "output_tokens")}
    done = {"issue": issue, "result": "success", "duration_s": took, "iterations": 1, "template": template}
    stages = FLOWS[template]
    yield at, "pipeline.cleanup", {"issue": issue, "cleaned": 4, "type": "post_completion"}
    yield at, "pipeline.completed", {**done, "stages_passed": len(stages), "slowest_stage": "build", **tokens}
    yield at, "prediction.validated", {"issue": issue, "predicted_complexity": 5, "success": "true"}
    yield at, "template.outcome", {"issue": issue, "template": template, "success": "true", "duration_s": took}
    yield at, "risk.outcome", {"issue": issue, "predicted_risk": 0, "actual_failure": "false"}
    for stage in stages:
        yield at, "model.outcome", {"issue": issue, "stage": stage, "model": model, "success": "true"}
    yield at, "memory.capture", {"repo": "rocket", "result": "success"}
    yield at, "memory.metric", {"metric": "iterations", "value": 1}
    yield at, "pipeline.cost", {**tokens, "model": model, "cost_usd": money["cost_usd"]}
    yield at, "cost.record", money
    yield at + 2, "daemon.reap", {"issue": issue, "result": "success", "duration_s": took + 2}


def spent(rng: random.Random, model: str, stage: str, most_usd: float) -> dict[str, object]:
    """Return the fields of a cost.record."""
    tokens = {"input_tokens": rng.randrange(500_000), "output_tokens": rng.randrange(60_000)}
    return {**tokens, "model": model, "stage": stage, "cost_usd": round(rng.random() * most_usd, 4)}


def merged(rng: random.Random, events: int) -> Iterator[Event]:
    """Yield all events in the order of time, parallel runs and the daemon's polls interleaved, without end."""
    gap = SPAN_S * EVENTS_A_RUN / events
    issues, failed, order = count(1), deque[int](), count()
    waiting: list[tuple[int, int, Event, Iterator[Event]]] = []
    begin = poll = float(START)

    def push(source: Iterator[Event]) -> None:
        event = next(source, None)
        if event is not None:
            heapq.heappush(waiting, (event[0], next(order), event, source))

    while True:
        while not waiting or begin <= waiting[0][0]:
            again = failed.popleft() if failed and rng.random() < 0.3 else next(issues)
            push(run(rng, int(begin), again, failed))
            begin += rng.expovariate(1 / gap)
        at, _, event, source = heapq.heappop(waiting)
        while poll <= at:
            state = {"issues_found": rng.randrange(9), "active": len(waiting), "mode": "repo"}
            yield int(poll), "daemon.poll", state
            if rng.random() < 0.1:
                yield int(poll), "daemon.scale", {"from": 2, "to": 3, "max_by_cpu": 2, "remaining_usd": "unlimited"}
            poll += rng.expovariate(POLLS_A_RUN / gap)
        yield event
        push(source)


@lru_cache(maxsize=64)
def written(at: int) -> str:
    """Return a time as the journal has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def write(home: Path, events: int) -> None:
    """Write a home: the journal, one of team events, and the documents beside them."""
    rng = random.Random(SEED)
    spending: deque[dict[str, object]] = deque(maxlen=1000)
    newest = START
    source = merged(rng, events)
    with (home / "events.jsonl").open("wb") as journal, (home / "team-events.jsonl").open("wb") as team:
        for number, (at, kind, fields) in enumerate(islice(source, events)):
            stamp = {"ts": written(at), "ts_epoch": at}
            journal.write(orjson.dumps({**stamp, "type": kind, **fields}) + b"\n")
            if kind == "cost.record":
                spending.append({**fields, "issue": "", **stamp})
            if number % TEAM_SHARE == 0:
                who = {"from_developer": rng.choice(DEVELOPERS), "from_machine": "laptop"}
                team.write(orjson.dumps({**stamp, "type": kind, **fields, **who}) + b"\n")
            newest = at
    for name, value in documents(rng, newest, spending):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(orjson.dumps(value))


def documents(rng: random.Random, newest: int, spending: deque[dict[str, object]]) -> Iterator[tuple[str, object]]:
    """Yield path and content of each document; costs.json holds the last thousand entries, as it does."""
    yield "costs.json", {"entries": list(spending), "summary": {}}
    yield "budget.json", {"daily_budget_usd": 500, "enabled": True}
    yield (
        "developer-registry.json",
        [
            {"developer_id": name, "machine_name": "laptop", "last_heartbeat": 1000 * (newest - rng.randrange(9_000))}
            for name in DEVELOPERS
        ],
    )
    for repo in range(20):
        failures = [
            {
                "stage": rng.choice(FLOWS["full"]),
                "pattern": f"AssertionError {repo} {number}: expected fuel",
                "root_cause": "a sensor",
                "fix": "calibrate it",
                "seen_count": rng.randrange(1, 40),
                "last_seen": written(newest - rng.randrange(SPAN_S)),
            }
            for number in range(100)
        ]
        yield f"memory/{repo:012x}/failures.json", {"failures": failures}


def make(folder: Path, events: int) -> History:
    """Return the history in a folder; what is there already is taken as it is, if it is whole and of this release."""
    home, whole = folder / f"home-{events}", folder / f"home-{events}.whole"
    if not whole.exists():
        home.mkdir(parents=True, exist_ok=True)
        write(home, events)
        whole.touch()
    return stored(home)


def tenth(history: History, events: int) -> History:
    """Return the history that is left when only the last tenth of the journal is there, made if need be."""
    home = history.home.with_name(f"{history.home.name}-tenth")
    whole = home.with_name(f"{home.name}.whole")
    if not whole.exists():
        home.mkdir(exist_ok=True)
        with (home / "events.jsonl").open("wb") as journal:
            subprocess.run(["tail", "-n", str(events // 10), str(history.journal)], stdout=journal, check=True)
        for path in history.home.iterdir():
            if path.name not in {"events.jsonl", "shipwrightd"}:
                subprocess.run(["cp", "-R", str(path), str(home)], check=True)
        whole.touch()
    return stored(home)


def stored(home: Path) -> History:
    """Return a home with a database of all that is in it."""
    made = History(home, home / "events.jsonl", home / "shipwrightd" / "shipwright.db")
    if made.database.exists() and not of_this_release(made.database):
        for name in ("", "-wal", "-shm"):
            Path(f"{made.database}{name}").unlink(missing_ok=True)
    subprocess.run(shipwrightd("backfill", home, made.database), check=True, stdout=subprocess.DEVNULL)
    return made


def of_this_release(database: Path) -> bool:
    """Tell whether the tables are those that this release makes."""
    with contextlib.closing(open_reader(database)) as db:
        try:
            return not migrate.pending(db, migrate.known())
        except DatabaseError:
            return False


if __name__ == "__main__":
    made = make(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000_000)
    print(made.database)
