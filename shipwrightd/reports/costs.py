"""Costs: what was spent in a period, by model, stage, issue and day; today against the budget; cost per success.

Whole UTC days come from `metrics`, the parts of days at both ends from cost_entries: 30 days at ten million events take
a fifth of the time of reading their entries. With a filter the entries are read.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, astuple, dataclass
from typing import Any

import apsw

from shipwrightd.clock import day_of
from shipwrightd.reports.question import DAY_S, Period, Question, days_of, percent_of, start_of_day
from shipwrightd.reports.throughput import TOTALS

MILLION = 1_000_000
ISSUES = 20  # shown by name, unless a limit says otherwise
NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
FORECAST_AFTER_S = 3_600  # of a day; before that, one run would set the pace of the entire day

# Money in millionths of a dollar. :since <= time < :until; :model, :stage and :issue or NULL. Of that time, the days
# :first_day to :last_day come from metrics ('' for none), :since to :head and :tail to :until from the entries, with
# the limits of metrics: a figure beyond them counts as 0. Rows (kind, key, total, entries), to be added up by kind and
# key: day, stage; if :all also model, input_tokens, output_tokens, issue (the :limit most expensive ones) and issues
# (key: how many there are). Entries without a model, stage or issue have no row of that kind.
BREAKDOWN = """
WITH daily AS NOT MATERIALIZED (
    SELECT name, period_start, dimension, total, samples FROM metrics
    WHERE period = 'day' AND period_start BETWEEN :first_day AND :last_day
), cut (first, last) AS (VALUES (:since, :head), (:tail, :until)),
picked AS (
    SELECT c.ts_epoch, c.model, c.stage, c.issue, c.cost_usd, c.input_tokens, c.output_tokens
    FROM cut CROSS JOIN cost_entries AS c INDEXED BY cost_entries_ts_epoch
        ON c.ts_epoch >= cut.first AND c.ts_epoch < cut.last
    WHERE :issue IS NULL
    UNION ALL
    SELECT c.ts_epoch, c.model, c.stage, c.issue, c.cost_usd, c.input_tokens, c.output_tokens
    FROM cost_entries AS c INDEXED BY cost_entries_issue
    WHERE c.issue = :issue AND +c.ts_epoch >= :since AND +c.ts_epoch < :until
), entries AS MATERIALIZED (
    SELECT ts_epoch / 86400 AS day, model, stage, issue,
        iif(abs(cost_usd) <= 1e6, CAST(round(cost_usd * 1e6) AS INTEGER), 0) AS cost,
        iif(input_tokens BETWEEN 0 AND 1000000000000, input_tokens, 0) AS tokens_in,
        iif(output_tokens BETWEEN 0 AND 1000000000000, output_tokens, 0) AS tokens_out
    FROM picked
    WHERE (:model IS NULL OR model = :model) AND (:stage IS NULL OR stage = :stage)
), issues AS MATERIALIZED (
    SELECT dimension, sum(total) AS total, sum(samples) AS entries
    FROM (
        SELECT dimension, total, samples FROM daily
        WHERE :all AND name = 'cost_usd' AND dimension >= 'issue:' AND dimension < 'issue;'
        UNION ALL
        SELECT 'issue:' || issue, sum(cost), count(*) FROM entries WHERE :all AND issue IS NOT NULL GROUP BY issue
    )
    GROUP BY dimension
)
SELECT iif(dimension = '', 'day', substr(dimension, 1, 5)), iif(dimension = '', period_start, substr(dimension, 7)),
    total, samples
