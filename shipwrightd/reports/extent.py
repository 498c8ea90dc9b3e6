"""From when until when there is anything at all: what an empty answer is explained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.reports.question import utc

if TYPE_CHECKING:
    import apsw

    from shipwrightd.reports.question import Question

OLDEST = "SELECT min(ts_epoch) FROM events"
NEWEST = "SELECT max(ts_epoch) FROM events"
REMEMBERED = "SELECT count(*) FROM memory_entries"
KNOWN = "SELECT count(*) FROM sessions"
LABELS = {"search": "the words", "run": "run"}


def extent(db: apsw.Connection) -> tuple[int, int] | None:
    """Return the times of the oldest and the newest event, in seconds; None without any."""
    oldest, newest = db.execute(OLDEST).get, db.execute(NEWEST).get
    return None if oldest is None or newest is None else (oldest, newest)


def nothing(db: apsw.Connection, report: str, question: Question) -> str:
    """Say what was looked for and not found, and what there is."""
    given = "".join(f", {LABELS.get(name, name)} {value}" for name, value in question.filters.items())
    if question.cursor is not None:
        given += f", after cursor {question.cursor}"
    if question.offset:
        given += f", beyond the first {question.offset:,}"
    return f"nothing for {report}{_period(report, question)}{given}; {_there(db, report)}"


def _period(report: str, question: Question) -> str:
    if report in ("team", "memory"):  # these are of how things are now
        return ""
    since = f" from {utc(question.period.since)}" if question.period.since is not None else ""
    return f"{since} until {utc(question.end)}"


def _there(db: apsw.Connection, report: str) -> str:
    if report == "memory":
        return _counted(db.execute(REMEMBERED).get, "entry", "entries", "in memory")
    if report == "team":
        return _counted(db.execute(KNOWN).get, "session", "sessions", "in the developer registry")
    there = extent(db)
    return f"the events there are go from {utc(there[0])} to {utc(there[1])}" if there else "there are no events at all"


def _counted(number: int, one: str, many: str, where: str) -> str:
    return f"there {'is' if number == 1 else 'are'} {number or 'no'} {one if number == 1 else many} {where}"
