"""Side by side: what others make of the same rotations and crashes: python -m benchmarks.compare [--lines N].

Each follower gets a journal of its own and the same steps; every line has a number. A line that is still in the
file or its siblings, or was written while the follower ran, must arrive once. Followers that are not installed are
left out, with a word: rsyslogd and syslog-ng on PATH (or named by RSYSLOGD, SYSLOG_NG), sqlite-utils, and
SHIPWRIGHT_CHECKOUT for Shipwright's own importer.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.followers import FOLLOWERS, Follower

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TESTS = Path(__file__).parent.parent / "tests"
LATE_S = 2.0
QUIET_S = 6.0  # without a new record: nothing more will come
PATIENCE_S = 60.0


class Journal:
    """Writes numbered lines and rotates as Shipwright does; knows which of them must arrive."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "events.jsonl"
        self.path.touch()
        self.must: set[int] = set()
        self.last = 0

    def append(self, number: int, *, end: bytes = b"\n") -> None:
        """Append lines, each with a write of its own."""
        for _ in range(number):
            self.last += 1
            with self.path.open("ab", buffering=0) as file:
                file.write(_line(self.last) + end)
            self.must.add(self.last)

    def raw(self, content: bytes) -> None:
        """Append bytes that are no numbered line."""
        with self.path.open("ab", buffering=0) as file:
            file.write(content)

    def trim(self, keep: int, *, race: int = 0) -> None:
        """Keep the last lines: tail to a new file, then mv; `race` lines are appended in between."""
        kept = b"".join(self.path.read_bytes().splitlines(keepends=True)[-keep:])
        self.append(race)
        temporary = self.path.with_suffix(".rotating")
        temporary.write_bytes(kept)
        temporary.rename(self.path)

    def rename_chain(self) -> None:
        """Rename .2 to .3, .1 to .2, the file to .1, and begin a new one."""
        for old, new in ((".2", ".3"), (".1", ".2"), ("", ".1")):
            path = Path(f"{self.path}{old}")
            if path.exists():
                path.rename(f"{self.path}{new}")
        self.path.touch()

    def refill(self, number: int) -> None:
        """Truncate in place and write more than was there."""
        self.path.write_bytes(b"")
        self.append(number)

    def gone(self) -> None:
        """Take out of what must arrive what is in no file any more."""
        held = b"".join(path.read_bytes() for path in self.path.parent.glob("events.jsonl*"))
        self.must = {seq for seq in self.must if f'"stage":"n{seq}"'.encode() in held}


def _line(seq: int) -> bytes:
    at = 1_767_600_000 + seq // 3  # of three events in a second, Shipwright's own database keeps one of a type
    ts = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
    return f'{{"ts":"{ts}","ts_epoch":{at},"type":"stage.started","issue":7,"stage":"n{seq}"}}'.encode()


def appended(journal: Journal, _: Follower, lines: int) -> None:
    """Append, and nothing else."""
    journal.append(lines)


