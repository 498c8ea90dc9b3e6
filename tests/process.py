"""shipwrightd as processes: one command, a daemon behind another program, what it logged, what `status` says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Self

import orjson
from world import DEADLINE_S, Daemon, World

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence
    from pathlib import Path

Entry = dict[str, Any]
# Without these two even root is refused by a file's mode.
AS_ANY_USER = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps", "-dac_override")


def places(world: World) -> list[str]:
    """Return the options that name a world's home and database."""
    return ["--home", str(world.home), "--db", str(world.db_path)]


def call(
    world: World, *command: str, prefix: Sequence[str] = (), within_s: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "shipwrightd", *command, *places(world)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=within_s,
    )


def status(world: World) -> Entry:
    """Return what `status --json` says."""
    found: Entry = orjson.loads(call(world, "status", "--json").stdout)
    return found


def source(world: World, name: str = "events.jsonl") -> Entry:
    """Return what `status` says of one source, an empty dict when it does not know it."""
    return next((entry for entry in status(world)["sources"] if entry["source"] == name), {})


class Running(Daemon):
    """A daemon behind another program, `setpriv` or `sh` for one, whose log can be asked."""

    def __init__(self, world: World, *prefix: str, flags: Sequence[str] = (), **environment: str) -> None:
        super().__init__(world, **environment)
        self._prefix = prefix
        self._flags = flags

    def start(self) -> Running:
        """Start it behind its prefix."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "shipwrightd", "run", *places(self._world), *self._flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
            )
        return self

    def __enter__(self) -> Self:
        self.start()
        return self

    def wait_for(self, condition: Callable[[], object], within_s: float = DEADLINE_S) -> None:
        """Wait until the condition holds; show the log when it does not in time, or when the daemon is gone."""
        deadline = time.monotonic() + within_s
        while not condition():
            assert self.runs(), f"it ended\n{self.told()}"
            assert time.monotonic() < deadline, f"not within {within_s} s\n{self.told()}"
            time.sleep(0.01)

    def has_logged(self, event: str, times: int = 1) -> Callable[[], bool]:
        """Return a condition: an entry of that name has been logged so often."""
        return lambda: len(self.logged(event)) >= times

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self.process is not None
        return self.process.pid

    def runs(self) -> bool:
        """Tell whether the process is still there."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def end_s(self, number: signal.Signals) -> tuple[float, int]:
        """Send a signal that ends it; return after how many seconds it did, and its exit code."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(DEADLINE_S)
        return time.monotonic() - began, code

    def exit_code(self) -> int:
        """Wait for it to end by itself."""
        assert self.process is not None
        return self.process.wait(DEADLINE_S)

    def logged(self, event: str) -> list[Entry]:
        """Return all log entries of that name so far."""
        return [entry for entry in entries(self.log) if entry["event"] == event]

    def told(self) -> str:
        """Return its whole log as text."""
        return self.log.read_text()


def entries(log: Path) -> list[Entry]:
    """Return the complete JSON lines of a log."""
    lines = log.read_bytes().split(b"\n")[:-1] if log.exists() else []
    return [orjson.loads(text) for text in lines if text.startswith(b"{")]
