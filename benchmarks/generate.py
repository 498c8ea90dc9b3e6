"""Writes a journal of mixed events with a fixed seed: python -m benchmarks.generate FILE COUNT.

The mix follows real runs: one line in six tells of a run or a stage, one in
a hundred of money, most are what the intelligence and memory scripts say.
"""

from __future__ import annotations

import heapq
import random
import sys
import time
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20260105
START = 1_767_600_000
STAGES = ("intake", "plan", "design", "build", "test", "review", "compound_quality", "pr", "merge")
MODELS = ("haiku", "sonnet", "opus")
GOALS = ("", "Fix the fuel gauge", 'Handle "quoted" names', "Prüfe die Zündung", "Paths like C:\\temp\\new")

Event = tuple[int, str, dict[str, object]]


def pipeline(rng: random.Random, begin: int, issue: int) -> Iterator[Event]:
    """Yield the events of one pipeline run in the order of time."""
    at = begin
    model = rng.choice(MODELS)
    template = rng.choice(("fast", "standard", "hotfix"))
    yield at, "daemon.spawn", {"issue": issue, "pid": rng.randrange(400_000), "repo": "local"}
    yield (
        at,
        "pipeline.started",
        {
            "issue": issue,
            "template": template,
            "complexity": rng.randrange(10),
            "machine": "buildbox-1",
            "pipeline": template,
            "model": model,
            "goal": rng.choice(GOALS),
        },
    )
    yield at, "pipeline.started", payload(at, rng, {"issue": str(issue), "pipeline": template})
    failing = rng.random() < 0.1
    for stage in STAGES:
        yield from chatter(rng, at, issue, stage)
        told_by_itself = stage not in {"build", "test"}
        if told_by_itself:
            yield at, "stage.started", {"issue": issue, "stage": stage}
        took = rng.randrange(5, 900)
        for step in range(rng.randrange(1, 6)):
            health = {"issue": issue, "health_score": rng.randrange(100), "verdict": "continue"}
            yield (
                at + took * step // 6,
                "pipeline.vitals_check",
                {**health, "no_progress": 0, "repeated_errors": 0},
            )
        at += took
        failed = failing and stage == "test"
        told = payload(at, rng, {"stage": stage, "issue": str(issue), "timing": f"{took}s"})
        yield at, "stage.failed" if failed else "stage.complete", told
        if failed:
            yield at + 2, "daemon.reap", {"issue": issue, "result": "failure", "duration_s": at - begin}
            return
        if told_by_itself:
            yield (
                at,
                "stage.completed",
                {"issue": issue, "stage": stage, "duration_s": took, "result": "success"},
            )
    tokens = {"input_tokens": rng.randrange(500_000), "output_tokens": rng.randrange(60_000)}
    done = {
        "issue": issue,
        "result": "success",
        "duration_s": at - begin,
        "iterations": 1,
        "template": template,
    }
    yield at, "pipeline.completed", {**done, "stages_passed": len(STAGES), "slowest_stage": "build", **tokens}
    for stage in STAGES:
        yield at, "model.outcome", {"issue": issue, "stage": stage, "model": model, "success": "true"}
    for metric in ("build_duration_s", "test_duration_s", "iterations", "total_cost_usd"):
        yield at, "memory.metric", {"metric": metric, "value": rng.randrange(900)}
    cost = round(rng.random() * 2, 4)
    yield at, "pipeline.cost", {**tokens, "model": model, "cost_usd": cost}
    yield at, "cost.record", {**tokens, "model": model, "stage": "pipeline", "cost_usd": cost}
    yield at + 2, "daemon.reap", {"issue": issue, "result": "success", "duration_s": at - begin + 2}


def chatter(rng: random.Random, at: int, issue: int, stage: str) -> Iterator[Event]:
    """Yield what the intelligence and memory scripts say before a stage: most of a real journal."""
    for name in ("analyze_issue", "search_memory", "predict_cost"):
        yield at, "intelligence.cache_hit", {"cache_key": f"{name}_{rng.randbytes(16).hex()}"}
    guess = {"complexity": rng.randrange(10), "risk_level": "high", "success_probability": rng.randrange(100)}
    yield at, "intelligence.analysis", {**guess, "recommended_template": "fast"}
    yield (
        at,
        "intelligence.triage",
        {"issue": issue, "complexity": 8, "risk": "high", "score": rng.randrange(100)},
    )
    model = rng.choice(MODELS)
    yield at, "intelligence.model", {"stage": stage, "complexity": 5, "model": model, "source": "heuristic"}
    choice = {"issue": issue, "stage": stage, "recommended": model, "applied": model}
    yield at, "intelligence.model_ab", {**choice, "ab_group": "experiment", "ab_ratio": 20}
    yield at, "memory.inject", {"stage": stage}


def payload(at: int, rng: random.Random, fields: dict[str, str]) -> dict[str, object]:
    """Return what the durable log adds: an id and JSON inside a string."""
    return {"event_id": f"evt-{at}-{rng.randrange(2**32)}", "payload": orjson.dumps(fields).decode()}


def polls(rng: random.Random) -> Iterator[Event]:
    """Yield the daemon's polls, without end."""
    at = START
    while True:
        at += rng.randrange(60, 400)
        yield (
            at,
            "daemon.poll",
            {"issues_found": rng.randrange(9), "active": rng.randrange(4), "mode": "repo"},
        )


def runs(rng: random.Random, numbers: Iterator[int]) -> Iterator[Iterator[Event]]:
    """Yield pipeline runs that overlap, without end."""
    begin = START
    while True:
        begin += rng.randrange(300, 2_000)
        yield pipeline(rng, begin, next(numbers))


def merged(rng: random.Random) -> Iterator[Event]:
    """Yield all events in the order of time, parallel runs interleaved."""
    order = count()
    waiting: list[tuple[int, int, Event, Iterator[Event]]] = []

    def add(source: Iterator[Event]) -> None:
        event = next(source, None)
        if event is not None:
            heapq.heappush(waiting, (event[0], next(order), event, source))

    add(polls(rng))
    starting = runs(rng, (rng.randrange(1, 20_000) for _ in count()))
    while True:
        while len(waiting) < 6:
            add(next(starting))
        _, _, event, source = heapq.heappop(waiting)
        yield event
        add(source)


def lines(number: int, seed: int = SEED) -> Iterator[bytes]:
    """Yield so many lines as Shipwright would write them."""
    for at, kind, fields in islice(merged(random.Random(seed)), number):
        ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
        yield orjson.dumps({"ts": ts, "ts_epoch": at, "type": kind, **fields}) + b"\n"


def write(path: Path, number: int) -> None:
    """Write a journal of so many lines."""
    with path.open("wb") as file:
        source = lines(number)
        while block := list(islice(source, 10_000)):
            file.write(b"".join(block))


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
