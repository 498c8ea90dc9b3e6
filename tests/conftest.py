"""Only what several folders share."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings
from process import AS_ANY_USER
from projection import Books
from world import Follower, World

from shipwrightd.database import open_writer
from shipwrightd.database.migrate import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parent.parent

# No test fails because a machine is slow; what a fixture makes for a function, its examples share on purpose.
settings.register_profile(
    "here", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("here")


class Eventually(Protocol):
    """Waits until a condition holds, and fails when it does not in time."""

    def __call__(self, condition: Callable[[], object], within_s: float = 5.0) -> None: ...


@pytest.fixture
def eventually() -> Eventually:
    """Return a function that calls a condition until it is true."""

    def wait(condition: Callable[[], object], within_s: float = 5.0) -> None:
        end = time.monotonic() + within_s
        pause = Event()
        while not condition():
            assert time.monotonic() < end, f"not within {within_s} s"
            pause.wait(0.01)

    return wait


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return an empty Shipwright home; its path holds no symlink."""
    folder = tmp_path.resolve() / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def database(home: Path) -> Path:
    """Return the path of a migrated database without a row, at its default place below `home`."""
    path = home / "shipwrightd" / "shipwright.db"
    db = open_writer(path)
    migrate(db)
    db.close()
    return path


@pytest.fixture
def books(database: Path) -> Iterator[Books]:
    """Return the books of a new database; at the end they must be what a rebuild makes of them."""
    made = Books(database)
    yield made
    before = made.everything()
    made.rebuild()
    assert made.everything() == before, "what every test leaves behind is what a rebuild makes"
    made.db.close()


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """Return the folder of real Shipwright files, or skip the test where there is none."""
    named = os.environ.get("SHIPWRIGHTD_FIXTURES")
    folder = Path(named) if named else ROOT.parent / "shared" / "fixtures"
    if not folder.is_dir():
        pytest.skip(f"no real Shipwright files at {folder}: set SHIPWRIGHTD_FIXTURES")
    return folder


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Return a home with nothing in it, and its writers."""
    return World(tmp_path)


@pytest.fixture
def follower(world: World) -> Iterator[Follower]:
    """Return what follows that home in this process, until the test ends."""
    follower = Follower(world)
    yield follower
    follower.close()


@pytest.fixture
def modes_count(tmp_path: Path) -> Sequence[str]:
    """Return what a command has to begin with so that the modes of files count for it."""
    if os.geteuid() != 0:
        return ()
    probe = tmp_path / "probe"
    probe.touch(mode=0)
    if not shutil.which("setpriv") or subprocess.run([*AS_ANY_USER, "true"], check=False).returncode:
        pytest.skip("root reads everything here, and setpriv cannot change that")
    if subprocess.run([*AS_ANY_USER, "cat", str(probe)], check=False, capture_output=True).returncode == 0:
        pytest.skip("modes do not count on this file system")
    return AS_ANY_USER
