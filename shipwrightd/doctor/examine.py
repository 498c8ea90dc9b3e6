"""All checks in order: none keeps another from being made, and none changes anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from shipwrightd.clock import utc
from shipwrightd.doctor import (
    clock,
    database,
    given,
    lock,
    places,
    program,
    recoveries,
    shipwright,
    sources,
    space,
    watching,
)
from shipwrightd.doctor.finding import FAIL, Finding
from shipwrightd.errors import ShipwrightdError
from shipwrightd.status.collect import Status, collect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import apsw

    from shipwrightd.doctor.finding import Case
    from shipwrightd.doctor.given import Given

Check = tuple[str, "Callable[[], Iterable[Finding]]"]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that was found, in the order of looking."""

    checked_at: str | None
    home: str
    database: str
    deep: bool
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Tell that nothing fails."""
        return all(finding.state != FAIL for finding in self.findings)


def examine(case: Case, known: Given) -> Diagnosis:
    """Make every check."""
    found = _around(case, known)
    before = _signature(case)
    inside = _inside(case)
    if _signature(case) != before:  # a daemon began while it was read as a file that lies still
        inside = _inside(case)
    return Diagnosis(utc(case.now), str(case.home), str(case.db), case.deep, [*found, *inside])


def _around(case: Case, known: Given) -> list[Finding]:
    """Look at everything but the inside of the database."""
    held = lock.look(case.db).held
    checks: list[Check] = [
        ("program", partial(program.program, case)),
        ("sqlite", partial(program.sqlite, case)),
        ("libraries", partial(program.libraries, case)),
        ("settings", partial(given.settings, known.settings)),
        ("home", partial(places.home, case)),
        ("folder", partial(places.folder, case)),
        ("files", partial(places.files, case)),
        ("disk", partial(space.space, case)),
        ("watching", partial(watching.watching, case)),
        ("open_files", partial(watching.open_files, case)),
        ("lock", partial(lock.lock, case)),
        ("shipwright", partial(shipwright.release, known.installed)),
        ("shipwright_database", partial(shipwright.own_database, case, known.installed)),
    ]
    if known.service is not None:
        checks.append(("service", partial(given.service, known.service, held=held)))
    return _made(checks)


def _inside(case: Case) -> list[Finding]:
    """Look into the database and compare it with the files."""
    db, first = database.opened(case)
    if db is None:
        return [first]
    try:
        found = [first, *_guarded("schema", partial(database.schema, db))]
        readable = all(finding.state != FAIL for finding in found) and database.has_tables(db)
        held = lock.look(case.db).held
        checks = [*_file(case, db, held=held), *(_content(case, db, held=held) if readable else ())]
        return [*found, *_made(checks)]
    finally:
        db.close()


def _file(case: Case, db: apsw.Connection, *, held: bool) -> list[Check]:
    """Return what can be asked of any database of ours."""
    return [
        ("tables", partial(database.tables, db, held=held)),
        ("journal_mode", partial(database.journal_mode, case, db)),
        ("integrity", partial(database.integrity, case, db)),
        ("foreign_keys", partial(database.foreign_keys, case, db)),
    ]


def _content(case: Case, db: apsw.Connection, *, held: bool) -> list[Check]:
    """Return what can be asked of one that this release can read."""
    return [
        ("checkpoints", partial(sources.checkpoints, case, db, held=held)),
        ("lag", lambda: sources.lag(standing(case).sources, held=held)),
        ("source_errors", partial(sources.errors, db)),
        ("quarantine", partial(sources.quarantine, db)),
        ("gaps", partial(sources.gaps, db)),
        ("recoveries", partial(recoveries.recoveries, case, db)),
        ("clock", lambda: clock.clock(case, db, standing(case).sources)),
    ]


def standing(case: Case) -> Status:
    """Return what `status` says, without a trace left beside the database."""
    return collect(case.home, case.db, list(case.journals), case.now, untouched=True)


def _made(checks: Sequence[Check]) -> list[Finding]:
    """Make the checks one after the other."""
    return [finding for name, check in checks for finding in _guarded(name, check)]


def _guarded(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Make one check; whatever goes wrong in it is a finding, not the end."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except ShipwrightdError as error:
        found.append(Finding(name, "warn", f"could not be checked: {error.message}", error.hint))
    except OSError as error:
        text = f"could not be checked: {error.strerror or error}"
        found.append(Finding(name, "warn", text, "see the findings above, or run it as the daemon's user"))
    except Exception as error:  # noqa: BLE001 - a fault of one check must not hide what the others found
        text = f"could not be checked: {type(error).__name__}: {error}"
        found.append(
            Finding(name, "warn", text, "see the findings above; if there are none, report this", private=True)
        )
    return found


def _signature(case: Case) -> object:
    """Return what changes when something writes to the database."""
    try:
        found = case.db.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, case.db.with_name(case.db.name + "-wal").exists()
