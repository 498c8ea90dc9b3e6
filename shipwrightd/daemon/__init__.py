"""The events of the run loop, for a supervisor, metrics and an operator's hook.

The loop calls `notify` in its own thread, between transactions, and waits: a listener does little and raises nothing.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shipwrightd.config import Settings


class Phase(enum.Enum):
    """What the loop begins to do."""

    FOLLOWING = enum.auto()  # the first catch-up is done
    RECOVERING = enum.auto()  # a damaged database is being recovered; repeated often, without other events
    RELOADING = enum.auto()  # the settings are about to be read again
    STOPPING = enum.auto()


@dataclass(frozen=True, slots=True)
class SettingsApplied:
    """The settings at the start of the first catch-up, or after a reload.

    A ShipwrightdError that a listener raises at the start ends the run; no other may be raised.
    """

    settings: Settings
    reloaded: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """One committed transaction of a journal; during a long catch-up there are no other events."""

    source: str
    records: int
    size_bytes: int
    seconds: float  # to read, decode, store and commit
    commit_s: float = 0.0  # of these, for the commit alone


@dataclass(frozen=True, slots=True)
class PassReport:
    """The state after one pass of the loop; there is one at least every `rescan_s` and `pulse_s` seconds."""

    records: int  # stored since the start
    behind_bytes: Mapping[str, int] = field(default_factory=dict)  # bytes of each journal that are not stored
    errors: Mapping[str, str] = field(default_factory=dict)  # by source
    trouble: Sequence[str] = ()  # why watching is degraded
    waiting: str | None = None  # why the database cannot be written
    hinted: bool = False  # only sources named by file-system events were read
    seconds: float = 0.0  # without the wait before the pass
    watch_starts: int = 0  # how often watching was started


Event = SettingsApplied | Batch | PassReport | Phase


class Listener:
    """Receives the events of the loop and ignores them, unless overridden."""

    pulse_s = math.inf  # the loop makes a pass at least this often

    def notify(self, event: Event) -> None:
        """Handle one event."""


class Listeners(Listener):
    """Passes each event on to several listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._all = tuple(listeners)
        self.pulse_s = min((listener.pulse_s for listener in listeners), default=math.inf)

    def notify(self, event: Event) -> None:
        """Notify all listeners in order."""
        for listener in self._all:
            listener.notify(event)
