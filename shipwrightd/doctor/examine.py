"""Runs the checks in order, and prints what they found. No check prevents another, and none changes anything."""

from __future__ import annotations

import contextlib
import resource
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
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

    from shipwrightd.doctor import Environment, Target
    from shipwrightd.status import Status

INDENT = 27  # cells of state and check
PERMISSIONS = {"home", "folder", "files"}  # checks that fail if they cannot be made


@dataclass(frozen=True)
class Examination:
    """A target that is being examined, with its database once that is open."""

    target: Target
    environment: Environment
    opened: apsw.Connection | None = None

    @property
    def db(self) -> apsw.Connection:
        """Return the open database; only for checks that come after opening it."""
        assert self.opened is not None  # noqa: S101 - the table of checks says so
        return self.opened

    def check_by_sqlite(self, check: str, statement: str) -> Finding:
        """Return the result of one of SQLite's own checks."""
        return database.checked(check, statement, self.db, deep=self.target.deep)

    @cached_property
    def held(self) -> bool:
        """Tell whether a process holds the writer lock."""
        return lock_is_held(lock_path(self.target.db))

    @cached_property
    def status(self) -> Status:
        """Return what `status` reports."""
        return self.target.status()

    def run(self, checks: Sequence[tuple[str, Check]]) -> list[Finding]:
        """Run checks in order."""
        return [finding for name, check in checks for finding in guarded(name, check, self)]


Check = Callable[[Examination], Iterable[Finding] | Finding]
MACHINE: tuple[tuple[str, Check], ...] = (
    ("program", lambda _: machine.program()),
    ("sqlite", lambda _: machine.sqlite(apsw.sqlite_lib_version())),
    ("libraries", lambda _: machine.libraries()),
    ("settings", lambda x: machine.settings(x.environment.settings, x.environment.variables)),
    ("home", lambda x: machine.home(x.target)),
    ("folder", lambda x: machine.folder(x.target)),
    ("files", lambda x: machine.files(x.target)),
    ("disk", lambda x: machine.disk(x.target)),
    ("watching", lambda x: machine.watching(x.target)),
    ("open_files", lambda _: machine.open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])),
    ("lock", lambda x: machine.lock(machine.holder_of(x.target.db), str(x.target.home))),
    ("shipwright", lambda x: sources.shipwright(x.target, x.environment.variables.get("PATH", ""))),
    ("shipwright_database", lambda x: sources.shipwright_database(x.target)),
    ("service", lambda x: machine.service(x.environment.service, held=x.held) if x.environment.service else ()),
)
DATABASE: tuple[tuple[str, Check], ...] = (  # for any database of ours
    ("schema", lambda x: database.schema(x.db)),
    ("tables", lambda x: database.compare_tables(x.db, held=x.held)),
    ("journal_mode", lambda x: database.journal_mode(x.target.db, x.db.execute("PRAGMA page_size").get)),
    ("integrity", lambda x: x.check_by_sqlite("integrity", database.WHOLE if x.target.deep else database.QUICK)),
    ("foreign_keys", lambda x: x.check_by_sqlite("foreign_keys", database.REFERENCES)),
)
CONTENT: tuple[tuple[str, Check], ...] = (  # for one whose schema this release can read
    ("checkpoints", lambda x: sources.checkpoints(x.target.home, x.db, held=x.held)),
    ("lag", lambda x: sources.lag(x.status.sources, held=x.held)),
    ("source_errors", lambda x: sources.errors(x.db)),
    ("quarantine", lambda x: sources.quarantine(x.db)),
    ("gaps", lambda x: sources.gaps(x.db)),
    ("recoveries", lambda x: database.recoveries(recoveries(x.db, x.target.db))),
    ("clock", lambda x: sources.clock(x.target, x.db, x.status.sources)),
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
    found = Examination(target, environment).run(MACHINE)
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
        found = [first, *examination.run(DATABASE)]
        schema = next(finding for finding in found if finding.check == "schema")
        if schema.state != FAIL and schema.facts.get("version"):
            found += examination.run(CONTENT)
        return found


def guarded(name: str, check: Check, examination: Examination) -> list[Finding]:
    """Run one check; an error in it becomes a finding."""
    found: list[Finding] = []
    try:
        result = check(examination)
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
