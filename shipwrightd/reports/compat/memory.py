"""Memory as the dashboard has it: it takes each whole file for one failure, and for one decision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.dashboard.documents import files, patterns_as_dashboard
from shipwrightd.dashboard.request import Request
from shipwrightd.reports.memory import USUAL_LIMIT, Count, Decision, Failure, Memory
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from typing import Any

    import apsw

    from shipwrightd.reports.question import Question

FILTERS = ("search", "repo", "stage", "type")


def collect(db: apsw.Connection, question: Question) -> Memory:
    """Answer with what the dashboard makes of the files. Raises QuestionError for a filter: it has none."""
    given = [f"--{name}" for name in FILTERS if getattr(question, name) is not None]
    if given:
        raise QuestionError(f"--compat and {', '.join(given)}: the dashboard shows all of memory, or nothing")
    limit = USUAL_LIMIT if question.limit is None else question.limit
    page = slice(question.offset, question.offset + limit)
    found = patterns_as_dashboard(db, Request("", question.now))["patterns"]
    folders = files(db, "decisions.json")
    return Memory(
        counts=[Count("", None, "failure", one["frequency"], one["frequency"]) for one in found],
        failures=[_failure(one) for one in found][page],
        decisions=[Decision(0, "decision", folder, None, None, None, None, None) for folder in folders][page],
        patterns=[],
        known_issues=[],
        baselines=[],
        architecture=[],
        global_patterns=[],
        learnings=[],
        matches=[],
        matches_total=None,
        limit=limit,
        offset=question.offset,
        more=[name for name, all_ in (("failures", found), ("decisions", folders)) if len(all_) > page.stop],
    )


def _failure(one: dict[str, Any]) -> Failure:
    return Failure(
        id=0,
        entry_type="failure",
        repo_hash="",
        repo=None,
        name=one["pattern"],
        category=None,
        stage=None,
        frequency=one["frequency"],
        seen_count=None,
        root_cause=None,
        fix=None,
        fix_suggested=None,
        fix_applied=None,
        fix_resolved=None,
        fix_effectiveness_percent=None,
        reported_effectiveness_percent=None,
        first_seen=None,
        last_seen=None,
        last_outcome_at=None,
        present=True,
    )
