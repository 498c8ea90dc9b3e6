"""What `doctor` does: describes the installation, examines it, prints the findings, returns the exit code."""

# ruff: noqa: T201 - printing is what commands are for

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.cli.commands import FOUND, OK, _width
from shipwrightd.config import settings as config
from shipwrightd.doctor import bundle, examine
from shipwrightd.doctor.finding import Environment, Target
from shipwrightd.documents.kinds import DOCUMENTS
from shipwrightd.errors import UnavailableError
from shipwrightd.export.files import destination
from shipwrightd.journals.sources import JOURNALS
from shipwrightd.service import plan
from shipwrightd.text import visible

if TYPE_CHECKING:
    from pathlib import Path

    from shipwrightd.service import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How thoroughly to examine, and what to write."""

    as_json: bool = False
    deep: bool = False
    bundle: str | None = None
    force: bool = False


def doctor(home: str | None, db: str | None, wish: Wish) -> int:
    """Examine the installation and print the findings. Raises ConfigError for an empty path."""
    if "" in {home, db}:
        config.locate(home, db)
    settings = config.resolve({"home": home, "db": db})
    places = settings.places
    target = Target(
        home=places.home,
        db=places.db,
        now=time.time(),
        user=_owner(places.home),
        journals={journal.name: journal.siblings for journal in JOURNALS},
        documents=[kind.pattern for kind in DOCUMENTS],
        deep=wish.deep,
    )
    file = None
    if wish.bundle is not None:
        file = destination(wish.bundle, force=wish.force, home=target.home, database=target.db)
    environment = Environment(settings, os.environ, _service())
    diagnosis = examine.examine(target, environment)
    print(examine.json(diagnosis) if wish.as_json else examine.page(diagnosis, _width()))
    if file is not None:
        bundle.write(file, bundle.gather(target, environment, diagnosis), target.now, force=wish.force)
        print(f"wrote {visible(str(file))}; inspect it before you send it", file=sys.stderr)
    return OK if diagnosis.ok else FOUND


def _owner(home: Path) -> int:
    """Return whose the files should be: the user's, or for root the home's owner's."""
    user = os.geteuid()
    with contextlib.suppress(OSError):
        return user or home.stat().st_uid
    return user


def _service() -> State:
    """Return the state of the user's service, or of the system's if only that is installed."""
    found = plan.state()
    if not found.installed:
        with contextlib.suppress(UnavailableError):
            system = plan.state(plan.place(system=True))
            found = system if system.installed else found
    return found
