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
from shipwrightd.database import migrate
from shipwrightd.database.lock import lock_is_held, lock_path
from shipwrightd.doctor import database, machine, sources
from shipwrightd.doctor.finding import FAIL, WARN, Finding
from shipwrightd.errors import ShipwrightdError
from shipwrightd.status.collect import recoveries
from shipwrightd.table import wrapped
from shipwrightd.text import as_json, visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shipwrightd.doctor.finding import Environment, Target
    from shipwrightd.doctor.sources import Installed
    from shipwrightd.status.collect import Status

STATE_CELLS = 6
CHECK_CELLS = 21


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

    @cached_property
    def version(self) -> int:
        """Return the schema version of the database."""
        return migrate.version(self.db)

    @cached_property
    def held(self) -> bool:
        """Tell whether a process holds the writer lock."""
        return lock_is_held(lock_path(self.target.db))

    @cached_property
    def shipwright(self) -> Installed | None:
        """Return the installed version of Shipwright."""
        return sources.find(self.environment.variables)

    @cached_property
    def status(self) -> Status:
        """Return what `status` reports."""
        return self.target.status()


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
    ("shipwright", lambda x: sources.shipwright(x.shipwright)),
    ("shipwright_database", lambda x: sources.shipwright_database(x.target, x.shipwright)),
    ("service", lambda x: machine.service(x.environment.service, held=x.held) if x.environment.service else ()),
)
DATABASE: tuple[tuple[str, Check], ...] = (  # for any database of ours
    ("schema", lambda x: database.schema(x.db)),
    (
        "tables",
        lambda x: (
            database.tables(database.objects(x.db), database.expected(x.version), held=x.held) if x.version else ()
        ),
    ),
    ("journal_mode", lambda x: database.journal_mode(x.target.db, x.db.execute("PRAGMA page_size").get)),
    ("integrity", lambda x: database.integrity(x.db, deep=x.target.deep)),
    ("foreign_keys", lambda x: database.foreign_keys(x.db, deep=x.target.deep)),
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
        result = check(examination)
        found.extend([result] if isinstance(result, Finding) else result)
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
