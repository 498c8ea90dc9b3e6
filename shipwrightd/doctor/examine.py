"""Runs the checks in order, and prints what they found. No check prevents another, and none changes anything."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from shipwrightd import __version__
from shipwrightd.clock import utc
from shipwrightd.doctor import database, machine, sources
from shipwrightd.doctor.finding import FAIL, WARN, Examination, Finding
from shipwrightd.errors import ShipwrightdError
from shipwrightd.status.text import as_json, wrapped
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipwrightd.doctor.finding import Environment, Target

STATE_CELLS = 6
CHECK_CELLS = 21

Check = Callable[[Examination], Iterable[Finding]]
MACHINE: tuple[tuple[str, Check], ...] = (
    ("program", machine.program),
    ("sqlite", machine.sqlite),
    ("libraries", machine.libraries),
    ("settings", machine.settings),
    ("home", machine.home),
    ("folder", machine.folder),
    ("files", machine.files),
    ("disk", machine.disk),
    ("watching", machine.watching),
    ("open_files", machine.open_files),
    ("lock", machine.lock),
    ("shipwright", sources.shipwright),
    ("shipwright_database", sources.shipwright_database),
    ("service", machine.service),
)
DATABASE: tuple[tuple[str, Check], ...] = (  # for any database of ours
    ("schema", database.schema),
    ("tables", database.tables),
    ("journal_mode", database.journal_mode),
    ("integrity", database.integrity),
    ("foreign_keys", database.foreign_keys),
)
CONTENT: tuple[tuple[str, Check], ...] = (  # for one whose schema this release can read
    ("checkpoints", sources.checkpoints),
    ("lag", sources.lag),
    ("source_errors", sources.errors),
    ("quarantine", sources.quarantine),
    ("gaps", sources.gaps),
    ("recoveries", database.recoveries),
    ("clock", sources.clock),
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


def examine(target: Target, environment: Environment) -> Diagnosis:
    """Run every check."""
    found = list(_results(MACHINE, Examination(target, environment)))
    before = _signature(target)
    inside = _examine_database(target, environment)
    if _signature(target) != before:  # a daemon started while the database was read as an immutable file
        inside = _examine_database(target, environment)
    return Diagnosis(utc(target.now), str(target.home), str(target.db), target.deep, [*found, *inside])


def _examine_database(target: Target, environment: Environment) -> list[Finding]:
    """Check the database, and compare its content with the files."""
    db, first = database.opened(target)
    if db is None:
        return [first]
    with contextlib.closing(db):
        examination = Examination(target, environment, db)
        found = [first, *_results(DATABASE, examination)]
        readable = all(finding.state != FAIL for finding in found if finding.check == "schema")
        if readable and database.has_tables(db):
            found += _results(CONTENT, examination)
        return found


def _results(checks: Sequence[tuple[str, Check]], examination: Examination) -> Iterator[Finding]:
    for name, check in checks:
        yield from guarded(name, check, examination)


def guarded(name: str, check: Check, examination: Examination) -> list[Finding]:
    """Run one check; an error in it becomes a finding."""
    found: list[Finding] = []
    try:
        found.extend(check(examination))
    except ShipwrightdError as error:
        found.append(Finding(name, WARN, f"could not be checked: {error.message}", error.hint))
    except OSError as error:
        text = f"could not be checked: {error.strerror or error}"
        found.append(Finding(name, WARN, text, "see the findings above, or run it as the daemon's user"))
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
    lines = [line for finding in found.findings for line in _finding(finding, width)]
    return "\n".join([*lines, "", _summary(found)])


def _finding(finding: Finding, width: int) -> list[str]:
    indent = STATE_CELLS + CHECK_CELLS
    head = f"{finding.state:<{STATE_CELLS}}{finding.check:<{CHECK_CELLS}}"
    text, *more = wrapped(visible(finding.text), width - indent)
    todo = wrapped(f"-> {visible(finding.todo)}", width - indent, indent=3) if finding.todo else []
    return [head + text, *(" " * indent + line for line in (*more, *todo))]


def _summary(found: Diagnosis) -> str:
    states = [finding.state for finding in found.findings]
    counts = [(states.count(FAIL), "failure"), (states.count(WARN), "warning")]
    return ", ".join(f"{count} {word}{'s' * (count > 1)}" for count, word in counts if count) or "no problems"


def answer(found: Diagnosis) -> dict[str, object]:
    """Return the diagnosis under its documented keys."""
    return {"ok": found.ok, "version": __version__, **asdict(found)}


def json(found: Diagnosis) -> str:
    """Return the diagnosis as JSON."""
    return as_json(answer(found))
