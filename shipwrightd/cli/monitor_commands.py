"""What `run` and `status` need for monitors: who listens to the loop, and answers written for collectors."""

# ruff: noqa: PLC0415 - what is not needed is not loaded

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shipwrightd.config.settings import Config
    from shipwrightd.daemon.callbacks import Listener
    from shipwrightd.status.collect import Status


def listeners(places: Config) -> list[Listener]:
    """Return the callbacks that inform operators; settings decide whether they do anything."""
    from shipwrightd.journals.sources import JOURNALS
    from shipwrightd.monitoring.hook import Hook
    from shipwrightd.monitoring.metrics import Endpoint

    names = [journal.name for journal in JOURNALS]

    def status() -> Status:
        from shipwrightd.status.collect import collect

        return collect(places.home, places.db, names, time.time())

    return [Endpoint(status), Hook(places)]


def write(text: str, out: str, places: Config) -> None:
    """Put the text into a file that others may read, in one step, replacing what was there.

    Raises PathError for a place where it cannot, or must not, be put.
    """
    from shipwrightd.errors import PathError
    from shipwrightd.export.files import destination, new_file

    target = destination(out, force=True, home=places.home, database=places.db)
    if not target.parent.is_dir():
        raise PathError(f"there is no folder {target.parent}", hint="make it first")
    with new_file(target, force=True) as temporary:
        temporary.write_text(text)
        temporary.chmod(0o644)  # the collector is another user's
