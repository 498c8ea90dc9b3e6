"""The reports, one module each: `collect` queries the database, the answer's fields are the JSON, `rows` the CSV."""

from collections.abc import Iterator

import apsw

from shipwrightd.clock import utc
from shipwrightd.reports.question import Question

OLDEST = "SELECT min(ts_epoch) FROM events"
NEWEST = "SELECT max(ts_epoch) FROM events"
IN_MEMORY = "SELECT count(*) FROM memory_entries"
SESSIONS = "SELECT count(*) FROM sessions"
SUBJECTS = {
    "dora": "finished runs",
    "costs": "costs",
    "stages": "attempts at stages",
    "throughput": "runs",
    "failures": "failures",
    "runs": "runs",
    "activity": "events",
    "team": "developers",
    "memory": "entries in memory",
}
UNDATED = ("team", "memory")  # show the present state, whatever the period


def nothing(db: apsw.Connection, report: str, question: Question) -> str:
    """Return the text for an empty answer: the question, and what the database has."""
    filters = [f"{'the words' if name == 'search' else name} {value}" for name, value in question.filters.items()]
    since = f" from {utc(question.period.since)}" if question.period.since is not None else ""
    text = f"No {SUBJECTS[report]}" + ("" if report in UNDATED else f"{since} until {utc(question.end)}")
    text += f" with {', '.join(filters)}" if filters else ""
    text += "" if question.cursor is None else f" after cursor {question.cursor}"
    text += f" beyond the first {question.offset:,}" if question.offset else ""
    if report == "memory":
        return f"{text}. Entries in memory: {db.execute(IN_MEMORY).get}."
    if report == "team":
        return f"{text}. Sessions in the developer registry: {db.execute(SESSIONS).get}."
    oldest, newest = db.execute(OLDEST).get, db.execute(NEWEST).get
    if oldest is None or newest is None:
        return f"{text}. There are no events."
    return f"{text}. Events exist from {utc(oldest)} to {utc(newest)}."


def distinct(db: apsw.Connection, statement: str, first: str = "", *limits: str) -> Iterator[str]:
    """Yield each value of an indexed column from `first` on; `statement` returns the smallest one from ?1 on."""
    while (value := db.execute(statement, (first, *limits)).get) is not None:
        yield value
        first = f"{value}\0"  # the next text in the order of the index
