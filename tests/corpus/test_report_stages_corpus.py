"""Stages and runs of real homes, against plain Python over the rows of pipeline_stages and cost_entries."""

from __future__ import annotations

import gzip
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from reports import DAY, question

from shipwrightd.database import transaction
from shipwrightd.documents.store import ingest_document
from shipwrightd.reports import runs
from shipwrightd.reports.stages import Stage, collect

if TYPE_CHECKING:
    from pathlib import Path

    from projection import Books

BATCH_LINES = 5_000
ATTEMPTS = "SELECT stage, status, ended_epoch, duration_s FROM pipeline_stages"
ENTRIES = "SELECT stage, ts_epoch, cost_usd FROM cost_entries"
RUNS = "SELECT id FROM pipeline_runs ORDER BY started_epoch DESC, id DESC"
OF_RUN = "SELECT count(*) FROM pipeline_stages WHERE run_id = ?"


@pytest.fixture(params=["small", "large"])
def filled(request: pytest.FixtureRequest, books: Books, fixtures_dir: Path) -> Books:
    """Return the books of a real home."""
    folder = fixtures_dir / request.param
    home = folder / "dot-shipwright"
    packed = folder / "events.jsonl.gz"
    raw = (home / "events.jsonl").read_bytes() if home.is_dir() else gzip.decompress(packed.read_bytes())
    lines = raw.split(b"\n")
    for at in range(0, len(lines), BATCH_LINES):
        books.lines(lines[at : at + BATCH_LINES])
    costs = home / "costs.json"
    if costs.is_file():
        with transaction(books.db):
            ingest_document(books.db, "costs.json", costs.read_bytes(), now="2026-02-01T00:00:00Z")
    return books


def newest(books: Books) -> int:
    found: int = books.rows("SELECT max(ended_epoch) FROM pipeline_stages")[0]
    return found + 60


def plainly(attempts: list[Any], since: int, middle: int, until: int) -> dict[str, tuple[Any, ...]]:
    """Count and measure the attempts of each stage that ended from `since` until `until`."""
    figures = {}
    for name in {stage for stage, *_ in attempts}:
        ended = [row for row in attempts if row[0] == name and row[2] is not None and since <= row[2] < until]
        if not ended:
            continue
        done = [row for row in ended if row[1] in ("success", "failed")]
        good = [row for row in done if row[1] == "success" and row[3] is not None]
        took = [row[3] for row in good]
        halves = [[row[3] for row in good if (row[2] < middle) is early] for early in (True, False)]
        first, second = (statistics.fmean(half) if half else None for half in halves)
        figures[name] = (
            len(done),
            sum(row[1] == "failed" for row in done),
            len(ended) - len(done),
            *measured(took),
            sum(row[3] for row in done if row[3] is not None),
            100 * (second - first) / first if first and second is not None else None,
        )
    return figures


def measured(took: list[float]) -> tuple[float | None, ...]:
    """Return mean, median, 95th percentile, least and most."""
    if not took:
        return (None,) * 5
    high = statistics.quantiles(took, n=100, method="inclusive")[94] if len(took) > 1 else took[0]
    return statistics.fmean(took), statistics.median(took), high, min(took), max(took)


def told(found: Stage) -> tuple[Any, ...]:
    counts = (found.attempts, found.failed, found.skipped)
    return (
        *counts,
        found.mean_s,
        found.median_s,
        found.p95_s,
        found.min_s,
        found.max_s,
        found.total_s,
        found.trend_percent,
    )


def test_the_figures_of_real_stages_are_those_of_plain_python(filled: Books) -> None:
    now = newest(filled)
    attempts = filled.rows(ATTEMPTS)
    for days in (2, 7, 30, 90):
        expected = plainly(attempts, now - days * DAY, now - days // 2 * DAY, now + 1)

        found = {one.stage: told(one) for one in collect(filled.db, question(now, days=days)).stages if one.attempts}

        assert found.keys() == {name for name, figures in expected.items() if figures[0]}
        for name, figures in found.items():
            assert figures == pytest.approx(expected[name], abs=0.006), (days, name)


def test_the_money_of_real_stages_is_that_of_the_entries(filled: Books) -> None:
    now = newest(filled)
    for days in (1.3, 7, 90, None):
        since = 0 if days is None else now - round(days * DAY)
        entries = [row for row in filled.rows(ENTRIES) if since <= row[1] <= now]

        found = collect(filled.db, question(now, days=days))

        assert found.cost_usd == pytest.approx(sum(cost for *_, cost in entries), abs=1e-6)
        for one in found.stages:
            spent = sum(cost for stage, _, cost in entries if stage == one.stage)
            assert one.cost_usd == pytest.approx(spent, abs=1e-6)
        told_apart = found.whole_runs_cost_usd + found.other_cost_usd
        assert told_apart + sum(one.cost_usd for one in found.stages) == pytest.approx(found.cost_usd, abs=1e-6)


def test_the_stage_named_as_bottleneck_took_most_time(filled: Books) -> None:
    now = newest(filled)
    took = plainly(filled.rows(ATTEMPTS), 0, now, now + 1)

    found = collect(filled.db, question(now, days=None)).bottlenecks

    assert [one.stage for one in found] == sorted(took, key=lambda name: -took[name][8])[:5]


def test_the_pages_of_real_runs_are_all_of_them_in_order(filled: Books) -> None:
    ids: list[int] = []
    more = True
    while more:
        page = runs.collect(filled.db, question(newest(filled) + DAY, days=None, limit=100, offset=len(ids)))
        ids += [run.id for run in page.runs]
        more = page.has_more

    assert ids == filled.rows(RUNS)


def test_every_real_run_can_be_told_in_full(filled: Books) -> None:
    ids = filled.rows(RUNS)
    for id_ in ids[:: max(1, len(ids) // 100)]:
        answer = runs.collect(filled.db, question(newest(filled) + DAY, run=id_))
        (run,), detail = answer.runs, answer.detail
        assert detail is not None
        assert [len(detail.attempts)] == filled.rows(OF_RUN, id_) == [run.attempts]
        assert sum(one.cost_usd or 0 for one in detail.entries) == pytest.approx(detail.facts.entries_cost_usd or 0)
        assert detail.events.last_id >= run.id
