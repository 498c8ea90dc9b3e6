"""Real versions of a real event log, one after the other: what is lost and what is stored twice.

python -m benchmarks.histories CHECKOUT [--versions A:B] [--only backfill|live] [--folder DIR]

CHECKOUT is a clone of the Shipwright repository, bare or not. Its CI keeps the event log on a branch
`shipwright-data`, local or of any remote. Each version is put in place by rename, oldest first; `backfill` runs
after each one, and a daemon follows the same versions beside it. Wanted is each record as often as the one version
that holds it most, each version read alone into a fresh database. Prints a table; exits 1 unless every version was
read and nothing is lost or doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd import log
from shipwrightd.daemon.catch_up import backfill
from shipwrightd.maintenance.verify import verify
from shipwrightd.status import collect

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from versions import Contents
    from world import Daemon, World

TESTS = Path(__file__).parent.parent / "tests"
BRANCH = "shipwright-data"
JOURNAL = "events.jsonl"
MODES = ("backfill", "live")
READ_WITHIN_S = 60.0
PAUSE_S = 0.02
SETTLE_S = "2.0"  # as by default


@dataclass(frozen=True, slots=True)
class History:
    """The versions of the event log on one branch, oldest first; those the repository lacks are only counted."""

    checkout: Path
    ref: str
    blobs: list[str]
    absent: int

    def versions(self) -> Iterator[bytes]:
        """Yield the versions."""
        for blob in self.blobs:
            yield _git(self.checkout, "cat-file", "blob", blob)


def _git(checkout: Path, *command: str, given: str = "") -> bytes:
    """Return what git prints. Raises CalledProcessError."""
    return subprocess.run(
        ["git", "-C", str(checkout), *command], input=given.encode(), capture_output=True, check=True
    ).stdout


def _lines(checkout: Path, *command: str, given: str = "") -> list[str]:
    return _git(checkout, *command, given=given).decode().splitlines()


def histories(checkout: Path) -> list[History]:
    """Return the history of each branch of that name which no other such branch contains."""
    patterns = (f"refs/heads/{BRANCH}", f"refs/remotes/*/{BRANCH}")
    tips: dict[str, str] = {}
    for line in _lines(checkout, "for-each-ref", "--format=%(objectname) %(refname)", *patterns):
        tip, ref = line.split()
        tips.setdefault(tip, ref)
    own = [ref for tip, ref in tips.items() if not any(_contains(checkout, other, tip) for other in tips)]
    return [_history(checkout, ref) for ref in own]


def _contains(checkout: Path, tip: str, other: str) -> bool:
    return tip != other and other in _lines(checkout, "rev-list", tip)


def _history(checkout: Path, ref: str) -> History:
    """Follow the branch itself, or all its commits by date where merges brought in further versions."""
    straight = _changes(checkout, ref, "--first-parent")
    by_date = _changes(checkout, ref, "--full-history", "--date-order")
    changes = straight if len(set(straight)) >= len(set(by_date)) else by_date
    checked = _lines(checkout, "cat-file", "--batch-check", given="".join(f"{blob}\n" for blob in changes))
    kinds = [line.split()[1] for line in checked]
    here = [blob for blob, kind in zip(changes, kinds, strict=True) if kind == "blob"]
    return History(checkout, ref, [blob for blob, _ in itertools.groupby(here)], kinds.count("missing"))


def _changes(checkout: Path, ref: str, *order: str) -> list[str]:
    """Return the blob that each commit put at the journal's path, whether git has it or not."""
    command = ("log", "--reverse", "-m", "--raw", "--no-abbrev", "--no-renames", "--format=", *order, ref)
    new = [line.split()[3] for line in _lines(checkout, *command, "--", JOURNAL)]
    return [blob for blob in new if set(blob) != {"0"}]  # zeros: it was removed


class Follower:
    """A home, its database, and how they differ from what is wanted so far."""

    def __init__(self, mode: str, folder: Path) -> None:
        from versions import Contents, Stored  # noqa: PLC0415 - shared with the tests, found only now
        from world import Daemon, World  # noqa: PLC0415

        folder.mkdir(parents=True)
        self.mode = mode
        self.world: World = World(folder)
        self.stored = Stored(self.world.db_path)
        self.nothing = Contents()
        self.lost = self.doubled = self.late = 0
        self.seconds = 0.0
        self.daemon: Daemon | None = None
        if mode == "live":
            settings = {"SHIPWRIGHTD_SETTLE_S": SETTLE_S, "SHIPWRIGHTD_LOG_LEVEL": "warning"}
            self.daemon = Daemon(self.world, **settings).start()

    def put(self, version: bytes) -> None:
        """Put a version in place and see that it is read."""
        began = time.monotonic()
        self.world.replace(version)
        if self.daemon is None:
            backfill(self.world.home, self.world.db_path)
        else:
            self._wait(began + READ_WITHIN_S)
        self.seconds += time.monotonic() - began

    def _wait(self, deadline: float) -> None:
        while not self._is_read():
            if time.monotonic() > deadline:
                self.late += 1
                return
            time.sleep(PAUSE_S)

    def _is_read(self) -> bool:
        if not self.world.db_path.exists():
            return False
        found = collect(self.world.home, self.world.db_path, [JOURNAL], time.time())
        return any(
            source.source == JOURNAL and source.committed_at is not None and not source.behind_bytes
            for source in found.sources
        )

    def end(self) -> list[str]:
        """Stop following; return what `verify` reports."""
        if self.daemon is not None:
            self.daemon.stop()
        return [difference.text for difference in verify(self.world.home, self.world.db_path)]

    def gaps(self) -> int:
        """Return how many gaps are recorded."""
        return len(self.world.query("SELECT id FROM gaps"))


