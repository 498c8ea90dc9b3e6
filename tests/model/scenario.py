"""One small history of a home with everything in it, and what the database says after it: for faults and power losses.

Each step is done when the daemon has read up what came before, so nothing is ever out of reach: whatever happens to
the daemon in between, the database must be what it is without.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import orjson
from document_samples import cost, failure
from world import World, line

from shipwrightd import config
from shipwrightd.daemon import Listener, PassReport, loop

if TYPE_CHECKING:
    from collections.abc import Callable, MutableSequence, Sequence

    import apsw

    from shipwrightd.daemon import Event

REPO = "memory/0123456789ab"
QUIET_TURNS = 2
TURNS = 400  # a step that takes more never ends


def put(world: World, name: str, value: object) -> None:
    """Replace a document by tmp and mv."""
    path = world.home / name
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(orjson.dumps(value))
    temporary.rename(path)


def costs(first: int, last: int) -> dict[str, object]:
    """Return costs.json with these entries."""
    return {"entries": [cost(number) for number in range(first, last + 1)], "summary": {}}


def begin(world: World) -> None:
    """Make a home: lines with and without faults, and documents."""
    world.append(12)
    with world.events.open("ab") as file:
        file.write(b"no record at all\n\n")
        file.write(b'{"ts":"2026-01-05T09:00:00Z","type":"test.split","note":"first\nsecond"}\n')
        file.write(line(900, type="pipeline.started", issue=42, template="fast", goal="g"))
        file.write(line(901, type="stage.completed", issue=42, stage="plan", duration_s=3))
    world.append(4)
    put(world, "costs.json", costs(1, 5))
    put(world, f"{REPO}/failures.json", {"failures": [failure("boom", 1, 1), failure("bang", 2, 2)]})
    put(world, "developer-registry.json", [{"developer_id": "ann", "machine_name": "m", "daemon_pid": 7}])


def append_with_half_a_line(world: World) -> None:
    """Append, and leave the last line unfinished."""
    world.append(5)
    whole = world.lines(1)[0]
    with world.events.open("ab") as file:
        file.write(whole[:30])
    (world.home / "rest").write_bytes(whole[30:])


def finish_the_half_line(world: World) -> None:
    """Write the rest of it."""
    with world.events.open("ab") as file:
        file.write((world.home / "rest").read_bytes())


def trim(world: World) -> None:
    """Trim as the pipeline does, and go on."""
    world.trim(11)
    world.append(3)


def rename_chain(world: World) -> None:
    """Rotate as the daemon does, and go on."""
    world.append(2)
    world.rotate()
    world.append(4)


def documents_change(world: World) -> None:
    """Let a capped list move on and keyed entries change."""
    put(world, "costs.json", costs(3, 8))
    put(world, f"{REPO}/failures.json", {"failures": [failure("boom", 3, 9)]})
    team = world.home / "team-events.jsonl"
    team.write_bytes(orjson.dumps({"ts": "2026-01-05T10:00:00Z", "type": "team.tick", "from_developer": "ann"}) + b"\n")


def empty_and_begin_again(world: World) -> None:
    """Truncate in place and write something else: a gap, once."""
    world.events.write_bytes(b"".join(world.lines(9)))


def rename_chain_again(world: World) -> None:
    """Rotate once more, so that there are two siblings."""
    world.rotate()
    world.append(2)


STEPS: Sequence[Callable[[World], None]] = (
    begin,
    append_with_half_a_line,
    finish_the_half_line,
    trim,
    rename_chain,
    documents_change,
    empty_and_begin_again,
    rename_chain_again,
)


class Script(Listener):
    """Takes the next step whenever the daemon has nothing more to do, and ends it after the last one.

    `at` holds the number of the next step and how many lines were written; memory that is shared with
    another process lets both survive this one.
    """

    def __init__(
        self, world: World, at: MutableSequence[int], *, steps: Sequence[Callable[[World], None]] = STEPS
    ) -> None:
        self._world = world
        self._at = at
        self._steps = steps
        self._quiet = 0
        self._records = -1
        self._turns = 0
        world.written = at[1]

    def notify(self, event: Event) -> None:
        """Take the next step when passes find nothing new any more."""
        if isinstance(event, PassReport):
            self.passed(event)

    def passed(self, turn: PassReport) -> None:
        """Count a pass, and take the next step after enough quiet ones."""
        self._turns += 1
        assert self._turns < TURNS, f"step {self._at[0]} never ends: {turn}"
        busy = turn.records != self._records or turn.waiting or turn.errors
        self._records = turn.records
        self._quiet = 0 if busy else self._quiet + 1
        if self._quiet < QUIET_TURNS:
            return
        self._quiet = self._turns = 0
        if self._at[0] == len(self._steps):
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            self._steps[self._at[0]](self._world)
            self._at[1] = self._world.written
            self._at[0] += 1


def run_daemon(world: World, listener: Listener) -> None:
    """Run the real loop in this process, without pauses and without watching, until something ends it."""
    before = loop.DATABASE_RETRY_S, loop.BUSY_STEP_S
    loop.DATABASE_RETRY_S = (0.0,)  # type: ignore[assignment]
    loop.BUSY_STEP_S = 0.001
    settings = config.Settings(log_level="error", rescan_s=0.0, settle_s=0.0, watch=False)
    try:
        loop.run(config.Config(world.home, world.db_path), settings, lambda: settings, [listener])
    finally:
        loop.DATABASE_RETRY_S, loop.BUSY_STEP_S = before


# -- what the database says

# Left out: when something was seen, and what depends on inode numbers or on where batches end.
QUESTIONS = {
    "recoveries": "SELECT id FROM recoveries",
    "events": "SELECT ts, type, issue, stage, origin, salvaged, extra FROM events ORDER BY id",
    "quarantine": "SELECT source, reason, raw, state FROM quarantine ORDER BY source, id",
    "gaps": "SELECT source, reason FROM gaps ORDER BY source, id",
    "checkpoints": "SELECT source, kind, digest, records, salvaged, quarantined, gaps, newest_epoch FROM checkpoints",
    "current": "SELECT source, offset, anchor, lines FROM generations WHERE state = 'current' ORDER BY source",
    "errors": "SELECT source, error FROM source_errors",
    "costs": "SELECT input_tokens, cost_usd, issue, origin FROM cost_entries ORDER BY id",
    "sessions": "SELECT developer, daemon_pid, present FROM sessions ORDER BY id",
    "memory": "SELECT pattern, frequency, seen_count, present FROM memory_entries ORDER BY id",
    "runs": "SELECT issue, template, phase, entries_cost_usd FROM pipeline_runs ORDER BY id",
    "stages": "SELECT stage, status, duration_s FROM pipeline_stages ORDER BY id",
    "metrics": "SELECT name, period, period_start, dimension, total, samples FROM metrics ORDER BY 1, 2, 3, 4",
    "line_hashes": """
SELECT source, hashes FROM line_hashes JOIN generations ON id = generation
WHERE state = 'current' ORDER BY source, first""",
    "integrity": "PRAGMA integrity_check",
}


def says(db: apsw.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that a reader could ask, the integrity check with it."""
    found = {name: list(db.execute(sql)) for name, sql in QUESTIONS.items()}
    hashes: dict[str, bytes] = {}
    for source, part in found["line_hashes"]:
        hashes[source] = hashes.get(source, b"") + part
    found["line_hashes"] = list(hashes.items())
    return found


def difference(found: dict[str, list[tuple[Any, ...]]], wanted: dict[str, list[tuple[Any, ...]]]) -> str:
    """Say in which answers two databases differ, nothing when in none."""
    return "; ".join(f"{name}: {_short(found[name], wanted[name])}" for name in wanted if found[name] != wanted[name])


def _short(found: list[tuple[Any, ...]], wanted: list[tuple[Any, ...]]) -> str:
    more = [row for row in found if row not in wanted]
    less = [row for row in wanted if row not in found]
    return f"{len(found)} rows for {len(wanted)}, too many {more[:3]}, missing {less[:3]}"
