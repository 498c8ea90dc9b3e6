"""What `failures` asks the database.

Attempts are walked stage by stage in the index of their ends, or run by run
where one issue is asked for. Parameters: :since <= end < :until, :stage and
:issue or NULL, :limit. A run counts at the stage it failed at.
"""

from __future__ import annotations

# How many attempts at each stage ended well or badly.
ATTEMPTS = """
WITH RECURSIVE stages (stage) AS (
    SELECT coalesce(:stage, (SELECT min(stage) FROM pipeline_stages))
    UNION ALL
    SELECT (SELECT min(s.stage) FROM pipeline_stages AS s WHERE s.stage > stages.stage)
    FROM stages WHERE :stage IS NULL AND stages.stage IS NOT NULL
)
SELECT stage, (
    SELECT count(*) FROM pipeline_stages AS s INDEXED BY pipeline_stages_stage
    WHERE s.stage = stages.stage AND s.ended_epoch >= :since AND s.ended_epoch < :until
        AND s.status IN ('success', 'failed'))
FROM stages WHERE :issue IS NULL AND stage IS NOT NULL
UNION ALL
SELECT s.stage, count(*)
FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
    CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until
    AND s.status IN ('success', 'failed') AND (:stage IS NULL OR s.stage = :stage)
GROUP BY s.stage"""

FINISHED = """
SELECT count(*) FROM run_outcomes
WHERE ended_epoch >= :since AND ended_epoch < :until AND (:issue IS NULL OR issue = :issue)"""

# What failed, by kind: heat (stage and day), stage, class, issue (the first ones), issues (how many there are),
# recovered (runs), retried and mended (attempts). `attempts` and `runs` say how many.
FAILED = """
WITH RECURSIVE stages (stage) AS (
    SELECT coalesce(:stage, (SELECT min(stage) FROM pipeline_stages))
    UNION ALL
    SELECT (SELECT min(s.stage) FROM pipeline_stages AS s WHERE s.stage > stages.stage)
    FROM stages WHERE :stage IS NULL AND stages.stage IS NOT NULL
), attempts AS MATERIALIZED (
    SELECT s.run_id, s.stage, s.attempt, s.ended_epoch, s.error_class, r.issue
    FROM stages
        CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_stage
            ON s.stage = stages.stage AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
        CROSS JOIN pipeline_runs AS r ON r.id = s.run_id
    WHERE :issue IS NULL
    UNION ALL
    SELECT s.run_id, s.stage, s.attempt, s.ended_epoch, s.error_class, r.issue
    FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
        CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
    WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
        AND (:stage IS NULL OR s.stage = :stage)
), runs AS MATERIALIZED (
    SELECT r.issue, r.failed_stage, r.error_class, o.ended_epoch, (
        SELECT n.ended_epoch FROM pipeline_runs AS n INDEXED BY pipeline_runs_issue
        WHERE n.issue = r.issue AND n.id > r.id AND n.status = 'success' ORDER BY n.id LIMIT 1) AS mended_epoch
    FROM run_outcomes AS o CROSS JOIN pipeline_runs AS r ON r.id = o.run_id
    WHERE o.ended_epoch >= :since AND o.ended_epoch < :until AND NOT o.good
        AND (:issue IS NULL OR o.issue = :issue) AND (:stage IS NULL OR r.failed_stage = :stage)
), parts (kind, key, day, attempts, runs) AS (
    SELECT 'heat', stage, date(ended_epoch / 86400 * 86400, 'unixepoch'), count(*), 0
    FROM attempts GROUP BY stage, ended_epoch / 86400
    UNION ALL
    SELECT 'stage', failed_stage, NULL, 0, count(*) FROM runs GROUP BY failed_stage
    UNION ALL
    SELECT 'class', error_class, NULL, count(*), 0 FROM attempts GROUP BY error_class
    UNION ALL
    SELECT 'class', error_class, NULL, 0, count(*) FROM runs GROUP BY error_class
    UNION ALL
    SELECT 'issue', issue, NULL, count(*), 0 FROM attempts GROUP BY issue
    UNION ALL
    SELECT 'issue', issue, NULL, 0, count(*) FROM runs GROUP BY issue
    UNION ALL
    SELECT 'recovered', NULL, NULL, 0, count(*) FROM runs WHERE mended_epoch >= ended_epoch AND mended_epoch < :until
    UNION ALL
    SELECT 'retried', NULL, NULL, count(*), 0 FROM attempts AS a WHERE EXISTS (
        SELECT 1 FROM pipeline_stages AS n
        WHERE n.run_id = a.run_id AND n.stage = a.stage AND n.attempt > a.attempt
            AND coalesce(n.started_epoch, n.ended_epoch) < :until)
    UNION ALL
    SELECT 'mended', NULL, NULL, count(*), 0 FROM attempts AS a WHERE EXISTS (
        SELECT 1 FROM pipeline_stages AS n
        WHERE n.run_id = a.run_id AND n.stage = a.stage AND n.attempt > a.attempt
            AND n.status = 'success' AND n.ended_epoch < :until)
), added AS MATERIALIZED (
    SELECT kind, key, day, sum(attempts) AS attempts, sum(runs) AS runs FROM parts GROUP BY kind, key, day
)
SELECT kind, key, day, attempts, runs FROM added WHERE kind <> 'issue' OR key IS NULL
UNION ALL
SELECT 'issues', NULL, NULL, count(*), 0 FROM added WHERE kind = 'issue' AND key IS NOT NULL
UNION ALL
SELECT * FROM (
    SELECT kind, key, day, attempts, runs FROM added WHERE kind = 'issue' AND key IS NOT NULL
    ORDER BY runs DESC, attempts DESC, key LIMIT :limit)"""