@dataclass(slots=True)
class Account:
    """What is wanted so far, and the followers that are measured by it."""

    wanted: Contents
    followers: list[Follower]
    first: int = 1  # number of the first version
    versions: int = 0
    replaced: int = 0  # versions that do not extend the one before

    def step(self, version: bytes, before: bytes) -> None:
        """Put one version in place everywhere and count."""
        from versions import Contents, read_alone  # noqa: PLC0415

        self.versions += 1
        self.replaced += not version.startswith(before)
        with ThreadPoolExecutor(len(self.followers)) as pool:
            reading = [pool.submit(follower.put, version) for follower in self.followers]
            found = read_alone(version)
            for future in reading:
                future.result()
        previous = Contents()
        previous.records.update({key: self.wanted.records[key] for key in found.records})
        self.wanted.raise_to(found)
        for follower in self.followers:
            self._count(follower, found, previous)

    def _count(self, follower: Follower, found: Contents, previous: Contents) -> None:
        new = follower.stored.read().records
        stored, wanted = follower.stored.all.records, self.wanted.records
        lost = doubled = 0
        for key in found.records.keys() | new.keys():
            is_off = wanted[key] - stored[key]
            was_off = previous.records.get(key, wanted[key]) - (stored[key] - new[key])
            lost += max(is_off, 0) - max(was_off, 0)
            doubled += max(-is_off, 0) - max(-was_off, 0)
        follower.lost += lost
        follower.doubled += doubled
        if lost or doubled:
            number = self.first + self.versions - 1
            print(f"  version {number}, {follower.mode}: lost {lost:+,}, doubled {doubled:+,}", flush=True)


def follow(history: History, part: slice, modes: Sequence[str], folder: Path) -> bool:
    """Run one history and print what came of it; return whether nothing is lost or doubled."""
    from versions import Contents  # noqa: PLC0415

    blobs = history.blobs[part]
    name = history.ref.removeprefix("refs/").replace("/", "-")
    print(f"{history.ref}: {len(blobs)} of {len(history.blobs)} versions, {history.absent} more not in the repository")
    account = Account(Contents(), [Follower(mode, folder / f"{name}-{mode}") for mode in modes])
    account.first += part.start or 0
    before = b""
    try:
        for version in History(history.checkout, history.ref, blobs, 0).versions():
            account.step(version, before)
            before = version
    finally:
        verified = {follower.mode: follower.end() for follower in account.followers if account.versions}
    print_table(account, verified)
    return all(not (follower.lost or follower.doubled or follower.late) for follower in account.followers)


def print_table(account: Account, verified: dict[str, list[str]]) -> None:
    """Print the account, a column a follower."""
    wanted, followers = account.wanted, account.followers
    rows: list[tuple[str, list[int | str]]] = [
        ("versions", [account.versions] * len(followers)),
        ("not an extension", [account.replaced] * len(followers)),
        ("rows wanted", [wanted.records.total()] * len(followers)),
        ("rows stored", [follower.stored.all.records.total() for follower in followers]),
        ("doubled", [follower.doubled for follower in followers]),
        ("lost", [follower.lost for follower in followers]),
        ("quarantine wanted", [wanted.pieces.total()] * len(followers)),
        ("quarantine stored", [follower.stored.all.pieces.total() for follower in followers]),
        ("gaps", [follower.gaps() for follower in followers]),
        ("differences by verify", [len(verified[follower.mode]) for follower in followers]),
        (f"not read in {READ_WITHIN_S:.0f} s", [follower.late for follower in followers]),
        ("seconds", [round(follower.seconds) for follower in followers]),
    ]
    print(f"{'':24}" + "".join(f"{follower.mode:>12}" for follower in followers))
    for label, values in rows:
        print(f"{label:24}" + "".join(f"{value:>12,}" for value in values))
    for mode, differences in verified.items():
        for text in differences[:3]:
            print(f"verify, {mode}: {text}")


def part_of(text: str) -> slice:
    """Return the slice of "A:B", both counted from 1 and both included, either may be absent."""
    first, _, last = text.partition(":")
    return slice(int(first) - 1 if first else None, int(last) if last else None)


def reason_of(error: subprocess.CalledProcessError | OSError) -> str:
    """Return what git, or the system, has to say about an error."""
    return str(error) if isinstance(error, OSError) else error.stderr.decode(errors="replace").strip()


def main() -> None:
    """Run all histories of a checkout."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.histories", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--versions", type=part_of, default=slice(None), help="A:B, counted from 1; 40: for the rest")
    parser.add_argument("--only", choices=MODES, help="one way of reading; both by default")
    parser.add_argument("--folder", type=Path, help="where to work; kept for looking at")
    chosen = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    log.set_up("error")
    try:
        found = histories(chosen.checkout)
    except (subprocess.CalledProcessError, OSError) as error:
        sys.exit(f"git cannot read {chosen.checkout}: {reason_of(error)}")
    if not found:
        sys.exit(f"{chosen.checkout} has no branch {BRANCH}, local or of a remote")
    with contextlib.ExitStack() as stack:
        folder = chosen.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        modes = [chosen.only] if chosen.only else MODES
        clean = [follow(history, chosen.versions, modes, folder) for history in found]
    sys.exit(0 if all(clean) else 1)


if __name__ == "__main__":
    main()
