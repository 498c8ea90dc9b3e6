"""Settings: from flags, the environment and files; what is allowed, and where each value comes from."""
