"""`doctor`: collect what the checks cannot read themselves, run them, print what they find."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from shipwrightd import config
from shipwrightd.cli.options import Db, Home, Json
from shipwrightd.errors import FOUND, UnavailableError
from shipwrightd.text import as_json as dump
from shipwrightd.text import visible, width

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.config import Resolved
    from shipwrightd.doctor import Target
    from shipwrightd.service import State


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
    from shipwrightd.doctor import examine
    from shipwrightd.export.files import destination

    if "" in {home, db}:
        config.locate(home, db)  # raises
    resolved = config.resolve({"home": home, "db": db})
    target = _target(resolved, deep=deep)
    file = None if bundle is None else destination(bundle, force=force, home=target.home, database=target.db)
    diagnosis = examine.examine(target)
    print(dump(examine.answer(diagnosis)) if as_json else examine.page(diagnosis, width()))
    if file is not None:
        archive.write(file, archive.gather(target, diagnosis), target.now, force=force)
        print(f"wrote {visible(str(file))}; check its content before you send it", file=sys.stderr)
    return 0 if diagnosis.ok else FOUND


def _target(resolved: Resolved, *, deep: bool) -> Target:
    """Return what there is to examine."""
    from shipwrightd.doctor import Target
    from shipwrightd.documents.kinds import DOCUMENTS
    from shipwrightd.journals import JOURNALS

    places = resolved.places
    return Target(
        home=places.home,
        db=places.db,
        now=time.time(),
        user=_owner(places.home),
        journals={journal.name: journal.siblings for journal in JOURNALS},
        documents=[kind.pattern for kind in DOCUMENTS],
        settings=resolved,
        variables=os.environ,
        service=_service(),
        deep=deep,
    )


def _owner(home: Path) -> int:
    """Return the user that should own the files: ours, or the home's owner if we are root."""
    user = os.geteuid()
    with contextlib.suppress(OSError):
        return user or home.stat().st_uid
    return user


def _service() -> State:
    """Return the state of the user's service, or of the system's if only that is installed."""
    from shipwrightd.service import plan

    state = plan.state()
    if not state.installed:
        with contextlib.suppress(UnavailableError):
            system = plan.state(plan.place(system=True))
            state = system if system.installed else state
    return state
