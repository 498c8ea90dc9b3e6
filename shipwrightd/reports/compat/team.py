"""The team as the dashboard has it: who was heard of within a day; nothing of this machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from shipwrightd.reports import team

if TYPE_CHECKING:
    import apsw

    from shipwrightd.reports.question import Question


def collect(db: apsw.Connection, question: Question) -> team.Team:
    """Answer for question.now; `developer` may be a name or name@machine."""
    found = team.collect(db, question)
    sessions = [session for session in found.sessions if not session.stale]
    presences = [session.presence for session in sessions]
    return replace(
        found,
        online=presences.count("online"),
        idle=presences.count("idle"),
        offline=presences.count("offline"),
        active_jobs=sum(len(session.active_jobs) for session in sessions),
        queued=sum(len(session.queued) for session in sessions),
        sessions=sessions,
        this_machine=None,
    )
