"""Tables as files, the journal as lines again, the database as a copy."""
