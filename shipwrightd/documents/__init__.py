"""JSON files that Shipwright replaces as a whole: read, compared, and the difference stored."""
