-- What the events add up to: runs, their stages, and figures for each day and
-- week. Everything here is derived from `events` and `cost_entries`, in the
-- transaction that stores those, and `shipwrightd rebuild` derives the same
-- rows again from nothing. The order of events is events.id, never a clock.
-- Events of this machine and imported ones count; team events do not: they
-- tell of other machines' runs.
--
-- Facts are stored as the events gave them; what follows from the facts
-- (status, end, cost ...) is a generated column, so a later event revises it.

-- One row for each run of a pipeline. `id` is the event that opened it: its
-- pipeline.started, or the first event seen of a run whose start was not seen.
CREATE TABLE pipeline_runs (
    id              INTEGER PRIMARY KEY,  -- events.id of the event that opened the run
    issue           INTEGER,              -- NULL: a run without one; text where it is no number
    template        TEXT,
    model           TEXT,
    goal            TEXT,
    machine         TEXT,
    complexity      INTEGER,
    start_seen      INTEGER NOT NULL,     -- 0: no pipeline.started was seen, started_epoch is worked out
    started_ts      TEXT,                 -- ts of the start as written, NULL if it was not seen
    started_epoch   INTEGER,              -- seconds; never changes once the run is open

    -- what the fold needs to go on
    phase           TEXT    NOT NULL,     -- started | open | completed | reaped: last boundary seen
    doubles_due     INTEGER NOT NULL,     -- second pipeline.started (with a payload) still to come
    spawn_id        INTEGER,              -- daemon.spawn of the same issue since: a newer job, not started yet
    spawn_epoch     INTEGER,

    -- from pipeline.completed
    completed_id    INTEGER,
    completed_epoch INTEGER,
    result          TEXT,                 -- success | failure, as reported
    reported_duration_s   REAL,
    iterations      INTEGER,
    stages_passed   INTEGER,
    slowest_stage   TEXT,
    reported_failed_stage TEXT,
    reported_error_class  TEXT,
    pr_url          TEXT,
    agent_id        TEXT,
    self_heal_count INTEGER,
    input_tokens    INTEGER,
    output_tokens   INTEGER,
    reported_cost_usd     REAL,           -- total_cost: what the run itself says it cost

    -- from the daemon
    reap_id         INTEGER,
    reap_epoch      INTEGER,
    reap_result     TEXT,                 -- success | failure
    kill_id         INTEGER,              -- daemon.stale_kill, stuck_kill, hard_limit or stale_dead
    kill_epoch      INTEGER,
    paused_stage    TEXT,                 -- stage before which the budget stopped it; it then reports success

    -- from its stages, and kills
    last_sign         TEXT,               -- stage | failure (of a stage) | kill: what came last of these
    failed_epoch      INTEGER,            -- when a stage failed last
    last_failed_stage TEXT,
    last_error_class  TEXT,

    next_run_id     INTEGER,              -- the run of the same issue that was opened next
    last_event_id   INTEGER NOT NULL,     -- last event that belongs to it
    last_epoch      INTEGER,              -- largest ts_epoch among its events
    aged            INTEGER NOT NULL,     -- 1: events of the journal are more than 24 h past last_epoch
    entries_cost_usd REAL,                -- sum of its cost_entries, NULL when there are none (see below)

    -- success, failed: what pipeline.completed says, else what daemon.reap says.
    -- Without both: abandoned if the daemon killed it and no stage event
    -- followed; failed if its last stage event is a failure; abandoned if the
    -- next run of its issue was opened, or 24 h of event time have passed.
    status TEXT AS (CASE
        WHEN coalesce(result, reap_result) = 'success' THEN 'success'
        WHEN coalesce(result, reap_result) IS NOT NULL THEN 'failed'
        WHEN last_sign = 'kill' THEN 'abandoned'
        WHEN last_sign = 'failure' THEN 'failed'
        WHEN next_run_id IS NOT NULL OR aged THEN 'abandoned'
        ELSE 'running' END) STORED,
    -- NULL while running; of an abandoned run the kill, else its last sign of life.
    ended_epoch INTEGER AS (CASE
        WHEN status = 'success' THEN coalesce(completed_epoch, reap_epoch)
        WHEN status = 'failed' THEN coalesce(completed_epoch, iif(last_sign = 'failure', failed_epoch, NULL), reap_epoch)
        WHEN status = 'abandoned' THEN coalesce(kill_epoch, last_epoch) END) STORED,
    started_at   TEXT AS (coalesce(started_ts, strftime('%Y-%m-%dT%H:%M:%SZ', started_epoch, 'unixepoch'))),
    ended_at     TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', ended_epoch, 'unixepoch')),
    duration_s   REAL AS (coalesce(reported_duration_s, ended_epoch - started_epoch)),
    failed_stage TEXT AS (iif(status = 'failed', coalesce(reported_failed_stage, last_failed_stage), NULL)),
    error_class  TEXT AS (iif(status = 'failed', coalesce(reported_error_class, last_error_class), NULL)),
    -- An entry of cost_entries belongs to the newest run of its issue that
    -- started no later than the entry. A run without entries costs what it said.
    cost_usd     REAL AS (coalesce(entries_cost_usd, reported_cost_usd)),
    cost_source  TEXT AS (CASE WHEN entries_cost_usd IS NOT NULL THEN 'entries'
                               WHEN reported_cost_usd IS NOT NULL THEN 'reported' END)
);
CREATE INDEX pipeline_runs_status        ON pipeline_runs (status);
CREATE INDEX pipeline_runs_issue         ON pipeline_runs (issue);
CREATE INDEX pipeline_runs_started_epoch ON pipeline_runs (started_epoch);

