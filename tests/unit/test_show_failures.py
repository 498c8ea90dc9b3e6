"""The heatmap of failures: it fits a terminal, and only nothing looks like nothing."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from rich.console import Console

from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.figures import ERROR_LENGTH, heatmap_columns, shade
from shipwrightd.text import shortened


def days(number: int) -> list[str]:
    return [(dt.date(2026, 1, 5) + dt.timedelta(days=at)).isoformat() for at in range(number)]


@pytest.mark.parametrize(
    ("number", "unit", "columns"),
    [(1, "day", 1), (45, "day", 45), (46, "week", 7), (365, "month", 13), (3_660, "month", 45)],
)
def test_columns_become_longer_until_all_fit(number: int, unit: str, columns: int) -> None:
    found, made = heatmap_columns(days(number))

    assert (found, len(made)) == (unit, columns)
    assert made[-1] == days(number)[-1][: len(made[-1])] or unit == "week"


@pytest.mark.parametrize(("encoding", "shades"), [("utf-8", "·░░▒▓█"), ("ascii", ".--+*#")])
def test_one_failure_beside_a_thousand_is_still_seen(encoding: str, shades: str) -> None:
    page = Page(Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding)))

    assert "".join(shade(value, 1_000, page) for value in (0, 1, 250, 500, 750, 1_000)) == shades


def test_a_long_error_ends_in_dots() -> None:
    assert shortened("e" * 120, ERROR_LENGTH) == "e" * 120
    assert shortened("e" * 121, ERROR_LENGTH) == "e" * 117 + "..."
