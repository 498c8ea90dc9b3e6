"""Events as the dashboard shows them: by the last `type` of a line, and only lines that JSON.parse takes."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any

from shipwrightd.clock import YEAR_10000
from shipwrightd.dashboard import events as journal
from shipwrightd.dashboard.events import active_titles, seen_as_dashboard
from shipwrightd.dashboard.javascript import number, text
from shipwrightd.reports.activity import PAGE_EVENTS, Activity, Event, cursor_of
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from shipwrightd.reports.question import Question

OWN = "events.jsonl"
SHOWN = ("ts", "type", "issue", "stage", "result", "duration_s", "cost_usd", "model")


def collect(db: apsw.Connection, question: Question) -> Activity:
    """Answer with one page, which a period, stage and model may narrow further than the dashboard can.

    Raises QuestionError for --developer, for an issue that is no number, and for a type where the dashboard fails.
    """
    if question.developer is not None:
        raise QuestionError("--compat and --developer: the dashboard's feed has no team events")
    if isinstance(question.issue, str):
        raise QuestionError(f"--compat and --issue {question.issue}: for the dashboard issues are numbers")
    if question.cursor is not None and question.offset:
        raise QuestionError("--cursor and --offset exclude each other")
    below = math.inf if question.cursor is None else cursor_of(question.cursor)
    size = PAGE_EVENTS if question.limit is None else question.limit
    found = (one for one in meant(db, question) if one[0] < below)
    page = list(islice(found, question.offset, question.offset + size + 1))
    titles = active_titles(db)
    events = [event(id_, told, titles) for id_, told in page[:size]]
    more = len(page) > size
    return Activity(events, str(events[-1].id) if more else None, more)


def meant(db: apsw.Connection, question: Question) -> Iterator[tuple[int, journal.Event]]:
    """Yield the events that are meant, newest first."""
    for id_, told in seen_as_dashboard(db, question.type, question.issue):  # type: ignore[arg-type]  # no text, see above
        if all(
            wanted is None or told.get(key) == wanted
            for key, wanted in (("stage", question.stage), ("model", question.model))
        ) and _within(told, question):
            yield id_, told


def _within(told: journal.Event, question: Question) -> bool:
    since, until = question.period.since, question.period.until
    if since is None and until >= YEAR_10000:
        return True
    return (since or 0) <= journal.epoch(told) < until


def event(id_: int, told: journal.Event, titles: dict[str, str]) -> Event:
    """Return an event of the dashboard as the report has it."""
    rest = {key: value for key, value in told.items() if key not in (*SHOWN, "ts_epoch")}
    issue = told.get("issue")
    return Event(
        id=id_,
        ts=_text(told.get("ts")),
        type=_text(told.get("type")),
        issue=issue if isinstance(issue, int | str) else None,
        title=titles.get(text(issue)) if issue else None,
        stage=_text(told.get("stage")),
        result=_text(told.get("result")),
        duration_s=_number(told.get("duration_s")),
        cost_usd=_number(told.get("cost_usd")),
        model=_text(told.get("model")),
        origin=OWN,
        extra=rest or None,
    )


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return None if value is None else text(value)


def _number(value: Any) -> float | None:  # noqa: ANN401 - any JSON
    found = math.nan if value is None else number(value)
    return found if math.isfinite(found) else None
