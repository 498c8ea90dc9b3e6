"""What a page writes: numbers for people, charts, and nothing that acts on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys

import pytest
from rich.console import Console

from shipwrightd.reports.terminal import Page
from shipwrightd.table import Column, cells_of, table
from shipwrightd.text import duration, money, number, percent, short_duration


def page(*, width: int = 60, encoding: str = "utf-8") -> tuple[Page, io.BytesIO]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    return Page(Console(file=file, width=width, markup=False, highlight=False, force_terminal=False)), raw


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0 s"),
        (0.25, "0.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3_599.6, "1 h"),
        (3_600, "1 h"),
        (7_500, "2 h 5 min"),
        (172_800, "2 d"),
        (273_600, "3 d 4 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "$0.00"), (0.0312, "$0.0312"), (1, "$1.00"), (-2.5, "$-2.50"), (1234.567, "$1,234.57")],
)
def test_money_below_a_dollar_keeps_its_small_change(value: float | None, text: str) -> None:
    assert money(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (4.5, "4.5s"), (59, "59s"), (626, "10m 26s"), (7_500, "2h 5m"), (273_600, "3d 4h")],
)
def test_a_short_duration_fits_seven_cells(seconds: float | None, text: str) -> None:
    assert short_duration(seconds) == text


def test_shares_and_numbers() -> None:
    assert (percent(None), percent(12.34), percent(100)) == ("-", "12.3 %", "100.0 %")
    assert (number(None), number(1234567), number(0.5), number(2.0)) == ("-", "1,234,567", "0.50", "2")


def test_a_spark_goes_from_nothing_to_the_largest() -> None:
    made, _ = page()
    assert made.spark([0, 1, 2, None, 4]) == "▁▃▅ █"
    assert made.spark([0, 0]) == "▁▁"
    assert made.spark([]) == ""


def test_a_bar_is_as_long_as_its_value() -> None:
    made, _ = page(width=120)
    assert made.bar(5, 10, 10) == "█████"
    assert (made.bar(0, 10), made.bar(3, 0), made.bar(-1, 2)) == ("", "", "")


def test_charts_are_plain_where_the_terminal_knows_no_more() -> None:
    made, _ = page(encoding="ascii")
    assert made.spark([0, 1]).isascii()
    assert made.bar(1, 2).isascii()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_table_shows_all_its_cells(encoding: str) -> None:
    made, raw = page(encoding=encoding)
    made.table(["NAME", ">COUNT"], [("alpha", "1"), ("beta", ("22", "red"))])
    text = raw.getvalue().decode(encoding)
    assert [word for word in ("NAME", "COUNT", "alpha", "1", "beta", "22") if word not in text] == []


def test_data_can_neither_act_on_the_terminal_nor_be_markup() -> None:
    made, raw = page(width=100)
    evil = "[bold red]x[/] \x1b[2J\x07 :smile:"
    made.table(["NAME"], [(evil,)])
    made.line(evil)
    made.heading(evil, evil)
    text = raw.getvalue().decode()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("[bold red]x[/] \\x1b[2J\\x07 :smile:") == 4


def test_a_spark_of_more_than_fits_shows_the_last() -> None:
    made, _ = page(width=70)

    assert made.spark([5.0] * 40 + [0.0, 5.0], beside=60) == "█" * 8 + "▁█"
    assert len(made.spark([1.0] * 40, beside=200)) == 4


def test_long_text_does_not_vanish_beside_columns_that_are_wide() -> None:
    made, raw = page(width=30)
    made.table(["~WHAT", *["NUMBER"] * 4], [("a text of words", *["12345678"] * 4)])

    assert "a te" in raw.getvalue().decode()


def test_a_line_is_broken_between_words_on_a_terminal_only() -> None:
    out = io.StringIO()
    for terminal in (True, False):
        console = Console(file=out, width=20, force_terminal=terminal, color_system=None)
        Page(console).line("some words that are too long")

    assert out.getvalue() == "some words that are \ntoo long\nsome words that are too long\n"


def test_a_reader_that_went_away_is_a_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", buffering=1) as gone:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stdout", gone)
        with pytest.raises(BrokenPipeError):
            Page().line("nobody is there")
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            gone.close()


COLUMNS = ("NAME", ">COUNT", Column("PATH", least=8), Column("NOTE", keep=1), Column("DROPPED FIRST", keep=0))


@pytest.mark.parametrize("width", [20, 30, 40, 55, 10_000])
def test_a_plain_table_looks_the_same_whoever_draws_it(width: int) -> None:
    """ASCII text is aligned without rich; one wide letter in the last cell has rich draw the table."""
    rows = [("alpha", "1", "/a/path/of/some/length", "-", "x"), ("b", "1,234,567", "/x", "a note", "yy")]
    drawn = [table(COLUMNS, [*rows, ("", "", "", "", last)], width) for last in ("zz", "漢")]
    plain, wide = (text.splitlines()[:-1] for text in drawn)

    assert max(map(cells_of, [*plain, *wide])) <= max(width, 26)
    assert [line.rstrip() for line in wide] == plain
    assert ("DROPPED FIRST" in plain[0], "NOTE" in plain[0]) == (width >= 55, width >= 40)


def test_a_cut_cell_keeps_both_ends_and_wide_letters_their_place() -> None:
    page = table([Column("A", least=8), ">B"], [("漢字漢字漢字漢字", "1"), ("abcdefghijkl", "22")], 12)

    assert page.splitlines() == ["A          B", "漢…漢字    1", "abc…ijkl  22"]
