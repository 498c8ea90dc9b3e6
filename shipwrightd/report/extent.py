"""From when until when there is anything at all: what an empty answer is explained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.report.question import utc

if TYPE_CHECKING:
    import apsw

    from shipwrightd.report.question import Question

OLDEST = "SELECT min(ts_epoch) FROM events"
NEWEST = "SELECT max(ts_epoch) FROM events"
LABELS = {"search": "the words", "run": "run"}


def extent(db: apsw.Connection) -> tuple[int, int] | None:
    """Return the times of the oldest and the newest event, in seconds; None without any."""
    oldest, newest = db.execute(OLDEST).get, db.execute(NEWEST).get
    return None if oldest is None or newest is None else (oldest, newest)


def nothing(db: apsw.Connection, report: str, question: Question) -> str:
    """Say what was looked for and not found, and what there is."""
    since, until = question.period.since, question.end
    looked = f"from {utc(since)} " if since is not None else ""
    given = "".join(f", {LABELS.get(name, name)} {value}" for name, value in question.filters.items())
    there = extent(db)
    data = f"the events there are go from {utc(there[0])} to {utc(there[1])}" if there else "there are no events at all"
    return f"nothing for {report} {looked}until {utc(until)}{given}; {data}"
