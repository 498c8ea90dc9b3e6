-- Full-text search over what Shipwright remembers: each word of failures,
-- decisions and patterns, upper or lower case and accents aside. Follows
-- memory_entries by itself, in the same transaction.

-- What is searched of an entry. `detail` is the text of a decision, the category
-- of a failure, and of the others all there is, names of fields included.
CREATE VIEW memory_texts AS
SELECT id, pattern, root_cause, fix, stage,
    CASE entry_type WHEN 'decision' THEN extra ->> '$.detail' WHEN 'failure' THEN extra ->> '$.category'
        ELSE extra END AS detail
FROM memory_entries;

CREATE VIRTUAL TABLE memory_search USING fts5(
    pattern, root_cause, fix, stage, detail,
    content = 'memory_texts', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO memory_search (memory_search) VALUES ('rebuild');

CREATE TRIGGER memory_entries_added AFTER INSERT ON memory_entries BEGIN
    INSERT INTO memory_search (rowid, pattern, root_cause, fix, stage, detail)
    SELECT id, pattern, root_cause, fix, stage, detail FROM memory_texts WHERE id = new.id;
END;

-- The index must be told what it holds of a row before that changes.
CREATE TRIGGER memory_entries_changing BEFORE UPDATE ON memory_entries BEGIN
    INSERT INTO memory_search (memory_search, rowid, pattern, root_cause, fix, stage, detail)
    SELECT 'delete', id, pattern, root_cause, fix, stage, detail FROM memory_texts WHERE id = old.id;
END;
CREATE TRIGGER memory_entries_changed AFTER UPDATE ON memory_entries BEGIN
    INSERT INTO memory_search (rowid, pattern, root_cause, fix, stage, detail)
    SELECT id, pattern, root_cause, fix, stage, detail FROM memory_texts WHERE id = new.id;
END;
CREATE TRIGGER memory_entries_going BEFORE DELETE ON memory_entries BEGIN
    INSERT INTO memory_search (memory_search, rowid, pattern, root_cause, fix, stage, detail)
    SELECT 'delete', id, pattern, root_cause, fix, stage, detail FROM memory_texts WHERE id = old.id;
END;
