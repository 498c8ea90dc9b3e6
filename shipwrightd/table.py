"""Tables and wrapped lines for people: one engine for every command.

rich draws ruled tables and measures text that is not ASCII. It takes longer to load than the rest of `status` takes to
run, so it is loaded only when it is needed.
"""

# ruff: noqa: PLC0415 - see above

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

GAP = 2  # cells between columns
ALWAYS = 9  # Column.keep
LEAST_WRAPPED = 10  # cells: if there is less room for long text, all columns are cut alike
WIDE = 100  # cells from which on a ruled table has a wider gap
WIDE_GAP = 3


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    right: bool = False
    wrap: bool = False  # holds long text and takes the room that is left; for ruled tables
    keep: int = ALWAYS  # of a table that is too wide, columns with the lowest number go first; for plain tables
    least: int = 0  # cells to which its text may be cut, 0: never; for plain tables


def columns_of(columns: Sequence[str | Column]) -> list[Column]:
    """Return columns, of which those without other properties are given as titles; `>` before a title aligns right."""
    return [
        column if isinstance(column, Column) else Column(column.removeprefix(">"), right=column.startswith(">"))
        for column in columns
    ]


def table(columns: Sequence[str | Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """Return rows under their titles as plain lines.

    To stay within `width` cells, texts are cut in the middle, then columns are dropped, as their properties allow.
    """
    wanted = columns_of(columns)
    cells = [[column.title for column in wanted], *([visible(cell) for cell in row] for row in rows)]
    sizes = [max(map(cells_of, column)) for column in zip(*cells, strict=True)]
    shown = _fit(wanted, sizes, width)
    lines = [[_cut_middle(row[at], sizes[at]) for at in shown] for row in cells]
    return "\n".join(
        (" " * GAP)
        .join(_padded(cell, sizes[at], right=wanted[at].right) for at, cell in zip(shown, line, strict=True))
        .rstrip()
        for line in lines
    )


def _padded(text: str, size: int, *, right: bool) -> str:
    blank = " " * (size - cells_of(text))
    return blank + text if right else text + blank


def _fit(columns: Sequence[Column], sizes: list[int], width: int) -> list[int]:
    """Reduce `sizes` where columns may be cut; return the indexes of the columns that are shown."""
    shown = list(range(len(columns)))

    def excess() -> int:
        return sum(sizes[at] + GAP for at in shown) - GAP - width

    for at, column in enumerate(columns):
        if column.least and excess() > 0:
            sizes[at] -= min(excess(), max(0, sizes[at] - max(column.least, len(column.title))))
    while excess() > 0 and len(shown) > 1 and min(columns[at].keep for at in shown) < ALWAYS:
        shown.remove(min(shown, key=lambda at: (columns[at].keep, -at)))
    return shown


def gap_of(width: int) -> int:
    """Return how many cells are between the columns of a ruled table."""
    return WIDE_GAP if width >= WIDE else GAP


def ruled(columns: Sequence[str | Column], rows: Sequence[Sequence[Text]], width: int, *, unicode: bool) -> Table:
    """Return a table for a console of `width` cells, with a rule below its titles."""
    from rich import box
    from rich.table import Table

    gap = gap_of(width)
    wanted = columns_of(columns)
    fixed = [
        max([len(column.title), *(row[at].cell_len for row in rows)]) + gap
        for at, column in enumerate(wanted)
        if not column.wrap
    ]
    wraps = width - sum(fixed) >= LEAST_WRAPPED
    drawn = Table(
        box=box.SIMPLE_HEAD if unicode else box.ASCII2, padding=(0, 1, 0, gap - 2), pad_edge=False, header_style="bold"
    )
    for column in wanted:
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not (column.wrap and wraps),
            overflow="fold" if column.wrap and wraps else "ellipsis" if unicode else "crop",
        )
    for row in rows:
        drawn.add_row(*row)
    return drawn


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """Return the text in lines of at most `width` cells, all but the first indented.

    No word is broken; one that is wider than a line, such as a path, is cut in the middle.
    """
    lines: list[str] = []
    for word in text.split(" "):
        shown = _cut_middle(word, width - indent)
        if lines and cells_of(lines[-1]) + 1 + cells_of(shown) <= width:
            lines[-1] += f" {shown}"
        else:
            lines.append(" " * indent * bool(lines) + shown)
    return lines


def _cut_middle(text: str, size: int) -> str:
    """Return the text, cut in the middle if it needs more cells."""
    if cells_of(text) <= size:
        return text
    head = (size - 1) // 2
    return f"{cut(text, head)}…{cut(text[::-1], size - 1 - head)[::-1]}"


def cut(text: str, size: int) -> str:
    """Return as much of the beginning of the text as fits into `size` cells."""
    used = 0
    for at, character in enumerate(text):
        used += cells_of(character)
        if used > size:
            return text[:at]
    return text


def cells_of(text: str) -> int:
    """Return how many cells of a terminal the text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)
