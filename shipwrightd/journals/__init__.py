"""Files that are appended to: which lines are new, and their rows in one transaction with the checkpoint."""
