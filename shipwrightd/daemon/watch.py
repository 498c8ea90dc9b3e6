"""File-system events that wake the loop. The only module that imports watchdog.

An event is only a hint: the loop's scans also find changes that no event announced. watchdog's threads can end or lose
events silently; `Watch.check` notices that, restarts them and reports it.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from watchdog import events
from watchdog.observers import Observer

from shipwrightd.database import identity
from shipwrightd.database.mounts import network_type, read_mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from watchdog.observers.api import BaseObserver, ObservedWatch

# Without opening, reading and closing, which our own scans cause, and without closing after a write, which would wake
# the loop twice for every append.
EVENTS = [events.FileCreatedEvent, events.FileModifiedEvent, events.FileMovedEvent, events.FileDeletedEvent]
MAX_CHANGED = 1_000  # paths kept between two passes; above it a scan costs less
STOP_WITHIN_S = 0.4
BLIND_AFTER = 3  # growths that no event announced ...
BLIND_WITHIN_S = 60.0  # ... within this time; events are trusted again after as long without one
BACK_OFF_MAX_S = 300.0
BACK_OFF_QUIET_S = 600.0  # longer than the longest wait, or trouble would look like quiet
LIMITS = {
    errno.ENOSPC: "the system's limit of watches is reached (fs.inotify.max_user_watches)",
    errno.EMFILE: "the limit of open files or of inotify instances is reached",
    errno.ENFILE: "the system's limit of open files is reached",
}


class Blindness:
    """Decides whether events get lost, from the growths that no event announced."""

    def __init__(self) -> None:
        self._missed: deque[float] = deque(maxlen=BLIND_AFTER)
        self._until = -math.inf

    def missed(self, now: float) -> None:
        """Count a growth that a scan found and no event had announced."""
        self._missed.append(now)
        often = len(self._missed) == BLIND_AFTER and now - self._missed[0] <= BLIND_WITHIN_S
        if often or self.is_blind(now):
            self._until = now + BLIND_WITHIN_S

    def is_blind(self, now: float) -> bool:
        """Return whether events are being lost; ends after a time without a miss."""
        return now <= self._until


class BackOff:
    """Spaces out attempts: no wait after the first failure, and twice the last wait after each further one."""

    def __init__(self) -> None:
        self._last = -BACK_OFF_QUIET_S
        self._wait_s = 0.0

    def failed(self, now: float) -> None:
        """Count a failure and delay the next attempt."""
        quiet = now - self._last > BACK_OFF_QUIET_S
        self._wait_s = 0.0 if quiet else min(max(1.0, 2 * self._wait_s), BACK_OFF_MAX_S)
        self._last = now

    def ready(self, now: float) -> bool:
        """Return whether the next attempt is due."""
        return now >= self._last + self._wait_s


@dataclass(frozen=True, slots=True)
class _Watched:
    """A folder under watch: watchdog's handle, which folder it was, and its network type if any."""

    handle: ObservedWatch
    identity: tuple[int, int]
    network: str


