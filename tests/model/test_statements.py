"""Each statement of ingestion fails once: the database is in the end what it is without."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw
import pytest
from model.scenario import STEPS, Script, difference, run_daemon, says
from world import World

from shipwrightd import database, log
from shipwrightd.database.migrate import migrate
from shipwrightd.errors import ShipwrightdError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ERRORS = (apsw.FullError, apsw.IOError, apsw.BusyError, apsw.ReadOnlyError)
SAMPLED = (1,)  # in the short form, of equal statements
FULL = os.environ.get("SHIPWRIGHTD_FAULTS") == "full"


class Statements:
    """Counts the statements of every new connection, and lets one of them fail before it is run."""

    def __init__(self, number: int, error: type[apsw.Error]) -> None:
        self._number = number
        self._error = error
        self.seen: list[str] = []

    def hook(self, db: apsw.Connection) -> None:
        """Watch a connection."""
        db.exec_trace = self._trace

    def _trace(self, _cursor: object, sql: str, _values: object) -> bool:
        self.seen.append(sql)
        if len(self.seen) - 1 == self._number:
            raise self._error("made to fail")
        return True

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs."""
        apsw.connection_hooks.append(self.hook)
        try:
            yield
        finally:
            apsw.connection_hooks.remove(self.hook)


def run(folder: Path, statements: Statements, made: Path | None = None) -> World:
    """Run the scenario to its end, from the start or with a database `made` before; end as documented, start again."""
    folder.mkdir()
    world = World(folder)
    if made is not None:
        world.db_path.parent.mkdir()
        shutil.copy(made, world.db_path)
    at = [0, 0]
    with statements.watching():
        for _ in range(3):
            try:
                run_daemon(world, Script(world, at))
            except ShipwrightdError:
                continue
            break
    assert at[0] == len(STEPS)
    return world


def answers(world: World) -> dict[str, list[tuple[object, ...]]]:
    db = database.open_reader(world.db_path)
    try:
        return says(db)
    finally:
        db.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_no_failing_statement_loses_or_doubles(tmp_path: Path) -> None:
    log.set_up("error")
    made = None
    if not FULL:
        made = tmp_path / "made.db"
        db = database.open_writer(made)
        migrate(db)
        db.close()
    first = Statements(-1, apsw.Error)
    wanted = answers(run(tmp_path / "first", first, made))
    seen: Counter[str] = Counter()
    wrong = []
    cases = 0
    for number, sql in enumerate(first.seen):
        seen[sql] += 1
        if FULL or seen[sql] in SAMPLED:
            for error in ERRORS if FULL else ERRORS[number % len(ERRORS) :][:1]:
                cases += 1
                world = run(tmp_path / str(cases), Statements(number, error), made)
                differs = difference(answers(world), wanted)
                if differs:
                    wrong.append(f"{error.__name__} at statement {number} ({sql[:60]}): {differs}")
    print(cases, "cases of", len(first.seen), "statements")
    assert wrong == []
