"""Reports persistent errors to an operator's command or URL. The payload is documented in docs/monitoring.md.

It holds fixed texts, times and kinds of sources: no data, no error text and no path below the home. Programs run in
threads, one for the command and one for the URL, each with a time-out: neither ingestion nor the other waits for it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from shipwrightd import __version__
from shipwrightd.clock import utc
from shipwrightd.config import Settings
from shipwrightd.daemon import Event, Listener, PassReport, Phase, SettingsApplied
from shipwrightd.text import family, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from shipwrightd.config import Config

QUIET_S = 300.0  # minimum between two notices that the same trouble began
RAISED = "raised"
RESOLVED = "resolved"
TEXTS = {
    ("source_error", RAISED): "a source cannot be read",
    ("source_error", RESOLVED): "a source can be read again",
    ("database_waiting", RAISED): "the database cannot be written; waiting for it",
    ("database_waiting", RESOLVED): "the database can be written again",
    ("watching_degraded", RAISED): "file-system events are unreliable, changes are noticed later",
    ("watching_degraded", RESOLVED): "file-system events are reliable again",
}
PAYLOAD_VERSION = 1
STOP_WITHIN_S = 0.3
TIMEOUT_S = 10.0
PENDING = 32  # jobs in the queue; further ones are dropped
BETWEEN_ATTEMPTS_S = (1.0, 5.0)  # at a URL
REFUSED = 2  # exit code of post.py: do not try again
POST = (sys.executable, "-I", str(Path(__file__).with_name("post.py")))

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, order=True)
class Trouble:
    """An error that may persist; `source` is a kind of source, or empty."""

    state: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """A trouble that has lasted long enough to be reported, or is over."""

    event: str  # raised | resolved
    trouble: Trouble
    stood_s: float  # how long it has lasted, or did


def open_troubles(report: PassReport) -> set[Trouble]:
    """Return the troubles at the end of one pass of the loop."""
    found = {Trouble("source_error", family(source)) for source in report.errors}
    if report.waiting is not None:
        found.add(Trouble("database_waiting"))
    if report.trouble:
        found.add(Trouble("watching_degraded"))
    return found


class Alarms:
    """Raises each trouble once when it has lasted for a while, and resolves it once when it has been gone as long.

    All times are monotonic seconds.
    """

    def __init__(self) -> None:
        self._began: dict[Trouble, float] = {}
        self._ended: dict[Trouble, float] = {}  # of those that began
        self._raised: set[Trouble] = set()
        self._raised_at: dict[Trouble, float] = {}

    def step(self, troubles: AbstractSet[Trouble], *, now: float, after_s: float) -> list[Notice]:
        """Return the notices due at `now`, given the troubles that are present."""
        notices = []
        for trouble in sorted(self._began.keys() | troubles):
            began = self._began.setdefault(trouble, now)
            if trouble in troubles:
                self._ended.pop(trouble, None)
                quiet_until = self._raised_at.get(trouble, -math.inf) + QUIET_S
                if trouble not in self._raised and now >= max(began + after_s, quiet_until):
                    self._raised.add(trouble)
                    self._raised_at[trouble] = now
                    notices.append(Notice(RAISED, trouble, now - began))
                continue
            ended = self._ended.setdefault(trouble, now)
            if trouble in self._raised and now >= ended + after_s:
                self._raised.discard(trouble)
                notices.append(Notice(RESOLVED, trouble, ended - began))
            if trouble not in self._raised:
                del self._began[trouble], self._ended[trouble]
        return notices


@dataclass(frozen=True, slots=True)
class Job:
    """A program to run with this standard input and environment."""

    command: Sequence[str]
    stdin: bytes
    environment: Mapping[str, str]
    about: Mapping[str, str]  # for the log


class Worker:
    """Runs jobs of one kind in a thread, one after the other, each with a time-out."""

    def __init__(self, how: str, pauses_s: Sequence[float]) -> None:
        self._how = how  # for the log: command | url; the program of the latter prints an HTTP status
        self._pauses_s = pauses_s  # before each further attempt
        self._jobs: queue.Queue[Job | None] = queue.Queue(PENDING)
        self._thread: threading.Thread | None = None
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def put(self, job: Job) -> None:
        """Add a job to the queue; never waits."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            log.warning("hook_dropped", how=self._how, why="too many are waiting", **job.about)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"hook-{self._how}", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """End the thread after the jobs in the queue."""
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(None)

    def stop(self, end: float) -> None:
        """Wait for the thread until `end` (monotonic), then kill the running program and drop the other jobs."""
        if self._thread is None:
            return
        self._thread.join(max(0.0, end - time.monotonic()))
        if self._thread.is_alive():
            self._stopped.set()
            if self._running is not None:
                _kill(self._running)
            log.warning("hook_dropped", how=self._how, why="the daemon is stopping")

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            for attempt, pause_s in enumerate((*self._pauses_s, 0.0), 1):
                if self._stopped.is_set() or self._try(job, attempt):
                    break
                self._stopped.wait(pause_s)

    def _try(self, job: Job, attempt: int) -> bool:
        """Run the job once and log the result; return whether it need not be tried again."""
        began = time.monotonic()
        result: dict[str, Any] = {"how": self._how, "attempt": attempt, **job.about}
        try:
            code, printed = self._run(job)
        except OSError as error:
            log.warning("hook_failed", error=error.strerror, **result)
            return False
        if self._stopped.is_set():
            return True  # killed by `stop`, which logs it
        result["seconds"] = round(time.monotonic() - began, 3)
        if printed.isdigit():
            result["http_status"] = int(printed)
        if code == 0:
            log.info("hook_done", **result)
        elif code is None:
            log.warning("hook_timed_out", **result)
        else:
            log.warning("hook_failed", exit_code=code, **result)
        return code in {0, REFUSED}

    def _run(self, job: Job) -> tuple[int | None, bytes]:
        """Return the exit code, None if it was killed at the time-out, and what post.py printed."""
        self._running = process = subprocess.Popen(
            job.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if self._how == "url" else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=job.environment,
            start_new_session=True,
        )
        if self._stopped.is_set():
            _kill(process)
        try:
            printed, _ = process.communicate(job.stdin, TIMEOUT_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return None, b""
        finally:
            self._running = None
        return process.returncode, (printed or b"").strip()


class Hook(Listener):
    """Reports errors that persist for `hook_after_s`. Neither the command nor the URL waits for the other."""

    def __init__(self, config: Config) -> None:
        self._paths = {"SHIPWRIGHTD_HOME": str(config.home), "SHIPWRIGHTD_DB": str(config.db)}
        self._alarms = Alarms()
        self._settings = Settings()
        self._command, self._url = Worker("command", ()), Worker("url", BETWEEN_ATTEMPTS_S)

    def notify(self, event: Event) -> None:
        """Report troubles that have lasted long enough, and those that are over."""
        match event:
            case SettingsApplied():
                self._settings = event.settings
                if event.settings.hook_command and shutil.which(event.settings.hook_command[0]) is None:
                    log.warning("hook_unusable", why="the program of hook_command does not exist")
            case PassReport():
                after_s = self._settings.hook_after_s
                for notice in self._alarms.step(open_troubles(event), now=time.monotonic(), after_s=after_s):
                    self._report(payload(notice, time.time()))
            case Phase.STOPPING:
                end = time.monotonic() + STOP_WITHIN_S
                for worker in (self._command, self._url):
                    worker.finish()
                for worker in (self._command, self._url):
                    worker.stop(end)

    def _report(self, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SHIPWRIGHTD_")}
        about = {"alarm": str(content["event"]), "state": str(content["state"]), "source": str(content["source"] or "")}
        log.info("alarm_reported", **about)
        command, url = self._settings.hook_command, self._settings.hook_url
        if command:
            keys = {f"SHIPWRIGHTD_{key.upper()}": "" if value is None else str(value) for key, value in content.items()}
            self._command.put(Job(command, body, {**inherited, **self._paths, **keys}, about))
        if url:
            self._url.put(Job(POST, url.encode() + b"\n" + body, inherited, about))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and all it started, unless it has been waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


def payload(notice: Notice, now: float) -> dict[str, object]:
    """Return the payload at `now`, in seconds since 1970. Keys may be added; none changes its meaning."""
    state, source = notice.trouble.state, visible(notice.trouble.source)
    return {
        "version": PAYLOAD_VERSION,
        "event": notice.event,
        "state": state,
        "source": source or None,
        "text": TEXTS[state, notice.event] + (f": {source}" if source else ""),
        "stood_s": round(notice.stood_s, 1),
        "at": utc(now),
        "host": visible(socket.gethostname()),
        "pid": os.getpid(),
        "release": __version__,
    }
