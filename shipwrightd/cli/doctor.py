"""`doctor`: collect what the checks cannot read themselves, run them, print what they find."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from shipwrightd.cli.options import Db, Home, Json
from shipwrightd.config import settings
from shipwrightd.errors import FOUND, UnavailableError
from shipwrightd.text import visible, width

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.config.settings import Resolved
    from shipwrightd.doctor.finding import Case
    from shipwrightd.doctor.given import Given, Service

HIDDEN = {"metrics", "hook_command", "hook_url"}  # in a support archive: they name machines and may hold secrets


def doctor(
    home: Home = None,
    db: Db = None,
    *,
    as_json: Json = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="read the whole database, however long it takes, not only for five seconds")
    ] = False,
    bundle: Annotated[
        str | None, typer.Option(metavar="FILE", help="write an archive for a support request (tar.gz)")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the archive if it exists")] = False,
) -> int:
    """Find what may be wrong, and say what to do about it.

    Checks versions, settings, paths and permissions, free disk, limits, the
    lock, the service, the database, checkpoints against files, clocks and
    Shipwright. Changes nothing; works with the daemon running or not.

    The archive of --bundle holds these findings, settings, counts, positions
    and reasons: no secret, no path, and no content of records.

    Exits 0 if nothing fails, else 1. A warning needs attention, but works.
    """
    if force and bundle is None:
        raise typer.BadParameter("--force is for --bundle")
    from shipwrightd.doctor import bundle as archive
    from shipwrightd.doctor import text
    from shipwrightd.doctor.examine import examine
    from shipwrightd.export.files import destination

    resolved = _resolved(home, db)
    case = _case(resolved, deep=deep)
    target = None if bundle is None else destination(bundle, force=force, home=case.home, database=case.db)
    diagnosis = examine(case, _environment(resolved))
    print(text.json(diagnosis) if as_json else text.page(diagnosis, width()))
    if target is not None:
        parts = archive.gather(case, diagnosis, _settings(resolved), _placeholders(resolved))
        archive.write(target, parts, case.now, force=force)
        print(f"{visible(str(target))}: written; check its content before you send it", file=sys.stderr)
    return 0 if diagnosis.ok else FOUND


def _resolved(home: str | None, db: str | None) -> Resolved:
    """Return the settings, even invalid ones. Raises ConfigError for an empty path."""
    if "" in {home, db}:
        settings.locate(home, db)  # raises
    return settings.resolve({"home": home, "db": db})


def _case(resolved: Resolved, *, deep: bool) -> Case:
    """Return what there is to examine."""
    from shipwrightd.doctor.finding import Case
    from shipwrightd.documents.kinds import DOCUMENTS
    from shipwrightd.journals.sources import JOURNALS

    places = resolved.places
    return Case(
        home=places.home,
        db=places.db,
        now=time.time(),
        user=_owner(places.home),
        journals={journal.name: journal.siblings for journal in JOURNALS},
        documents=[kind.pattern for kind in DOCUMENTS],
        deep=deep,
    )


def _owner(home: Path) -> int:
    """Return the user that should own the files: ours, or the home's owner if we are root."""
    user = os.geteuid()
    if user:
        return user
    try:
        return home.stat().st_uid
    except OSError:
        return user


def _environment(resolved: Resolved) -> Given:
    """Return what settings, service and PATH say."""
    from shipwrightd.doctor import given, shipwright

    files = [file for file in resolved.files if file.exists]
    command = resolved.settings.hook_command
    return given.Given(
        settings=given.Settings(
            problems=resolved.problems,
            strays=settings.strays(os.environ),
            exposed=[file.open_to for file in files if file.open_to],
            files=len(files),
            hook=command[0] if command else "",
            hook_found=not command or shutil.which(command[0]) is not None,
        ),
        installed=shipwright.find(os.environ),
        service=_service(),
    )


def _service() -> Service:
    """Return the state of the user's service, or of the system's if only that is installed."""
    from shipwrightd.doctor.given import Service
    from shipwrightd.service import plan

    state = plan.state()
    if not state.installed:
        with contextlib.suppress(UnavailableError):
            other = plan.state(plan.place(system=True))
            state = other if other.installed else state
    return Service(
        kind=state.kind,
        installed=state.installed,
        enabled=state.enabled,
        active=state.active,
        result=state.result,
        problem=state.problem,
    )


def _settings(resolved: Resolved) -> dict[str, object]:
    """Return the settings for an archive: where each comes from, and of hidden ones only whether they are set."""
    values = [
        {"setting": value.key, "value": bool(value.value) if value.key in HIDDEN else value.value, "from": value.kind}
        for value in resolved.values
    ]
    files = [{"place": place, "exists": file.exists} for place, file in enumerate(resolved.files, 1)]
    return {"settings": values, "problems": len(resolved.problems), "files": files}


def _placeholders(resolved: Resolved) -> dict[str, str]:
    """Return the paths that an archive must not contain, each with what replaces it."""
    from shipwrightd.doctor import shipwright

    files = {str(file.path): f"<settings file {place}>" for place, file in enumerate(resolved.files, 1)}
    program = shipwright.find(os.environ)
    named = {str(program.path): "<shipwright>"} if program else {}
    return {os.path.expanduser("~"): "~", sys.prefix: "<prefix>", **named, **files}  # noqa: PTH111
