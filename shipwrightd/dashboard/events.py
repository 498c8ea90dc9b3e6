"""Events from their rows, and the lists of them: the activity feed, the events of an issue, those of the team.

Each comes in two readings. As the dashboard: the last of two equal keys counts, as in JSON.parse, and lines that it
rejects are missing. Corrected: an event is what its columns say, and salvaged events are included.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from shipwrightd.clock import YEAR_10000
from shipwrightd.dashboard.javascript import bounds, number, text, truthy
from shipwrightd.dashboard.request import FailsError, issue_of
from shipwrightd.reports.activity import newest, search
from shipwrightd.reports.question import Period, Question

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import apsw

    from shipwrightd.dashboard.request import Answer, Request

Event = dict[str, Any]

KEYS: Final = ("ts", "ts_epoch", "type", "issue", "stage", "result", "duration_s", "cost_usd", "model")
EXACT_DIGITS: Final = 15  # every number with as many digits is exact as a double
_DIGITS: Final = re.compile(r"-?[0-9]+\.?[0-9]*", re.ASCII)
_JSON_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
AS_IT_WAS: Final = "_bytes"  # the line in base64, of one with invalid UTF-8

# Events that always name an issue, by the places in Shipwright (1.10.0 and 3.0.0) that emit them. The database has no
# issue 0: where one of these has none, the file said 0.
ALWAYS_NAMED: Final = frozenset(  # one text, because a list would be a line for each
    """
adversarial.delegated architecture.validated artifacts.persist_failed artifacts.persisted
autonomous.delegated_to_daemon autonomous.finding_failure autonomous.finding_success autonomous.issue_created
autonomous.pipeline_triggered autonomous.recruit_match build.commit_quality build.parallelism_suggested
compound.architecture compound.cycle compound.plateau compound.simulation convergence.plateau convergence.stuck
convergence.tests_passed daemon.budget_exhausted daemon.context_exhaustion daemon.failure_classified
daemon.hard_limit daemon.nudge daemon.priority_lane daemon.reap daemon.recovery daemon.retry
daemon.retry_exhausted daemon.skip_retry daemon.spawn daemon.stale_dead daemon.stale_kill daemon.stale_warning
daemon.stalled daemon.stuck_kill daemon.triage decompose.analyzed decompose.auto_completed decompose.completed
decompose.skipped incident.pipeline_triggered instrument_start intelligence.adaptive_iterations
intelligence.backtrack intelligence.backtrack_blocked intelligence.budget_cap
intelligence.convergence_acceleration intelligence.divergence_detected intelligence.findings_classified
intelligence.model_ab intelligence.model_ucb1 intelligence.reassessment intelligence.stage_skipped
intelligence.triage issue.pr_merged_feedback merge.approval_pending merge.auto_enabled merge.blocked
merge.oversight_blocked model.outcome monitor.alert monitor.check monitor.rollback monitor.rollback_verified
monitor.started optimize.outcome_analyzed pipeline.audit_selection pipeline.budget_paused pipeline.cleanup
pipeline.comment_failed pipeline.completed pipeline.context_exhaustion pipeline.dod_verification
pipeline.human_message pipeline.quality_gate_failed pipeline.quality_gate_failed_strict
pipeline.quality_score_recorded pipeline.security_source_scan pipeline.started pipeline.vitals_check
pipeline_kill pipeline_spawn plan.validated plan.validation_escalated plan.validation_failure pm.analyze
pm.learn pm.orchestrate pm.recommend pm.team pr.rejected pr.skipped prediction.validated
quality.bash_compat_failed quality.bundle quality.coverage quality.coverage_failed quality.hard_floor_failed
quality.perf quality.security quality.untested_functions retry.classified retry.escalated retry.skipped
review.blocked review.oversight_blocked review.risk_assessed risk.outcome stage.artifact_miss stage.completed
stage.failed stage.skipped stage.started template.outcome test.completed triage_analyzed triage_labeled
triage_team_recommended vitals.adaptive_limit vitals.snapshot
""".split()  # noqa: SIM905 - see above
)

# Rows are those of the table. ?1 a JSON array of types; ?2 seconds. In file order.
OF_TYPES = """
SELECT * FROM events INDEXED BY events_type
WHERE type IN (SELECT value FROM json_each(?1)) AND origin = 'events.jsonl' ORDER BY id"""
OF_TYPES_SINCE = """
SELECT * FROM events INDEXED BY events_type_epoch
WHERE type IN (SELECT value FROM json_each(?1)) AND ts_epoch >= ?2 AND origin = 'events.jsonl' ORDER BY id"""
OF_ISSUE = "SELECT * FROM events WHERE issue = ?1 AND origin = 'events.jsonl' ORDER BY id"

# The activity feed.
LIMIT, MOST = 50, 200
TEAM_EVENTS = 100

# Of the issues that the daemon works on, the only ones the dashboard knows.
ACTIVE_TITLES = (
    "SELECT CAST(issue AS TEXT), title FROM daemon_jobs WHERE present AND title <> '' ORDER BY started_at, id"
)
KNOWN_TITLES = "SELECT id, title FROM daemon_titles WHERE title <> ''"

# Candidates, newest first; parsing decides. ?1 a type or its first part, ?2 an issue.
MAYBE = """
SELECT * FROM events
WHERE origin = 'events.jsonl'
    AND (?1 IS NULL OR type = ?1 OR (type >= ?1 || '.' AND type < ?1 || '/') OR instr(extra, '"type":'))
