-- The JSON documents that Shipwright replaces in place: costs, budget,
-- outcomes, developers, the daemon's state, heartbeats and memory.
--
-- Two kinds of rows. Entries of appended lists (cost_entries, cost_outcomes,
-- daemon_completed, daemon_failures, and in memory_entries the types decision
-- and learning) are only ever added; what a cap removes from the file stays.
-- Keyed entries (all others) follow the file; what vanishes from it stays with
-- present = 0 until it comes back.
--
-- `extra` is always a JSON object of the fields that have no column, and of
-- those whose value did not fit theirs; NULL when there are none.

-- One row for each entry of costs.json, in the order of the list.
CREATE TABLE cost_entries (
    id            INTEGER PRIMARY KEY,  -- order of storing
    input_tokens  INTEGER,
    output_tokens INTEGER,
    model         TEXT,
    stage         TEXT,
    issue         INTEGER,              -- NULL for 0, "0", "" and absent; text where it is no number
    cost_usd      REAL,                 -- US dollars
    ts            TEXT,                 -- UTC text as written
    ts_epoch      INTEGER,              -- seconds; derived from ts where the entry lacks it
    origin        TEXT NOT NULL,        -- 'costs.json' | 'events.jsonl' (taken from the event, no entry of
                                        -- costs.json was seen)
    event_id      INTEGER,              -- the cost.record event that is the same money, NULL while none is
                                        -- known
    extra         TEXT
);
CREATE INDEX cost_entries_ts_epoch ON cost_entries (ts_epoch);
CREATE INDEX cost_entries_model    ON cost_entries (model);
CREATE INDEX cost_entries_issue    ON cost_entries (issue);

-- One row for each developer at a machine in developer-registry.json.
CREATE TABLE sessions (
    id                TEXT PRIMARY KEY,     -- developer_id@machine_name
    developer         TEXT NOT NULL,        -- developer_id
    machine           TEXT NOT NULL,        -- machine_name
    hostname          TEXT,
    platform          TEXT,
    last_heartbeat_ms INTEGER,              -- milliseconds since 1970; 0 = disconnected
    daemon_running    INTEGER,              -- 0 | 1
    daemon_pid        INTEGER,
    active_jobs       TEXT,                 -- JSON array of {issue, title, stage}
    queued            TEXT,                 -- JSON array
    present           INTEGER NOT NULL DEFAULT 1,  -- 0: gone from the file
    extra             TEXT
) WITHOUT ROWID;

-- What Shipwright remembers of each repository, from the files below memory/.
CREATE TABLE memory_entries (
    id             INTEGER PRIMARY KEY,
    repo_hash      TEXT NOT NULL,  -- folder below memory/; 'global' for the files beside the folders
    entry_type     TEXT NOT NULL,  -- failure | decision | pattern | baseline | architecture | learning |
                                   -- global_pattern
    section        TEXT NOT NULL DEFAULT '',  -- 'known_issues' for a pattern that is one of these, else ''
    pattern        TEXT,           -- the key: failure and global pattern their text, decision its summary,
                                   -- pattern and architecture the name of the section or the known issue
                                   -- itself, baseline its name, learning its type
    root_cause     TEXT,
    fix            TEXT,
    stage          TEXT,           -- failure: where it was first seen; the writer never changes it
    frequency      INTEGER,        -- failure: sightings in all its lives, see frequency_base; else NULL
    seen_count     INTEGER,        -- failure: seen_count as the file says now
    frequency_base INTEGER,        -- failure: sightings in earlier lives. A life ends when the entry is pruned;
                                   -- the next one counts from 1, which shows as a later last_seen without a
                                   -- higher count
    first_seen     TEXT,           -- UTC: recorded_at, promoted_at, captured_at; failure and baseline: the
                                   -- earliest last_seen that was looked at
    last_seen      TEXT,           -- UTC
    present        INTEGER NOT NULL DEFAULT 1,  -- 0: gone from the file; decision and learning stay 1
    extra          TEXT            -- baseline, architecture: the value is under "value"
);
CREATE INDEX memory_entries_repo_hash_entry_type ON memory_entries (repo_hash, entry_type);
CREATE INDEX memory_entries_pattern              ON memory_entries (pattern);

