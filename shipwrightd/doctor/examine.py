"""Runs the checks in order, and prints what they found. No check prevents another, and none changes anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from shipwrightd import __version__
from shipwrightd.clock import utc
from shipwrightd.doctor import FAIL, WARN, Finding, database, machine, sources
from shipwrightd.errors import ShipwrightdError
from shipwrightd.table import wrapped
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.doctor import Target

INDENT = 27  # cells of state and check
PERMISSIONS = {"home", "folder", "files"}  # checks that fail if they cannot be made
Check = Callable[..., Iterable[Finding] | Finding]  # of a target, and of its database

OF_MACHINE = (
    *(machine.program, machine.sqlite, machine.libraries, machine.settings),
    *(machine.home, machine.folder, machine.files, machine.disk, machine.watching, machine.open_files, machine.lock),
    *(sources.shipwright, sources.shipwright_database, machine.service),
)
OF_DATABASE = (database.schema, database.tables, database.journal_mode, database.integrity, database.foreign_keys)
OF_CONTENT = (  # of a database whose schema this release can read
    *(sources.checkpoints, sources.lag, sources.source_errors, sources.quarantine, sources.gaps),
    *(database.recoveries, sources.clock),
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings, in the order of the checks."""

    checked_at: str | None
    home: str
    database: str
    deep: bool
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Tell whether nothing fails."""
        return all(finding.state != FAIL for finding in self.findings)


def examine(target: Target) -> Diagnosis:
    """Run every check."""
    found = run(OF_MACHINE, target)
    before = _signature(target)
    inside = _examine_database(target)
    if _signature(target) != before:  # a daemon started while the database was read as an immutable file
        inside = _examine_database(target)
    return Diagnosis(utc(target.now), str(target.home), str(target.db), target.deep, [*found, *inside])


def _examine_database(target: Target) -> list[Finding]:
    """Check the database, and compare its content with the files."""
    db, first = database.opened(target)
    if db is None:
        return [first]
    with contextlib.closing(db):
        found = [first, *run(OF_DATABASE, target, db)]
        schema = next(finding for finding in found if finding.check == "schema")
        if schema.state != FAIL and schema.facts.get("version"):
            found += run(OF_CONTENT, target, db)
        return found


def run(checks: Iterable[Check], *subject: object) -> list[Finding]:
    """Run checks in order."""
    return [finding for check in checks for finding in guarded(check, *subject)]


def guarded(check: Check, *subject: object) -> list[Finding]:
    """Run one check; an error in it becomes a finding."""
    name = check.__name__
    found: list[Finding] = []
    try:
        result = check(*subject)
        found.extend([result] if isinstance(result, Finding) else result)
    except ShipwrightdError as error:
        found.append(Finding(name, WARN, f"could not be checked: {error.message}", error.hint))
    except OSError as error:
        text = f"{error.filename or 'it'} cannot be examined: {error.strerror or error}"
        todo = "check the permissions of the folders above it, or run this as the daemon's user"
        found.append(Finding(name, FAIL if name in PERMISSIONS else WARN, text, todo))
    except Exception as error:  # noqa: BLE001 - a bug in one check must not hide the findings of the others
        text = f"could not be checked: {type(error).__name__}: {error}"
        found.append(Finding(name, WARN, text, "see the findings above; without any, report this", private=True))
    return found


def _signature(target: Target) -> object:
    """Return what changes when a process writes to the database."""
    try:
        found = target.db.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, target.db.with_name(target.db.name + "-wal").exists()


def page(found: Diagnosis, width: int) -> str:
    """Return a line for each finding, below it what to do, and at the end how many need attention."""
    lines: list[str] = []
    for finding in found.findings:
        text, *more = wrapped(visible(finding.text), width - INDENT)
        if finding.todo:
            more += wrapped(f"-> {visible(finding.todo)}", width - INDENT, indent=3)
        lines += [f"{finding.state:<6}{finding.check:<{INDENT - 6}}{text}", *(" " * INDENT + line for line in more)]
    states = [finding.state for finding in found.findings]
    counts = [(states.count(FAIL), "failure"), (states.count(WARN), "warning")]
    summary = ", ".join(f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count)
    return "\n".join([*lines, "", summary or "no problems"])


def answer(found: Diagnosis) -> dict[str, object]:
    """Return the diagnosis under its documented keys."""
    return {"ok": found.ok, "version": __version__, **asdict(found)}
