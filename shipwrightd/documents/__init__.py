"""Files that are replaced whole: read, compared, and only the difference stored."""
