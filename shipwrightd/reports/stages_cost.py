"""Money by stage: whole days from `metrics`, the pieces of days at both ends of a period from its entries.

So the time it takes grows with the days of the period, not with its entries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shipwrightd.clock import day_of
from shipwrightd.reports.question import DAY_S

if TYPE_CHECKING:
    import apsw

    from shipwrightd.reports.question import Period

LAST_DAY = 2_932_896  # 9999-12-31: later ones have no figures

# From day ?1 on, without day ?2; days are hopped through, so that other figures are not read.
BY_DAY = """
WITH RECURSIVE days (day) AS (
    SELECT min(period_start) FROM metrics
    WHERE name = 'cost_usd' AND period = 'day' AND period_start >= ?1 AND period_start < ?2
    UNION ALL
    SELECT (SELECT min(period_start) FROM metrics
            WHERE name = 'cost_usd' AND period = 'day' AND period_start > days.day AND period_start < ?2)
    FROM days WHERE day IS NOT NULL
)
SELECT substr(m.dimension, 7), sum(m.total), sum(m.samples)
FROM days CROSS JOIN metrics AS m
    ON m.name = 'cost_usd' AND m.period = 'day' AND m.period_start = days.day
        AND m.dimension >= 'stage:' AND m.dimension < 'stage;'
WHERE days.day IS NOT NULL GROUP BY 1
UNION ALL
SELECT NULL, sum(m.total), sum(m.samples)
FROM days CROSS JOIN metrics AS m
    ON m.name = 'cost_usd' AND m.period = 'day' AND m.period_start = days.day AND m.dimension = ''
WHERE days.day IS NOT NULL HAVING count(*)"""

# From second ?1 on, without second ?2, counted as `metrics` counts.
BY_ENTRY = """
WITH found AS (
    SELECT stage, iif(abs(cost_usd) <= 1e6, CAST(round(cost_usd * 1e6) AS INTEGER), 0) AS cost
    FROM cost_entries WHERE ts_epoch >= ?1 AND ts_epoch < ?2
)
SELECT stage, sum(cost), count(*) FROM found WHERE stage <> '' GROUP BY stage
UNION ALL
SELECT NULL, sum(cost), count(*) FROM found HAVING count(*)"""


@dataclass(frozen=True, slots=True)
class Money:
    """What entries add up to."""

    usd: float = 0.0
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """Money of a period."""

    all: Money
    other: Money  # entries that name no stage
    stages: dict[str, Money] = field(default_factory=dict)


def spent(db: apsw.Connection, period: Period) -> Spent:
    """Return what was spent in a period, in all and by stage."""
    sums: dict[str | None, tuple[int, int]] = {None: (0, 0)}
    first, last = period.since or 0, period.until
    first_day, last_day = -(-first // DAY_S), min(last // DAY_S, LAST_DAY)
    if first_day < last_day:
        _add(sums, db.execute(BY_DAY, (day_of(first_day * DAY_S), day_of(last_day * DAY_S))))
        _add(sums, db.execute(BY_ENTRY, (first, first_day * DAY_S)))
        first = last_day * DAY_S
    _add(sums, db.execute(BY_ENTRY, (first, last)))
    total, entries = sums.pop(None)
    named = {name: _money(*found) for name, found in sums.items() if name is not None}
    rest = (total - sum(cost for cost, _ in sums.values()), entries - sum(count for _, count in sums.values()))
    return Spent(_money(total, entries), _money(*rest), named)


def _add(sums: dict[str | None, tuple[int, int]], found: apsw.Cursor) -> None:
    for name, cost, count in found:
        before = sums.get(name, (0, 0))
        sums[name] = (before[0] + (cost or 0), before[1] + count)


def _money(millionths: int, entries: int) -> Money:
    return Money(round(millionths / 1e6, 6), entries)
