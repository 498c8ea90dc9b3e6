"""Runs the checks in order, and prints what they found. No check prevents another, and none changes anything."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING

import apsw

from shipwrightd import __version__
from shipwrightd.clock import utc
from shipwrightd.database.lock import lock_is_held, lock_path
from shipwrightd.doctor import FAIL, WARN, Finding, database, machine, sources
from shipwrightd.errors import ShipwrightdError
from shipwrightd.status import recoveries
from shipwrightd.table import wrapped
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.config import Resolved
    from shipwrightd.doctor import Target
    from shipwrightd.service import State

INDENT = 27  # cells of state and check
PERMISSIONS = {"home", "folder", "files"}  # checks that fail if they cannot be made


Checks = Mapping[str, Callable[[], Iterable[Finding] | Finding]]


def of_machine(target: Target, settings: Resolved, variables: Mapping[str, str], service: State | None) -> Checks:
    """Return the checks of all but the inside of the database."""
    files_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return {
        "program": machine.program,
        "sqlite": lambda: machine.sqlite(apsw.sqlite_lib_version()),
        "libraries": machine.libraries,
        "settings": lambda: machine.settings(settings, variables),
        "home": lambda: machine.home(target),
        "folder": lambda: machine.folder(target),
        "files": lambda: machine.files(target),
        "disk": lambda: machine.disk(target),
        "watching": lambda: machine.watching(target),
        "open_files": lambda: machine.open_files(files_limit),
        "lock": lambda: machine.lock(machine.holder_of(target.db), str(target.home)),
        "shipwright": lambda: sources.shipwright(target, variables.get("PATH", "")),
        "shipwright_database": lambda: sources.shipwright_database(target),
        "service": lambda: machine.service(service, held=_is_held(target)) if service else (),
    }


def of_database(target: Target, db: apsw.Connection) -> Checks:
    """Return the checks of any database of ours."""
    whole = database.WHOLE if target.deep else database.QUICK
    return {
        "schema": lambda: database.schema(db),
        "tables": lambda: database.compare_tables(db, held=_is_held(target)),
        "journal_mode": lambda: database.journal_mode(target.db, db.execute("PRAGMA page_size").get),
        "integrity": lambda: database.checked("integrity", whole, db, deep=target.deep),
        "foreign_keys": lambda: database.checked("foreign_keys", database.REFERENCES, db, deep=target.deep),
    }


def of_content(target: Target, db: apsw.Connection) -> Checks:
    """Return the checks of a database whose schema this release can read."""
    status = cache(target.status)
    return {
        "checkpoints": lambda: sources.checkpoints(target.home, db, held=_is_held(target)),
        "lag": lambda: sources.lag(status().sources, held=_is_held(target)),
        "source_errors": lambda: sources.errors(db),
        "quarantine": lambda: sources.quarantine(db),
        "gaps": lambda: sources.gaps(db),
        "recoveries": lambda: database.recoveries(recoveries(db, target.db)),
        "clock": lambda: sources.clock(target, db, status().sources),
    }


def _is_held(target: Target) -> bool:
    """Tell whether a process holds the writer lock."""
    return lock_is_held(lock_path(target.db))


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


def examine(
    target: Target, settings: Resolved, variables: Mapping[str, str], service: State | None = None
) -> Diagnosis:
    """Run every check; `variables` are those of the environment."""
    found = run(of_machine(target, settings, variables, service))
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
        found = [first, *run(of_database(target, db))]
        schema = next(finding for finding in found if finding.check == "schema")
        if schema.state != FAIL and schema.facts.get("version"):
            found += run(of_content(target, db))
        return found


def run(checks: Checks) -> list[Finding]:
    """Run checks in order."""
    return [finding for name, check in checks.items() for finding in guarded(name, check)]


def guarded(name: str, check: Callable[[], Iterable[Finding] | Finding]) -> list[Finding]:
    """Run one check; an error in it becomes a finding."""
    found: list[Finding] = []
    try:
        result = check()
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