-- The spending limit of budget.json: at most one row.
CREATE TABLE budgets (
    id               TEXT PRIMARY KEY,      -- 'daily'
    daily_budget_usd REAL,                  -- US dollars a day
    enabled          INTEGER,               -- 0 | 1
    present          INTEGER NOT NULL DEFAULT 1,
    extra            TEXT
) WITHOUT ROWID;

-- What cost-outcomes.json says of finished pipelines. The file is a sequence
-- of JSON values: outcomes recorded with a command, repeated in each value, and
-- values that a pipeline appended of itself.
CREATE TABLE cost_outcomes (
    id          INTEGER PRIMARY KEY,  -- order of storing
    kind        TEXT NOT NULL,        -- outcome (recorded) | pipeline (appended by a pipeline)
    pipeline_id TEXT,                 -- outcome
    issue       INTEGER,              -- pipeline; as in cost_entries. "#42" with quotes around it is 42
    cost_usd    REAL,                 -- US dollars
    success     INTEGER,              -- outcome: 0 | 1
    model       TEXT,
    template    TEXT,                 -- without the quotes a pipeline puts around it
    ts          TEXT,                 -- UTC text as written
    ts_epoch    INTEGER,              -- seconds; derived from ts where absent
    extra       TEXT
);

-- The daemon itself, from daemon-state.json: at most one row.
CREATE TABLE daemon_state (
    id         TEXT PRIMARY KEY,      -- 'daemon'
    pid        INTEGER,
    started_at TEXT,                  -- UTC
    last_poll  TEXT,                  -- UTC
    config     TEXT,                  -- JSON object
    present    INTEGER NOT NULL DEFAULT 1,
    extra      TEXT                   -- retry_counts, priority_lane_active, ...
) WITHOUT ROWID;

-- One row for each job the daemon has had running; present while it runs.
CREATE TABLE daemon_jobs (
    id         TEXT PRIMARY KEY,      -- repo#issue@started_at
    issue      INTEGER,               -- as in cost_entries
    repo       TEXT,                  -- '' for the daemon's own
    pid        INTEGER,
    worktree   TEXT,
    title      TEXT,
    goal       TEXT,
    started_at TEXT,                  -- UTC
    present    INTEGER NOT NULL DEFAULT 1,
    extra      TEXT
) WITHOUT ROWID;

-- One row for each item that has stood in the daemon's queue.
CREATE TABLE daemon_queue (
    id       TEXT PRIMARY KEY,        -- as written: 56 or owner/repo:58
    issue    INTEGER,                 -- the number in it
    repo     TEXT,                    -- owner/repo, NULL for the daemon's own
    position INTEGER,                 -- place in the file, from 0; the file sorts as text, not by age
    present  INTEGER NOT NULL DEFAULT 1,
    extra    TEXT
) WITHOUT ROWID;

-- Titles of the work items the daemon knows.
CREATE TABLE daemon_titles (
    id      TEXT PRIMARY KEY,         -- number, or owner/repo:number
    title   TEXT,
    present INTEGER NOT NULL DEFAULT 1,
    extra   TEXT
) WITHOUT ROWID;

-- One row for each finished job the daemon lists.
CREATE TABLE daemon_completed (
    id              INTEGER PRIMARY KEY,  -- order of storing
    issue           INTEGER,              -- as in cost_entries
    result          TEXT,                 -- success | failed
    exit_code       INTEGER,
    duration        TEXT,                 -- as written, e.g. 15m 36s
    duration_s      REAL,                 -- seconds, NULL where duration cannot be read
    completed_at    TEXT,                 -- UTC
    completed_epoch INTEGER,              -- seconds
    extra           TEXT
);

-- The daemon's failure_history.
CREATE TABLE daemon_failures (
    id       INTEGER PRIMARY KEY,     -- order of storing
    ts       TEXT,                    -- UTC
    ts_epoch INTEGER,                 -- seconds
    class    TEXT,
    extra    TEXT
);

-- Last sign of life of each job, one file each below heartbeats/.
CREATE TABLE heartbeats (
    id            TEXT PRIMARY KEY,   -- job id: the file's name without .json
    pid           INTEGER,
    issue         INTEGER,            -- as in cost_entries
    stage         TEXT,
    iteration     INTEGER,
    memory_mb     INTEGER,            -- MiB
    cpu_pct       REAL,
    last_activity TEXT,
    updated_at    TEXT,               -- UTC
    updated_epoch INTEGER,            -- seconds
    present       INTEGER NOT NULL DEFAULT 1,
    extra         TEXT
) WITHOUT ROWID;
