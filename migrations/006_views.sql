-- Views for other programs: the sqlite3 shell, Grafana, Datasette, a script.
-- docs/views.md has an example of each. What they use works from SQLite 3.38
-- on, so there is no percentile() in them.
--
-- Days and weeks are UTC, as everywhere. A condition on `day`, `week` or a
-- column that ends in `_epoch` is answered from an index, so that a month costs
-- the same after ten years. Times in text are for reading, not for looking up.

-- Delivery, a row for each UTC day on which a run was finished.
CREATE VIEW v_dora_daily AS
SELECT period_start AS day,              -- YYYY-MM-DD
    coalesce(sum(total) FILTER (WHERE name = 'deploys'), 0) AS deploys,              -- successful runs
    coalesce(sum(total) FILTER (WHERE name = 'failures'), 0) AS failures,            -- failed runs
    sum(value) FILTER (WHERE name = 'change_failure_rate') AS change_failure_rate,   -- failures / both, 0 to 1
    sum(value) FILTER (WHERE name = 'lead_time_s') AS lead_time_s,                   -- mean seconds, NULL without one
    coalesce(sum(samples) FILTER (WHERE name = 'lead_time_s'), 0) AS lead_times,     -- runs behind lead_time_s
    sum(value) FILTER (WHERE name = 'time_to_recovery_s') AS time_to_recovery_s,     -- mean seconds, NULL without one
    coalesce(sum(samples) FILTER (WHERE name = 'time_to_recovery_s'), 0) AS recoveries  -- failed runs behind it
FROM metrics
WHERE name IN ('deploys', 'failures', 'change_failure_rate', 'lead_time_s', 'time_to_recovery_s')
    AND period = 'day' AND dimension = ''
GROUP BY period_start;

-- The same for each ISO week.
CREATE VIEW v_dora_weekly AS
SELECT period_start AS week,             -- YYYY-MM-DD, its Monday
    coalesce(sum(total) FILTER (WHERE name = 'deploys'), 0) AS deploys,              -- as in v_dora_daily, all of them
    coalesce(sum(total) FILTER (WHERE name = 'failures'), 0) AS failures,
    sum(value) FILTER (WHERE name = 'change_failure_rate') AS change_failure_rate,
    sum(value) FILTER (WHERE name = 'lead_time_s') AS lead_time_s,
    coalesce(sum(samples) FILTER (WHERE name = 'lead_time_s'), 0) AS lead_times,
    sum(value) FILTER (WHERE name = 'time_to_recovery_s') AS time_to_recovery_s,
    coalesce(sum(samples) FILTER (WHERE name = 'time_to_recovery_s'), 0) AS recoveries
FROM metrics
WHERE name IN ('deploys', 'failures', 'change_failure_rate', 'lead_time_s', 'time_to_recovery_s')
    AND period = 'week' AND dimension = ''
GROUP BY period_start;

-- Finished runs, a row for each UTC day on which there was one.
CREATE VIEW v_throughput_daily AS
SELECT f.period_start AS day,            -- YYYY-MM-DD
    f.total AS finished,                 -- runs: successful and failed, not abandoned
    coalesce(d.total, 0) AS successful,
    f.total - coalesce(d.total, 0) AS failed,
    f.total / 24.0 AS per_hour,          -- finished runs an hour
    (SELECT avg(o.duration_s) FROM run_outcomes AS o
     WHERE o.ended_epoch >= strftime('%s', f.period_start) + 0
        AND o.ended_epoch < strftime('%s', f.period_start) + 86400
        AND o.good AND o.duration_s >= 0) AS mean_success_duration_s  -- seconds, NULL without a success
FROM metrics AS f
    LEFT JOIN metrics AS d ON d.name = 'deploys' AND d.period = 'day' AND d.period_start = f.period_start
        AND d.dimension = ''
WHERE f.name = 'throughput' AND f.period = 'day' AND f.dimension = '';

