"""Tables of the largest figures there may be fit the terminals people have, with nothing cut off."""

from __future__ import annotations

import datetime as dt
import io
from typing import TYPE_CHECKING, Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from shipwrightd.reports import costs, dora, stages, throughput
from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.figures import costs as show_costs
from shipwrightd.reports.terminal.figures import dora as show_dora
from shipwrightd.reports.terminal.figures import stages as show_stages
from shipwrightd.reports.terminal.figures import throughput as show_throughput

if TYPE_CHECKING:
    from collections.abc import Callable

START = dt.date(2026, 1, 5)
BUDGET = costs.Budget("2026-01-05", 0.0, None, None, None, None, None, None, None)


def days(number: int) -> list[str]:
    return [(START + dt.timedelta(days=at)).isoformat() for at in range(number)]


def written(show: Callable[[Page], None], width: int) -> list[str]:
    out = io.StringIO()
    show(Page(Console(file=out, width=width, color_system=None)))
    return out.getvalue().splitlines()


def delivery(end: str, runs: int) -> dora.Delivery:
    def measure(value: float, unit: str) -> dora.Measure:
        return dora.Measure(value, unit, "Medium", runs) if runs else dora.Measure(None, unit, None, 0)

    return dora.Delivery(
        None,
        f"{end}T00:00:00Z",
        runs,
        runs // 3,
        dora.Measure(142.86 if runs else 0.0, "per day", "Medium", runs),
        measure(47.99, "hours"),
        measure(16.43, "%"),
        measure(47.99, "hours"),
    )


def deliveries(*runs: int) -> dora.Dora:
    ends = days(7 * len(runs))[::7]
    return dora.Dora(delivery("2026-03-01", sum(runs)), list(map(delivery, ends, runs)))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
@pytest.mark.parametrize("weeks", [1, 5, 120])
def test_weeks_of_delivery_fit(width: int, weeks: int) -> None:
    answer = deliveries(*[80] * weeks)
    lines = written(lambda page: show_dora(answer, page), width)

    assert max(map(cell_len, lines)) <= width
    assert "…" not in "".join(lines)
    assert any("16.43 % M" in line for line in lines)


def test_weeks_without_a_run_are_one_line_and_half_a_year_is_enough() -> None:
    idle = written(lambda page: show_dora(deliveries(5, 0, 0, 0, 5), page), 80)
    many = written(lambda page: show_dora(deliveries(*range(1, 105)), page), 80)

    assert [line.split()[:3] for line in idle[-4:-1]] == [
        ["2026-01-05", "5", "1"],
        ["3", "weeks", "-"],
        ["2026-02-02", "5", "1"],
    ]
    assert sum(line.startswith(" 202") for line in many) == 26
    assert any("the last 26; --format csv has them all" in line for line in many)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_stages_fit(width: int) -> None:
    counts: dict[str, Any] = dict.fromkeys(
        ("attempts", "succeeded", "failed", "skipped", "timed", "cost_entries"), 1_234
    )
    seconds = ("mean_s", "median_s", "p95_s", "min_s", "max_s", "first_half_mean_s", "second_half_mean_s")
    took: dict[str, Any] = dict.fromkeys(seconds, 2_400.0)
    rest: dict[str, Any] = {
        "total_s": 1e7,
        "failed_s": 1e5,
        "share_percent": 64.0,
        "failure_percent": 12.0,
        "cost_usd": 1_234.5,
    }
    found = stages.Stage("compound_quality", **counts, **took, **rest, trend_percent=-14.0)
    answer = stages.Stages(None, "", None, 12_345, 1e7, 9e4, 0.0, 0.0, [found], [], None)
    lines = written(lambda page: show_stages(answer, page), width)

    assert max(map(cell_len, lines)) <= width
    assert any(line.startswith(" compound_quality" if width > 60 else " compound") for line in lines)
    assert "…" not in "".join(lines)


def test_days_that_cost_nothing_are_one_line() -> None:
    spent = {0: 3, 9: 2}
    lines = [costs.Line(day, float(spent.get(at, 0)), spent.get(at, 0), None) for at, day in enumerate(days(11))]
    answer = costs.Costs(costs.Total(5.0, 5, 0, 0), [], [], [], None, lines, BUDGET, costs.Pipelines(0, 0, None))
    shown = written(lambda page: show_costs(answer, page), 80)

    assert [line.split()[:2] for line in shown[-5:-1]] == [
        ["2026-01-05", "$3.00"],
        ["8", "days"],
        ["2026-01-14", "$2.00"],
        ["2026-01-15", "-"],
    ]


def test_a_period_without_a_finished_run_is_named_beside_what_goes_on() -> None:
    by_day = [throughput.Day(day, 0, 0, 0) for day in days(3)]
    answer = throughput.Throughput(0, 0, 0, None, 3.0, 0.0, 0.0, None, None, 4, 2, None, by_day)
    shown = written(lambda page: show_throughput(answer, page), 80)

    assert shown[0] == "Finished runs: 0  none ended from 2026-01-05 to 2026-01-07"
    assert [line.split()[:3] for line in shown if "now" in line] == [["Running", "now", "2"], ["Waiting", "now", "4"]]
    assert len(shown) < 8
