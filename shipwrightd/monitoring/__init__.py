"""Callbacks of the run loop that inform operators: metrics over HTTP, and a hook for errors."""
