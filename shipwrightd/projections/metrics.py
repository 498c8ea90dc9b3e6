"""Keep the outcomes of runs and the metrics of days and weeks.

Each run and entry is added, and subtracted before it changes. The migration
that creates the table defines each metric. All sums are integers, so their
order makes no difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Collection

    import apsw

# Outcomes of the finished runs among ?1 (JSON).
# `since` is the previous success of the issue. Only the newest run of an issue
# can change, so what older runs add to a later one stays true.
ADD_OUTCOMES = """
INSERT INTO run_outcomes (ended_epoch, run_id, issue, good, duration_s, lead_time_s, recovery_s, recoveries)
WITH finished AS (
    SELECT r.id, r.issue, r.status = 'success' AS good, r.started_epoch, r.ended_epoch, r.duration_s,
        coalesce((SELECT p.id FROM pipeline_runs AS p
                  WHERE p.issue = r.issue AND p.id < r.id AND +p.status = 'success'
                  ORDER BY p.id DESC LIMIT 1), -9223372036854775808) AS since
    FROM pipeline_runs AS r
    WHERE r.id IN (SELECT value FROM json_each(?1)) AND +r.status IN ('success', 'failed')
        AND date(r.ended_epoch, 'unixepoch') IS NOT NULL
), timed AS MATERIALIZED (
    SELECT id, issue, good, ended_epoch, duration_s,
        iif(good, ended_epoch - coalesce((
            SELECT p.started_epoch FROM pipeline_runs AS p
            WHERE p.issue = f.issue AND p.id > f.since ORDER BY p.id LIMIT 1), started_epoch), NULL) AS lead,
        iif(good, (
            SELECT json_array(sum(f.ended_epoch - p.ended_epoch), count(*)) FROM pipeline_runs AS p
            WHERE p.issue = f.issue AND p.id > f.since AND p.id < f.id AND +p.status = 'failed'
                AND f.ended_epoch - p.ended_epoch BETWEEN 0 AND 1000000000), NULL) AS recovery
    FROM finished AS f
)
SELECT ended_epoch, id, issue, good, duration_s, iif(lead BETWEEN 0 AND 1000000000, lead, NULL),
    recovery ->> 0, coalesce(recovery ->> 1, 0)