-- Money, a row for each UTC day on which some was spent.
CREATE VIEW v_cost_daily AS
SELECT period_start AS day,              -- YYYY-MM-DD
    sum(value) FILTER (WHERE name = 'cost_usd') AS cost_usd,                         -- US dollars
    coalesce(sum(samples) FILTER (WHERE name = 'cost_usd'), 0) AS entries,           -- rows of cost_entries
    coalesce(sum(total) FILTER (WHERE name = 'input_tokens'), 0) AS input_tokens,    -- tokens
    coalesce(sum(total) FILTER (WHERE name = 'output_tokens'), 0) AS output_tokens   -- tokens
FROM metrics
WHERE name IN ('cost_usd', 'input_tokens', 'output_tokens') AND period = 'day' AND dimension = ''
GROUP BY period_start;

-- The same money by model, a row for each day and model; entries without a model are in v_cost_daily alone.
CREATE VIEW v_cost_by_model AS
SELECT period_start AS day,              -- YYYY-MM-DD
    substr(dimension, 7) AS model,
    value AS cost_usd,                   -- US dollars
    samples AS entries                   -- rows of cost_entries
FROM metrics
WHERE name = 'cost_usd' AND period = 'day' AND dimension >= 'model:' AND dimension < 'model;';

-- The same money by stage, a row for each day and stage; 'pipeline' is what was told of a run as a whole.
CREATE VIEW v_cost_by_stage AS
SELECT period_start AS day,              -- YYYY-MM-DD
    substr(dimension, 7) AS stage,
    value AS cost_usd,                   -- US dollars
    samples AS entries                   -- rows of cost_entries
FROM metrics
WHERE name = 'cost_usd' AND period = 'day' AND dimension >= 'stage:' AND dimension < 'stage;';

-- The same money by issue, a row for each day and issue; entries of no known issue are in v_cost_daily alone.
CREATE VIEW v_cost_by_issue AS
SELECT period_start AS day,              -- YYYY-MM-DD
    iif(substr(dimension, 7) = CAST(CAST(substr(dimension, 7) AS INTEGER) AS TEXT),
        CAST(substr(dimension, 7) AS INTEGER), substr(dimension, 7)) AS issue,       -- text where it is no number
    value AS cost_usd,                   -- US dollars
    samples AS entries                   -- rows of cost_entries
FROM metrics
WHERE name = 'cost_usd' AND period = 'day' AND dimension >= 'issue:' AND dimension < 'issue;';

-- The current UTC day beside the budget: always one row.
CREATE VIEW v_budget_today AS
SELECT t.day,                            -- YYYY-MM-DD, by the clock of whoever asks
    t.spent_usd,                         -- US dollars
    b.daily_budget_usd,                  -- US dollars a day; NULL: no limit, as 0 is for Shipwright
    b.enabled,                           -- 1: Shipwright heeds it, 0: it does not; NULL without a limit
    100 * t.spent_usd / b.daily_budget_usd AS used_percent,
    b.daily_budget_usd - t.spent_usd AS remaining_usd,                               -- US dollars, below 0: overspent
    t.spent_usd > b.daily_budget_usd AS exceeded                                     -- 0 | 1, heeded or not
FROM (SELECT date('now') AS day, coalesce((
          SELECT m.value FROM metrics AS m
          WHERE m.name = 'cost_usd' AND m.period = 'day' AND m.period_start = date('now') AND m.dimension = ''
      ), 0.0) AS spent_usd) AS t
    LEFT JOIN budgets AS b ON b.id = 'daily' AND b.present AND b.daily_budget_usd > 0;

-- Which stages there are, found with one look into an index each. A step for the views below.
CREATE VIEW v_stages AS
WITH RECURSIVE step (stage) AS (
    SELECT min(stage) FROM pipeline_stages
    UNION ALL
    SELECT (SELECT min(p.stage) FROM pipeline_stages AS p WHERE p.stage > step.stage) FROM step
    WHERE step.stage IS NOT NULL
)
SELECT stage FROM step WHERE stage IS NOT NULL;

