-- Since this release prune keeps every event that runs, stages and costs derive
-- from. A database pruned by an earlier release lacks some of them, and so does
-- one that lost events to damage. What those events amounted to is kept here,
-- because it cannot be derived again: `rebuild` starts from it.

-- The events whose runs, stages and costs are kept. One row, none in a database
-- whose events are all there.
CREATE TABLE kept_range (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    first_id        INTEGER NOT NULL,  -- events.id; smaller ones were imported later
    last_id         INTEGER NOT NULL,  -- events.id; first_id - 1: no runs are kept, only watermark_epoch
    watermark_epoch INTEGER            -- at least this is projection_state.watermark_epoch, whatever events remain
);
INSERT INTO kept_range SELECT id, first_id, last_id, watermark_epoch FROM settled;

-- Runs as they were after event kept_range.last_id; later events may continue them.
CREATE TABLE kept_runs (
    id    INTEGER PRIMARY KEY,         -- pipeline_runs.id
    facts TEXT NOT NULL                -- JSON object of the columns
);
INSERT INTO kept_runs SELECT id, facts FROM settled_runs;
INSERT INTO kept_runs
SELECT id, json_object('id', id, 'issue', issue, 'template', template, 'model', model, 'goal', goal,
    'machine', machine, 'complexity', complexity, 'start_seen', start_seen, 'started_ts', started_ts,
    'started_epoch', started_epoch, 'phase', phase, 'doubles_due', doubles_due, 'spawn_id', spawn_id,
    'spawn_epoch', spawn_epoch, 'completed_id', completed_id, 'completed_epoch', completed_epoch, 'result', result,
    'reported_duration_s', reported_duration_s, 'iterations', iterations, 'stages_passed', stages_passed,
    'slowest_stage', slowest_stage, 'reported_failed_stage', reported_failed_stage,
    'reported_error_class', reported_error_class, 'pr_url', pr_url, 'agent_id', agent_id,
    'self_heal_count', self_heal_count, 'input_tokens', input_tokens, 'output_tokens', output_tokens,
    'reported_cost_usd', reported_cost_usd, 'reap_id', reap_id, 'reap_epoch', reap_epoch, 'reap_result', reap_result,
    'kill_id', kill_id, 'kill_epoch', kill_epoch, 'paused_stage', paused_stage, 'last_sign', last_sign,
    'failed_epoch', failed_epoch, 'last_failed_stage', last_failed_stage, 'last_error_class', last_error_class,
    'next_run_id', next_run_id, 'last_event_id', last_event_id, 'last_epoch', last_epoch, 'aged', aged,
    'entries_cost_usd', entries_cost_usd)
FROM pipeline_runs
WHERE id BETWEEN (SELECT first_id FROM settled) AND (SELECT last_id FROM settled)
    AND id NOT IN (SELECT id FROM settled_runs);

-- The attempts at stages of those runs, as they were then.
CREATE TABLE kept_stages (
    id    INTEGER PRIMARY KEY,         -- pipeline_stages.id
    facts TEXT NOT NULL                -- JSON object of the columns
);
INSERT INTO kept_stages SELECT id, facts FROM settled_stages;
INSERT INTO kept_stages
SELECT id, json_object('id', id, 'run_id', run_id, 'stage', stage, 'attempt', attempt, 'status', status, 'slot', slot,
    'started_epoch', started_epoch, 'ended_epoch', ended_epoch, 'duration_s', duration_s, 'reason', reason,
    'error', error, 'error_class', error_class)
FROM pipeline_stages
WHERE id BETWEEN (SELECT first_id FROM settled) AND (SELECT last_id FROM settled)
    AND run_id NOT IN (SELECT id FROM settled_runs);

DROP TABLE settled;
DROP TABLE settled_runs;
DROP TABLE settled_stages;
