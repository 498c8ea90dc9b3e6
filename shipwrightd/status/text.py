"""Answers -> text for people, or JSON. Nothing that came from data can act on the terminal.

Written by hand and not with rich, whose import alone takes longer than the
rest of `status`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, TypeVar
from unicodedata import combining, east_asian_width

from shipwrightd.text import family, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shipwrightd.status.collect import Recovery, Source, Status
    from shipwrightd.status.quarantine import Piece

_Named = TypeVar("_Named", "Source", "Summary")

ROOMY = 10_000  # width where nobody looks on: no line is cut
GAP = "  "
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
UNIT = 1024
AGES = (("s", 120.0, 1), ("min", 7_200.0, 60), ("h", 172_800.0, 3_600))
DAY_S = 86_400
RECOVERIES_SHOWN = 3  # the last ones; --json has all
NAMES = 12  # cells for the names of facts
SHOWN_LINES = 20  # of a piece on a terminal


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `keep` tells how dear it is: the least goes first where width is short."""

    title: str
    right: bool = True
    keep: int = 9
    least: int = 0  # to how many cells it may be cut; 0: never


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> str:
    """Return the rows in aligned columns, none of its lines wider than `width` as far as that can be had."""
    shown = list(range(len(columns)))
    cells = [[column.title for column in columns], *([visible(cell) for cell in row] for row in rows)]
    sizes = [max(cells_of(row[i]) for row in cells) for i in range(len(columns))]

    def excess() -> int:
        return sum(sizes[i] + len(GAP) for i in shown) - len(GAP) - width

    _shrink(columns, sizes, excess())
    while excess() > 0 and len(shown) > 1 and min(columns[i].keep for i in shown) < 9:  # noqa: PLR2004
        shown.remove(min(shown, key=lambda i: (columns[i].keep, -i)))
    lines = (GAP.join(_fit(row[i], sizes[i], columns[i]) for i in shown).rstrip() for row in cells)
    return "\n".join(lines)


def _shrink(columns: Sequence[Column], sizes: list[int], excess: int) -> None:
    """Make the columns that may be cut narrower, by what is too much and not below their least."""
    for i, column in enumerate(columns):
        if column.least and excess > 0:
            taken = min(excess, max(0, sizes[i] - max(column.least, len(column.title))))
            sizes[i] -= taken
            excess -= taken


def _fit(text: str, size: int, column: Column) -> str:
    """Return the text in exactly `size` cells, shortened in its middle where it is too long."""
    text = _short(text, size)
    blank = " " * (size - cells_of(text))
    return blank + text if column.right else text + blank


def _short(text: str, size: int) -> str:
    """Return the text, shortened in its middle if it needs more cells."""
    if cells_of(text) <= size:
        return text
    head = (size - 1) // 2
    return f"{_cut(text, head)}…{_cut(text[::-1], size - 1 - head)[::-1]}"


def wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    """Return the text in lines of at most `width` cells, all but the first indented.

    No word is broken; one that is wider than a line, as paths are, is shortened in its middle.
    """
    lines: list[str] = []
    for word in text.split(" "):
        shown = _short(word, width - indent)
        if lines and cells_of(lines[-1]) + 1 + cells_of(shown) <= width:
            lines[-1] += f" {shown}"
        else:
            lines.append(" " * indent * bool(lines) + shown)
    return lines


def _fact(name: str, value: str, width: int) -> list[str]:
    """Return a named value in lines of its own column."""
    lines = wrapped(visible(value), width - NAMES)
    return [f"{'' if at else name:<{NAMES}}{line}" for at, line in enumerate(lines)]


def _cut(text: str, size: int) -> str:
    """Return as much of the text's beginning as fits into `size` cells."""
    used = 0
    for at, character in enumerate(text):
        used += cells_of(character)
        if used > size:
            return text[:at]
    return text


def cells_of(text: str) -> int:
    """Return how many cells a terminal gives the text."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def size_of(count: int) -> str:
    """Return a number of bytes for people: 999 B, 1.5 MiB."""
    value = float(count)
    for unit in UNITS:
        if value < UNIT or unit == UNITS[-1]:
            break
        value /= UNIT
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def age_of(seconds: float | None) -> str:
    """Return an age for people: 45 s, 3 min, 5 h, 12 d; '-' for none, 'now' up to what clocks differ."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return "now" if seconds > -DAY_S else "in the future"
    for unit, below, divisor in AGES:
        if seconds < below:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / DAY_S:,.0f} d"


