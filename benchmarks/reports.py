"""Reports on a year of a busy machine: warm, as a whole process, on a tenth of it, and beside jq and DuckDB.

Those two read the journal itself, as one would without a database. Each is asked
for the same 30 days.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import history, peers
from benchmarks.measure import Figure, run, shipwrightd
from shipwrightd.cli.report import question_of
from shipwrightd.clock import utc
from shipwrightd.database import open_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

EVENTS, QUICK_EVENTS = 10_000_000, 200_000
DAYS = 30.0
CALLS, PROCESSES = 20, 5
LIMIT_MS, PROCESS_LIMIT_MS = 100.0, 500.0
SOONER_MS = {"dora": 30.0, "costs": 30.0}  # without a filter, which may ask for what is not added up
GROWTH, GROWTH_MS = 1.5, 3.0  # a tenth of the history may be so much quicker, and chance be so large
UNDATED = {"team", "memory"}  # reports of how things are now
NEWEST = "SELECT max(ts_epoch) FROM events WHERE origin = 'events.jsonl'"
BUSY_ISSUE = """
SELECT issue FROM pipeline_runs WHERE id > (SELECT max(id) * 0.95 FROM pipeline_runs) AND issue IS NOT NULL
GROUP BY issue ORDER BY count(*) DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Case:
    """A report and its options, as they are written."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What a user would type."""
        return " ".join((f"report {self.name}", *self.arguments))

    @property
    def arguments(self) -> list[str]:
        """Return the options for a command line."""
        return [text for name, value in self.options.items() for text in (f"--{name}", str(value))]

    @property
    def limit_ms(self) -> float:
        """Return how long it may take."""
        return LIMIT_MS if self.options else SOONER_MS.get(self.name, LIMIT_MS)


def cases(db: apsw.Connection) -> Iterator[Case]:
    """Yield what is asked."""
    issue = db.execute(BUSY_ISSUE).get
    for name in ("dora", "costs", "stages", "throughput", "failures", "runs"):
        yield Case(name)
    yield Case("costs", {"model": "opus"})
    yield Case("stages", {"stage": "build"})
    yield Case("failures", {"issue": issue})
    yield Case("runs", {"status": "failed"})
    yield Case("runs", {"issue": issue})
    yield Case("activity")
    for options in (
        {"type": "pipeline.completed"},
        {"type": "stage"},
        {"issue": issue},
        {"type": "absent"},
        {"stage": "absent"},
    ):
        yield Case("activity", options)
    yield Case("activity", {"developer": "dev3"})
    yield Case("team")
    yield Case("memory")
    yield Case("memory", {"search": "fuel"})


def figures(folder: Path, events: int) -> Iterator[Figure]:
    """Make the histories if need be; measure each report on both, then beside the others."""
    made = history.make(folder, events)
    less = history.tenth(made, events)
    with contextlib.closing(open_reader(made.database)) as db, contextlib.closing(open_reader(less.database)) as small:
        now = db.execute(NEWEST).get
        for case in cases(db):
            yield from _case_figures(made, db, small, case, now)
        for asked in peers.QUESTIONS:
            case = Case(asked.report, asked.options)
            answer, warm = timed(db, case, now)
            ours = peers.Ours(answer, median(warm), process_ms(made, case, now))
            yield from peers.figures(made.journal, asked, since=now - round(DAYS * 86_400), ours=ours)


def _case_figures(
    made: history.History, db: apsw.Connection, small: apsw.Connection, case: Case, now: int
) -> Iterator[Figure]:
    _, warm = timed(db, case, now)
    _, warm_of_tenth = timed(small, case, now)
    grown = GROWTH * median(warm_of_tenth) + GROWTH_MS
    yield Figure(f"{case.title}, median", median(warm), case.limit_ms, "ms", "limit")
    yield Figure(f"{case.title}, worst of {CALLS}", max(warm), case.limit_ms, "ms", "limit")
    against = f"{GROWTH:g} x that on a tenth of the history + {GROWTH_MS:g} ms"
    yield Figure(f"{case.title}, median", median(warm), grown, "ms", against)
    yield Figure(f"{case.title}, whole process", process_ms(made, case, now), PROCESS_LIMIT_MS, "ms", "limit")


def timed(db: apsw.Connection, case: Case, now: int) -> tuple[Any, list[float]]:
    """Return an answer, and the milliseconds of each of some calls on a warm connection."""
    days = None if case.name in UNDATED else DAYS
    question = question_of(case.name, {"now": utc(now), "days": days, **texts(case.options)})
    report = importlib.import_module(f"shipwrightd.reports.{case.name}")
    answer = report.collect(db, question)
    found = []
    for _ in range(CALLS):
        started = time.perf_counter()
        report.collect(db, question)
        found.append(1000 * (time.perf_counter() - started))
    return answer, found


def process_ms(made: history.History, case: Case, now: int) -> float:
    """Return the milliseconds of the whole command, the median of some."""
    return median(1000 * run(command(made, case, now)).wall_s for _ in range(PROCESSES))


def texts(options: dict[str, Any]) -> dict[str, Any]:
    """Return options as the command line would hand them on."""
    return {name: value if name == "limit" else str(value) for name, value in options.items()}


def command(made: history.History, case: Case, now: int) -> list[str]:
    """Return the command line of a report."""
    program, m, name, _, *places = shipwrightd("report", made.home, made.database)
    period = [] if case.name in UNDATED else ["--days", f"{DAYS:g}"]
    return [program, m, name, "report", case.name, *period, "--now", utc(now) or "", *case.arguments, *places]
