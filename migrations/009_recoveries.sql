-- One row for each time the database was found damaged, set aside and built
-- anew from what could still be read of it and from the files.
CREATE TABLE recoveries (
    id          INTEGER PRIMARY KEY,
    detected_at TEXT    NOT NULL,  -- UTC, when the damage was met
    finished_at TEXT    NOT NULL,  -- UTC, when the new database was complete
    reason      TEXT    NOT NULL,  -- how the damage showed
    set_aside   TEXT    NOT NULL,  -- name of the damaged file, beside the database; its log has -wal appended
    kept        INTEGER NOT NULL,  -- records read from the damaged file, what is derived aside
    refilled    INTEGER NOT NULL,  -- events that could not be read there and were taken from the files
    lost        INTEGER NOT NULL,  -- events that neither holds, as far as that can be told; each stretch is in gaps
    detail      TEXT    NOT NULL   -- JSON object: by table the rows kept, and how many places were unreadable
);