FROM daily WHERE name = 'cost_usd' AND (dimension = '' OR dimension >= 'model:')
UNION ALL
SELECT 'day', date(day * 86400, 'unixepoch'), sum(cost), count(*) FROM entries GROUP BY day
UNION ALL
SELECT 'model', model, sum(cost), count(*) FROM entries WHERE :all AND model <> '' GROUP BY model
UNION ALL
SELECT 'stage', stage, sum(cost), count(*) FROM entries WHERE stage <> '' GROUP BY stage
UNION ALL
SELECT name, '', total, samples FROM daily
WHERE :all AND name IN ('input_tokens', 'output_tokens') AND dimension = ''
UNION ALL
SELECT 'input_tokens', '', sum(tokens_in), count(*) FROM entries WHERE :all HAVING count(*)
UNION ALL
SELECT 'output_tokens', '', sum(tokens_out), count(*) FROM entries WHERE :all HAVING count(*)
UNION ALL
SELECT 'issues', count(*), sum(total), sum(entries) FROM issues HAVING count(*)
UNION ALL
SELECT * FROM (
    SELECT 'issue', substr(dimension, 7), total, entries FROM issues
    ORDER BY total DESC, CAST(substr(dimension, 7) AS INTEGER), dimension LIMIT :limit)"""

BUDGET = "SELECT daily_budget_usd, enabled FROM budgets WHERE present LIMIT 1"


@dataclass(frozen=True, slots=True)
class Total:
    """All that was spent."""

    cost_usd: float
    entries: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """The part of one model, stage, issue or day."""

    name: str | int | None  # None: entries without one
    cost_usd: float
    entries: int
    share_percent: float | None  # of the total cost; None if that is 0


@dataclass(frozen=True, slots=True)
class Others:
    """The issues that have no line of their own."""

    issues: int
    cost_usd: float
    entries: int
    share_percent: float | None


@dataclass(frozen=True, slots=True)
class Budget:
    """The UTC day of the question's `now` against the daily limit, whatever the filters."""

    day: str
    spent_usd: float
    daily_budget_usd: float | None  # None: no limit is set
    enabled: bool | None  # whether Shipwright enforces it
    used_percent: float | None
    remaining_usd: float | None  # below 0 when exceeded
    exceeded: bool | None  # spent more than the limit, enforced or not
    forecast_usd: float | None  # spent so far / part of the day that has passed; None in the first hour
    forecast_exceeded: bool | None


@dataclass(frozen=True, slots=True)
class Pipelines:
    """The finished runs of the period and the cost of a successful one: total cost / successes."""

    runs: int
    successful_runs: int
    cost_per_success_usd: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """The answer. Each list adds up to the total; by_issue does with other_issues."""

    total: Total
    by_model: list[Line]  # most expensive first, entries without a model last
    by_stage: list[Line]
    by_issue: list[Line]  # the most expensive ones
    other_issues: Others | None
    by_day: list[Line]  # each day of the period, the oldest first
    budget: Budget
    pipelines: Pipelines

    @property
    def empty(self) -> bool:
        """Tell whether the period has no cost entry."""
        return not self.total.entries


@dataclass(frozen=True, slots=True)
class Sum:
    """Money in millionths of a dollar (or tokens), and the number of entries."""

    total: int = 0
    entries: int = 0

    @property
    def usd(self) -> float:
        """The money in US dollars."""
        return self.total / MILLION

    def __add__(self, other: "Sum") -> "Sum":
        """Return both together."""
        return Sum(self.total + other.total, self.entries + other.entries)

    def __sub__(self, other: "Sum") -> "Sum":
        """Return what is left without a part."""
        return Sum(self.total - other.total, self.entries - other.entries)


def collect(db: apsw.Connection, question: Question) -> Costs:
    """Answer for the question's period and filters."""
    sums = breakdown(db, question)
    days = sums["day"]
    overall = sum(days.values(), Sum())
    issues = {int(name) if NUMBER.fullmatch(name) else name: one for name, one in sums["issue"].items()}
    number, named = next(iter(sums["issues"].items()), (0, Sum()))
    others, rest = number - len(issues), named - sum(issues.values(), Sum())
    ((runs, good, *_),) = db.execute(TOTALS, question.values)
    by_day = ((day, days.get(day, Sum())) for day in days_of(question, days))
    tokens = [sums[kind].get("", Sum()).total for kind in ("input_tokens", "output_tokens")]
    return Costs(
        total=Total(overall.usd, overall.entries, *tokens),
        by_model=lines(sums["model"], overall),
        by_stage=lines(sums["stage"], overall),
        by_issue=lines(issues, overall, named),
        other_issues=Others(others, rest.usd, rest.entries, share(rest, overall)) if others > 0 else None,
        by_day=[Line(day, one.usd, one.entries, share(one, overall)) for day, one in by_day],
        budget=budget(db, question.now),
        pipelines=Pipelines(runs, good, round(overall.usd / good, 6) if good else None),
    )


