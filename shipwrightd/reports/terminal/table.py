"""A page on a terminal: headings, tables, small charts. Alone, with what shows reports, in importing rich.

Everything that comes from data goes through `visible`, and none of it is read as markup.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Never

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TICKS = "▁▂▃▄▅▆▇█"
LEAST_TICKS = 4
ASCII_TICKS = "_.-=*#"
PLAIN_WIDTH = 160  # where nobody looks on: as wide as the tables need, up to this
ROOMY = 100  # columns from which on those of a table stand well apart
LEAST_WRAPPED = 10  # characters: with less room for long text, all columns are cut alike
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
GRADES = {"Elite": "bold green", "High": "green", "Medium": "yellow", "Low": "red"}
STATES = {
    "success": "green",
    "failed": "red",
    "running": "cyan",
    "abandoned": "yellow",
    "skipped": "dim",
    "online": "green",
    "idle": "yellow",
    "offline": "dim",
}


@dataclass(frozen=True, slots=True)
class Col:
    """A column of a table."""

    title: str
    right: bool = False
    wrap: bool = False  # long text: takes the room that is left


class Output(Console):
    """A console that leaves it to the command what a reader who went away means."""

    def on_broken_pipe(self) -> Never:
        """Go on with BrokenPipeError; the library would end the program as failed."""
        raise  # noqa: PLE0704 - it is called while that is handled


class Page:
    """Where an answer is written to."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to stdout unless told otherwise."""
        self.console = console or Output(
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
            width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH,
        )
        self.unicode = (self.console.encoding or "ascii").lower().startswith("utf")
        self.gap = 3 if self.console.width >= ROOMY else 2  # columns between those of a table

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line; on a terminal that is narrower, some, broken between words."""
        self.console.print(Text(visible(text), style=style), soft_wrap=not self.console.is_terminal)

    def heading(self, text: str, about: str = "") -> None:
        """Write a heading, and beside it what it is about."""
        self.console.print(Text.assemble((visible(text), "bold"), ("  " if about else ""), (visible(about), "dim")))

    def table(self, columns: Sequence[Col], rows: Iterable[Sequence[str | tuple[str, str]]]) -> None:
        """Write rows under their columns; a cell is a text, or a text and its style."""
        cells = [[self._cell(cell) for cell in row] for row in rows]
        fixed = [
            max([len(column.title), *(row[at].cell_len for row in cells)]) + self.gap
            for at, column in enumerate(columns)
            if not column.wrap
        ]
        wraps = self.console.width - sum(fixed) >= LEAST_WRAPPED
        made = Table(
            box=box.SIMPLE_HEAD if self.unicode else box.ASCII2,
            padding=(0, 1, 0, self.gap - 2),
            pad_edge=False,
            header_style="bold",
        )
        for column in columns:
            made.add_column(
                column.title,
                justify="right" if column.right else "left",
                no_wrap=not (column.wrap and wraps),
                overflow="fold" if column.wrap and wraps else "ellipsis" if self.unicode else "crop",
            )
        for row in cells:
            made.add_row(*row)
        self.console.print(made)

    def _cell(self, cell: str | tuple[str, str]) -> Text:
        text, style = cell if isinstance(cell, tuple) else (cell, STATES.get(cell, GRADES.get(cell, "")))
        return Text(visible(text), style=style)

    def spark(self, values: Sequence[float | None], beside: int = 0) -> str:
        """Return the values as a row of ticks, one a value, from 0 to the largest; a blank where there is none.

        Of more than fit beside so many columns, the last ones.
        """
        values = values[-max(LEAST_TICKS, self.console.width - beside) :]
        ticks = TICKS if self.unicode else ASCII_TICKS
        top = max((value for value in values if value is not None), default=0)
        return "".join(
            " " if value is None else ticks[round(value / top * (len(ticks) - 1))] if top > 0 else ticks[0]
            for value in values
        )

    def bar(self, value: float, top: float, cells: int = 24) -> str:
        """Return a bar as long as the value is beside the largest."""
        full, half = ("█", "▌") if self.unicode else ("#", "")
        cells = min(cells, max(4, self.console.width - 56))  # on a narrow terminal the figures come first
        halves = round(2 * cells * value / top) if top > 0 and value > 0 else 0
        return full * (halves // 2) + (half if halves % 2 else "")


def money(value: float | None) -> str:
    """Return US dollars: $12.34, below a dollar $0.1234."""
    if value is None:
        return "-"
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.4f}"


def duration(seconds: float | None) -> str:
    """Return a duration for people: 45 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None:
        return "-"
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s" if seconds == int(seconds) else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR_S:
        return _two(whole, MINUTE_S, "min", 1, "s")
    if whole < 2 * DAY_S:
        return _two(whole, HOUR_S, "h", MINUTE_S, "min")
    return _two(whole, DAY_S, "d", HOUR_S, "h")


def _two(whole: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = whole % large // small
    return f"{whole // large} {large_name}" + (f" {rest} {small_name}" if rest else "")


def percent(share: float | None) -> str:
    """Return a share of 1 as percent."""
    return "-" if share is None else f"{share * 100:.1f} %"


def number(value: float | None) -> str:
    """Return a count or a figure with its thousands apart, without needless decimals."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
