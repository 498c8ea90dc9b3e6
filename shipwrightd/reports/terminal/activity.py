"""Events on a terminal: one line each with its columns and then its details, cut at the edge of the terminal."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rich.text import Text

from shipwrightd.reports.terminal import issue_label
from shipwrightd.text import duration, money, number, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shipwrightd.reports.activity import Activity, Event
    from shipwrightd.reports.terminal import Page

TIME = re.compile(r"\d{4}-(\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)")
WIDE = 110  # cells: room for the year
DETAILS_LENGTH = 400
TEAM = "team-events.jsonl/"
TITLES = ("TIME", "TYPE", "ISSUE", "STAGE", "RESULT")
LARGEST = (19, 32, 12, 18, 10)  # cells of each column
USUAL = (14, 22, 5, 16, 7)  # while following, when later events are not known
FIRST = ("error", "reason", "reasons", "message", "note", "summary", "goal", "pattern", "outcome", "verdict")
HIDDEN = {"event_id", "payload", "from_developer", "from_machine", "received_at", "event_type"}
TITLED = ("pipeline.started", "pipeline.completed", "daemon.spawn", "daemon.reap")
RESULTS = {"success": "green", "failed": "red", "failure": "red", "skipped": "dim", "error": "red"}
STYLES = {"pipeline": "bold", "stage": "cyan", "daemon": "blue", "cost": "yellow", "memory": "magenta"}
BAD = re.compile(r"fail|error|exceeded|kill|stuck|regression|abort")


def activity(answer: Activity, page: Page) -> None:
    """Write a page of events."""
    count = len(answer.events)
    page.heading("Activity", f"{number(count)} event{'' if count == 1 else 's'}, newest first")
    rows = [_cells(event, page) for event in answer.events]
    widths = [max(map(len, column)) for column in zip(TITLES, *rows, strict=True)]
    _write(page, Text("  ".join([*map(str.ljust, TITLES, widths), "DETAILS"]), style="bold"))
    for event, cells in zip(answer.events, rows, strict=True):
        _write(page, _line(event, cells, widths, page))
    if answer.next_cursor is not None:
        page.line(f"There are more: --cursor {answer.next_cursor}", "dim")


def follow(events: Iterable[Event], page: Page) -> None:
    """Write events as they come, one line each, without titles."""
    for event in events:
        _write(page, _line(event, _cells(event, page), USUAL, page))


def _write(page: Page, text: Text) -> None:
    """Write one line, cut at the edge of a terminal; elsewhere in full."""
    terminal = page.console.is_terminal
    overflow: Any = "ellipsis" if page.unicode else "crop"
    text.rstrip()
    page.console.print(text, no_wrap=True, overflow=overflow if terminal else "ignore", crop=terminal)


def _cells(event: Event, page: Page) -> list[str]:
    """Return the columns of an event, each shortened to its largest width."""
    texts = (
        _time(event.ts, with_year=not page.console.is_terminal or page.width >= WIDE),
        event.type or "-",
        issue_label(event.issue),
        event.stage or "-",
        event.result or "-",
    )
    cells = map(visible, texts)
    return [cell if len(cell) <= most else f"{cell[: most - 1]}~" for cell, most in zip(cells, LARGEST, strict=True)]


def _line(event: Event, cells: Sequence[str], widths: Sequence[int], page: Page) -> Text:
    time, kind, issue, stage, result = map(str.ljust, cells, widths)
    style = "red" if BAD.search(event.type or "") else STYLES.get((event.type or "").partition(".")[0], "")
    details = (" · " if page.unicode else " - ").join(_details(event))[:DETAILS_LENGTH]
    return Text.assemble(
        (time, "dim"),
        "  ",
        (kind, style),
        f"  {issue}  {stage}  ",
        (result, RESULTS.get(event.result or "", "")),
        f"  {visible(details)}",
    )


def _time(ts: str | None, *, with_year: bool) -> str:
    """Return a time to the second; text that is not a time unchanged."""
    match = TIME.match(ts or "")
    if match is None:
        return ts or "-"
    return f"{match[0][:10]} {match[2]}" if with_year else f"{match[1]} {match[2]}"


def _details(event: Event) -> Iterator[str]:
    """Yield the details of an event, the most important first."""
    if event.origin.startswith(TEAM):
        yield event.origin.removeprefix(TEAM)
    if event.duration_s is not None:
        yield duration(event.duration_s)
    if event.cost_usd is not None:
        yield money(event.cost_usd)
    if event.model:
        yield event.model
    fields = _fields(event)
    texts = dict.fromkeys(_plain(fields.pop(name)) for name in FIRST if name in fields)
    yield from texts
    if event.title and event.type in TITLED and event.title not in texts:
        yield event.title
    if fields:
        yield " ".join(f"{name}={_plain(value)}" for name, value in fields.items())


def _fields(event: Event) -> dict[str, Any]:
    """Return the other fields that have a value, including those inside a payload."""
    if not isinstance(event.extra, dict):
        return {"extra": event.extra} if event.extra else {}
    payload = event.extra.get("payload")
    inside: Any = None
    if isinstance(payload, str):
        try:
            inside = json.loads(payload)
        except (ValueError, RecursionError):
            inside = payload
    fields = inside if isinstance(inside, dict) else {"payload": inside}
    fields |= {name: value for name, value in event.extra.items() if name not in HIDDEN}
    return {name: value for name, value in fields.items() if value not in ("", None, [], {})}


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
