"""The diagnosis as a page, and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from shipwrightd import __version__
from shipwrightd.doctor.finding import FAIL, WARN
from shipwrightd.table import wrapped
from shipwrightd.text import as_json, visible

if TYPE_CHECKING:
    from shipwrightd.doctor.examine import Diagnosis
    from shipwrightd.doctor.finding import Finding

STATE = 6  # cells
CHECK = 21


def page(found: Diagnosis, width: int) -> str:
    """Return a line for each finding, below it what to do, and at the end how many there are."""
    lines = [line for finding in found.findings for line in _finding(finding, width)]
    return "\n".join([*lines, "", _summary(found)])


def _finding(finding: Finding, width: int) -> list[str]:
    indent = STATE + CHECK
    head = f"{finding.state:<{STATE}}{finding.check:<{CHECK}}"
    text, *more = wrapped(visible(finding.text), width - indent)
    todo = wrapped(f"-> {visible(finding.todo)}", width - indent, indent=3) if finding.todo else []
    return [head + text, *(" " * indent + line for line in (*more, *todo))]


def _summary(found: Diagnosis) -> str:
    wrong = sum(finding.state == FAIL for finding in found.findings)
    odd = sum(finding.state == WARN for finding in found.findings)
    counted = [f"{wrong} to mend"] * bool(wrong) + [f"{odd} to look at"] * bool(odd)
    return ", ".join(counted) or "nothing is wrong"


def answer(found: Diagnosis) -> dict[str, object]:
    """Return the diagnosis under its documented keys."""
    return {"ok": found.ok, "version": __version__, **asdict(found)}


def json(found: Diagnosis) -> str:
    """Return the diagnosis as JSON."""
    return as_json(answer(found))
