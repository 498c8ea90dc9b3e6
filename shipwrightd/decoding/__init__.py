"""Lines of a journal to event rows, and JSON values to column values. Pure."""
