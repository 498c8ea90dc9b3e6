"""Random histories of events and entries, as hypothesis draws them, and how they arrive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from projection import Books, completed, doubled, entry, event, reaped, spent, stage, started, told

from shipwrightd.database.migrate import migrate

if TYPE_CHECKING:
    from projection import Event

ISSUES = st.sampled_from([0, 0, 7, 7, 8, "acme/x:9"])
STAGES = st.sampled_from(["plan", "build"])
TEMPLATES = st.sampled_from(["fast", "full"])
OUTCOMES = st.sampled_from(["started", "completed", "failed", "skipped"])
RESULTS = st.sampled_from(["success", "failure"])
TOKENS = st.sampled_from([0, 100])
COSTS = st.sampled_from([0.0, 0.25])


def happening(draw: st.DrawFn, at: int) -> Event:
    """Draw an event at a second."""
    issue = draw(ISSUES)
    kind = draw(st.integers(0, 11))
    made: dict[int, Any] = {
        0: lambda: started(at, issue, draw(TEMPLATES)),
        1: lambda: started(at, issue, draw(TEMPLATES)),
        2: lambda: doubled(at, issue, draw(TEMPLATES)),
        3: lambda: completed(at, issue, draw(RESULTS), template=draw(TEMPLATES), input_tokens=draw(TOKENS)),
        4: lambda: reaped(at, issue, draw(RESULTS)),
        5: lambda: event("daemon.spawn", at, issue, pid=1),
        6: lambda: event("daemon.stale_kill", at, issue, elapsed_s=50),
        7: lambda: stage(at, draw(STAGES), draw(OUTCOMES), issue, duration_s=9),
        8: lambda: stage(at, draw(STAGES), draw(OUTCOMES), issue, duration_s=9),
        9: lambda: told(at, draw(STAGES), draw(st.sampled_from(["complete", "failed"])), issue),
        10: lambda: spent(at, draw(COSTS), "pipeline", input_tokens=draw(TOKENS)),
        11: lambda: event("daemon.poll", at, None),
    }
    return made[kind]()  # type: ignore[no-any-return]


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Draw events and entries in the order of arrival; time goes on, sometimes by days, sometimes back."""
    at = 0
    made: list[Event] = []
    for _ in range(draw(st.integers(1, 30))):
        at += draw(st.sampled_from([0, 1, 40, 90, 300, 40_000, -50, -90_000]))
        if draw(st.integers(0, 6)) == 0:
            issue = draw(st.sampled_from([None, 7]))
            made.append(entry(at, draw(COSTS), "pipeline", issue=issue, input_tokens=draw(TOKENS), type=None))
        else:
            made.append(happening(draw, at))
    return made


def arrive(books: Books, batch: list[Event]) -> None:
    """Store a batch, split where events and entries take turns."""
    at = 0
    while at < len(batch):
        end = at
        while end < len(batch) and (batch[end]["type"] is None) == (batch[at]["type"] is None):
            end += 1
        if batch[at]["type"] is None:
            books.entries(*batch[at:end])
        else:
            books.events(*batch[at:end])
        at = end


def fresh(folder: str, name: str) -> Books:
    """Return the books of a new database."""
    books = Books(Path(folder) / name)
    migrate(books.db)
    return books
