-- What prune took away, and what the projections go on from without it.

-- One row for each origin that prune removed events of. Import leaves out what
-- is older, or it would count twice.
CREATE TABLE pruned (
    origin       TEXT    PRIMARY KEY,  -- as in events
    before_epoch INTEGER NOT NULL,     -- seconds: older events were removed
    events       INTEGER NOT NULL,     -- how many so far
    pruned_at    TEXT    NOT NULL      -- UTC, the last time
) WITHOUT ROWID;

-- Up to which event the projections are settled: what runs, stages and costs
-- say of events first_id to last_id stays as it is and is not derived again,
-- because not all of those events are there any more. One row, none before the
-- first prune.
CREATE TABLE settled (
    id              INTEGER PRIMARY KEY CHECK (id = 1),
    first_id        INTEGER NOT NULL,  -- events.id; smaller ones were imported since
    last_id         INTEGER NOT NULL,  -- events.id; first_id - 1 when nothing is settled
    watermark_epoch INTEGER            -- projection_state.watermark_epoch at the last prune
);

-- The settled runs that later events can still change, which are the newest of
-- each issue, as event settled.last_id left them, and the attempts of these.
CREATE TABLE settled_runs (
    id    INTEGER PRIMARY KEY,         -- pipeline_runs.id
    facts TEXT NOT NULL                -- JSON object of the columns
);
CREATE TABLE settled_stages (
    id    INTEGER PRIMARY KEY,         -- pipeline_stages.id
    facts TEXT NOT NULL                -- JSON object of the columns
);
