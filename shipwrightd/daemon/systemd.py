"""Reports to systemd, after sd_notify(3): ready, alive, status, reloading, stopping.

Ready means that the first catch-up begins: it may take minutes, which `systemctl start` would wait for, and the
watchdog watches only a service that is ready. The loop's own calls feed the watchdog, so a stuck loop stops feeding
it. Nothing here waits or raises; a message that cannot be sent is lost, except READY, which is sent again.
"""

from __future__ import annotations

import math
import os
import socket
import time
from typing import TYPE_CHECKING

from shipwrightd.daemon import Batch, Event, Listener, PassReport, Phase, SettingsApplied
from shipwrightd.text import size_of, visible

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

READY = "READY=1"
EXTEND_S = 300  # what each RECOVERING event at a start extends the start's time-out to
STATUS_EVERY_S = 5.0
PINGS = 4  # within the watchdog time-out; sd_watchdog_enabled(3) asks for at least two
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
SHOWN_TROUBLES = 3


def supervisor(env: MutableMapping[str, str]) -> Supervisor | None:
    """Return a listener for the supervisor that the environment names, None if it names none.

    Removes its variables from the environment: they are not for programs that the daemon starts.
    """
    address, usec, pid = (env.pop(name, "") for name in VARIABLES)
    if not address.startswith(("/", "@")):  # such as vsock: not from this machine's systemd
        return None
    ours = pid in {"", str(os.getpid())}
    watchdog_s = int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) else None
    return Supervisor(address, watchdog_s)


class Supervisor(Listener):
    """Reports the events of the loop to the supervisor at a datagram socket: a path, or @ and an abstract name."""

    def __init__(self, address: str, watchdog_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        self._ready_owed = False
        self.pulse_s = watchdog_s / PINGS if watchdog_s else math.inf
        self._ping_due = 0.0 if watchdog_s else math.inf
        self._status = ""
        self._status_due = self._extend_due = 0.0
        self._records = self._bytes = 0
        self._catching_up = True

    def notify(self, event: Event) -> None:
        """Send what the supervisor must know, and otherwise the status, if it is due."""
        match event:
            case SettingsApplied(reloaded=reloaded):
                self._ready_owed = not self._send(READY if reloaded else f"{READY}\nSTATUS=catching up")
            case Batch():
                self._records += event.records
                self._bytes += event.size_bytes
                progress = f"catching up: {self._records:,} records, {size_of(self._bytes)} read"
                self._send_due(progress if self._catching_up else self._status)
            case PassReport():
                self._send_due(status(event))
            case Phase.FOLLOWING:  # the next pass reports it
                self._catching_up = False
                self._status_due = 0.0
            case Phase.RECOVERING:  # which may take longer than the time-out of a start
                now = self._clock()
                if now >= self._extend_due and self._send(f"EXTEND_TIMEOUT_USEC={EXTEND_S * 1_000_000}"):
                    self._extend_due = now + EXTEND_S / 10
                self._send_due("recovering a damaged database")
            case Phase.RELOADING:  # systemd compares the time with that of its signal
                self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1_000}")
            case Phase.STOPPING:
                self._send("STOPPING=1\nSTATUS=stopping")

    def _send(self, text: str) -> bool:
        """Send one message without waiting; return whether it was sent."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)  # noqa: FBT003 - its name says it
                sender.sendto(text.encode(errors="replace"), self._address)
        except OSError:  # nobody listens, or its buffer is full
            return False
        return True

    def _send_due(self, status: str) -> None:
        """Send what is due, in one message."""
        now = self._clock()
        ping = now >= self._ping_due
        changed = status != self._status and now >= self._status_due
        lines = ((READY, self._ready_owed), ("WATCHDOG=1", ping), (f"STATUS={status}", changed))
        due = [line for line, is_due in lines if is_due]
        if not due or not self._send("\n".join(due)):
            return
        self._ready_owed = False
        if ping:
            self._ping_due = now + self.pulse_s
        if changed:
            self._status, self._status_due = status, now + STATUS_EVERY_S


def status(report: PassReport) -> str:
    """Return the state after a pass as one line."""
    behind = sum(report.behind_bytes.values())
    parts = [f"following: {report.records:,} records since the start, {size_of(behind)} behind"]
    if report.waiting:
        parts.append(f"waiting for the database: {report.waiting}")
    parts += list(report.errors.values())[:SHOWN_TROUBLES]
    if len(report.errors) > SHOWN_TROUBLES:
        parts.append(f"{len(report.errors) - SHOWN_TROUBLES} more sources in trouble")
    if report.trouble:
        parts.append("watching is degraded")
    return visible("; ".join(parts))
