"""Backfill of a million events, beside the sqlite3 shell and sqlite-utils on the same file in the same run."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.measure import Figure, run, shipwrightd

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS = 1_000_000
ROUNDS = 3
PEAK_MIB = 150.0

SHELL = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE events (id INTEGER PRIMARY KEY, ts TEXT, ts_epoch INTEGER, type TEXT, issue INTEGER, stage TEXT,
    result TEXT, duration_s REAL, cost_usd REAL, model TEXT, origin TEXT, salvaged INTEGER, extra TEXT);
CREATE INDEX events_type ON events (type);
CREATE INDEX events_ts_epoch ON events (ts_epoch);
CREATE INDEX events_issue ON events (issue);
CREATE INDEX events_type_epoch ON events (type, ts_epoch);
CREATE TEMP TABLE raw (line TEXT);
.mode ascii
.separator "\\037" "\\n"
.import FILE raw
INSERT INTO events (ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra)
SELECT line ->> '$.ts', line ->> '$.ts_epoch', line ->> '$.type', line ->> '$.issue', line ->> '$.stage',
    line ->> '$.result', line ->> '$.duration_s', line ->> '$.cost_usd', line ->> '$.model', 'events.jsonl', 0,
    json_remove(line, '$.ts', '$.ts_epoch', '$.type', '$.issue', '$.stage', '$.result', '$.duration_s',
        '$.cost_usd', '$.model')
FROM raw;
"""


def figures(folder: Path, journal: Path) -> Iterator[Figure]:
    """Measure ours and the shell in turns, sqlite-utils once."""
    ours, shell = [], []
    for _ in range(ROUNDS):
        ours.append(run(shipwrightd("backfill", fresh_home(folder, journal), folder / "ours" / "db" / "o.db")))
        peer = folder / "peer.db"
        for name in ("", "-wal", "-shm"):
            Path(f"{peer}{name}").unlink(missing_ok=True)
        shell.append(run(["sqlite3", str(peer)], SHELL.replace("FILE", str(journal)).encode()))
    wall = median(r.wall_s for r in ours)
    yield Figure("backfill, 1,000,000 events", wall, median(r.wall_s for r in shell), "s", "sqlite3 shell with ->>")
    yield Figure("peak memory of it", max(r.peak_mib for r in ours), PEAK_MIB, "MiB", "limit")
    utils = shutil.which("sqlite-utils", path=str(Path(sys.executable).parent)) or shutil.which("sqlite-utils")
    if utils:
        target = folder / "utils.db"
        target.unlink(missing_ok=True)
        took = run([utils, "insert", "--nl", "--alter", str(target), "events", str(journal)])
        yield Figure("backfill, 1,000,000 events", wall, took.wall_s / 8, "s", "1/8 of sqlite-utils insert --nl")


def fresh_home(folder: Path, journal: Path) -> Path:
    """Make a home that holds the journal and no database."""
    home = folder / "ours"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir()
    (home / "events.jsonl").hardlink_to(journal)
    return home
