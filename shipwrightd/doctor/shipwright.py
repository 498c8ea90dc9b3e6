"""Shipwright itself: which release, and the database of its own that newer ones keep."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.database.connection import APPLICATION_ID, HEADER_BYTES
from shipwrightd.doctor.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shipwrightd.doctor.finding import Case

PROGRAMS = ("shipwright", "sw", "cct")
USUAL = (".local/bin", "bin")  # below the user's home, where its installers put links
SYSTEM = ("/usr/local/bin", "/opt/homebrew/bin")
FOLDERS = 200  # of a PATH
HEAD_BYTES = 4096
VERSION = re.compile(rb'^VERSION="(\d+(?:\.\d+)*[\w.+-]{0,20})"', re.MULTILINE)
OWN_DATABASE = (2, 2)  # the first release that keeps one
OWN = "shipwright.db"
BUDGET_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Installed:
    """A release and where it was found."""

    path: Path
    version: str

    @property
    def keeps_database(self) -> bool:
        """Tell whether it keeps a database of its own in the home."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:2]) >= OWN_DATABASE


def find(env: Mapping[str, str]) -> Installed | None:
    """Return the release that a shell would start, read from the head of its script; nothing is run."""
    listed = env.get("PATH", "").split(os.pathsep)[:FOLDERS]
    below = [os.path.join(env["HOME"], name) for name in USUAL] if env.get("HOME") else []  # noqa: PTH118
    for folder in dict.fromkeys((*listed, *below, *SYSTEM)):
        for name in PROGRAMS if folder else ():
            version = version_in(Path(folder, name))
            if version:
                return Installed(Path(folder, name), version)
    return None


def version_in(path: Path) -> str | None:
    """Return the version that a script of Shipwright's says it is, None for anything else."""
    head = beginning(path, HEAD_BYTES)
    found = VERSION.search(head) if b"Shipwright" in head else None
    return found[1].decode() if found else None


def beginning(path: Path, size: int) -> bytes:
    """Return the first bytes of a regular file, none of anything else."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(fd, size) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def release(found: Installed | None) -> Iterator[Finding]:
    """Tell which release of Shipwright is here."""
    if found is None:
        yield ok("shipwright", "not found on PATH or in ~/.local/bin, so its release is unknown", version=None)
    else:
        yield ok("shipwright", f"version {found.version} ({found.path})", version=found.version)


def own_database(case: Case, found: Installed | None) -> Iterator[Finding]:
    """Look at the place where Shipwright keeps a database of its own."""
    path = case.home / OWN
    ours = os.path.realpath(case.db) == os.path.realpath(path) or _is_ours(path)
    yield judge(path, there=path.exists(), ours=ours, found=found, limited=_is_limited(case.home / "budget.json"))


def judge(path: Path, *, there: bool, ours: bool, found: Installed | None, limited: bool) -> Finding:
    """Judge a file at Shipwright's own place: while one of that name exists, its spending gate reads no files."""
    safe = found is not None and not found.keeps_database
    gate = 'takes the remaining budget for "unlimited"'
    facts = {"exists": there, "ours": ours, "budget": limited}
    if ours:
        text = f"the database is at {path}, where Shipwright 2.2 to 3.0 keeps its own"
        todo = "stop the daemon and move it to shipwrightd/shipwright.db in the home, with its -wal; leave --db out"
        if safe:
            return ok("shipwright_database", f"{text}; harmless with {found.version if found else ''}", **facts)
        return fail("shipwright_database", f"{text} and {gate}, whatever budget.json says", todo, **facts)
    if there and limited and not safe:
        text = f"{path} is Shipwright's own, and while it exists its daemon {gate}, whatever budget.json says"
        todo = "do not rely on the daily budget to stop it; shipwrightd neither makes nor reads that file"
        return warn("shipwright_database", text, todo, **facts)
    return ok("shipwright_database", f"{path} is Shipwright's own; it is not touched" if there else "none", **facts)


def _is_ours(path: Path) -> bool:
    header = beginning(path, HEADER_BYTES)
    return header.startswith(b"SQLite format 3\0") and int.from_bytes(header[68:72]) == APPLICATION_ID


def _is_limited(path: Path) -> bool:
    """Tell whether a daily budget is set."""
    try:
        return bool(json.loads(beginning(path, BUDGET_BYTES)).get("enabled"))
    except (ValueError, AttributeError, RecursionError):
        return False