def as_json(value: object) -> str:
    """Return an answer as JSON, its keys in the order of its fields."""
    return json.dumps(value, indent=2).replace("\x7f", "\\u007f")  # the one control character that it leaves


def status_json(status: Status) -> str:
    """Return the whole answer under the documented keys."""
    return as_json({"ok": not status.problems, **asdict(status)})


UNMADE = "`shipwrightd run` makes the database from what is there and follows, `shipwrightd backfill` only makes it."
HOMELESS = "Run Shipwright once, or name its folder with `--home DIR`."


def status_text(status: Status, width: int) -> str:
    """Return the answer as a page."""
    database = status.database
    kept = [size_of(database.size_bytes), f"schema {database.schema_version}", database.journal_mode or ""]
    facts = [
        ("shipwrightd", _alive(status)),
        ("home", status.home if status.home_present else f"{status.home} (there is no such folder)"),
        (
            "database",
            f"{database.path}" + (f" ({', '.join(kept)})" if database.exists else " (not made yet)"),
        ),
    ]
    if status.daemon.watching_degraded:
        facts.append(("watching", f"degraded, changes may show late: {status.daemon.watching_degraded}"))
    if status.daemon.waiting:
        facts.append(("waiting", f"since {status.daemon.waiting_since}: {status.daemon.waiting}"))
    facts += [("recovered", _recovered(recovery)) for recovery in status.recoveries[-RECOVERIES_SHOWN:]]
    lines = [line for name, value in facts for line in _fact(name, value, width)]
    if status.sources:
        lines += ["", _sources(status.sources, width)]
    if not status.home_present or not database.exists:
        lines += ["", *wrapped(UNMADE if status.home_present else HOMELESS, width)]
    lines += [line for extra in _extra_lines(status) for line in wrapped(extra, width, indent=2)]
    return "\n".join(lines)


def _recovered(recovery: Recovery) -> str:
    return (
        f"{recovery.finished_at} from damage ({recovery.reason}): {recovery.kept:,} records kept, "
        f"{recovery.refilled:,} events put back from the files, up to {recovery.lost:,} lost; "
        f"the damaged file is {recovery.set_aside}"
    )


def _alive(status: Status) -> str:
    daemon = status.daemon
    if not daemon.alive:
        return status.state
    known = (
        ("pid", daemon.pid),
        ("for", None if daemon.running_s is None else age_of(max(1.0, daemon.running_s))),
        ("version", daemon.version),
    )
    said = ", ".join(f"{name} {value}" for name, value in known if value is not None)
    return f"{status.state} ({said})" if said else status.state


SOURCES = (
    Column("SOURCE", right=False, least=28),
    Column("BEHIND"),
    Column("RECORDS"),
    Column("LAST HOUR", keep=2),
    Column("NEWEST", keep=4),
    Column("STORED", keep=5),
    Column("SALVAGED", keep=1),
    Column("QUARANTINED", keep=6),
    Column("GAPS", keep=7),
)


def _families(sources: Iterable[_Named]) -> dict[str, list[_Named]]:
    """Return sources that are alike together, each kind at the place of its first one."""
    found: dict[str, list[_Named]] = {}
    for source in sources:
        found.setdefault(family(source.source), []).append(source)
    return found


def _label(name: str, members: Sequence[_Named]) -> str:
    return members[0].source if len(members) == 1 else f"{name} ({len(members)})"


def _together(name: str, members: list[Source]) -> Source:
    """Return one source that stands for several in the table: sums, and the youngest of each age."""

    def least(ages: Iterable[float | None]) -> float | None:
        return min((age for age in ages if age is not None), default=None)

    return replace(
        members[0],
        source=_label(name, members),
        present=any(m.present for m in members),
        readable=all(m.readable for m in members),
        behind_bytes=sum(m.behind_bytes for m in members),
        records=sum(m.records for m in members),
        newest_age_s=least(m.newest_age_s for m in members),
        committed_age_s=least(m.committed_age_s for m in members),
        salvaged=sum(m.salvaged for m in members),
        quarantined=sum(m.quarantined for m in members),
        gaps=sum(m.gaps for m in members),
    )


