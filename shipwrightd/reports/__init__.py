"""The read side: opens the database read-only. Imports nothing of ingest."""