-- One row for each attempt at a stage within a run. The program tells of one
-- attempt in up to three events, in this order: stage.started, an outcome with
-- a payload, an outcome with fields of its own. One that does not come later
-- in that order than the last, or contradicts it, begins the next attempt.
CREATE TABLE pipeline_stages (
    id            INTEGER PRIMARY KEY,  -- events.id of the event that opened the attempt
    run_id        INTEGER NOT NULL,     -- pipeline_runs.id
    stage         TEXT    NOT NULL,
    attempt       INTEGER NOT NULL,     -- 1, 2, ... within run and stage
    status        TEXT    NOT NULL,     -- running (no outcome seen) | success | failed | skipped
    slot          INTEGER NOT NULL,     -- last event seen: 1 started, 2 payload, 3 own outcome, 4 skipped
    started_epoch INTEGER,              -- seconds; worked out from the end where no start was seen
    ended_epoch   INTEGER,
    duration_s    REAL,                 -- as reported, else the payload's timing
    reason        TEXT,                 -- why it was skipped
    error         TEXT,
    error_class   TEXT,
    started_at    TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', started_epoch, 'unixepoch')),
    ended_at      TEXT AS (strftime('%Y-%m-%dT%H:%M:%SZ', ended_epoch, 'unixepoch'))
);
CREATE UNIQUE INDEX pipeline_stages_run   ON pipeline_stages (run_id, stage, attempt);
CREATE INDEX        pipeline_stages_stage ON pipeline_stages (stage);

-- Figures for each UTC day and each ISO week. No row: nothing happened.
-- A run counts in the period of its ended_epoch, an entry of cost_entries in
-- that of its ts_epoch. Sums are integers, so that order cannot change them.
--   deploys             successful runs
--   failures            failed runs
--   throughput          finished runs: successful and failed, not abandoned
--   change_failure_rate failures / throughput, 0 to 1
--   lead_time_s         mean over successful runs, from the start of the first
--                       run of the issue since its previous success to the end
--   time_to_recovery_s  mean over failed runs, from their end to the end of the
--                       next successful run of the same issue; counted with
--                       that success
--   cost_usd            sum over cost_entries: all, and by model, stage and issue
--   input_tokens, output_tokens   sums over cost_entries: all
-- Left out as impossible: times before 1970 or after 9999, an entry above
-- 1,000,000 USD or 10^12 tokens.
CREATE TABLE metrics (
    name         TEXT    NOT NULL,
    period       TEXT    NOT NULL,     -- day | week
    period_start TEXT    NOT NULL,     -- YYYY-MM-DD, UTC; of a week its Monday
    dimension    TEXT    NOT NULL,     -- '' all | model:<name> | stage:<name> | issue:<number>
    total        INTEGER NOT NULL,     -- runs, failed runs, seconds, tokens, millionths of a US dollar
    samples      INTEGER NOT NULL,     -- runs or entries behind it, never 0
    value        REAL AS (CASE
        WHEN name = 'cost_usd' THEN total / 1e6
        WHEN name IN ('change_failure_rate', 'lead_time_s', 'time_to_recovery_s') THEN total * 1.0 / samples
        ELSE total END)                -- what the metric is: share, mean seconds, US dollars, or the count
);
CREATE UNIQUE INDEX metrics_name_period ON metrics (name, period, period_start, dimension);

-- How far the projections have come; one row.
CREATE TABLE projection_state (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    watermark_epoch INTEGER,                    -- largest ts_epoch among the journal's events: "now" in event time
    entries_waiting INTEGER NOT NULL DEFAULT 0  -- entries of costs.json whose cost.record was not seen
);
INSERT INTO projection_state (id) VALUES (1);

-- Money of events, in cost_entries: an event cost.record and an entry of
-- costs.json are the same money when tokens, model, stage and cost to four
-- decimals agree and their times differ by 120 s at most. Each event, in order
-- of id, takes the first such entry that is free. One that finds none becomes
-- an entry itself, origin 'events.jsonl', until its twin arrives. Its issue is
-- that of the last pipeline.completed, within 1,000 events, with the same
-- tokens, if it is the cost of a whole pipeline; else it is not known.
-- pipeline.cost is the same money once more and is never counted.
