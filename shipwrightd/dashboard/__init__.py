"""The answers of Shipwright's own dashboard, from the database. Read-only."""
