"""Runs programs one after the other in a thread, each with its time: the loop hands a job over and goes on."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_S = 10.0
PENDING = 32  # jobs that wait; more are dropped, and said so
BETWEEN_TRIES_S = (1.0, 5.0)
NO_USE = 2  # exit code of post.py: another try would end alike

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """A program to run, what it gets to read, and how often to try."""

    command: Sequence[str]
    given: bytes
    environment: Mapping[str, str]
    about: Mapping[str, str]  # for the log
    tries: int = 1
    prints_status: bool = False  # an HTTP status, which is logged


class Courier:
    """One thread that runs jobs in order, made for the first one. `how` names it in the log."""

    def __init__(self, how: str, timeout_s: float = TIMEOUT_S) -> None:
        """Begin with nothing to do."""
        self._how = how
        self._timeout_s = timeout_s
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._running: subprocess.Popen[bytes] | None = None
        self._ended = threading.Event()

    def put(self, job: Job) -> None:
        """Take a job; never waits."""
        if self._jobs.qsize() >= PENDING:
            log.warning("hook_dropped", how=self._how, why="too many wait", **job.about)
            return
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"hook-{self._how}", daemon=True)
            self._thread.start()

    def stop(self, within_s: float) -> None:
        """Let what is under way come to its end within this time; what is not done then is killed and dropped."""
        if self._thread is None:
            return
        self._jobs.put(None)
        self._thread.join(max(0.0, within_s))
        if not self._thread.is_alive():
            return
        self._ended.set()
        with self._lock:
            if self._running is not None:
                _kill(self._running)
        log.warning("hook_dropped", how=self._how, why="the daemon ends")

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            for attempt in range(1, job.tries + 1):
                if self._ended.is_set() or self._try(job, attempt) or attempt == job.tries:
                    break
                self._ended.wait(BETWEEN_TRIES_S[min(attempt, len(BETWEEN_TRIES_S)) - 1])

    def _try(self, job: Job, attempt: int) -> bool:
        """Run the job once; tell whether that is the end of it."""
        began = time.monotonic()
        try:
            code, said = self._run(job)
        except OSError as error:
            log.warning("hook_failed", how=self._how, error=error.strerror, attempt=attempt, **job.about)
            return False
        if self._ended.is_set():
            return True  # killed by us, which was said
        took_s = round(time.monotonic() - began, 3)
        ended = {"how": self._how, "attempt": attempt, "seconds": took_s, **job.about, **said}
        if code == 0:
            log.info("hook_done", **ended)
        elif code is None:
            log.warning("hook_timed_out", **ended)
        else:
            log.warning("hook_failed", exit_code=code, **ended)
        return code in {0, NO_USE}

    def _run(self, job: Job) -> tuple[int | None, dict[str, int]]:
        """Return the exit code, None for one that had to be killed, and the HTTP status if it prints one."""
        with self._lock:
            self._running = started = subprocess.Popen(
                job.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if job.prints_status else subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=job.environment,
                start_new_session=True,
            )
            if self._ended.is_set():
                _kill(started)
        try:
            said, _ = started.communicate(job.given, self._timeout_s)
        except subprocess.TimeoutExpired:
            with self._lock:
                _kill(started)
            started.communicate()
            return None, {}
        finally:
            with self._lock:
                self._running = None
        status = (said or b"").strip()
        return started.returncode, {"http_status": int(status)} if status.isdigit() else {}


def _kill(started: subprocess.Popen[bytes]) -> None:
    """End a program and what it started, if it has not been waited for yet."""
    if started.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(started.pid, signal.SIGKILL)