def trimmed(journal: Journal, follower: Follower, lines: int) -> None:
    """Trim as the pipeline does, while the follower runs."""
    follower.settle(journal.must)
    journal.trim(lines // 3)
    journal.append(20)


def trimmed_in_a_race(journal: Journal, follower: Follower, lines: int) -> None:
    """Trim likewise; ten lines are written between tail and mv."""
    follower.settle(journal.must)
    journal.trim(lines // 3, race=10)
    journal.append(20)


def trimmed_while_down(journal: Journal, follower: Follower, lines: int) -> None:
    """Trim while it is stopped, after lines it has not read and before others."""
    follower.settle(journal.must)
    follower.stop()
    journal.append(10)
    journal.trim(lines // 3)
    journal.append(20)
    follower.start()


def trimmed_twice_while_down(journal: Journal, follower: Follower, lines: int) -> None:
    """Trim twice while it is stopped: on many file systems the first inode number comes back."""
    follower.settle(journal.must)
    follower.stop()
    journal.append(10)
    journal.trim(lines // 3)
    journal.append(2 * lines)
    journal.trim(lines + lines // 2)
    journal.append(20)
    journal.gone()
    follower.start()


def renamed(journal: Journal, follower: Follower, _: int) -> None:
    """Rename as the daemon does, while the follower runs."""
    follower.settle(journal.must)
    journal.append(10)
    journal.rename_chain()
    journal.append(20)


def renamed_while_down(journal: Journal, follower: Follower, _: int) -> None:
    """Rename twice while it is stopped, with unread lines in both siblings."""
    follower.settle(journal.must)
    follower.stop()
    journal.append(10)
    journal.rename_chain()
    journal.append(10)
    journal.rename_chain()
    journal.append(20)
    follower.start()


def refilled_while_down(journal: Journal, follower: Follower, lines: int) -> None:
    """Truncate in place while it is stopped, and fill beyond where it had read to."""
    follower.settle(journal.must)
    follower.stop()
    journal.refill(lines + 50)
    follower.start()


def killed(journal: Journal, follower: Follower, lines: int) -> None:
    """Kill it with kill -9 in the middle of things, five times."""
    for _ in range(5):
        journal.append(lines // 5)
        follower.kill()
        journal.append(5)
        follower.start()


def malformed(journal: Journal, _: Follower, lines: int) -> None:
    """Write what real writers break: a colour code, a leading zero, half a line with the next one glued to it."""
    journal.last += 2
    journal.must |= {journal.last - 1, journal.last}
    journal.raw(_line(journal.last - 1)[:-1] + b',"text":"\x1b[31mred"}\n')
    journal.raw(_line(journal.last)[:-1] + b',"commit":007}\n')
    journal.raw(b'{"ts":"2026-01-05T08:00:00Z","ty')
    journal.append(lines // 10)


SCENARIOS = (
    *(appended, trimmed, trimmed_in_a_race, trimmed_while_down, trimmed_twice_while_down, renamed),
    *(renamed_while_down, refilled_while_down, killed, malformed),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the lines: how many never came, came again, came more than two seconds late."""

    lost: int
    doubled: int
    late: int

    def __str__(self) -> str:
        """Write nothing for what went right."""
        counts = {"lost": self.lost, "doubled": self.doubled, "late": self.late}
        return ", ".join(f"{name} {n:,}" for name, n in counts.items() if n) or "-"


def play(scenario: Callable[[Journal, Follower, int], None], kind: type[Follower], lines: int) -> Outcome:
    """Let a follower go through a scenario in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder))
        follower = kind(Path(folder))
        follower.start()
        try:
            journal.append(lines)
            scenario(journal, follower, lines)
            return judge(journal, follower)
        finally:
            follower.kill()


def judge(journal: Journal, follower: Follower) -> Outcome:
    """Wait until nothing more comes, and count."""
    written = time.monotonic()
    follower.catch_up()
    soon: set[int] = set()
    found: list[int] = []
    changed = caught_up = time.monotonic()
    while time.monotonic() - changed < QUIET_S and time.monotonic() - caught_up < PATIENCE_S:
        now = follower.stored()
        if now != found:
            found, changed = now, time.monotonic()
        if time.monotonic() - written <= LATE_S:
            soon = set(found)
        time.sleep(0.05)
    counted = Counter(found)
    arrived = journal.must & set(counted)
    doubled = sum(n - 1 for n in counted.values())
    return Outcome(len(journal.must - arrived), doubled, len(arrived - soon))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, a row for each scenario, as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--lines", type=int, default=300, help="in the journal at the beginning")
    parser.add_argument("--only", default="", help="followers, with commas")
    chosen = parser.parse_args(arguments)
    wanted = [kind for kind in FOLLOWERS if not chosen.only or kind.name in chosen.only.split(",")]
    for kind in wanted:
        if missing := kind.missing():
            print(f"left out: {kind.name} ({missing})", file=sys.stderr)
    kinds = [kind for kind in wanted if not kind.missing()]
    print("| scenario |", " | ".join(kind.name for kind in kinds), "|")
    print("|---|" + "---|" * len(kinds))
    for scenario in SCENARIOS:
        outcomes = [str(play(scenario, kind, chosen.lines)) for kind in kinds]
        print(f"| {scenario.__name__.replace('_', ' ')} |", " | ".join(outcomes), "|", flush=True)


if __name__ == "__main__":
    main()