# The last failures: attempts, and runs of which no attempt failed. `recovered`: afterwards, before :until,
# the stage succeeded in the same run, or a run of the issue did (of an attempt its own run, too).
LAST = """
WITH RECURSIVE stages (stage) AS (
    SELECT coalesce(:stage, (SELECT min(stage) FROM pipeline_stages))
    UNION ALL
    SELECT (SELECT min(s.stage) FROM pipeline_stages AS s WHERE s.stage > stages.stage)
    FROM stages WHERE :stage IS NULL AND stages.stage IS NOT NULL
), failed (kind, id, run_id, ended_epoch) AS (
    SELECT 'stage', s.id, NULL, s.ended_epoch
    FROM stages CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_stage
        ON s.stage = stages.stage AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
    WHERE :issue IS NULL
    UNION ALL
    SELECT 'stage', s.id, NULL, s.ended_epoch
    FROM pipeline_runs AS r INDEXED BY pipeline_runs_issue
        CROSS JOIN pipeline_stages AS s INDEXED BY pipeline_stages_run ON s.run_id = r.id
    WHERE r.issue = :issue AND s.ended_epoch >= :since AND s.ended_epoch < :until AND s.status = 'failed'
        AND (:stage IS NULL OR s.stage = :stage)
    UNION ALL
    SELECT 'run', NULL, o.run_id, o.ended_epoch
    FROM run_outcomes AS o CROSS JOIN pipeline_runs AS r ON r.id = o.run_id
    WHERE o.ended_epoch >= :since AND o.ended_epoch < :until AND NOT o.good
        AND (:issue IS NULL OR o.issue = :issue) AND (:stage IS NULL OR r.failed_stage = :stage)
        AND NOT EXISTS (SELECT 1 FROM pipeline_stages AS s WHERE s.run_id = o.run_id AND s.status = 'failed')
), last AS MATERIALIZED (
    SELECT * FROM failed ORDER BY ended_epoch DESC, coalesce(id, run_id) DESC LIMIT :limit
)
SELECT l.kind, l.ended_epoch, r.issue, r.id, iif(l.kind = 'run', r.failed_stage, s.stage), s.attempt,
    coalesce(s.error_class, iif(l.kind = 'run', r.error_class, NULL)), s.error,
    EXISTS (
        SELECT 1 FROM pipeline_stages AS n
        WHERE n.run_id = s.run_id AND n.stage = s.stage AND n.attempt > s.attempt
            AND n.status = 'success' AND n.ended_epoch < :until)
    OR (l.kind = 'stage' AND r.status = 'success' AND r.ended_epoch >= l.ended_epoch AND r.ended_epoch < :until)
    OR coalesce((
        SELECT n.ended_epoch FROM pipeline_runs AS n INDEXED BY pipeline_runs_issue
        WHERE n.issue = r.issue AND n.id > r.id AND n.status = 'success' ORDER BY n.id LIMIT 1
    ) BETWEEN l.ended_epoch AND :until - 1, 0)
FROM last AS l
    LEFT JOIN pipeline_stages AS s ON s.id = l.id
    JOIN pipeline_runs AS r ON r.id = coalesce(s.run_id, l.run_id)
ORDER BY l.ended_epoch DESC, coalesce(l.id, l.run_id) DESC"""