ORDER BY id DESC"""
MAYBE_OF_ISSUE = """
SELECT * FROM events INDEXED BY events_issue
WHERE origin = 'events.jsonl' AND issue IS ?2
    AND (?1 IS NULL OR type = ?1 OR (type >= ?1 || '.' AND type < ?1 || '/') OR instr(extra, '"type":'))
ORDER BY id DESC"""
# Only these can have a type that is not text, or none.
ODD_TYPES = "SELECT * FROM events WHERE origin = 'events.jsonl' AND (type IS NULL OR instr(extra, '\"type\":'))"
PLAIN = "SELECT count(*) FROM events WHERE origin = 'events.jsonl' AND NOT salvaged"
SALVAGED = "SELECT * FROM events WHERE origin = 'events.jsonl' AND salvaged"
BY_ID = "SELECT * FROM events WHERE id = ?"

# Counted in an index alone if there are no team events.
OTHERS = "SELECT 1 FROM checkpoints WHERE source = 'team-events.jsonl' AND records > 0"
COUNT_ALL = "SELECT count(*) FROM events"
COUNT_OWN = "SELECT count(*) FROM events WHERE origin = 'events.jsonl'"
COUNT_OF_TYPE = """
SELECT (SELECT count(*) FROM events WHERE type = ?1 AND (NOT ?2 OR origin = 'events.jsonl'))
    + (SELECT count(*) FROM events
       WHERE type >= ?1 || '.' AND type < ?1 || '/' AND (NOT ?2 OR origin = 'events.jsonl'))"""
COUNT_OF_ISSUE = """
SELECT count(*) FROM events INDEXED BY events_issue
WHERE issue = ?1 AND (NOT ?2 OR origin = 'events.jsonl')
    AND (?3 IS NULL OR type = ?3 OR (type >= ?3 || '.' AND type < ?3 || '/'))"""

# No search beyond the last one that is stored.
TEAM = """
SELECT * FROM events WHERE origin >= 'team-events.jsonl/' AND origin < 'team-events.jsonl0'
ORDER BY id DESC LIMIT min(?, coalesce((SELECT records FROM checkpoints WHERE source = 'team-events.jsonl'), 0))"""


def read(row: Sequence[Any]) -> Event:
    """Return the event of a row, corrected."""
    event, rest = _halves(row)
    return {**event, **{key: value for key, value in rest.items() if key not in event and key != AS_IT_WAS}}


def read_as_dashboard(row: Sequence[Any]) -> Event | None:
    """Return the event of a row as JSON.parse reads its line, None if it rejects it.

    It never sees invalid UTF-8, which is salvaged here: of such a line the bytes are stored.
    """
    event, rest = _halves(row)
    salvaged = row[11]
    if not salvaged:
        return as_written({**event, **rest}, rest)
    kept = rest.get(AS_IT_WAS)
    return _parsed(kept) if isinstance(kept, str) else None


def as_written(event: Event, rest: Event) -> Event:
    """Return an event with its numbers as its emitter wrote them, as far as that can be told.

    Shipwright's main emitter puts no quotes around a number. So digits that are text are a number that 64 bits do
    not hold; or, where they do, the line is of the small emitter, which quotes everything and gives no ts_epoch.
    """
    digits = {key: value for key, value in rest.items() if isinstance(value, str) and _DIGITS.fullmatch(value)}
    long = {key: value for key, value in digits.items() if len(value) > EXACT_DIGITS}
    if len(long) < len(digits) and "ts_epoch" not in rest and event.get("ts_epoch") == _seconds(event.get("ts")):
        whole = event.get("issue")
        named = {"issue": str(whole)} if whole and "issue" not in rest else {}
        return {key: value for key, value in {**event, **named}.items() if key != "ts_epoch"}
    return {**event, **{key: float(value) for key, value in long.items() if _JSON_NUMBER.fullmatch(value)}}


def _seconds(ts: object) -> int | None:
    try:
        moment = dt.datetime.fromisoformat(str(ts))
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp())


def _parsed(kept: str) -> Event | None:
    try:
        line = base64.b64decode(kept).decode("utf-8", "replace")
        event = json.loads(line, parse_constant=int)  # refuses NaN and Infinity
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _halves(row: Sequence[Any]) -> tuple[Event, Event]:
    """Return the fields of the columns, and those of extra; of equal keys the last."""
    event = {key: value for key, value in zip(KEYS, row[1:10], strict=True) if value is not None}
    rest = _object(row[12])
    if "issue" not in event and "issue" not in rest and "payload" not in rest and event.get("type") in ALWAYS_NAMED:
        event["issue"] = 0
    return event, rest


def _object(extra: str | None) -> Event:
    try:
        fields = json.loads(extra) if extra else {}
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def since(db: apsw.Connection, types: Iterable[str], cutoff: float) -> list[Event]:
    """Return the events of these types from `cutoff` seconds on, as the dashboard reads them, in file order.

    A cutoff of NaN excludes nothing.
    """
    wanted = frozenset(types)
    listed = json.dumps(sorted(wanted))
    if math.isnan(cutoff) or cutoff <= 0:
        rows = db.execute(OF_TYPES, (listed,))
    else:
        rows = db.execute(OF_TYPES_SINCE, (listed, cutoff))
    events = [event for row in rows if (event := read_as_dashboard(row)) and isinstance(event.get("type"), str)]
    return [event for event in events if event["type"] in wanted and not epoch(event) < cutoff]


def is_number(value: object, wanted: float) -> bool:
    """Tell whether value === wanted."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value == wanted


