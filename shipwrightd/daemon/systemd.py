"""What systemd wants to hear from the daemon, after sd_notify(3): ready, alive, how far, reloading, stopping.

Ready means: the database is open and migrated, the lock is held, the first
catch-up begins. Not its end: that may take minutes, `systemctl start` and
whatever is ordered behind it would wait for nothing that they need, and only
a service that is ready is watched by the watchdog, which a long catch-up
needs most. STATUS says which of both it is doing.

The watchdog is fed from the loop's own calls and from nowhere else, so one
that is stuck falls silent. Nothing here waits or raises: a supervisor that is
gone or does not read loses messages, but for READY, which is said again.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.daemon.callbacks import Batch, Listener, Turn
from shipwrightd.text import size_of, visible

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    from shipwrightd.config.settings import Settings

READY = "READY=1"
EXTEND_S = 300  # for healing at a start, from each time on that it is heard of
STATUS_EVERY_S = 5.0
PINGS = 4  # in the time after which systemd acts; sd_watchdog_enabled(3) asks for two at least
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
SHOWN_TROUBLES = 3


def supervisor(env: MutableMapping[str, str]) -> Supervisor | None:
    """Return who speaks to the supervisor that the environment names, None when it names none.

    Takes its variables out of the environment: they are not meant for programs that we start.
    """
    address, usec, pid = (env.pop(name, "") for name in VARIABLES)
    if not address.startswith(("/", "@")):  # vsock and the like: not from a machine's own systemd
        return None
    ours = pid in {"", str(os.getpid())}
    watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) else None
    return Supervisor(Mailbox(address), watchdog_s)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """The supervisor's datagram socket: a path, or @ and the name of an abstract one."""

    address: str

    def send(self, text: str) -> bool:
        """Send one message without waiting; tell whether it went out."""
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # noqa: FBT003 - its name says it
                sender.sendto(text.encode(errors="replace"), address)
        except OSError:  # nobody there, or it is full
            return False
        return True


class Supervisor(Listener):
    """Tells a supervisor what the loop does."""

    def __init__(self, mailbox: Mailbox, watchdog_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._ready_owed = False
        self._ping_s = watchdog_s / PINGS if watchdog_s else None
        self._ping_due = 0.0
        self._status = ""
        self._status_due = 0.0
        self._extend_due = 0.0
        self._records = 0
        self._bytes = 0
        self._catching_up = True
        if self._ping_s:
            self.pulse_s = self._ping_s

    def started(self, settings: Settings) -> None:  # noqa: ARG002 - what all listeners hear
        """Say that it is ready: from here on only the files decide how long it takes."""
        self._say_ready("STATUS=catching up")

    def following(self) -> None:
        """Say with the next turn that it has caught up."""
        self._catching_up = False
        self._status_due = 0.0

    def batch_stored(self, batch: Batch) -> None:
        """Show that the catch-up gets on."""
        self._records += batch.records
        self._bytes += batch.size_bytes
        if self._catching_up:
            self._tell(f"catching up: {self._records:,} records, {size_of(self._bytes)} read")
        else:
            self._tell(self._status)

    def healing(self) -> None:
        """Show that a damaged database is being built anew, which may take long."""
        now = self._clock()
        if now >= self._extend_due and self._mailbox.send(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}"):
            self._extend_due = now + EXTEND_S / 10  # it may take longer than a start is given otherwise
        self._tell("building a damaged database anew")

    def turned(self, turn: Turn) -> None:
        """Show that the loop goes round, and how things stand."""
        self._tell(status(turn))

    def reloading(self) -> None:
        """Say that a reload begins; systemd compares the time with that of its signal."""
        self._mailbox.send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")

    def reloaded(self, settings: Settings) -> None:  # noqa: ARG002 - what all listeners hear
        """Say that the reload is done."""
        self._say_ready()

    def stopping(self) -> None:
        """Say that it ends."""
        self._mailbox.send("STOPPING=1\nSTATUS=stopping")

    def _say_ready(self, *more: str) -> None:
        self._ready_owed = not self._mailbox.send("\n".join((READY, *more)))

    def _tell(self, status: str) -> None:
        """Send what is due, in one message."""
        now = self._clock()
        lines = [READY] if self._ready_owed else []
        if self._ping_s and now >= self._ping_due:
            lines.append("WATCHDOG=1")
        if status != self._status and now >= self._status_due:
            lines.append(f"STATUS={status}")
        if not lines or not self._mailbox.send("\n".join(lines)):
            return
        self._ready_owed = False
        if self._ping_s and "WATCHDOG=1" in lines:
            self._ping_due = now + self._ping_s
        if lines[-1].startswith("STATUS="):
            self._status, self._status_due = status, now + STATUS_EVERY_S


def status(turn: Turn) -> str:
    """Return how things stand as one line."""
    behind = sum(turn.behind_bytes.values())
    parts = [f"following: {turn.records:,} records since the start, {size_of(behind)} behind"]
    if turn.waiting:
        parts.append(f"waiting for the database: {turn.waiting}")
    errors = list(turn.errors.values())
    parts += errors[:SHOWN_TROUBLES]
    if len(errors) > SHOWN_TROUBLES:
        parts.append(f"{len(errors) - SHOWN_TROUBLES} more sources in trouble")
    if turn.trouble:
        parts.append("watching is degraded")
    return visible("; ".join(parts))
