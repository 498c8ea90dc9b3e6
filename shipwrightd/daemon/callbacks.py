"""What the run loop tells those who listen: a supervisor, monitors, an operator's hook.

The loop calls in its own thread, between transactions, and waits for each
call: a listener does little, and raises nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipwrightd.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Batch:
    """What one transaction stored, and how long reading and committing it took."""

    source: str
    records: int
    quarantined: int
    size_bytes: int
    seconds: float
    commit_s: float = 0.0  # of these, for the commit alone


@dataclass(frozen=True, slots=True)
class Turn:
    """How things stand after one turn of the loop."""

    records: int  # stored since the start
    behind_bytes: Mapping[str, int] = field(default_factory=dict)  # what each journal holds beyond what is stored
    errors: Mapping[str, str] = field(default_factory=dict)  # what stands in the way of a source
    trouble: Sequence[str] = ()  # why watching is degraded
    waiting: str | None = None  # what the database makes us wait for
    hinted: bool = False  # looked only at what events named
    seconds: float = 0.0  # that it took, without the wait before it
    watch_starts: int = 0  # how often watching was started, since it was last switched on


class Listener:
    """Hears nothing of it; those who listen override what they want to hear."""

    pulse_s = math.inf  # the loop goes round at least so often, however seldom it has to look

    def started(self, settings: Settings) -> None:
        """Hear that the first catch-up begins. A ShipwrightdError raised here alone ends the run before that."""

    def following(self) -> None:
        """Hear that the first catch-up is done."""

    def batch_stored(self, batch: Batch) -> None:
        """Hear that a transaction was committed; during a long catch-up this is the only sign of life."""

    def healing(self) -> None:
        """Hear that a damaged database is being built anew; often, while that goes on, and nothing else is heard."""

    def turned(self, turn: Turn) -> None:
        """Hear that the loop has gone round, at least once in `rescan_s` and in `pulse_s`."""

    def reloading(self) -> None:
        """Hear that the settings are about to be read again."""

    def reloaded(self, settings: Settings) -> None:
        """Hear that they were, with those that now hold."""

    def stopping(self) -> None:
        """Hear that the loop ends."""


class Listeners(Listener):
    """Several as one."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._all = tuple(listeners)
        self.pulse_s = min((listener.pulse_s for listener in listeners), default=math.inf)

    def started(self, settings: Settings) -> None:
        """Tell all."""
        for listener in self._all:
            listener.started(settings)

    def following(self) -> None:
        """Tell all."""
        for listener in self._all:
            listener.following()

    def batch_stored(self, batch: Batch) -> None:
        """Tell all."""
        for listener in self._all:
            listener.batch_stored(batch)

    def healing(self) -> None:
        """Tell all."""
        for listener in self._all:
            listener.healing()

    def turned(self, turn: Turn) -> None:
        """Tell all."""
        for listener in self._all:
            listener.turned(turn)

    def reloading(self) -> None:
        """Tell all."""
        for listener in self._all:
            listener.reloading()

    def reloaded(self, settings: Settings) -> None:
        """Tell all."""
        for listener in self._all:
            listener.reloaded(settings)

    def stopping(self) -> None:
        """Tell all."""
        for listener in self._all:
            listener.stopping()
