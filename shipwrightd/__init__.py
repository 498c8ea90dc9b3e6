"""shipwrightd keeps a SQLite database of everything Shipwright writes under its home."""

__version__ = "0.1.0"
