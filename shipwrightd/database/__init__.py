"""Opening, locking and migrating the database."""
