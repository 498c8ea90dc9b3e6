"""Examples at the end of the help of commands. A test has the command line read each of them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "run": (
        ("shipwrightd run", "follow ~/.shipwright until Ctrl-C"),
        ("shipwrightd run --home /mnt/ci/.shipwright --no-watch --rescan 5", "on a network file system"),
        ("shipwrightd run --metrics 127.0.0.1:9464", "with figures for Prometheus"),
    ),
    "backfill": (
        ("shipwrightd backfill", "import ~/.shipwright"),
        ("shipwrightd backfill --home copy/.shipwright --db copy.db", "a copy, into another database"),
    ),
    "status": (
        ("shipwrightd status", "for people"),
        ("shipwrightd status --check", "for scripts: exit code 1 tells trouble"),
        ("shipwrightd status --format prometheus --out /srv/textfile/shipwrightd.prom", "for node_exporter"),
    ),
    "doctor": (
        ("shipwrightd doctor", "what to do about what is wrong"),
        ("shipwrightd doctor --deep --bundle support.tar.gz", "all of it, and an archive to send"),
    ),
    "export": (
        ("shipwrightd export --out events.jsonl", "all events, as journal lines"),
        ("shipwrightd export --table pipeline_runs --format csv --since 30d", "a month of runs for a spreadsheet"),
    ),
    "import": (
        ("shipwrightd import old/events.jsonl", "this machine's own old journal"),
        ("shipwrightd import --machine mac mac/events.jsonl", "that of another machine, kept apart"),
    ),
    "prune": (
        ("shipwrightd prune --older-than 180d --dry-run", "what would go"),
        ("shipwrightd export --out events.jsonl", "keep a copy"),
        ("shipwrightd prune --older-than 180d", "let it go"),
    ),
    "report": (
        ("shipwrightd report dora --days 90", ""),
        ("shipwrightd report costs --since 2026-01-01 --format csv", ""),
        ("shipwrightd report runs --status failed", ""),
        ("shipwrightd report memory --search 'flaky test'", ""),
    ),
    "service": (
        ("shipwrightd service install --dry-run", "see what would be written"),
        ("shipwrightd service install", "keep it running from now on"),
        ("shipwrightd service logs --follow", "watch it"),
    ),
    "config": (
        ("shipwrightd config show", "what holds, and why"),
        ("shipwrightd config check", "what is wrong"),
    ),
    "completion": (
        ("shipwrightd completion bash > ~/.local/share/bash-completion/completions/shipwrightd", ""),
        ("shipwrightd completion zsh > ~/.zfunc/_shipwrightd", "with ~/.zfunc in fpath before compinit"),
        ("shipwrightd completion fish > ~/.config/fish/completions/shipwrightd.fish", ""),
    ),
}


def of(command: str) -> str:
    """Return the examples of a command as they stand below its options, each with its reason before it."""
    lines = ["\b", "Examples:"]
    for line, why in EXAMPLES[command]:
        lines += [f"  # {why}", f"  {line}"] if why else [f"  {line}"]
    return "\n".join(lines)
