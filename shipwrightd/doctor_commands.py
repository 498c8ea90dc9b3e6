"""What `doctor` does: gathers what the reading side cannot know, examines, prints; the exit code is returned."""

# ruff: noqa: T201 - printing is what commands are for

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from shipwrightd import config
from shipwrightd.commands import FOUND, OK, _width
from shipwrightd.ingest.documents import DOCUMENTS
from shipwrightd.ingest.sources import JOURNALS
from shipwrightd.report.doctor import given, shipwright, text
from shipwrightd.report.doctor.examine import examine
from shipwrightd.report.doctor.finding import Case

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.config import Resolved


def doctor(home: str | None, db: str | None, *, as_json: bool, deep: bool) -> int:
    """Examine, and say what was found."""
    found = resolved(home, db)
    case = case_of(found, deep=deep)
    diagnosis = examine(case, known(found))
    print(text.json(diagnosis) if as_json else text.page(diagnosis, _width()))
    return OK if diagnosis.ok else FOUND


def resolved(home: str | None, db: str | None) -> Resolved:
    """Return the settings, wrong ones too. ConfigError when it cannot be told what to examine."""
    if "" in {home, db}:
        config.locate(home, db)  # which says so
    return config.resolve({"home": home, "db": db})


def case_of(found: Resolved, *, deep: bool) -> Case:
    """Return what there is to examine."""
    places = found.places
    return Case(
        home=places.home,
        db=places.db,
        now=time.time(),
        user=owner(places.home),
        journals={journal.name: journal.siblings for journal in JOURNALS},
        documents=[kind.pattern for kind in DOCUMENTS],
        deep=deep,
    )


def owner(home: Path) -> int:
    """Return whose the files should be: ours, or for root, who looks at another's, those of the home's owner."""
    user = os.geteuid()
    if user:
        return user
    try:
        return home.stat().st_uid
    except OSError:
        return user


def known(found: Resolved) -> given.Given:
    """Return what settings, service and PATH say."""
    files = [file for file in found.files if file.exists]
    command = found.settings.hook_command
    return given.Given(
        settings=given.Settings(
            problems=found.problems,
            strays=config.strays(os.environ),
            exposed=[file.open_to for file in files if file.open_to],
            files=len(files),
            hook=command[0] if command else "",
            hook_found=not command or shutil.which(command[0]) is not None,
        ),
        installed=shipwright.find(os.environ),
        service=None,
    )
