"""What the commands do that bring old events in and let old events go, as in `commands`."""

# ruff: noqa: PLC0415, T201 - each command loads what it needs; and printing is what commands are for

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.cli.commands import OK, _made, _naming, _refuse_unusable, _with_home
from shipwrightd.config import settings
from shipwrightd.errors import PathError
from shipwrightd.reports.question import UNITS, QuestionError, moment, utc
from shipwrightd.text import visible

if TYPE_CHECKING:
    from shipwrightd.maintenance.prune import Pruned

AGE = re.compile(r"([0-9]{1,6})([hdw])")
SHORTEST_S = 86_400
LONGEST_S = 36_500 * 86_400


def import_events(home: str | None, db: str | None, file: str, machine: str | None) -> int:
    """Store the events of a file that are not there yet, and say what it held."""
    places = _with_home(settings.locate(home, db))
    _refuse_unusable(places.db)
    from shipwrightd import log
    from shipwrightd.maintenance import import_events as importing

    log.set_up("warning")  # the summary says the rest
    source = None if file == importing.STDIN else Path(file)
    with _naming(places.db):
        done = importing.import_events(places.home, places.db, source, machine)
    print(
        f"{done.lines:,} lines: {done.new:,} new ({done.salvaged:,} salvaged), {done.known:,} known, "
        f"{done.quarantined:,} quarantined"
    )
    if done.left_out:
        print(f"{done.left_out:,} left out: older than what prune took away")
    return OK


def recover(home: str | None, db: str | None, *, force: bool) -> int:
    """Check the whole database, rebuild it if it is damaged, and catch up."""
    places = _with_home(settings.locate(home, db))
    _refuse_unusable(places.db, healing=True)
    from shipwrightd import log
    from shipwrightd.daemon import catch_up
    from shipwrightd.recovery.rebuild import RecoveryOptions

    log.set_up("critical")  # what it did is printed
    options = RecoveryOptions(damage="--force" if force else None, thorough=True)
    with _naming(places.db):
        done = catch_up.backfill(places.home, places.db, options=options)
    recovery = options.recovery
    if recovery is None:
        print("no damage found")
    else:
        print("rebuilding although no damage was found (--force)" if force else f"damaged: {visible(recovery.reason)}")
        lost = f", up to {recovery.lost:,} are lost" if recovery.lost else ""
        print(f"{recovery.kept:,} records kept, {recovery.refilled:,} events were put back from the files{lost}")
        print(f"the old file is {visible(str(places.db.with_name(recovery.set_aside)))}")
    if done.errors:
        raise PathError("; ".join(done.errors), hint="fix that and run `shipwrightd backfill` for the rest")
    return OK


def before(age: str, now: str | None) -> int:
    """Return the time, in seconds, that lies as far back as 180d, 26w or 36h. Raises QuestionError."""
    match = AGE.fullmatch(age)
    seconds = int(match[1]) * UNITS[match[2]] if match else LONGEST_S + 1
    if seconds > LONGEST_S:
        raise QuestionError(f"--older-than: {age!r} is no age; write 180d, 26w or 36h")
    if seconds < SHORTEST_S:
        raise QuestionError("--older-than: less than a day is taken for a typing error; write 1d or more")
    present = int(time.time())
    return (present if now is None else moment(now, present, option="--now")) - seconds


def prune(home: str | None, db: str | None, before_epoch: int, *, dry_run: bool) -> int:
    """Delete the events before a time, or say which would be."""
    places = _with_home(settings.locate(home, db))
    path = _made(places.db, current=dry_run)
    from shipwrightd.maintenance import prune as pruning

    with _naming(path):
        if dry_run:
            _show(pruning.preview(places.home, path, before_epoch), "would be deleted")
            return OK
        done = pruning.prune(places.home, path, before_epoch)
    _show(done, "deleted")
    print(f"database: {_mib(done.bytes_before)} before, {_mib(done.bytes_after)} now")
    return OK


def _show(found: Pruned, what: str) -> None:
    print(f"events before {utc(found.before_epoch) or found.before_epoch}")
    for old in found.origins:
        why = f", {old.held:,} kept because a file still holds them" if old.held else ""
        print(f"  {visible(old.origin)}: {old.going:,} {what}{why}")
    if not found.origins:
        print("  none that may go")


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.1f} MiB"
