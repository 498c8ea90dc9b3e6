"""What jq and DuckDB take for questions that reports answer, reading the journal from its first line to its last."""

from __future__ import annotations

import shutil
import subprocess
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 3  # of DuckDB; jq is asked once
DUCKDB_FILE = """
read_json(?, format = 'newline_delimited', ignore_errors = true, columns = {
    ts: 'VARCHAR', ts_epoch: 'BIGINT', type: 'VARCHAR', issue: 'VARCHAR', stage: 'VARCHAR', result: 'VARCHAR',
    duration_s: 'DOUBLE', cost_usd: 'DOUBLE', model: 'VARCHAR'})"""


@dataclass(frozen=True, slots=True)
class Ours:
    """What a report answers, and what it takes."""

    answer: Any
    warm_ms: float
    process_ms: float


@dataclass(frozen=True, slots=True)
class Question:
    """The same question three times over: a report, a query of DuckDB, a program for jq."""

    title: str
    report: str
    duckdb: str  # FILE stands for the journal; its second parameter is the time from which on
    jq: str  # $since
    ours: Callable[[Any], object]  # a total of the report's answer
    theirs: Callable[[list[Any]], object]  # the same total of DuckDB's rows, which must be equal
    options: dict[str, Any] = field(default_factory=dict)


QUESTIONS = (
    Question(
        "successful runs and their mean duration by week",
        "dora",
        """SELECT (ts_epoch + 259200) // 604800 AS week, count(*), avg(duration_s) FROM FILE
        WHERE type = 'pipeline.completed' AND result = 'success' AND ts_epoch >= ? GROUP BY week""",
        """reduce (inputs | select(.type == "pipeline.completed" and .result == "success"
            and .ts_epoch >= $since)) as $e
        ({}; (($e.ts_epoch + 259200) / 604800 | floor | tostring) as $w
            | .[$w].n += 1 | .[$w].s += $e.duration_s)""",
        ours=lambda answer: answer.period.deploys,
        theirs=lambda rows: sum(row[1] for row in rows),
    ),
    Question(
        "cost by model and day",
        "costs",
        """SELECT substr(ts, 1, 10) AS day, model, sum(cost_usd), count(*) FROM FILE
        WHERE type = 'cost.record' AND ts_epoch >= ? GROUP BY day, model""",
        """reduce (inputs | select(.type == "cost.record" and .ts_epoch >= $since)) as $e
        ({}; .[$e.ts[:10] + $e.model] += $e.cost_usd)""",
        ours=lambda answer: round(answer.total.cost_usd, 2),
        theirs=lambda rows: round(sum(row[2] for row in rows), 2),
    ),
    Question(
        "mean and 95th percentile of each stage",
        "stages",
        """SELECT stage, count(*), avg(duration_s), quantile_cont(duration_s, 0.95) FROM FILE
        WHERE type = 'stage.completed' AND ts_epoch >= ? GROUP BY stage""",
        """reduce (inputs | select(.type == "stage.completed" and .ts_epoch >= $since)) as $e
        ({}; .[$e.stage] += [$e.duration_s])
        | map_values(sort | {mean: (add / length), p95: .[((length - 1) * 0.95 | floor)]})""",
        ours=lambda answer: sum(one.succeeded for one in answer.stages if one.stage != "build"),
        theirs=lambda rows: sum(row[1] for row in rows),  # a good build has no stage.completed
    ),
    Question(
        "the last 50 events of one type",
        "activity",
        """SELECT ts, ts_epoch, issue, result FROM FILE WHERE type = 'pipeline.completed' AND ts_epoch >= ?
        ORDER BY ts_epoch DESC LIMIT 50""",
        """reduce (inputs | select(.type == "pipeline.completed" and .ts_epoch >= $since)) as $e
        ([]; . + [$e] | .[-50:])""",
        ours=lambda answer: min(event.ts for event in answer.events),
        theirs=lambda rows: min(row[0] for row in rows),
        options={"type": "pipeline.completed"},
    ),
)


def figures(journal: Path, question: Question, *, since: int, ours: Ours) -> Iterator[Figure]:
    """Measure the others and set ours beside them."""
    found_ms = duckdb_ms(journal, question, since, ours)
    if found_ms is not None:
        yield Figure(question.title, ours.warm_ms, found_ms, "ms", "DuckDB, warm, read_json over the journal")
    found_ms = jq_ms(journal, question, since)
    if found_ms is not None:
        yield Figure(question.title, ours.process_ms, found_ms, "ms", "jq over the journal; both a whole process")


def duckdb_ms(journal: Path, question: Question, since: int, ours: Ours) -> float | None:
    """Return the milliseconds of a query, warm; None where DuckDB is not installed."""
    try:
        import duckdb  # noqa: PLC0415 - only here, and not needed
    except ImportError:
        print("DuckDB is not installed: left out (pip install duckdb)")
        return None
    query = question.duckdb.replace("FILE", DUCKDB_FILE)
    found = []
    with duckdb.connect() as db:
        for _ in range(ROUNDS):
            started = time.perf_counter()
            rows = db.execute(query, [str(journal), since]).fetchall()
            found.append(1000 * (time.perf_counter() - started))
    assert question.theirs(rows) == question.ours(ours.answer), "both must be asked the same"
    return median(found)


def jq_ms(journal: Path, question: Question, since: int) -> float | None:
    """Return the milliseconds of a program of jq, as a whole process; None where jq is not on PATH."""
    if shutil.which("jq") is None:
        print("jq is not on PATH: left out")
        return None
    command = ["jq", "-n", "-c", "--argjson", "since", str(since), question.jq, str(journal)]
    started = time.perf_counter()
    told = subprocess.run(command, check=True, capture_output=True).stdout
    took = 1000 * (time.perf_counter() - started)
    assert len(told) > 10, "an empty answer takes no time"
    return took
