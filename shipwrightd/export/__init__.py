"""Exports and backups: tables as files, events as journal lines, the database as a checked copy."""
