"""The SQL statements for the tables of documents; `store` runs them.

Keyed tables: `load` returns id, key, columns, present; `insert` takes scope, key,
columns; `update` columns, id; `gone` id. Lists: `insert` takes scope, columns;
`load` returns the columns of all rows, in the order of the list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shipwrightd.documents.memory import follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipwrightd.documents.fields import Row

CHECKPOINT = "SELECT digest, entries FROM checkpoints WHERE source = ?"
MOVE_CHECKPOINT = """
INSERT INTO checkpoints
(source, kind, digest, entries, records, quarantined, gaps, newest_epoch, committed_at)
VALUES (?1, 'document', ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (source) DO UPDATE SET
    digest       = excluded.digest,
    entries      = excluded.entries,
    records      = records + excluded.records,
    quarantined  = quarantined + excluded.quarantined,
    gaps         = gaps + excluded.gaps,
    newest_epoch = max(coalesce(newest_epoch, excluded.newest_epoch),
                       coalesce(excluded.newest_epoch, newest_epoch)),
    committed_at = excluded.committed_at"""


@dataclass(frozen=True, slots=True)
class ListTable:
    """The statements for an appended list."""

    insert: str
    load: str


@dataclass(frozen=True, slots=True)
class KeyedTable:
    """The statements for keyed entries, the columns of a key, and the row that a stored and a found one become."""

    load: str
    insert: str
    update: str
    gone: str
    keys: int = 1
    follow: Callable[[Row, Row], Row] = lambda _, found: found


LIST_TABLES = {
    "cost_entries": ListTable(
        insert="""
INSERT INTO cost_entries
(input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, extra, origin)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'costs.json')""",
        load="""
SELECT input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, extra
FROM cost_entries WHERE origin = 'costs.json' ORDER BY id""",
    ),
    "cost_outcomes": ListTable(
        insert="""
INSERT INTO cost_outcomes (kind, pipeline_id, issue, cost_usd, success, model, template, ts, ts_epoch, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        load="""
SELECT pipeline_id, issue, cost_usd, success, model, template, ts, ts_epoch, extra
FROM cost_outcomes WHERE kind = ? ORDER BY id""",
    ),
    "daemon_completed": ListTable(
        insert="""
INSERT INTO daemon_completed
(issue, result, exit_code, duration, duration_s, completed_at, completed_epoch, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)""",
        load="""
SELECT issue, result, exit_code, duration, duration_s, completed_at, completed_epoch, extra
FROM daemon_completed ORDER BY id""",
    ),
    "daemon_failures": ListTable(
        insert="INSERT INTO daemon_failures (ts, ts_epoch, class, extra) VALUES (?, ?, ?, ?)",
        load="SELECT ts, ts_epoch, class, extra FROM daemon_failures ORDER BY id",
    ),
    "memory_entries": ListTable(
        insert="""
INSERT INTO memory_entries (repo_hash, entry_type, pattern, first_seen, last_seen, extra)
VALUES (?, ?, ?, ?, ?, ?)""",
        load="""
SELECT pattern, first_seen, last_seen, extra
FROM memory_entries WHERE repo_hash = ? AND entry_type = ? ORDER BY id""",
    ),
}

