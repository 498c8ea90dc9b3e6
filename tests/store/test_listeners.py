"""What the loop tells its listeners, from a real run inside this process."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from shipwrightd.config import Config, Settings
from shipwrightd.daemon import Batch, Event, Listener, PassReport, Phase, SettingsApplied, loop

if TYPE_CHECKING:
    from pathlib import Path


class Diary(Listener):
    """Records the events; asks for a reload after the first pass, and for the end after the next."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.batches: list[Batch] = []
        self.reports: list[PassReport] = []

    def notify(self, event: Event) -> None:
        match event:
            case SettingsApplied():
                self.heard.append(f"{'reloaded' if event.reloaded else 'started'} {event.settings.log_level}")
            case Batch():
                self.batches.append(event)
            case PassReport():
                self.reports.append(event)
                os.kill(os.getpid(), signal.SIGTERM if "reloading" in self.heard else signal.SIGHUP)
            case Phase():
                self.heard.append(event.name.lower())


def test_a_listener_hears_of_each_step_of_a_daemons_life(home: Path) -> None:
    line = b'{"ts":"2026-01-05T08:00:00Z","ts_epoch":1767600000,"type":"a"}\n'
    (home / "events.jsonl").write_bytes(2 * line + b'{"half')
    diary = Diary()

    settings = Settings(watch=False)
    config = Config(home, home / "shipwrightd" / "shipwright.db")
    loop.run(config, settings, lambda: Settings(log_level="debug", watch=False), [Listener(), diary])

    assert diary.heard == ["started info", "following", "reloading", "reloaded debug", "stopping"]
    assert [(batch.source, batch.records, batch.size_bytes) for batch in diary.batches] == [
        ("events.jsonl", 2, 2 * len(line))
    ]
    assert diary.reports[-1].records == 2
    assert diary.reports[-1].behind_bytes == {"events.jsonl": len(b'{"half'), "team-events.jsonl": 0}
    assert diary.reports[-1].waiting is None
