"""Settings: flags, environment and files; what is allowed, and where each value came from."""
