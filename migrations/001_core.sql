-- What every other table leans on: the events themselves and the books that
-- say which bytes of which file are already in them.
--
-- `schema_version` is made by the migrator before the first file runs.

-- One row for each record of a journal, in the order the records stand in the
-- file. `id` only grows; it is the order of reading and nothing else.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY,
    ts         TEXT,                 -- UTC text as written, e.g. 2026-01-05T08:30:00Z
    ts_epoch   INTEGER,              -- seconds; derived from ts where the line lacks it
    type       TEXT,                 -- the first "type" of the line
    issue      INTEGER,              -- NULL for 0, "0", "" and absent; text where it is no number
    stage      TEXT,
    result     TEXT,
    duration_s REAL,                 -- seconds
    cost_usd   REAL,                 -- US dollars
    model      TEXT,
    origin     TEXT    NOT NULL,     -- source; for team events source/developer@machine
    salvaged   INTEGER NOT NULL,     -- 1: the line was not strict JSON
    extra      TEXT                  -- JSON object of all other fields, NULL when there are none
);
CREATE INDEX events_type       ON events (type);
CREATE INDEX events_ts_epoch   ON events (ts_epoch);
CREATE INDEX events_issue      ON events (issue);
CREATE INDEX events_type_epoch ON events (type, ts_epoch);

-- Where reading goes on, one row a source. Moves only in the transaction that
-- stores the rows it accounts for.
CREATE TABLE checkpoints (
    source       TEXT    PRIMARY KEY,  -- path below the Shipwright home
    kind         TEXT    NOT NULL,     -- journal | document
    generation   INTEGER,              -- journal: row of generations that reading is in
    digest       BLOB,                 -- document: hash of the bytes last stored
    entries      BLOB,                 -- document with a capped list: 8-byte hash of each entry, in order
    records      INTEGER NOT NULL DEFAULT 0,  -- rows stored so far
    salvaged     INTEGER NOT NULL DEFAULT 0,
    quarantined  INTEGER NOT NULL DEFAULT 0,
    gaps         INTEGER NOT NULL DEFAULT 0,
    newest_epoch INTEGER,              -- largest ts_epoch stored, seconds
    committed_at TEXT                  -- UTC, when this row last moved
) WITHOUT ROWID;

-- One row for each physical file that has carried a journal's name: the
-- current one, and the last sixteen of each other state.
CREATE TABLE generations (
    id           INTEGER PRIMARY KEY,
    source       TEXT    NOT NULL,
    state        TEXT    NOT NULL,     -- current | rotated (has a sibling's name now) | replaced
    device       INTEGER NOT NULL,
    inode        INTEGER NOT NULL,
    offset       INTEGER NOT NULL,     -- bytes: the first byte not stored yet
    anchor       BLOB    NOT NULL,     -- hash of the bytes just before offset
    anchor_bytes INTEGER NOT NULL,     -- how many bytes it covers, at most 4096
    lines        INTEGER NOT NULL      -- position behind the last line in history
);

-- An 8-byte hash of each physical line of the current generation, in the
-- file's own order, bad and blank lines too. Kept for the last 65,536 lines.
CREATE TABLE history (
    source TEXT    NOT NULL,
    first  INTEGER NOT NULL,           -- position of the chunk's first line
    hashes BLOB    NOT NULL,           -- 8 bytes a line
    PRIMARY KEY (source, first)
) WITHOUT ROWID;

-- Bytes that could not become a row even after salvage, as they were.
CREATE TABLE quarantine (
    id         INTEGER PRIMARY KEY,
    source     TEXT    NOT NULL,
    generation INTEGER,
    offset     INTEGER NOT NULL,       -- byte position in that generation's file
    length     INTEGER NOT NULL,       -- bytes there; raw may hold only the first KiB
    reason     TEXT    NOT NULL,
    raw        BLOB    NOT NULL,
    seen_at    TEXT    NOT NULL,       -- UTC
    state      TEXT    NOT NULL DEFAULT 'kept'   -- kept | recovered (a retry made rows of it)
);

-- Stretches that passed unseen: what reached a file and left it again while
-- nobody read, as far as that can be proved.
CREATE TABLE gaps (
    id           INTEGER PRIMARY KEY,
    source       TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    detected_at  TEXT    NOT NULL,     -- UTC
    after_event  INTEGER,              -- id of the last event stored before the gap
    old_offset   INTEGER,              -- bytes: where reading stood in the file that is gone
    detail       TEXT                  -- JSON object
);

-- What stands in the way of a source right now; a row goes when the cause does.
CREATE TABLE source_errors (
    source TEXT PRIMARY KEY,           -- '' for the daemon as a whole
    error  TEXT NOT NULL,
    since  TEXT NOT NULL               -- UTC
) WITHOUT ROWID;
