"""Coverage-guided fuzzing: for each target a file that says what must hold for any bytes. See docs/reliability.md."""