def _sources(sources: Sequence[Source], width: int) -> str:
    shown = [_together(name, members) for name, members in _families(sources).items()]
    rows = [
        (
            source.source,
            _behind(source),
            f"{source.records:,}",
            "-" if source.records_last_hour is None else f"{source.records_last_hour:,}",
            age_of(source.newest_age_s),
            age_of(source.committed_age_s),
            f"{source.salvaged:,}",
            f"{source.quarantined:,}",
            f"{source.gaps:,}",
        )
        for source in shown
    ]
    return table(SOURCES, rows, width)


def _behind(source: Source) -> str:
    if not source.readable:
        return "unreadable"
    if not source.present:
        return "no file"
    if source.kind == "document":
        return "changed" if source.behind_bytes else "-"
    return size_of(source.behind_bytes) if source.behind_bytes else "-"


def _extra_lines(status: Status) -> list[str]:
    """Say what a reader should act on, or may want to know."""
    lines = [f"problem: {visible(problem)}" for problem in status.problems]
    kept = sum(source.quarantined for source in status.sources)
    if kept:
        lines.append(f"{kept:,} in quarantine: `shipwrightd quarantine list` shows them")
    lines += [
        f"{visible(source.source)}: last line unfinished, {size_of(source.unfinished_bytes)} wait for its end"
        for source in status.sources
        if source.unfinished_bytes
    ]
    return ["", *lines] if lines else []


PIECES = (
    Column("ID"),
    Column("SOURCE", right=False, least=16),
    Column("AT BYTE", keep=2),
    Column("BYTES", keep=3),
    Column("REASON", right=False, least=12),
    Column("SEEN", right=False, keep=1),
    Column("STATE", right=False, keep=5),
    Column("BEGINS", right=False, keep=4, least=16),
)


def pieces_text(pieces: Sequence[Piece], width: int) -> str:
    """Return the list of what is in quarantine."""
    rows = [
        (str(p.id), p.source, str(p.offset), str(p.length), p.reason, p.seen_at, p.state, _cut(p.text, 60))
        for p in pieces
    ]
    return table(PIECES, rows, width) if rows else "nothing in quarantine"


def piece_text(piece: Piece, width: int) -> str:
    """Return one piece with all that is known of it, and its bytes with controls written out.

    Where somebody looks on, only as many lines of it as a page holds.
    """
    whole = "" if len(piece.raw) >= piece.length else f", the first {len(piece.raw)} of them kept"
    facts = [
        ("id", str(piece.id)),
        ("source", piece.source),
        ("place", f"byte {piece.offset}, {piece.length} bytes{whole}"),
        ("reason", piece.reason),
        ("seen", piece.seen_at),
        ("state", piece.state),
    ]
    lines = [f"{name:<8}{visible(value)}" for name, value in facts]
    text = visible(piece.text)
    page = text if width >= ROOMY else _cut(text, SHOWN_LINES * width)
    lines += ["", page]
    if page != text:
        lines += ["", *wrapped(f"cut here; `shipwrightd quarantine show {piece.id} --raw` writes all of it", width)]
    return "\n".join(lines)


SUMMARY = (
    Column("SOURCE", right=False, least=28),
    Column("RECORDS"),
    Column("ALREADY KNOWN", keep=5),
    Column("SALVAGED", keep=3),
    Column("QUARANTINED", keep=6),
    Column("GAPS", keep=4),
    Column("SECONDS", keep=2),
)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a backfill did with one source."""

    source: str
    records: int
    known: int
    salvaged: int
    quarantined: int
    gaps: int
    seconds: float


def summary_text(summaries: Sequence[Summary], width: int) -> str:
    """Return what a backfill did, a line for each source and one for all."""
    shown = [_added(_label(name, members), members) for name, members in _families(summaries).items()]
    rows = [
        (
            s.source,
            *(f"{count:,}" for count in (s.records, s.known, s.salvaged, s.quarantined, s.gaps)),
            f"{s.seconds:.2f}",
        )
        for s in (*shown, _added("total", summaries))
    ]
    return table(SUMMARY, rows, width)


def _added(name: str, summaries: Sequence[Summary]) -> Summary:
    return Summary(
        name,
        records=sum(s.records for s in summaries),
        known=sum(s.known for s in summaries),
        salvaged=sum(s.salvaged for s in summaries),
        quarantined=sum(s.quarantined for s in summaries),
        gaps=sum(s.gaps for s in summaries),
        seconds=sum(s.seconds for s in summaries),
    )
