"""Clocks: what claims to be from the future, and whether ours was set back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from shipwrightd.clock import seconds_of, utc
from shipwrightd.doctor.finding import ok, warn
from shipwrightd.status.text import age_of
from shipwrightd.text import family

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import apsw

    from shipwrightd.doctor.finding import Case, Finding
    from shipwrightd.status.collect import Source

AHEAD_S = 60.0  # what clocks of one machine may differ by, file systems' included
EVENT_AHEAD_S = 300.0  # events may come from other machines
LATEST = """
SELECT max(at) FROM (
    SELECT max(committed_at) AS at FROM checkpoints UNION ALL SELECT max(applied_at) FROM schema_version)"""


def clock(case: Case, db: apsw.Connection, sources: Sequence[Source]) -> Iterator[Finding]:
    """Compare this machine's clock with what events, files and the database say."""
    found = [
        *events(sources),
        *files(case, [source.source for source in sources]),
        *database(seconds_of(db.execute(LATEST).get), case.now),
    ]
    yield from found or [ok("clock", f"{utc(case.now)}, and nothing is from later")]


def events(sources: Sequence[Source]) -> Iterator[Finding]:
    """Judge the newest record of each source."""
    for source in sources:
        if source.newest_age_s is not None and source.newest_age_s < -EVENT_AHEAD_S:
            text = f"the newest record of {source.source} is from {source.newest_at}, {_ahead(-source.newest_age_s)}"
            todo = "set the clock of the machine that wrote it; reports file it under the day it names"
            yield warn("clock", text, todo, ahead_s=round(-source.newest_age_s))


def files(case: Case, names: Sequence[str]) -> Iterator[Finding]:
    """Judge when files were last written."""
    ahead: dict[str, float] = {}
    siblings = [sibling for journal in case.journals.values() for sibling in journal]
    for name in dict.fromkeys((*names, *siblings)):
        with contextlib.suppress(OSError):
            later = (case.home / name).stat().st_mtime - case.now
            if later > AHEAD_S:
                ahead[family(name)] = max(later, ahead.get(family(name), 0.0))
    for name, later in ahead.items():
        text = f"{name} was written {_ahead(later)}, says the file system"
        yield warn("clock", text, "set this machine's clock, or that of the file server", ahead_s=round(later))


def database(latest: float | None, now: float) -> Iterator[Finding]:
    """Judge the newest time that was put into the database here."""
    if latest is not None and latest - now > AHEAD_S:
        text = f"the database was written to at {utc(latest)}, {_ahead(latest - now)}: the clock was set back"
        todo = "set the clock; nothing is lost, ages that `status` shows are wrong until then"
        yield warn("clock", text, todo, ahead_s=round(latest - now))


def _ahead(seconds: float) -> str:
    return f"{age_of(seconds)} from now"
