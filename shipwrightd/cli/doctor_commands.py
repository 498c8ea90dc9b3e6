"""What `doctor` does: gathers what the reading side cannot know, examines, prints; the exit code is returned."""

# ruff: noqa: T201 - printing is what commands are for

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.cli.commands import FOUND, OK, _width
from shipwrightd.config import settings as config
from shipwrightd.doctor import bundle, given, shipwright, text
from shipwrightd.doctor.examine import examine
from shipwrightd.doctor.finding import Case
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.errors import UnavailableError
from shipwrightd.export.files import destination
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.service import plan
from shipwrightd.text import visible

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.config.settings import Resolved

HIDDEN = {"metrics", "hook_command", "hook_url"}  # in a support archive: they name machines and may hold secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How to look, and what to make of it."""

    as_json: bool = False
    deep: bool = False
    bundle: str | None = None
    force: bool = False


def doctor(home: str | None, db: str | None, wish: Wish) -> int:
    """Examine, and say what was found."""
    found = resolved(home, db)
    case = case_of(found, deep=wish.deep)
    target = (
        None if wish.bundle is None else destination(wish.bundle, force=wish.force, home=case.home, database=case.db)
    )
    diagnosis = examine(case, known(found))
    print(text.json(diagnosis) if wish.as_json else text.page(diagnosis, _width()))
    if target is not None:
        bundle.write(
            target, bundle.gather(case, diagnosis, settings(found), folders(found)), case.now, force=wish.force
        )
        print(f"{visible(str(target))}: written; look into it before you send it", file=sys.stderr)
    return OK if diagnosis.ok else FOUND


def settings(found: Resolved) -> dict[str, object]:
    """Return the settings as they may leave the machine: where each comes from, of some only that they are set."""
    values = [
        {
            "setting": value.key,
            "value": bool(value.value) if value.key in HIDDEN else value.value,
            "from": value.kind,
        }
        for value in found.values
    ]
    files = [{"place": place, "exists": file.exists} for place, file in enumerate(found.files, 1)]
    return {"settings": values, "problems": len(found.problems), "files": files}


def folders(found: Resolved) -> dict[str, str]:
    """Return the paths that are known here, each with what stands for it."""
    files = {str(file.path): f"<settings file {place}>" for place, file in enumerate(found.files, 1)}
    program = shipwright.find(os.environ)
    named = {str(program.path): "<shipwright>"} if program else {}
    return {os.path.expanduser("~"): "~", sys.prefix: "<prefix>", **named, **files}  # noqa: PTH111


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
        service=supervised(),
    )


def supervised() -> given.Service:
    """Return how the user's service stands, or the system's where there is only that."""
    found = plan.state()
    if not found.installed:
        with contextlib.suppress(UnavailableError):
            other = plan.state(plan.place(system=True))
            found = other if other.installed else found
    return given.Service(
        kind=found.kind,
        installed=found.installed,
        enabled=found.enabled,
        active=found.active,
        result=found.result,
        problem=found.problem,
    )