def breakdown(db: apsw.Connection, question: Question, *, by_stage: bool = False) -> dict[str, dict[Any, Sum]]:
    """Return the sums of the question's period and filters by kind and key, as BREAKDOWN has them.

    With `by_stage` only the kinds day and stage, which is faster.
    """
    values = question.values
    filtered = any(values[name] is not None for name in ("model", "stage", "issue"))
    head, tail = (values["until"],) * 2 if filtered else whole_days(values["since"], values["until"])
    values |= {
        "head": head,
        "tail": tail,
        "first_day": day_of(head) if head < tail else "",
        "last_day": day_of(tail - DAY_S) if head < tail else "",
        "limit": ISSUES if question.limit is None else question.limit,
        "all": not by_stage,
    }
    sums: defaultdict[str, dict[Any, Sum]] = defaultdict(dict)
    for kind, key, total, entries in db.execute(BREAKDOWN, values):
        sums[kind][key] = sums[kind].get(key, Sum()) + Sum(total, entries)
    return sums


def whole_days(since: int, until: int) -> tuple[int, int]:
    """Return the beginning of the first and the end of the last whole day between two times; `until` twice for none."""
    head, tail = start_of_day(since + DAY_S - 1), start_of_day(until)
    return (head, tail) if head < tail else (until, until)


def lines(sums: dict[Any, Sum], overall: Sum, named: Sum | None = None) -> list[Line]:
    """Return a line for each name, most expensive first, and one for the entries that are not among the `named`."""
    rest = overall - (sum(sums.values(), Sum()) if named is None else named)
    order = sorted(sums.items(), key=lambda item: -item[1].total)
    return [
        Line(name, one.usd, one.entries, share(one, overall))
        for name, one in [*order, (None, rest)]
        if name is not None or rest.entries
    ]


def share(one: Sum, overall: Sum) -> float | None:
    """Return a part's share of the total cost, in percent."""
    return percent_of(one.total, max(overall.total, 0))


def budget(db: apsw.Connection, now: int) -> Budget:
    """Return the costs of the UTC day of `now` so far, and the daily limit."""
    start = start_of_day(now)
    today = breakdown(db, Question(now=now, period=Period(start, now + 1)), by_stage=True)["day"]
    spent = sum(today.values(), Sum()).usd
    daily, enabled = db.execute(BUDGET).fetchone() or (None, None)
    limit = daily if isinstance(daily, float) and daily > 0 else None  # to Shipwright 0 means no limit
    forecast = forecast_of(spent, now - start)
    return Budget(
        day=day_of(now),
        spent_usd=spent,
        daily_budget_usd=limit,
        enabled=None if limit is None else bool(enabled),
        used_percent=None if limit is None else round(100 * spent / limit, 4),
        remaining_usd=None if limit is None else round(limit - spent, 6),
        exceeded=None if limit is None else spent > limit,
        forecast_usd=forecast,
        forecast_exceeded=None if limit is None or forecast is None else forecast > limit,
    )


def forecast_of(spent_usd: float, elapsed_s: int) -> float | None:
    """Return the cost of the entire day at its pace so far; None in its first hour."""
    return round(spent_usd * DAY_S / elapsed_s, 6) if elapsed_s >= FORECAST_AFTER_S else None


def rows(answer: Costs) -> Iterable[dict[str, Any]]:
    """Return one row for the total and one for each line of each list; only the total has tokens."""
    total, others = answer.total, answer.other_issues
    tokens = {"input_tokens": total.input_tokens, "output_tokens": total.output_tokens}
    yield {"kind": "total", **asdict(Line(None, total.cost_usd, total.entries, None)), **tokens}
    lists = {
        "model": answer.by_model,
        "stage": answer.by_stage,
        "issue": answer.by_issue,
        "other_issues": [] if others is None else [Line(*astuple(others))],
        "day": answer.by_day,
    }
    for kind, parts in lists.items():
        yield from ({"kind": kind, **asdict(one), **dict.fromkeys(tokens)} for one in parts)