class Watch(events.FileSystemEventHandler):
    """Wakes the loop when a source may have changed, and reports when events are unreliable.

    All methods belong to one thread; only `dispatch` runs in watchdog's.
    """

    def __init__(self, bell: threading.Event, is_source: Callable[[str], bool]) -> None:
        """Set `bell` for paths that `is_source` accepts; it runs in another thread and must be cheap."""
        self._bell = bell
        self._is_source = is_source
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._scan_all = False
        self._observer: BaseObserver | None = None
        self._watched: dict[str, _Watched] = {}
        self._trouble: dict[str, str] = {}
        self._back_off = BackOff()
        self._blindness = Blindness()
        self._blind_path = ""
        self._renewed = False
        self.starts = 0  # how often watchdog was started

    def check(self, folders: Sequence[Path]) -> list[str]:
        """Watch exactly these real folders, as far as they exist; return why watching is degraded, if it is.

        Restarts watchdog if its thread ended or it began to lose events. Read all sources afterwards: earlier changes
        in a newly watched folder caused no event.
        """
        now = time.monotonic()
        present = _present(folders)
        blind = self._blindness.is_blind(now)
        renew = blind and not self._renewed
        self._renewed = blind
        if self._observer is not None and (renew or not self._observer.is_alive()):
            self.stop()
            self._back_off.failed(now)
        self._drop_stale(present)
        missing = [path for path in present if path not in self._watched]
        if missing and self._back_off.ready(now):
            self._add(missing, present, now)
        return self._reasons(present, now)

    def changed(self) -> set[str] | None:
        """Return the paths that events named since the last call; None means all."""
        with self._lock:
            changed, scan_all = self._changed, self._scan_all
            self._changed, self._scan_all = set(), False
        return None if scan_all else changed

    def note_unannounced(self, path: str) -> None:
        """Count a growth that a scan found and no event announced within a second."""
        self._blind_path = path
        self._blindness.missed(time.monotonic())

    def stop(self) -> None:
        """Stop watching, within half a second."""
        observer, self._observer = self._observer, None
        self._watched.clear()
        if observer is None:
            return
        with contextlib.suppress(OSError, RuntimeError, KeyError):  # its folders may be gone already
            observer.stop()
        with contextlib.suppress(RuntimeError):  # its thread may never have started
            observer.join(STOP_WITHIN_S)

    def dispatch(self, event: events.FileSystemEvent) -> None:
        """Note the path of an event, and for a move both; an exception here would end watchdog's thread."""
        try:
            for path in (event.src_path, event.dest_path):
                if path:
                    self._note(os.fsdecode(path))
        except Exception:  # noqa: BLE001 - an odd event is a reason to scan
            with self._lock:
                self._scan_all = True
            self._bell.set()

    def _note(self, path: str) -> None:
        if not self._is_source(path):
            return
        with self._lock:
            if len(self._changed) < MAX_CHANGED:
                self._changed.add(path)
            elif path not in self._changed:
                self._scan_all = True
        self._bell.set()

    def _drop_stale(self, present: dict[str, tuple[int, int]]) -> None:
        """Stop watching folders that are gone or were replaced, or whose thread has ended."""
        observer = self._observer
        if observer is None:
            return
        alive = {emitter.watch for emitter in observer.emitters if emitter.is_alive()}
        for path, watched in list(self._watched.items()):
            if present.get(path) == watched.identity and watched.handle in alive:
                continue
            del self._watched[path]
            try:
                observer.unschedule(watched.handle)
            except (KeyError, OSError, RuntimeError):  # watchdog is in disorder: restart it
                self.stop()
                return

    def _add(self, missing: list[str], present: dict[str, tuple[int, int]], now: float) -> None:
        """Watch these folders as far as the system allows."""
        self._trouble.clear()
        mounts = read_mounts()
        for path in missing:
            try:
                handle = self._running().schedule(self, path, event_filter=EVENTS)
            except FileNotFoundError:
                continue  # gone meanwhile; the next check handles it
            except (OSError, RuntimeError) as error:
                number = getattr(error, "errno", 0) or 0
                reason = getattr(error, "strerror", None) or error
                self._trouble[path] = LIMITS.get(number, f"cannot watch a folder: {reason}")
                if number in LIMITS:
                    break  # the others would meet the same limit
                continue
            self._watched[path] = _Watched(handle, present[path], network_type(mounts, path))
        if self._trouble:
            self._back_off.failed(now)

    def _running(self) -> BaseObserver:
        if self._observer is None:
            observer = Observer()
            observer.start()
            self.starts += 1
            self._observer = observer
        return self._observer

    def _reasons(self, present: dict[str, tuple[int, int]], now: float) -> list[str]:
        """Return why events are unreliable, one line for each cause."""
        unwatched = [path for path in present if path not in self._watched]
        reasons = [self._trouble.get(path, "watching is about to be started again") for path in unwatched]
        reasons += [
            f"writers on other machines go unnoticed: the file system is {watched.network}"
            for watched in self._watched.values()
            if watched.network
        ]
        if self._watched and self._blindness.is_blind(now):
            reasons.append(f"events are being lost, last one for {self._blind_path}")
        return list(dict.fromkeys(reasons))


def folder_at(path: Path) -> tuple[int, int] | None:
    """Return device and inode of the folder at a path, None if it is missing or cannot be read."""
    try:
        return identity(path)
    except OSError:
        return None


def _present(folders: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """Return the folders that exist, and which each one is."""
    return {str(folder): found for folder in folders if (found := folder_at(folder)) is not None}
