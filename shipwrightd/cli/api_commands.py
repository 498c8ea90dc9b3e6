"""The dashboard's answers on the command line: from an address to JSON."""

from __future__ import annotations

from shipwrightd.cli.report_commands import OK, clock, print_json, reading
from shipwrightd.config import settings
from shipwrightd.reports.question import readable


def api(path: str, *, home: str | None, db: str | None, now: str | None, compat: bool) -> int:
    """Print what the dashboard answers to a path. Raises QuestionError where it has no answer."""
    from shipwrightd.dashboard.api import answer, checked  # noqa: PLC0415 - loads only what is asked for

    readable(path, option="PATH")
    moment = clock(now)
    checked(path)
    with reading(settings.locate(home, db)) as (opened, _):
        print_json(answer(opened, path, moment, compat=compat))
    return OK