KEYED_TABLES = {
    "memory_entries": KeyedTable(
        load="""
SELECT id, section, pattern, root_cause, fix, stage, frequency, seen_count, frequency_base,
    first_seen, last_seen, extra, present
FROM memory_entries WHERE repo_hash = ? AND entry_type = ? ORDER BY id""",
        insert="""
INSERT INTO memory_entries (repo_hash, entry_type, section, pattern, root_cause, fix, stage,
    frequency, seen_count, frequency_base, first_seen, last_seen, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        update="""
UPDATE memory_entries
SET root_cause = ?, fix = ?, stage = ?, frequency = ?, seen_count = ?, frequency_base = ?, first_seen = ?,
    last_seen = ?, extra = ?, present = 1
WHERE id = ?""",
        gone="UPDATE memory_entries SET present = 0 WHERE id = ?",
        keys=2,
        follow=follow,
    ),
    "sessions": KeyedTable(
        load="""
SELECT id, id, developer, machine, hostname, platform, last_heartbeat_ms, daemon_running,
    daemon_pid, active_jobs, queued, extra, present
FROM sessions""",
        insert="""
INSERT INTO sessions (id, developer, machine, hostname, platform, last_heartbeat_ms,
    daemon_running, daemon_pid, active_jobs, queued, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        update="""
UPDATE sessions
SET developer = ?, machine = ?, hostname = ?, platform = ?, last_heartbeat_ms = ?, daemon_running = ?,
    daemon_pid = ?, active_jobs = ?, queued = ?, extra = ?, present = 1
WHERE id = ?""",
        gone="UPDATE sessions SET present = 0 WHERE id = ?",
    ),
    "budgets": KeyedTable(
        load="SELECT id, id, daily_budget_usd, enabled, extra, present FROM budgets",
        insert="INSERT INTO budgets (id, daily_budget_usd, enabled, extra) VALUES (?, ?, ?, ?)",
        update="UPDATE budgets SET daily_budget_usd = ?, enabled = ?, extra = ?, present = 1 WHERE id = ?",
        gone="UPDATE budgets SET present = 0 WHERE id = ?",
    ),
    "daemon_state": KeyedTable(
        load="SELECT id, id, pid, started_at, last_poll, config, extra, present FROM daemon_state",
        insert="""
INSERT INTO daemon_state (id, pid, started_at, last_poll, config, extra) VALUES (?, ?, ?, ?, ?, ?)""",
        update="""
UPDATE daemon_state
SET pid = ?, started_at = ?, last_poll = ?, config = ?, extra = ?, present = 1
WHERE id = ?""",
        gone="UPDATE daemon_state SET present = 0 WHERE id = ?",
    ),
    "daemon_jobs": KeyedTable(
        load="""
SELECT id, id, issue, repo, pid, worktree, title, goal, started_at, extra, present FROM daemon_jobs""",
        insert="""
INSERT INTO daemon_jobs (id, issue, repo, pid, worktree, title, goal, started_at, extra)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        update="""
UPDATE daemon_jobs
SET issue = ?, repo = ?, pid = ?, worktree = ?, title = ?, goal = ?, started_at = ?, extra = ?, present = 1
WHERE id = ?""",
        gone="UPDATE daemon_jobs SET present = 0 WHERE id = ?",
    ),
    "daemon_queue": KeyedTable(
        load="SELECT id, id, issue, repo, position, extra, present FROM daemon_queue",
        insert="INSERT INTO daemon_queue (id, issue, repo, position, extra) VALUES (?, ?, ?, ?, ?)",
        update="""
UPDATE daemon_queue SET issue = ?, repo = ?, position = ?, extra = ?, present = 1 WHERE id = ?""",
        gone="UPDATE daemon_queue SET present = 0 WHERE id = ?",
    ),
    "daemon_titles": KeyedTable(
        load="SELECT id, id, title, extra, present FROM daemon_titles",
        insert="INSERT INTO daemon_titles (id, title, extra) VALUES (?, ?, ?)",
        update="UPDATE daemon_titles SET title = ?, extra = ?, present = 1 WHERE id = ?",
        gone="UPDATE daemon_titles SET present = 0 WHERE id = ?",
    ),
    "heartbeats": KeyedTable(
        load="""
SELECT id, id, pid, issue, stage, iteration, memory_mb, cpu_pct, last_activity, updated_at,
    updated_epoch, extra, present
FROM heartbeats WHERE id = ?""",
        # ?1 is the scope, which equals the key
        insert="""
INSERT INTO heartbeats (id, pid, issue, stage, iteration, memory_mb, cpu_pct, last_activity, updated_at,
    updated_epoch, extra)
VALUES (?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)""",
        update="""
UPDATE heartbeats
SET pid = ?, issue = ?, stage = ?, iteration = ?, memory_mb = ?, cpu_pct = ?, last_activity = ?,
    updated_at = ?, updated_epoch = ?, extra = ?, present = 1
WHERE id = ?""",
        gone="UPDATE heartbeats SET present = 0 WHERE id = ?",
    ),
}
