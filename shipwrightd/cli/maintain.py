"""Commands that change or check what is stored: `import`, `prune`, `rebuild`, `migrate`, `verify`, `recover`."""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shipwrightd import __version__, config
from shipwrightd.cli.options import (
    Db,
    Home,
    check_home,
    damage_named,
    existing_database,
    existing_home,
    refuse_unusable,
    usage_errors,
)
from shipwrightd.clock import utc
from shipwrightd.errors import FOUND, PathError
from shipwrightd.reports.question import UNITS, QuestionError, moment
from shipwrightd.text import size_of, visible

if TYPE_CHECKING:
    from shipwrightd.database.migrate import Migration
    from shipwrightd.maintenance.prune import Pruned

MACHINE = re.compile(r"[A-Za-z0-9._@+-]{1,100}")
JOURNAL = "events.jsonl"
AGE = re.compile(r"([0-9]{1,6})([hdw])")
SHORTEST_S = 86_400
LONGEST_S = 36_500 * 86_400
SHOWN_DIFFERENCES = 20


def _machine(name: str | None) -> str | None:
    if name is not None and (not MACHINE.fullmatch(name) or name == JOURNAL):
        raise typer.BadParameter("a name has letters, digits and . _ @ + - only, 100 at most")
    return name


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines; - for standard input")],
    home: Home = None,
    db: Db = None,
    *,
    machine: Annotated[
        str | None,
        typer.Option(metavar="NAME", callback=_machine, help="store the events separately, as those of this machine"),
    ] = None,
) -> None:
    """Store the events of a file that are not in the database yet.

    Takes the output of `export --table events --format jsonl`, a copy of an
    events.jsonl, or the one of another machine. Stores what Shipwright wrote
    first; then adds each record that the file has more often than the
    database, so a second import adds nothing. It stores all of it, or nothing.

    Imported events count as older than all others, and are part of runs and
    figures. What prune deleted stays deleted. Refuses while a daemon runs.
    """
    places = existing_home(home, db)
    refuse_unusable(places.db)
    from shipwrightd import log
    from shipwrightd.maintenance import import_events as importing

    log.set_up("warning")  # the summary shows the rest
    source = None if file == importing.STDIN else Path(file)
    with damage_named(places.db):
        done = importing.import_events(places.home, places.db, source, machine)
    print(
        f"{done.lines:,} lines: {done.new:,} new ({done.salvaged:,} salvaged), {done.known:,} known, "
        f"{done.quarantined:,} quarantined"
    )
    if done.left_out:
        print(f"{done.left_out:,} left out: older than what prune deleted")


def prune(
    older_than: Annotated[str, typer.Option(metavar="AGE", help="180d, 26w or 36h; at least a day")],
    home: Home = None,
    db: Db = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only show what would be deleted")] = False,
    now: Annotated[str | None, typer.Option(metavar="TIME", help="count from this time instead of now")] = None,
) -> None:
    """Delete old events and free their disk space.

    Runs, stages, costs and all figures stay; so does every event that a file
    still holds. Needs free disk for two copies of the database while it
    works. Deleted events can only be restored from an export, so run `export`
    first. Refuses while a daemon runs, except with --dry-run.
    """
    with usage_errors():
        before_epoch = _before(older_than, now)
    places = existing_home(home, db)
    path = existing_database(places.db, current=dry_run)
    from shipwrightd.maintenance import prune as pruning

    with damage_named(path):
        if dry_run:
            _print_pruned(pruning.preview(places.home, path, before_epoch), "would be deleted")
            return
        done = pruning.prune(places.home, path, before_epoch)
    _print_pruned(done, "deleted")
    print(f"database: {size_of(done.bytes_before)} before, {size_of(done.bytes_after)} now")


def _before(age: str, now: str | None) -> int:
    """Return the time, in seconds, that is as long ago as 180d, 26w or 36h. Raises QuestionError."""
    match = AGE.fullmatch(age)
    seconds = int(match[1]) * UNITS[match[2]] if match else LONGEST_S + 1
    if seconds > LONGEST_S:
        raise QuestionError(f"--older-than: {age!r} is no age; write 180d, 26w or 36h")
    if seconds < SHORTEST_S:
        raise QuestionError("--older-than: less than a day is taken for a typing error; write 1d or more")
    present = int(time.time())
    return (present if now is None else moment(now, present, option="--now")) - seconds


def _print_pruned(pruned: Pruned, what: str) -> None:
    print(f"events before {utc(pruned.before_epoch) or pruned.before_epoch}")
    for old in pruned.origins:
        why = f", {old.held:,} kept because a file still holds them" if old.held else ""
        print(f"  {visible(old.origin)}: {old.going:,} {what}{why}")
    if not pruned.origins:
        print("  none that may be deleted")


