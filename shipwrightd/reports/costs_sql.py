"""What `costs` asks the database. Money comes in millionths of a dollar.

Parameters: :since <= time < :until; :model, :stage and :issue or NULL. Of that
time, days :first_day to :last_day are taken from metrics (texts, '' for none),
:since to :head and :tail to :until from the entries. The limits beyond which a
figure counts as nothing are those of metrics.
"""

from __future__ import annotations

# Rows (kind, key, total, entries), to be added up by kind and key: day, model, stage, input_tokens, output_tokens;
# issue (the :limit dearest ones), issues (key: how many there are). Entries that name none have no row of that kind.
BREAKDOWN = """
WITH cut (first, last) AS (VALUES (:since, :head), (:tail, :until)),
picked AS (
    SELECT c.ts_epoch, c.model, c.stage, c.issue, c.cost_usd, c.input_tokens, c.output_tokens
    FROM cut CROSS JOIN cost_entries AS c INDEXED BY cost_entries_ts_epoch
        ON c.ts_epoch >= cut.first AND c.ts_epoch < cut.last
    WHERE :issue IS NULL
    UNION ALL
    SELECT c.ts_epoch, c.model, c.stage, c.issue, c.cost_usd, c.input_tokens, c.output_tokens
    FROM cost_entries AS c INDEXED BY cost_entries_issue
    WHERE c.issue = :issue AND +c.ts_epoch >= :since AND +c.ts_epoch < :until
), entries AS MATERIALIZED (
    SELECT ts_epoch / 86400 AS day, model, stage, issue,
        iif(abs(cost_usd) <= 1e6, CAST(round(cost_usd * 1e6) AS INTEGER), 0) AS cost,
        iif(input_tokens BETWEEN 0 AND 1000000000000, input_tokens, 0) AS tokens_in,
        iif(output_tokens BETWEEN 0 AND 1000000000000, output_tokens, 0) AS tokens_out
    FROM picked
    WHERE (:model IS NULL OR model = :model) AND (:stage IS NULL OR stage = :stage)
), issues AS MATERIALIZED (
    SELECT dimension, sum(total) AS total, sum(samples) AS entries
    FROM (
        SELECT dimension, total, samples FROM metrics
        WHERE name = 'cost_usd' AND period = 'day' AND period_start BETWEEN :first_day AND :last_day
            AND dimension >= 'issue:' AND dimension < 'issue;'
        UNION ALL
        SELECT 'issue:' || issue, sum(cost), count(*) FROM entries WHERE issue IS NOT NULL GROUP BY issue
    )
    GROUP BY dimension
)
SELECT 'day', period_start, total, samples FROM metrics
WHERE name = 'cost_usd' AND period = 'day' AND period_start BETWEEN :first_day AND :last_day AND dimension = ''
UNION ALL
SELECT 'day', date(day * 86400, 'unixepoch'), sum(cost), count(*) FROM entries GROUP BY day
UNION ALL
SELECT substr(dimension, 1, 5), substr(dimension, 7), sum(total), sum(samples) FROM metrics
WHERE name = 'cost_usd' AND period = 'day' AND period_start BETWEEN :first_day AND :last_day AND dimension >= 'model:'
GROUP BY dimension
UNION ALL
SELECT 'model', model, sum(cost), count(*) FROM entries WHERE model <> '' GROUP BY model
UNION ALL
SELECT 'stage', stage, sum(cost), count(*) FROM entries WHERE stage <> '' GROUP BY stage
UNION ALL
SELECT name, '', sum(total), sum(samples) FROM metrics
WHERE name IN ('input_tokens', 'output_tokens') AND period = 'day' AND dimension = ''
    AND period_start BETWEEN :first_day AND :last_day
GROUP BY name
UNION ALL
SELECT 'input_tokens', '', sum(tokens_in), count(*) FROM entries HAVING count(*)
UNION ALL
SELECT 'output_tokens', '', sum(tokens_out), count(*) FROM entries HAVING count(*)
UNION ALL
SELECT 'issues', count(*), sum(total), sum(entries) FROM issues HAVING count(*)
UNION ALL
SELECT * FROM (
    SELECT 'issue', substr(dimension, 7), total, entries FROM issues
    ORDER BY total DESC, CAST(substr(dimension, 7) AS INTEGER), dimension LIMIT :limit)"""

SPENT = """
SELECT sum(iif(abs(cost_usd) <= 1e6, CAST(round(cost_usd * 1e6) AS INTEGER), 0))
FROM cost_entries INDEXED BY cost_entries_ts_epoch WHERE ts_epoch >= ? AND ts_epoch <= ?"""
BUDGET = "SELECT daily_budget_usd, enabled FROM budgets WHERE present LIMIT 1"
RUNS = """
SELECT count(*), coalesce(sum(good), 0) FROM run_outcomes
WHERE ended_epoch >= ?1 AND ended_epoch < ?2 AND (?3 IS NULL OR issue = ?3)"""
