"""What accompanies the run loop: figures for monitors over HTTP, and an operator's hook."""
