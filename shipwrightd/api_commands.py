"""The dashboard's answers on the command line: from an address to JSON."""

from __future__ import annotations

from shipwrightd import config
from shipwrightd.report.question import readable
from shipwrightd.report_commands import OK, clock, print_json, reading


def api(path: str, *, home: str | None, db: str | None, now: str | None, compat: bool) -> int:
    """Print what the dashboard answers to a path. Raises QuestionError where it has no answer."""
    from shipwrightd.report.dashboard import answer, checked  # noqa: PLC0415 - loads only what is asked for

    readable(path, option="PATH")
    moment = clock(now)
    checked(path)
    with reading(config.locate(home, db)) as (opened, _):
        print_json(answer(opened, path, moment, compat=compat))
    return OK
