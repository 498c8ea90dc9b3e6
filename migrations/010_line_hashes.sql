-- Line hashes are kept for every remembered file of a journal, no longer for
-- the current one alone, so that a file that comes back in any arrangement is
-- known line by line.

-- An 8-byte hash of each physical line, bad and blank lines too, in the order
-- of its file; of each file the last 65,536. What is known of the current file
-- is carried over; older ones are known by their anchor until they return.
CREATE TABLE line_hashes (
    generation INTEGER NOT NULL,       -- row of generations: the file
    first      INTEGER NOT NULL,       -- position of the chunk's first line
    hashes     BLOB    NOT NULL,       -- 8 bytes a line
    PRIMARY KEY (generation, first)
) WITHOUT ROWID;
INSERT INTO line_hashes (generation, first, hashes)
SELECT c.generation, h.first, h.hashes
FROM history AS h JOIN checkpoints AS c ON c.source = h.source
WHERE c.generation IS NOT NULL;
DROP TABLE history;

-- 0: the file may be one that is still being written over, or that ends inside
-- of what is known, so that growth is compared before it is read.
ALTER TABLE generations ADD COLUMN settled INTEGER NOT NULL DEFAULT 1;

-- The last event when lines of the journal were last removed or moved other
-- than by a trim. Up to it a record may be stored more often than it is in the
-- files: an older version of the journal held it that often.
ALTER TABLE checkpoints ADD COLUMN rearranged_after INTEGER;