def epoch(event: Event) -> float:
    """Return ts_epoch || 0."""
    value = number(event.get("ts_epoch"))
    return 0 if math.isnan(value) and not isinstance(event.get("ts_epoch"), str) else value


# -- lists of events


def activity_as_dashboard(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/activity as the dashboard does. Raises FailsError for a type filter with which it fails."""
    kind = request.text("type", "all")
    wanted = None if kind == "all" else kind
    issue = issue_of(request.text("issue", ""))
    events: Iterable[Event] = _seen_as_dashboard(db, wanted, issue)
    if wanted is None and issue is None:
        plain: int = db.execute(PLAIN).get
        length = plain + sum(read_as_dashboard(row) is not None for row in db.execute(SALVAGED))
    else:
        events = list(events)
        length = len(events)
    return _page(request, events, length, dict(db.execute(ACTIVE_TITLES)))


def _seen_as_dashboard(db: apsw.Connection, kind: str | None, issue: int | None) -> Iterator[Event]:
    """Yield the events that the dashboard finds of a type and an issue, newest first.

    Raises FailsError for a type with which it fails.
    """
    if kind is not None:
        _refuse_odd_types(db)
    rows = db.execute(MAYBE_OF_ISSUE, (kind, issue or None)) if issue is not None else db.execute(MAYBE, (kind,))
    for event in filter(None, map(read_as_dashboard, rows)):
        if (kind is None or _has_type(event.get("type"), kind)) and (
            issue is None or is_number(event.get("issue"), issue)
        ):
            yield event


def _has_type(value: object, kind: str) -> bool:
    return isinstance(value, str) and (value == kind or value.startswith(kind + "."))


def _refuse_odd_types(db: apsw.Connection) -> None:
    for event in map(read_as_dashboard, db.execute(ODD_TYPES)):
        if event is not None and not isinstance(event.get("type"), str):
            raise FailsError(f"an event has the type {text(event.get('type'))}, which is not text")


def _page(request: Request, events: Iterable[Event], length: int, titles: dict[str, str]) -> Answer:
    """Return the page that limit and offset select from `length` events."""
    limit, offset = request.integer("limit", LIMIT), request.integer("offset", 0)
    limit = limit if math.isnan(limit) else min(limit, MOST)
    return {
        "events": [titled(event, titles) for event in islice(events, *bounds(offset, offset + limit, length))],
        "total": length,
        "hasMore": offset + limit < length,
    }


def titled(event: Event, titles: dict[str, str]) -> Event:
    """Return an event with the title of its issue, empty if unknown; without an issue, without a title."""
    rest = {key: value for key, value in event.items() if key != "issueTitle"}
    return {**rest, "issueTitle": titles.get(text(event["issue"]), "")} if truthy(event.get("issue")) else rest


def activity(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/activity: all events, by their own type."""
    kind = request.text("type", "all")
    question = Question(
        now=request.now,
        period=Period(None, YEAR_10000),
        type=None if kind == "all" else kind,
        issue=issue_of(request.text("issue", "")),
    )
    ids = (id_ for _, matching in search(db, question, newest(db) + 1) for id_ in matching)
    events = (read(row) for id_ in ids for row in db.execute(BY_ID, (id_,)))
    titles = dict(db.execute(KNOWN_TITLES)) | dict(db.execute(ACTIVE_TITLES))
    return _page(request, events, _count(db, question), titles)


def _count(db: apsw.Connection, question: Question) -> int:
    mixed = db.execute(OTHERS).get is not None
    if question.issue is not None:
        return int(db.execute(COUNT_OF_ISSUE, (question.issue, mixed, question.type)).get)
    if question.type is not None:
        return int(db.execute(COUNT_OF_TYPE, (question.type, mixed)).get)
    return int(db.execute(COUNT_OWN if mixed else COUNT_ALL).get)


def events_of_issue(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/events/N, in file order."""
    return {"events": [read(row) for row in db.execute(OF_ISSUE, (request.issue(3),))]}


def events_of_issue_as_dashboard(db: apsw.Connection, request: Request) -> Answer:
    """Answer /api/events/N as the dashboard does: the events whose line has the issue as a number."""
    issue = request.issue(3)
    events = map(read_as_dashboard, db.execute(OF_ISSUE, (issue,)))
    return {"events": [event for event in events if event and is_number(event.get("issue"), issue)]}


def team_activity(db: apsw.Connection, _request: Request) -> list[Event]:
    """Answer /api/team/activity: the last hundred team events, oldest first."""
    return [read(row) for row in db.execute(TEAM, (TEAM_EVENTS,))][::-1]


def team_activity_as_dashboard(db: apsw.Connection, _request: Request) -> list[Event]:
    """Answer /api/team/activity as the dashboard does: those of the last hundred lines that it can parse."""
    events = [read_as_dashboard(row) for row in db.execute(TEAM, (TEAM_EVENTS,))]
    return [event for event in events[::-1] if event is not None]
