"""A damaged database: detected, moved aside, rebuilt from its readable pages and the source files."""
