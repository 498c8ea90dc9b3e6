"""Draws the answers of reports: a function named as the report, in the module `lists` or `figures`."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Never

from rich.console import Console
from rich.text import Text

from shipwrightd.reports.question import idle_together, stretch_of, unit_for
from shipwrightd.table import Column, ruled
from shipwrightd.text import money, number, percent, short_duration, visible

Value = str | float | None  # numbers are shown as `number` does, None as `-`
Cell = Value | tuple[Value, str]  # with a style
Field = str | Callable[[Any], Cell] | None  # of an item: the name of a field, or a function; None: no column

FORMATS: dict[str, Callable[[Any], str]] = {  # by the last part of a field's name
    "usd": money,
    "percent": percent,
    "s": short_duration,
}
LISTS = ("runs", "activity", "team", "memory")  # the other reports are figures
TICKS = "▁▂▃▄▅▆▇█"
LEAST_TICKS = 4
ASCII_TICKS = "_.-=*#"
PIPE_WIDTH = 160  # of the tables in a pipe, at most
STYLES = {
    "Elite": "bold green",
    "High": "green",
    "Medium": "yellow",
    "Low": "red",
    "success": "green",
    "failed": "red",
    "running": "cyan",
    "abandoned": "yellow",
    "skipped": "dim",
    "online": "green",
    "idle": "yellow",
    "offline": "dim",
}


class Output(Console):
    """A console that leaves a closed pipe to the command."""

    def on_broken_pipe(self) -> Never:
        """Raise the BrokenPipeError that is being handled; rich would end the program as failed."""
        raise  # noqa: PLE0704 - it is called while that is handled


class Page:
    """What a report is written to: headings, lines, tables and small charts.

    Everything that comes from data goes through `visible`, and none of it is read as markup.
    """

    def __init__(self, console: Console | None = None) -> None:
        """Write to `console`, stdout by default."""
        self.console = console or Output(
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
            width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPE_WIDTH,
        )
        self.width = self.console.width
        self.unicode = (self.console.encoding or "ascii").lower().startswith("utf")

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line; a terminal that is too narrow gets several, broken between words."""
        self.console.print(Text(visible(text), style=style), soft_wrap=not self.console.is_terminal)

    def heading(self, text: str, about: str = "") -> None:
        """Write a heading, and beside it what it is about."""
        self.console.print(Text.assemble((visible(text), "bold"), ("  " if about else ""), (visible(about), "dim")))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """Write rows under their columns; `>` before a title aligns right, `~` wraps long text."""
        cells = [[_cell(cell) for cell in row] for row in rows]
        titles = [Column(title[1:], wrap=True) if title.startswith("~") else title for title in columns]
        self.console.print(ruled(titles, cells, self.width, unicode=self.unicode))

    def listing(self, items: Iterable[Any], columns: Mapping[str, Field]) -> None:
        """Write a table of items, one field under each title."""
        shown = {title: field for title, field in columns.items() if field is not None}
        self.table(list(shown), [[_field(item, field) for field in shown.values()] for item in items])

    def by_time(self, figures: Mapping[str, Sequence[float]], formats: Mapping[str, Callable[[float], Cell]]) -> None:
        """Write the figures of days by day, week or month, the first figure with a bar; `formats` is by title.

        Days, weeks or months in a row that have no figures share one line.
        """
        unit = unit_for(list(figures))
        sums: dict[str, Sequence[float]] = {}
        for day, values in figures.items():
            key = stretch_of(day, unit)
            sums[key] = [sum(pair) for pair in zip(sums.get(key, [0] * len(values)), values, strict=True)]
        top = max((values[0] for values in sums.values()), default=0)
        rows: list[Sequence[Cell]] = []
        for key, count in idle_together(sums, {key for key, values in sums.items() if any(values)}):
            values = sums[key]
            first, *others = [
                show(value) if any(values) else "-" for show, value in zip(formats.values(), values, strict=True)
            ]
            rows.append((idle_cell(key, count, unit), first, self.bar(values[0], top), *others))
        first_title, *titles = (f">{title}" for title in formats)
        self.heading(f"By {unit}", "UTC")
        self.table(["WEEK FROM" if unit == "week" else unit.upper(), first_title, "", *titles], rows)

    def spark(self, values: Sequence[float | None], beside: int = 0) -> str:
        """Return one tick for each value, from 0 to the largest, and a blank for None.

        If more values than fit beside `beside` cells are given, the last ones.
        """
        values = values[-max(LEAST_TICKS, self.width - beside) :]
        ticks = TICKS if self.unicode else ASCII_TICKS
        top = max((value for value in values if value is not None), default=0)
        return "".join(
            " " if value is None else ticks[round(value / top * (len(ticks) - 1))] if top > 0 else ticks[0]
            for value in values
        )

    def bar(self, value: float, top: float, cells: int = 24) -> str:
        """Return a bar whose length is to `cells` as the value is to `top`; shorter on a narrow terminal."""
        full, half = ("█", "▌") if self.unicode else ("#", "")
        cells = min(cells, max(4, self.width - 56))  # figures need 56
        halves = round(2 * cells * value / top) if top > 0 and value > 0 else 0
        return full * (halves // 2) + (half if halves % 2 else "")


def show(name: str, answer: Any, page: Page) -> None:  # noqa: ANN401 - of any report
    """Write the answer of a report."""
    module = importlib.import_module(f"{__name__}.{'lists' if name in LISTS else 'figures'}")
    getattr(module, name)(answer, page)


def _cell(cell: Cell) -> Text:
    value, style = cell if isinstance(cell, tuple) else (cell, "")
    text = value if isinstance(value, str) else number(value)
    return Text(visible(text), style if isinstance(cell, tuple) else STYLES.get(text, ""))


def _field(item: Any, field: str | Callable[[Any], Cell]) -> Cell:  # noqa: ANN401 - of any report
    """Return a field by its unit, `-` for an empty text; or what a function makes of the item."""
    if not isinstance(field, str):
        return field(item)
    value: Value = getattr(item, field)
    form = FORMATS.get(field.rpartition("_")[2])
    return form(value) if form else "-" if value == "" else value


def idle_cell(period: str, count: int, unit: str) -> Cell:
    """Return the first cell of a line for `count` days, weeks or months without figures; `period` is the first."""
    return period if count == 1 else (f"{count:,} {unit}s", "dim")


def issue_label(issue: int | str | None) -> str:
    """Return how an issue is shown: #56; a name as it is."""
    return "-" if issue is None else issue if isinstance(issue, str) else f"#{issue}"


def minute_of(time: str | None) -> str:
    """Return a UTC time to the minute."""
    return (time or "-")[:16].replace("T", " ")
