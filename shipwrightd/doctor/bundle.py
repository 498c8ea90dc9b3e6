"""A support archive: what a maintainer asks for first, without secrets and without anything a person wrote.

Nothing is copied from a file or a record. What goes in is counted, measured,
or one of our own texts; every text passes through `scrub`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import tarfile
from dataclasses import asdict
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database.connection import open_reader
from shipwrightd.doctor import books
from shipwrightd.doctor.examine import standing
from shipwrightd.doctor.scrub import said, scrub_for
from shipwrightd.doctor.text import answer
from shipwrightd.errors import ShipwrightdError
from shipwrightd.export.files import new_file
from shipwrightd.text import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from shipwrightd.doctor.examine import Diagnosis
    from shipwrightd.doctor.finding import Case

FOLDER = "shipwrightd-doctor"
OUR_SQL = "schema"  # holds nothing but the text of our migrations
LEFT_OUT = "left out: it may quote what somebody wrote"


def write(target: Path, parts: Mapping[str, object], now: float, *, force: bool) -> None:
    """Write the parts as JSON files of one archive, whole or not at all, for its owner alone. Raises PathError."""
    with new_file(target, force=force) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for name, part in parts.items():
            content = as_json(part).encode()
            entry = tarfile.TarInfo(f"{FOLDER}/{name}.json")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now)
            archive.addfile(entry, io.BytesIO(content))


def gather(case: Case, found: Diagnosis, settings: object, folders: Mapping[str, str]) -> dict[str, object]:
    """Return all parts by name; what cannot be had is replaced by the kind of error that stood in the way.

    `folders` are the paths that a command line knows, each with what stands for it.
    """
    with _opened(case) as db:
        asked = {} if db is None else books.parts(case) | {"names": books.names, "theirs": books.theirs}
        inside = {name: _tried(functools.partial(part, db)) for name, part in asked.items() if db is not None}
    names, theirs = inside.pop("names", []), inside.pop("theirs", [])
    scrub = scrub_for(case, folders, _texts(names), _texts(theirs))
    parts = {
        "doctor": _diagnosis(found),
        "status": _tried(functools.partial(_status, case)),
        "settings": settings,
        **inside,
    }
    return {name: part if name == OUR_SQL else scrub.value(part) for name, part in parts.items()}


def _texts(found: object) -> list[str]:
    return [str(text) for text in found] if isinstance(found, list) else []


def _diagnosis(found: Diagnosis) -> dict[str, object]:
    """Return the diagnosis without the texts that may quote somebody."""
    whole = answer(found)
    findings = [asdict(finding) for finding in found.findings]
    hidden = {"text": LEFT_OUT, "todo": "", "facts": {}}
    whole["findings"] = [{**finding, **hidden} if finding["private"] else finding for finding in findings]
    return whole


def _status(case: Case) -> dict[str, object]:
    """Return what `status` says, of errors and problems only their kind."""
    found = standing(case)
    sources = [{**asdict(source), "error": source.error and said(source.error)} for source in found.sources]
    degraded = bool(found.daemon.watching_degraded)
    daemon = {**asdict(found.daemon), "watching_degraded": degraded}
    return {**asdict(found), "problems": len(found.problems), "daemon": daemon, "sources": sources}


@contextlib.contextmanager
def _opened(case: Case) -> Iterator[apsw.Connection | None]:
    try:
        db = open_reader(case.db, untouched=True)
    except (ShipwrightdError, OSError):
        yield None
        return
    with contextlib.closing(db):
        yield db


def _tried(part: Callable[[], object]) -> object:
    """Return a part, or what kind of error kept it from being had: its text may quote."""
    try:
        return part()
    except (ShipwrightdError, apsw.Error, OSError, ValueError) as error:
        return {"error": type(error).__name__}
