"""Tells an operator's command or URL of errors that stand. What is told is written down in docs/monitoring.md.

Its payload holds words of ours, times and kinds of sources: nothing of the
data, no error text and no path below the home.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from shipwrightd import __version__
from shipwrightd.daemon.callbacks import Listener
from shipwrightd.monitoring.alarms import Alarms, standing
from shipwrightd.monitoring.courier import Courier, Job
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shipwrightd.config.settings import Config, Settings
    from shipwrightd.daemon.callbacks import Turn
    from shipwrightd.monitoring.alarms import Notice

PAYLOAD_VERSION = 1
STOP_WITHIN_S = 0.3
URL_TRIES = 3
POST = (sys.executable, "-I", str(Path(__file__).with_name("post.py")))
NOT_THEIRS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID")  # the supervisor means us

log = structlog.get_logger()


class Hook(Listener):
    """Hears of errors, and has couriers tell of those that stand for `hook_after_s`."""

    def __init__(self, places: Config) -> None:
        """Tell nobody yet; a command learns where home and database are."""
        self._places = {"SHIPWRIGHTD_HOME": str(places.home), "SHIPWRIGHTD_DB": str(places.db)}
        self._alarms = Alarms()
        self._command: tuple[str, ...] = ()
        self._url = ""
        self._after_s = 0.0
        self._by_command = Courier("command")
        self._by_url = Courier("url")

    def started(self, settings: Settings) -> None:
        """Learn whom to tell."""
        self._command, self._url = settings.hook_command, settings.hook_url
        self._after_s = settings.hook_after_s
        if self._command and shutil.which(self._command[0]) is None:
            log.warning("hook_unusable", why="there is no program of the name that hook_command begins with")

    def reloaded(self, settings: Settings) -> None:
        """Learn whom to tell from now on."""
        self.started(settings)

    def turned(self, turn: Turn) -> None:
        """Tell of what has stood long enough, and of what is over."""
        for notice in self._alarms.step(standing(turn), now=time.monotonic(), after_s=self._after_s):
            self._tell(payload(notice, time.time()))

    def stopping(self) -> None:
        """Give what is under way a moment."""
        until = time.monotonic() + STOP_WITHIN_S
        for courier in (self._by_command, self._by_url):
            courier.stop(until - time.monotonic())

    def _tell(self, told: dict[str, object]) -> None:
        body = json.dumps(told).encode()
        inherited = inheritable(os.environ)
        about = {"alarm": str(told["event"]), "state": str(told["state"]), "source": str(told["source"] or "")}
        log.info("alarm_told", **about)
        if self._command:
            self._by_command.put(Job(self._command, body, {**inherited, **self._places, **variables(told)}, about))
        if self._url:
            given = self._url.encode() + b"\n" + body
            self._by_url.put(Job(POST, given, inherited, about, URL_TRIES, prints_status=True))


def payload(notice: Notice, now: float) -> dict[str, object]:
    """Return what is told, at `now` in seconds since 1970. Keys are added in time; none changes its meaning."""
    return {
        "version": PAYLOAD_VERSION,
        "event": notice.event,
        "state": notice.trouble.state,
        "source": visible(notice.trouble.source) or None,
        "text": visible(notice.text),
        "stood_s": round(notice.stood_s, 1),
        "at": dt.datetime.fromtimestamp(now, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "host": visible(socket.gethostname()),
        "pid": os.getpid(),
        "release": __version__,
    }


def variables(told: Mapping[str, object]) -> dict[str, str]:
    """Return the same as environment variables; those without a value are empty."""
    return {f"SHIPWRIGHTD_{name.upper()}": "" if value is None else str(value) for name, value in told.items()}


def inheritable(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what another program may have of our environment: not our settings, nor what a supervisor told us."""
    return {
        name: value
        for name, value in environment.items()
        if name not in NOT_THEIRS and not name.startswith("SHIPWRIGHTD_")
    }
