"""Commands that an operator runs: verify, import, prune, rebuild, retry."""
