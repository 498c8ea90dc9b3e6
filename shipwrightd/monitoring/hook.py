"""Reports persistent errors to an operator's command or URL. The payload is documented in docs/monitoring.md.

It holds fixed texts, times and kinds of sources: no data, no error text and
no path below the home. Commands run one after the other in a thread, each
with a time-out, so that ingestion never waits for one.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
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
from typing import TYPE_CHECKING

import structlog

from shipwrightd import __version__
from shipwrightd.daemon.callbacks import Event, Listener, PassReport, Phase, SettingsApplied
from shipwrightd.monitoring.alarms import Alarms, open_troubles
from shipwrightd.text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipwrightd.config.settings import Config, Settings
    from shipwrightd.monitoring.alarms import Notice

PAYLOAD_VERSION = 1
STOP_WITHIN_S = 0.3
TIMEOUT_S = 10.0
PENDING = 32  # jobs in the queue; further ones are dropped
URL_ATTEMPTS = 3
BETWEEN_ATTEMPTS_S = (1.0, 5.0)
REFUSED = 2  # exit code of post.py: do not try again
POST = (sys.executable, "-I", str(Path(__file__).with_name("post.py")))
OURS = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID")  # from our supervisor

log = structlog.get_logger()


class Hook(Listener):
    """Reports errors that persist for `hook_after_s`."""

    def __init__(self, config: Config) -> None:
        """Report to nobody yet; a command learns home and database from its environment."""
        self._paths = {"SHIPWRIGHTD_HOME": str(config.home), "SHIPWRIGHTD_DB": str(config.db)}
        self._alarms = Alarms()
        self._command: tuple[str, ...] = ()
        self._url = ""
        self._after_s = 0.0
        self._commands = JobRunner("command")
        self._posts = JobRunner("url")

    def notify(self, event: Event) -> None:
        """Report troubles that have lasted long enough, and those that are over."""
        match event:
            case SettingsApplied():
                self._configure(event.settings)
            case PassReport():
                for notice in self._alarms.step(open_troubles(event), now=time.monotonic(), after_s=self._after_s):
                    self._report(payload(notice, time.time()))
            case Phase.STOPPING:
                self._stop()

    def _configure(self, settings: Settings) -> None:
        self._command, self._url = settings.hook_command, settings.hook_url
        self._after_s = settings.hook_after_s
        if self._command and shutil.which(self._command[0]) is None:
            log.warning("hook_unusable", why="the program of hook_command does not exist")

    def _stop(self) -> None:
        """Give running jobs a moment to finish."""
        deadline = time.monotonic() + STOP_WITHIN_S
        for runner in (self._commands, self._posts):
            runner.stop(deadline - time.monotonic())

    def _report(self, content: dict[str, object]) -> None:
        body = json.dumps(content).encode()
        inherited = inheritable(os.environ)
        about = {"alarm": str(content["event"]), "state": str(content["state"]), "source": str(content["source"] or "")}
        log.info("alarm_told", **about)
        if self._command:
            self._commands.put(Job(self._command, body, {**inherited, **self._paths, **variables(content)}, about))
        if self._url:
            self._posts.put(Job(POST, self._url.encode() + b"\n" + body, inherited, about, posts=True))


def payload(notice: Notice, now: float) -> dict[str, object]:
    """Return the payload at `now`, in seconds since 1970. Keys may be added; none changes its meaning."""
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


def variables(content: Mapping[str, object]) -> dict[str, str]:
    """Return a payload as environment variables; those without a value are empty."""
    return {f"SHIPWRIGHTD_{name.upper()}": "" if value is None else str(value) for name, value in content.items()}


def inheritable(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables another program may have: without our settings and those of our supervisor."""
    return {
        name: value for name, value in environment.items() if name not in OURS and not name.startswith("SHIPWRIGHTD_")
    }


@dataclass(frozen=True, slots=True)
class Job:
    """A program to run with this standard input and environment."""

    command: Sequence[str]
    stdin: bytes
    environment: Mapping[str, str]
    about: Mapping[str, str]  # for the log
    posts: bool = False  # it is post.py: prints an HTTP status, and is tried again unless refused


class JobRunner:
    """Runs jobs in order in a thread that the first one starts. `how` names it in the log."""

    def __init__(self, how: str, timeout_s: float = TIMEOUT_S) -> None:
        """Start with an empty queue."""
        self._how = how
        self._timeout_s = timeout_s
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()

    def put(self, job: Job) -> None:
        """Add a job to the queue; never waits."""
        if self._jobs.qsize() >= PENDING:
            log.warning("hook_dropped", how=self._how, why="too many are waiting", **job.about)
            return
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"hook-{self._how}", daemon=True)
            self._thread.start()

    def stop(self, within_s: float) -> None:
        """Wait this long for the jobs to finish, then kill the running one and drop the rest."""
        if self._thread is None:
            return
        self._jobs.put(None)
        self._thread.join(max(0.0, within_s))
        if not self._thread.is_alive():
            return
        self._stopped.set()
        with self._lock:
            if self._running is not None:
                _kill(self._running)
        log.warning("hook_dropped", how=self._how, why="the daemon is stopping")

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            attempts = URL_ATTEMPTS if job.posts else 1
            for attempt in range(1, attempts + 1):
                if self._stopped.is_set() or self._try(job, attempt) or attempt == attempts:
                    break
                self._stopped.wait(BETWEEN_ATTEMPTS_S[min(attempt, len(BETWEEN_ATTEMPTS_S)) - 1])

    def _try(self, job: Job, attempt: int) -> bool:
        """Run the job once and log the result; return whether it need not be tried again."""
        began = time.monotonic()
        try:
            code, printed = self._run(job)
        except OSError as error:
            log.warning("hook_failed", how=self._how, error=error.strerror, attempt=attempt, **job.about)
            return False
        if self._stopped.is_set():
            return True  # killed by `stop`, which logs it
        status = {"http_status": int(printed)} if printed.isdigit() else {}
        seconds = round(time.monotonic() - began, 3)
        result = {"how": self._how, "attempt": attempt, "seconds": seconds, **job.about, **status}
        if code == 0:
            log.info("hook_done", **result)
        elif code is None:
            log.warning("hook_timed_out", **result)
        else:
            log.warning("hook_failed", exit_code=code, **result)
        return code in {0, REFUSED}

    def _run(self, job: Job) -> tuple[int | None, bytes]:
        """Return the exit code, None if it was killed at the time-out, and what post.py printed."""
        with self._lock:
            self._running = process = subprocess.Popen(
                job.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if job.posts else subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=job.environment,
                start_new_session=True,
            )
            if self._stopped.is_set():
                _kill(process)
        try:
            printed, _ = process.communicate(job.stdin, self._timeout_s)
        except subprocess.TimeoutExpired:
            with self._lock:
                _kill(process)
            process.communicate()
            return None, b""
        finally:
            with self._lock:
                self._running = None
        return process.returncode, (printed or b"").strip()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a program and all it started, unless it has been waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