FROM timed"""

# Adds the outcomes of runs ?1 (JSON) to the metrics, times ?2.
COUNT_OUTCOMES = """
WITH dated AS MATERIALIZED (
    SELECT o.good, date(o.ended_epoch, 'unixepoch') AS day, o.lead_time_s, o.recovery_s, o.recoveries
    FROM json_each(?1) AS j JOIN pipeline_runs AS r ON r.id = j.value
        JOIN run_outcomes AS o ON o.ended_epoch = r.ended_epoch AND o.run_id = r.id
), figures (name, period, start, total, samples) AS (
    SELECT name, period, iif(period = 'day', day, date(day, 'weekday 0', '-6 days')),
        CASE name WHEN 'change_failure_rate' THEN NOT good
            WHEN 'lead_time_s' THEN lead_time_s
            WHEN 'time_to_recovery_s' THEN recovery_s ELSE 1 END,
        CASE name WHEN 'deploys' THEN good
            WHEN 'failures' THEN NOT good
            WHEN 'lead_time_s' THEN lead_time_s IS NOT NULL
            WHEN 'time_to_recovery_s' THEN recoveries ELSE 1 END
    FROM dated
        CROSS JOIN (SELECT 'day' AS period UNION ALL SELECT 'week')
        CROSS JOIN (SELECT 'deploys' AS name UNION ALL VALUES ('failures'), ('throughput'),
            ('change_failure_rate'), ('lead_time_s'), ('time_to_recovery_s'))
)
INSERT INTO metrics (name, period, period_start, dimension, total, samples)
SELECT name, period, start, '', ?2 * sum(total), ?2 * sum(samples)
FROM figures WHERE samples > 0 GROUP BY name, period, start
ON CONFLICT (name, period, period_start, dimension) DO UPDATE
SET total = total + excluded.total, samples = samples + excluded.samples
RETURNING rowid, samples"""

DROP_OUTCOMES = """
DELETE FROM run_outcomes WHERE (ended_epoch, run_id) IN (
    SELECT r.ended_epoch, r.id FROM json_each(?1) AS j JOIN pipeline_runs AS r ON r.id = j.value)"""

# Adds the cost_entries ?1 (JSON) to the metrics, times ?2. Money is in millionths of a US dollar.
ADD_ENTRIES = """
WITH daily AS MATERIALIZED (
    SELECT date(ts_epoch / 86400 * 86400, 'unixepoch') AS day, model, stage, issue, count(*) AS samples,
        sum(iif(abs(cost_usd) <= 1e6, CAST(round(cost_usd * 1e6) AS INTEGER), 0)) AS cost,
        sum(iif(input_tokens BETWEEN 0 AND 1000000000000, input_tokens, 0)) AS tokens_in,
        sum(iif(output_tokens BETWEEN 0 AND 1000000000000, output_tokens, 0)) AS tokens_out
    FROM cost_entries WHERE id IN (SELECT value FROM json_each(?1)) AND +ts_epoch BETWEEN 0 AND 253402300799
    GROUP BY ts_epoch / 86400, model, stage, issue
), dated (period, start, model, stage, issue, samples, cost, tokens_in, tokens_out) AS MATERIALIZED (
    SELECT 'day', day, model, stage, issue, samples, cost, tokens_in, tokens_out FROM daily
    UNION ALL
    SELECT 'week', date(day, 'weekday 0', '-6 days'), model, stage, issue, samples, cost, tokens_in, tokens_out
    FROM daily
)
INSERT INTO metrics (name, period, period_start, dimension, total, samples)
SELECT 'cost_usd', period, start, '', ?2 * sum(cost), ?2 * sum(samples) FROM dated GROUP BY period, start
UNION ALL
SELECT 'cost_usd', period, start, 'model:' || model, ?2 * sum(cost), ?2 * sum(samples)
FROM dated WHERE model <> '' GROUP BY period, start, model
UNION ALL
SELECT 'cost_usd', period, start, 'stage:' || stage, ?2 * sum(cost), ?2 * sum(samples)
FROM dated WHERE stage <> '' GROUP BY period, start, stage
UNION ALL
SELECT 'cost_usd', period, start, 'issue:' || issue, ?2 * sum(cost), ?2 * sum(samples)
FROM dated WHERE issue IS NOT NULL GROUP BY period, start, issue
UNION ALL
SELECT 'input_tokens', period, start, '', ?2 * sum(tokens_in), ?2 * sum(samples)
FROM dated GROUP BY period, start
UNION ALL
SELECT 'output_tokens', period, start, '', ?2 * sum(tokens_out), ?2 * sum(samples)
FROM dated GROUP BY period, start
ON CONFLICT (name, period, period_start, dimension) DO UPDATE
SET total = total + excluded.total, samples = samples + excluded.samples
RETURNING rowid, samples"""

DROP = "DELETE FROM metrics WHERE rowid = ?"
CLEAR = "DELETE FROM metrics; DELETE FROM run_outcomes"


def add_runs(db: apsw.Connection, ids: Collection[int]) -> None:
    """Add the outcomes of the finished runs among `ids`, as they are now."""
    if ids:
        db.execute(ADD_OUTCOMES, (orjson.dumps(list(ids)).decode(),))
        _count(db, COUNT_OUTCOMES, ids, 1)


def subtract_runs(db: apsw.Connection, ids: Collection[int]) -> None:
    """Undo add_runs. Call it before the runs change."""
    if ids:
        _count(db, COUNT_OUTCOMES, ids, -1)
        db.execute(DROP_OUTCOMES, (orjson.dumps(list(ids)).decode(),))


def add_entries(db: apsw.Connection, ids: Collection[int], times: int = 1) -> None:
    """Add cost entries; -1 times subtracts them, before they are deleted."""
    if ids:
        _count(db, ADD_ENTRIES, ids, times)


def _count(db: apsw.Connection, statement: str, ids: Collection[int], times: int) -> None:
    rows = db.execute(statement, (orjson.dumps(list(ids)).decode(), times)).fetchall()
    db.executemany(DROP, [(rowid,) for rowid, samples in rows if samples == 0])