-- How stages went, a row for each UTC day and stage, by the end of the attempts.
-- Percentiles lie between the two nearest attempts, as percentile() has it.
-- json_each makes one row of what a day and stage add up to: so it is added up
-- once, and only for the days that were asked for.
CREATE VIEW v_stage_performance AS
WITH RECURSIVE days (stage, start) AS (
    SELECT stage, (SELECT p.ended_epoch / 86400 * 86400 FROM pipeline_stages AS p
                   WHERE p.stage = s.stage AND p.ended_epoch BETWEEN 0 AND 253402300799
                   ORDER BY p.ended_epoch LIMIT 1)
    FROM v_stages AS s
    UNION ALL
    SELECT stage, (SELECT p.ended_epoch / 86400 * 86400 FROM pipeline_stages AS p
                   WHERE p.stage = d.stage AND p.ended_epoch BETWEEN d.start + 86400 AND 253402300799
                   ORDER BY p.ended_epoch LIMIT 1)
    FROM days AS d WHERE start IS NOT NULL
)
SELECT date(d.start, 'unixepoch') AS day,  -- YYYY-MM-DD
    d.stage,
    f.value ->> 0 AS attempts,           -- successful and failed ones
    f.value ->> 1 AS failed,
    f.value ->> 2 AS skipped,
    (f.value ->> 1) * 1.0 / nullif(f.value ->> 0, 0) AS failure_rate,                -- failed / attempts, 0 to 1
    f.value ->> 3 AS timed,              -- successful ones with a duration of 0 to 10^9 s: what the next ones are of
    f.value ->> 4 AS mean_s,             -- seconds, as all of these
    f.value ->> 5 AS median_s,
    f.value ->> 6 AS p95_s,              -- 95 % took no longer
    f.value ->> 7 AS min_s,
    f.value ->> 8 AS max_s
FROM days AS d CROSS JOIN json_each((
    SELECT json_array(json_array(
        sum(status IN ('success', 'failed')), sum(status = 'failed'), sum(status = 'skipped'),
        count(took), avg(took),
        sum(took * max(0, 1 - abs(place - last * 0.5))),   -- the one or two nearest, by their nearness
        sum(took * max(0, 1 - abs(place - last * 0.95))),
        min(took), max(took)))
    FROM (
        SELECT status, took, count(took) OVER () - 1 AS last,
            count(took) OVER (ORDER BY took ROWS UNBOUNDED PRECEDING) - 1 AS place
        FROM (
            SELECT p.status, iif(p.status = 'success' AND p.duration_s BETWEEN 0 AND 1e9, p.duration_s, NULL) AS took
            FROM pipeline_stages AS p
            WHERE p.stage = d.stage AND p.ended_epoch BETWEEN d.start AND d.start + 86399
        )
    )
)) AS f
WHERE d.start IS NOT NULL;

-- The failed attempts at a stage, newest first.
CREATE VIEW v_failures AS
SELECT p.ended_at,                       -- UTC
    p.ended_epoch,                       -- seconds
    r.issue,                             -- as in pipeline_runs
    p.stage,
    p.attempt,                           -- 1, 2, ... within run and stage
    p.error_class,                       -- NULL where none was told
    p.error,
    p.duration_s,                        -- seconds
    p.run_id,                            -- v_runs.id
    r.status AS run_status               -- what became of the run
FROM v_stages AS s CROSS JOIN pipeline_stages AS p ON p.stage = s.stage
    CROSS JOIN pipeline_runs AS r ON r.id = p.run_id
WHERE p.status = 'failed'
ORDER BY p.ended_epoch DESC, p.id DESC;

-- The runs, newest first.
CREATE VIEW v_runs AS
SELECT r.id,                             -- of the event that opened it
    r.issue,                             -- NULL: a run without one
    coalesce((SELECT t.title FROM daemon_titles AS t WHERE t.id = CAST(r.issue AS TEXT)),
        (SELECT j.title FROM daemon_jobs AS j WHERE j.id >= '#' || r.issue || '@' AND j.id < '#' || r.issue || 'A'
         ORDER BY j.id DESC LIMIT 1)) AS title,  -- of the issue, NULL where it is not known
    r.status,                            -- success | failed | abandoned | running
    r.template,
    r.model,
    r.started_at,                        -- UTC
    r.ended_at,                          -- UTC, NULL while running
    r.duration_s,                        -- seconds
    r.failed_stage,                      -- of a failed run
    r.error_class,                       -- of a failed run
    r.cost_usd,                          -- US dollars
    r.cost_source,                       -- entries | reported, see pipeline_runs
    r.input_tokens,                      -- tokens
    r.output_tokens,                     -- tokens
    r.iterations,
    r.stages_passed,
    r.self_heal_count,
    r.machine,
    r.goal,
    r.pr_url,
    r.started_epoch,                     -- seconds
    r.ended_epoch                        -- seconds