def rebuild(home: Home = None, db: Db = None) -> None:
    """Derive runs, stages and metrics from the events again.

    Replaces the tables pipeline_runs, pipeline_stages and metrics in one
    transaction; the events stay as they are. Only needed if somebody changed
    these tables. Refuses while a daemon runs.
    """
    path = existing_database(config.locate(home, db).db)
    from shipwrightd.maintenance import repair

    with damage_named(path):
        rebuilt = repair.rebuild(path)
    for table, rows in rebuilt.items():
        print(f"{table}: {rows:,} rows")


def migrate(
    home: Home = None,
    db: Db = None,
    *,
    only_show: Annotated[bool, typer.Option("--status", help="only show what would be applied")] = False,
) -> None:
    """Bring the database to the schema of this release.

    `run` and `backfill` do this automatically.
    """
    places = config.locate(home, db)
    if places.db.is_relative_to(places.home):
        check_home(places)
    with damage_named(places.db):
        migrations = _pending(places.db) if only_show else _apply(places.db)
    what = "to apply" if only_show else "applied"
    print(f"{len(migrations)} {what}" if migrations else "the schema is up to date")
    for migration in migrations:
        print(f"  {migration.name}")


def _pending(path: Path) -> list[Migration]:
    from shipwrightd.database import migrate as migrations
    from shipwrightd.database import open_reader

    with contextlib.closing(open_reader(path)) as db:
        return migrations.pending(db, migrations.known())


def _apply(path: Path) -> list[Migration]:
    from shipwrightd import database
    from shipwrightd.database import migrate as migrations
    from shipwrightd.database.lock import WriterLock, lock_path
    from shipwrightd.recovery import swap

    refuse_unusable(path)
    database.prepare_folder(path)
    lock = WriterLock(lock_path(path))
    lock.acquire({"pid": os.getpid(), "version": __version__, "command": "migrate"})
    try:
        swap.finish(path)
        with contextlib.closing(database.open_writer(path)) as db:
            return migrations.migrate(db)
    finally:
        lock.release()


def verify(
    home: Home = None,
    db: Db = None,
    *,
    repair: Annotated[bool, typer.Option("--repair", help="store the records that are missing, then compare")] = False,
) -> int:
    """Compare the database with the files; exit 1 if they differ.

    Reads all files again: the database must hold each record exactly as
    often. Records that the database keeps longer than the files are no
    difference. Changes nothing, and may run beside a daemon: it then reports
    only what still differs after rescan_s and settle_s, as set here, and 5 s.
    `--repair` changes the database, and refuses while a daemon runs.
    """
    places = existing_home(home, db)
    path = existing_database(places.db, current=True)
    if repair:
        _repair(places.home, path)
    from shipwrightd.maintenance.verify import verify as compare

    loaded = config.resolve().settings  # invalid ones do not matter here
    with damage_named(path):
        differences = compare(places.home, path, delay_s=loaded.rescan_s + loaded.settle_s)
    if not differences:
        print("the database agrees with the files")
        return 0
    for difference in differences[:SHOWN_DIFFERENCES]:
        print(f"{visible(difference.source)}: {visible(difference.text)}")
    more = f", the first {SHOWN_DIFFERENCES} shown" if len(differences) > SHOWN_DIFFERENCES else ""
    print(f"1 difference{more}" if len(differences) == 1 else f"{len(differences)} differences{more}")
    return FOUND


def _repair(home: Path, path: Path) -> None:
    from shipwrightd import log
    from shipwrightd.maintenance.repair import repair

    log.set_up("error")  # the result is printed
    with damage_named(path):
        records, pieces = repair(home, path)
    print(f"{records:,} missing records were stored, {pieces:,} pieces kept in quarantine")


def recover(
    home: Home = None,
    db: Db = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="rebuild it even if no damage is found")] = False,
) -> None:
    """Check the whole database, and rebuild it if it is damaged.

    Reads every page. A damaged database is moved aside, never deleted, and
    rebuilt from its readable rows and from the files. `run` and `backfill`
    do the same with damage they meet. Needs as much free disk space as the
    database takes. Refuses while a daemon runs.
    """
    places = existing_home(home, db)
    refuse_unusable(places.db, recovering=True)
    from shipwrightd import log
    from shipwrightd.daemon import catch_up
    from shipwrightd.recovery.rebuild import RecoveryOptions

    log.set_up("critical")  # the result is printed
    options = RecoveryOptions(damage="--force" if force else None, thorough=True)
    with damage_named(places.db):
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
