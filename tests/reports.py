"""Asking reports in tests: a question with the usual fields filled in, and the command as a process."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

from projection import NOON

from shipwrightd.reports.question import Period, Question

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DAY = 86_400


def question(now: int = NOON, *, days: float | None = 30, until: int | None = None, **fields: Any) -> Question:
    """Return a question about the last days before `now`; days=None is all there was."""
    last = now + 1 if until is None else until
    since = None if days is None else min(now, last) - round(days * DAY)
    return Question(now=now, period=Period(since, last), filters=dict(fields), **fields)


def report(
    home: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `shipwrightd report` on a home to its end."""
    return subprocess.run(
        [sys.executable, "-m", "shipwrightd", "report", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
        env=None if environment is None else dict(environment),
    )
