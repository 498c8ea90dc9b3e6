"""Events on a terminal: one line each, what it is to the left, what it says behind, cut where the terminal ends."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from shipwrightd.reports.terminal.table import duration, money, number
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shipwrightd.reports.activity import Activity, Event
    from shipwrightd.reports.terminal.table import Page

TIME = re.compile(r"\d{4}-(\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)")
ROOMY = 110  # columns from which on the year is shown as well
SAID = 400  # characters of what an event says
TEAM = "team-events.jsonl/"
HEADS = ("TIME", "TYPE", "ISSUE", "STAGE", "RESULT")
MOST = (19, 32, 12, 18, 10)  # characters of each
USUAL = (14, 22, 5, 16, 7)  # while following, where nobody knows what comes
WORDS = ("error", "reason", "reasons", "message", "note", "summary", "goal", "pattern", "outcome", "verdict")
SILENT = {"event_id", "payload", "from_developer", "from_machine", "received_at", "event_type"}
TITLED = ("pipeline.started", "pipeline.completed", "daemon.spawn", "daemon.reap")
RESULTS = {"success": "green", "failed": "red", "failure": "red", "skipped": "dim", "error": "red"}
KINDS = {"pipeline": "bold", "stage": "cyan", "daemon": "blue", "cost": "yellow", "memory": "magenta"}
BAD = re.compile(r"fail|error|exceeded|kill|stuck|regression|abort")


@dataclass(frozen=True, slots=True)
class Line:
    """One event, as its columns and what it says."""

    cells: tuple[str, ...]  # in the order of HEADS
    said: str
    kind: str  # the style of its type


def show(answer: Activity, page: Page) -> None:
    """Write the answer."""
    count = len(answer.events)
    page.heading("Activity", f"{number(count)} event{'' if count == 1 else 's'}, newest first")
    lines = [_line(event, page) for event in answer.events]
    widths = [
        min(most, max(len(cell) for cell in cells))
        for most, *cells in zip(MOST, HEADS, *(made.cells for made in lines), strict=True)
    ]
    _write(page, Text(_columns(HEADS, widths) + "  SAYS", style="bold"))
    for made in lines:
        _write(page, _text(made, widths))
    if answer.next_cursor is not None:
        page.line(f"there is more: --cursor {answer.next_cursor}", "dim")


def follow(events: Iterable[Event], page: Page) -> None:
    """Write events as they come, one line each, without a head."""
    for event in events:
        _write(page, _text(_line(event, page), USUAL))


def is_roomy(page: Page) -> bool:
    """Tell whether a line has room for a whole date."""
    return not page.console.is_terminal or page.console.width >= ROOMY


def _line(event: Event, page: Page) -> Line:
    return line(event, roomy=is_roomy(page), between=" · " if page.unicode else " - ")


def _write(page: Page, text: Text) -> None:
    """Write one line; on a terminal none of it wraps, elsewhere none of it is lost."""
    terminal = page.console.is_terminal
    overflow: Any = "ellipsis" if page.unicode else "crop"
    text.rstrip()
    page.console.print(text, no_wrap=True, overflow=overflow if terminal else "ignore", crop=terminal)


def _text(made: Line, widths: Sequence[int]) -> Text:
    time, kind, issue, stage, result = (
        visible(cell).ljust(width) for cell, width in zip(made.cells, widths, strict=True)
    )
    return Text.assemble(
        (time, "dim"),
        "  ",
        (kind, made.kind),
        "  ",
        f"{issue}  {stage}  ",
        (result, RESULTS.get(made.cells[4], "")),
        "  ",
        visible(made.said),
    )


def _columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))


def line(event: Event, *, roomy: bool, between: str = " - ") -> Line:
    """Return an event as a line; a cell too long for its column is cut, and said in full behind."""
    kind = event.type or "-"
    issue = "-" if event.issue is None else event.issue if isinstance(event.issue, str) else f"#{event.issue}"
    cells = (when(event.ts, roomy=roomy), kind, issue, event.stage or "-", event.result or "-")
    style = "red" if BAD.search(kind) else KINDS.get(kind.partition(".")[0], "")
    return Line(
        tuple(cell if len(cell) <= most else cell[: most - 1] + "~" for cell, most in zip(cells, MOST, strict=True)),
        between.join(said(event))[:SAID],
        style,
    )


def when(ts: str | None, *, roomy: bool) -> str:
    """Return a time as people read it, the year only where there is room; what is no time as it is."""
    found = TIME.match(ts or "")
    if found is None:
        return ts or "-"
    return f"{found[0][:10]} {found[2]}" if roomy else f"{found[1]} {found[2]}"


def said(event: Event) -> Iterator[str]:
    """Yield what an event says, the most telling first."""
    if event.origin.startswith(TEAM):
        yield event.origin.removeprefix(TEAM)
    if event.duration_s is not None:
        yield duration(event.duration_s)
    if event.cost_usd is not None:
        yield money(event.cost_usd)
    if event.model:
        yield event.model
    fields = _fields(event)
    told = [_plain(fields.pop(word)) for word in WORDS if word in fields]
    yield from dict.fromkeys(told)
    if event.title and event.type in TITLED and event.title not in told:
        yield event.title
    if fields:
        yield " ".join(f"{key}={_plain(value)}" for key, value in fields.items())


def _fields(event: Event) -> dict[str, Any]:
    """Return the other fields that have a value, those inside a payload too."""
    if not isinstance(event.extra, dict):
        return {"extra": event.extra} if event.extra else {}
    payload = event.extra.get("payload")
    inside: Any = None
    if isinstance(payload, str):
        try:
            inside = json.loads(payload)
        except (ValueError, RecursionError):
            inside = payload
    found = {**(inside if isinstance(inside, dict) else {"payload": inside})}
    found |= {key: value for key, value in event.extra.items() if key not in SILENT}
    return {key: value for key, value in found.items() if value not in ("", None, [], {})}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
