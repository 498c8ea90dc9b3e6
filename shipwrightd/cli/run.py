"""`run` and `backfill`: store what the files hold, continuously or once."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipwrightd import config
from shipwrightd.cli.options import Db, Home, damage_named, existing_home, refuse_unusable, text_option
from shipwrightd.config.keys import KEYS, LOG_LEVELS
from shipwrightd.errors import PathError
from shipwrightd.text import width

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shipwrightd.config import Config, Settings
    from shipwrightd.daemon import Listener
    from shipwrightd.status import Status


# Values are taken as text: settings checks those of flags, environment and files alike.
PARAMETERS: dict[str, Any] = {
    "home": Home,
    "db": Db,
    "log_level": text_option(
        "LEVEL", "debug, info, warning or error [default: info]", autocompletion=lambda: list(LOG_LEVELS)
    ),
    "rescan": text_option("SECONDS", "check all files this often even without events, 0.1 to 60 [default: 2]"),
    "settle": text_option("SECONDS", "wait this long after a rewrite before reading the file, 0.1 to 60 [default: 2]"),
    "watch": Annotated[
        bool | None, typer.Option("--watch/--no-watch", help="watch for file-system events [default: watch]")
    ],
    "metrics": text_option("HOST:PORT", "serve metrics for monitors at this address; empty for off"),
    "hook_command": text_option("COMMAND", "run this command when an error lasts; empty for none"),
    "hook_url": text_option("URL", "send a POST request there when an error lasts; empty for none"),
    "hook_after": text_option("SECONDS", "how long an error must last for that, 0 to 86400 [default: 60]"),
}


def run(**given: Any) -> None:  # noqa: ANN401 - as PARAMETERS declare
    """Follow the files until stopped.

    Imports what is already there, or was written meanwhile, then stores each
    record as soon as it is written. Runs in the foreground and logs to stderr.
    SIGTERM and Ctrl-C stop it; SIGHUP makes it read the settings again.

    Settings can also be in the environment or in a file, under the names that
    `shipwrightd config show` lists; a flag overrides both.
    """
    flags = {key.name: given[key.flag.removeprefix("--").replace("-", "_")] for key in KEYS}
    loaded = config.load(flags)
    places = existing_home(given["home"], given["db"])
    refuse_unusable(places.db, recovering=True)
    from shipwrightd import log
    from shipwrightd.daemon import loop, systemd

    log.set_up(loaded.log_level)
    supervisor = systemd.supervisor(os.environ)

    def reload() -> Settings:
        fresh = config.load(flags)
        log.set_up(fresh.log_level)
        return fresh

    with damage_named(places.db):
        loop.run(places, loaded, reload, [*([supervisor] if supervisor else []), *_listeners(places)])


def _listeners(places: Config) -> list[Listener]:
    """Return the callbacks of the loop that serve metrics and run the hook, if the settings ask for it."""
    from shipwrightd.journals import JOURNALS
    from shipwrightd.monitoring.hook import Hook
    from shipwrightd.monitoring.metrics import Endpoint

    names = [journal.name for journal in JOURNALS]

    def status() -> Status:
        from shipwrightd.status import collect

        return collect(places.home, places.db, names, time.time())

    return [Endpoint(status), Hook(places)]


def backfill(home: Home = None, db: Db = None) -> None:
    """Import everything there is once, then exit.

    Creates the database if there is none. It is safe to run again, and after
    a kill: nothing is stored twice.
    """
    places = existing_home(home, db)
    refuse_unusable(places.db, recovering=True)
    from shipwrightd import log
    from shipwrightd.daemon import catch_up
    from shipwrightd.status import text

    log.set_up("warning")  # bar and summary show the rest
    with damage_named(places.db), _progress_bar() as progress:
        done = catch_up.backfill(places.home, places.db, progress)
    print(text.summary_text(done.summaries, width()))
    if done.errors:
        raise PathError("; ".join(done.errors), hint="fix that and run `shipwrightd backfill` again for the rest")


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[int, int, int], None] | None]:
    """Show a bar on stderr while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), DownloadColumn(binary_units=True), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("backfill", total=None, rate="")

        def progress(done: int, total: int, records: int) -> None:
            rate = records / max(time.monotonic() - began, 0.001)
            bar.update(task, completed=done, total=total, rate=f"{rate:,.0f} records/s")

        yield progress
