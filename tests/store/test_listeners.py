"""What the loop tells its listeners, from a real run inside this process."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from shipwrightd.config.settings import Config, Settings
from shipwrightd.daemon import loop
from shipwrightd.daemon.callbacks import Batch, Listener, Turn

if TYPE_CHECKING:
    from pathlib import Path


class Diary(Listener):
    """Writes down what it hears; asks for a reload at the first turn, and for the end when that is done."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.batches: list[Batch] = []
        self.turns: list[Turn] = []

    def started(self, settings: Settings) -> None:
        self.heard.append(f"started {settings.log_level}")

    def following(self) -> None:
        self.heard.append("following")

    def batch_stored(self, batch: Batch) -> None:
        self.batches.append(batch)

    def turned(self, turn: Turn) -> None:
        self.turns.append(turn)
        os.kill(os.getpid(), signal.SIGTERM if "reloading" in self.heard else signal.SIGHUP)

    def reloading(self) -> None:
        self.heard.append("reloading")

    def reloaded(self, settings: Settings) -> None:
        self.heard.append(f"reloaded {settings.log_level}")

    def stopping(self) -> None:
        self.heard.append("stopping")


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
    assert diary.turns[-1].records == 2
    assert diary.turns[-1].behind_bytes == {"events.jsonl": len(b'{"half'), "team-events.jsonl": 0}
    assert diary.turns[-1].waiting is None
