"""The state of the daemon, the database and every source. Read-only."""
