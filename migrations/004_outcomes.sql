-- What reports of any period are added up from: days and weeks of `metrics`
-- for whole days of money, and for runs one narrow row each, in order of their
-- ends, so that a period costs what it holds and nothing of what lies outside.

-- One row for each finished run, successful or failed, not abandoned. Derived
-- from pipeline_runs in the same transaction, as metrics are.
CREATE TABLE run_outcomes (
    ended_epoch INTEGER NOT NULL,  -- seconds
    run_id      INTEGER NOT NULL,  -- pipeline_runs.id
    issue       INTEGER,           -- as in pipeline_runs
    good        INTEGER NOT NULL,  -- 1 success, 0 failed
    duration_s  REAL,              -- as in pipeline_runs
    lead_time_s INTEGER,           -- of a success: from the start of the first run of the issue since its previous
                                   -- success to the end; NULL where the times make no sense
    recovery_s  INTEGER,           -- of a success: summed over the failed runs of the issue since its previous
                                   -- success, from their end to this one's
    recoveries  INTEGER NOT NULL,  -- how many failed runs those are
    PRIMARY KEY (ended_epoch, run_id)
) WITHOUT ROWID;

INSERT INTO run_outcomes (ended_epoch, run_id, issue, good, duration_s, lead_time_s, recovery_s, recoveries)
WITH finished AS (
    SELECT r.id, r.issue, r.status = 'success' AS good, r.started_epoch, r.ended_epoch, r.duration_s,
        coalesce((SELECT p.id FROM pipeline_runs AS p
                  WHERE p.issue = r.issue AND p.id < r.id AND +p.status = 'success'
                  ORDER BY p.id DESC LIMIT 1), 0) AS since
    FROM pipeline_runs AS r
    WHERE r.status IN ('success', 'failed') AND date(r.ended_epoch, 'unixepoch') IS NOT NULL
), told AS (
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
FROM told;

-- The attempts at one stage in order of their ends, with all that figures take from them.
DROP INDEX pipeline_stages_stage;
CREATE INDEX pipeline_stages_stage ON pipeline_stages (stage, ended_epoch, status, duration_s);

-- metrics: cost_usd by issue as well, dimension issue:<number>.
INSERT INTO metrics (name, period, period_start, dimension, total, samples)
WITH daily AS (
    SELECT date(ts_epoch / 86400 * 86400, 'unixepoch') AS day, issue, count(*) AS samples,
        sum(iif(abs(cost_usd) <= 1e6, CAST(round(cost_usd * 1e6) AS INTEGER), 0)) AS cost
    FROM cost_entries WHERE +ts_epoch BETWEEN 0 AND 253402300799 AND issue IS NOT NULL
    GROUP BY ts_epoch / 86400, issue
)
SELECT 'cost_usd', 'day', day, 'issue:' || issue, cost, samples FROM daily
UNION ALL
SELECT 'cost_usd', 'week', date(day, 'weekday 0', '-6 days'), 'issue:' || issue, sum(cost), sum(samples)
FROM daily GROUP BY 3, 4;

-- What the daemon has in hand now, apart from all it ever had.
CREATE INDEX daemon_jobs_present  ON daemon_jobs (id) WHERE present;
CREATE INDEX daemon_queue_present ON daemon_queue (position) WHERE present;