FROM pipeline_runs AS r
ORDER BY r.started_epoch DESC, r.id DESC;

-- What happened, newest first: the events of this machine and those of the team.
-- By time, so that a period is one stretch of an index; ORDER BY id DESC gives
-- the order of the files.
CREATE VIEW v_activity AS
SELECT e.id,
    e.ts,                                -- UTC, as written
    e.ts_epoch,                          -- seconds
    e.type,
    e.issue,                             -- NULL where the event names none
    coalesce((SELECT t.title FROM daemon_titles AS t WHERE t.id = CAST(e.issue AS TEXT)),
        (SELECT j.title FROM daemon_jobs AS j WHERE j.id >= '#' || e.issue || '@' AND j.id < '#' || e.issue || 'A'
         ORDER BY j.id DESC LIMIT 1)) AS title,  -- of the issue, NULL where it is not known
    e.stage,
    e.result,
    e.duration_s,                        -- seconds
    e.cost_usd,                          -- US dollars
    e.model,
    iif(e.origin GLOB 'team-events.jsonl*', 'team', 'own') AS journal,  -- own | team
    e.origin,                            -- as in events
    CASE WHEN e.origin GLOB 'team-events.jsonl*' AND json_valid(e.extra) THEN e.extra ->> '$.from_developer' END
        AS developer,                    -- of team events
    e.extra                              -- JSON object of all other fields
FROM events AS e
ORDER BY e.ts_epoch DESC, e.id DESC;

-- Who works where, a row for each developer at a machine. Clock: that of whoever asks.
CREATE VIEW v_team AS
SELECT developer,
    machine,
    hostname,
    platform,
    CASE WHEN silent_s < 30 THEN 'online' WHEN silent_s < 120 THEN 'idle' ELSE 'offline' END AS presence,
    silent_s,                            -- seconds since the last heartbeat, NULL: disconnected
    strftime('%Y-%m-%dT%H:%M:%SZ', heartbeat_s, 'unixepoch') AS last_seen,           -- UTC
    daemon_running,                      -- 0 | 1
    active_jobs,                         -- how many
    queued,                              -- how many
    present                              -- 0: gone from the registry
FROM (
    SELECT developer, machine, hostname, platform, daemon_running, present, heartbeat_s,
        max(0, strftime('%s', 'now') - heartbeat_s) AS silent_s,
        iif(json_valid(active_jobs), json_array_length(active_jobs), 0) AS active_jobs,
        iif(json_valid(queued), json_array_length(queued), 0) AS queued
    FROM (SELECT *, iif(last_heartbeat_ms BETWEEN 1 AND 253402300799999, last_heartbeat_ms / 1000, NULL) AS heartbeat_s
          FROM sessions)
);

-- Failures that Shipwright remembers, and what became of the fixes it proposed.
CREATE VIEW v_memory_failures AS
SELECT id,                               -- memory_entries.id
    repo_hash,                           -- folder below memory/
    pattern,                             -- the failure's text
    stage,                               -- where it was first seen
    frequency,                           -- sightings, those before it was pruned too
    nullif(root_cause, '') AS root_cause,
    nullif(fix, '') AS fix,
    fix_suggested,                       -- times, as the next two
    fix_applied,
    fix_resolved,
    iif(typeof(fix_applied) = 'integer' AND fix_applied > 0 AND typeof(fix_resolved) IN ('integer', 'null'),
        round(100.0 * coalesce(fix_resolved, 0) / fix_applied, 2), NULL) AS fix_effectiveness_percent,  -- resolved of
                                         -- applied; the file's own figure counts the last outcome twice
    first_seen,                          -- UTC
    last_seen,                           -- UTC
    present                              -- 0: gone from the file
FROM (
    SELECT *, extra ->> '$.times_fix_suggested' AS fix_suggested, extra ->> '$.times_fix_applied' AS fix_applied,
        extra ->> '$.times_fix_resolved' AS fix_resolved
    FROM memory_entries WHERE entry_type = 'failure'
);
