"""The run loop: when to read, and who is told."""
