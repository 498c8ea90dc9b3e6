"""What an operator starts by hand: verify, import, prune, retry."""
