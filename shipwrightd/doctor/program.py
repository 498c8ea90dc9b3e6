"""Versions: the program, and what it stands on."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from typing import TYPE_CHECKING

import apsw

from shipwrightd import __version__
from shipwrightd.database import migrate
from shipwrightd.doctor.finding import fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shipwrightd.doctor.finding import Case, Finding

LIBRARIES = ("apsw", "orjson", "watchdog", "structlog", "typer", "rich")
TRIED_ON = ("Linux", "Darwin")
# A log that starts over while another connection copies it back can lose pages: https://sqlite.org/wal.html
RESET_BUG = ((3, 7, 0), (3, 51, 3))
MENDED = ((3, 44, 6), (3, 50, 7))  # earlier releases that got the correction, too


def program(_case: Case) -> Iterator[Finding]:
    """Tell the release and the schema it knows."""
    schema = migrate.known()[-1].version
    yield ok("program", f"shipwrightd {__version__}, schema {schema}", version=__version__, schema=schema)
    python = platform.python_version()
    yield ok("python", f"Python {python} ({platform.python_implementation()})", version=python)
    where = platform.platform()
    if platform.system() in TRIED_ON:
        yield ok("system", where, platform=where)
    else:
        yield warn("system", where, "Linux and macOS are what shipwrightd is made for", platform=where)


def sqlite(_case: Case) -> Iterator[Finding]:
    """Tell which SQLite is in use."""
    yield judge_sqlite(apsw.sqlite_lib_version())


def judge_sqlite(version: str) -> Finding:
    """Judge a release of SQLite."""
    numbers = tuple(int(part) for part in version.split(".")[:3])
    mended = any(numbers[:2] == good[:2] and numbers >= good for good in MENDED)
    if RESET_BUG[0] <= numbers < RESET_BUG[1] and not mended:
        text = f"SQLite {version} can damage a database when its log starts over (mended in 3.51.3)"
        return warn("sqlite", text, f"`{sys.executable} -m pip install --upgrade apsw`", version=version)
    return ok("sqlite", f"SQLite {version}", version=version)


def libraries(_case: Case) -> Iterator[Finding]:
    """Tell the libraries in use."""
    found = {name: _version(name) for name in LIBRARIES}
    missing = [name for name, version in found.items() if version is None]
    text = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if missing:
        todo = "install shipwrightd again"
        yield fail("libraries", f"not installed: {', '.join(missing)}", todo, versions=found)
    else:
        yield ok("libraries", text, versions=found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
