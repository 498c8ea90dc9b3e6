"""What tables of many columns need short: durations, and stretches of time in which nothing was."""

from __future__ import annotations

MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400


def short(seconds: float | None) -> str:
    """Return a duration in at most seven letters up to a hundred days: 4.5s, 59s, 10m 26s, 2h 5m, 3d 4h."""
    if seconds is None:
        return "-"
    if 0 < seconds < MINUTE_S / 6 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < MINUTE_S:
        return f"{whole}s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S}m {whole % MINUTE_S}s"
    if whole < 2 * DAY_S:
        return f"{whole // HOUR_S}h {whole % HOUR_S // MINUTE_S}m"
    return f"{whole // DAY_S:,}d {whole % DAY_S // HOUR_S}h"


def idle(stretch: str, length: int, unit: str) -> str | tuple[str, str]:
    """Return the first cell of a line for days, weeks or months with nothing in them: one by name, more by number."""
    return stretch if length == 1 else (f"{length:,} {unit}s", "dim")
