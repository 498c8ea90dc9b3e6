"""Money: what was spent in a period, by model, stage, issue and day; today against the budget; what a success costs.

Whole UTC days come from `metrics`, the parts of days at both ends from
cost_entries, so that time grows with the days of a period and not with its
entries. With a filter the entries are read. Money is added up in millionths of
a dollar, and both ways leave out what `metrics` leaves out as impossible.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipwrightd.clock import YEAR_10000, day_of
from shipwrightd.reports.costs_sql import BREAKDOWN, BUDGET, RUNS, SPENT
from shipwrightd.reports.question import DAY_S, days_of, start_of_day

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from shipwrightd.reports.question import Question

MILLION = 1_000_000
ISSUES = 20  # shown by name, unless a limit says otherwise
FORECAST_AFTER_S = 3_600  # of a day; before that a single run would be taken for the whole day's pace


@dataclass(frozen=True, slots=True)
class Total:
    """All that was spent."""

    cost_usd: float
    entries: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """What one model, stage, issue or day has of the total."""

    name: str | int | None  # None: the entries that name none
    cost_usd: float
    entries: int
    share_percent: float | None  # of the total's money, None where that is nothing


@dataclass(frozen=True, slots=True)
class Others:
    """The issues that have no line of their own."""

    issues: int
    cost_usd: float
    entries: int
    share_percent: float | None


@dataclass(frozen=True, slots=True)
class Budget:
    """The UTC day of the question's present time against the daily limit; no filter counts here."""

    day: str
    spent_usd: float
    daily_budget_usd: float | None  # None: no limit was set
    enabled: bool | None  # whether Shipwright heeds it
    used_percent: float | None
    remaining_usd: float | None  # below 0 when exceeded
    exceeded: bool | None  # spent more than the limit, heeded or not
    forecast_usd: float | None  # spent so far / part of the day that has passed; None in the first hour
    forecast_exceeded: bool | None


@dataclass(frozen=True, slots=True)
class Pipelines:
    """The finished runs of the period and what a successful one costs: all money of the question / successes."""

    runs: int
    successful_runs: int
    cost_per_success_usd: float | None


@dataclass(frozen=True, slots=True)
class Costs:
    """The whole answer. Each list adds up to the total; by_issue does with other_issues."""

    total: Total
    by_model: list[Line]  # the dearest first, those that name none last
    by_stage: list[Line]
    by_issue: list[Line]  # the dearest ones
    other_issues: Others | None
    by_day: list[Line]  # each day of the period, the oldest first
    budget: Budget
    pipelines: Pipelines

    @property
    def empty(self) -> bool:
        """Tell whether nothing was entered in the period."""
        return not self.total.entries


@dataclass(frozen=True, slots=True)
class Sum:
    """Money in millionths of a dollar (or tokens), and the entries behind it."""

    total: int = 0
    entries: int = 0


Found = dict[str, dict[Any, Sum]]


def collect(db: apsw.Connection, question: Question) -> Costs:
    """Answer for the question's period and filters."""
    limit = ISSUES if question.limit is None else question.limit
    found = added_up(db, question, limit)
    days = found.get("day", {})
    whole = Sum(sum(day.total for day in days.values()), sum(day.entries for day in days.values()))
    issues = {issue_named(name): found["issue"][name] for name in found.get("issue", {})}
    every, named = next(iter(found.get("issues", {}).items()), (0, Sum()))
    nameless = Sum(whole.total - named.total, whole.entries - named.entries)
    return Costs(
        total=Total(
            whole.total / MILLION,
            whole.entries,
            found.get("input_tokens", {}).get("", Sum()).total,
            found.get("output_tokens", {}).get("", Sum()).total,
        ),
        by_model=lines(found.get("model", {}), whole),
        by_stage=lines(found.get("stage", {}), whole),
        by_issue=[*ranked(issues, whole), *_nameless(nameless, whole)],
        other_issues=others(every - len(issues), named, issues, whole),
        by_day=[line(day, days.get(day, Sum()), whole) for day in days_of(question, days)],
        budget=budget(db, question.now),
        pipelines=pipelines(db, question, whole.total),
    )


def added_up(db: apsw.Connection, question: Question, limit: int) -> Found:
    """Return what the question leaves, by kind (model, stage, issue, day, issues, ..._tokens) and key."""
    since, until = question.period.since or 0, min(question.period.until, YEAR_10000)
    filters = {"model": question.model, "stage": question.stage, "issue": question.issue}
    head, tail = (until, until) if any(value is not None for value in filters.values()) else whole_days(since, until)
    values = {
        **filters,
        "since": since,
        "until": until,
        "head": head,
        "tail": tail,
        "first_day": day_of(head) if head < tail else "",
        "last_day": day_of(tail - DAY_S) if head < tail else "",
        "limit": limit,
    }
    found: Found = {}
    for kind, key, total, entries in db.execute(BREAKDOWN, values):
        before = found.setdefault(kind, {}).get(key, Sum())
        found[kind][key] = Sum(before.total + total, before.entries + entries)
    return found


def whole_days(since: int, until: int) -> tuple[int, int]:
    """Return the beginning of the first and the end of the last whole day between two times; `until` twice for none."""
    head, tail = start_of_day(since + DAY_S - 1), start_of_day(until)
    return (head, tail) if head < tail else (until, until)


def issue_named(text: str) -> str | int:
    """Return an issue as it stands in the entries."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text


def lines(found: dict[Any, Sum], whole: Sum) -> list[Line]:
    """Return a line for each name, the dearest first, and one for what has no name."""
    named = Sum(sum(one.total for one in found.values()), sum(one.entries for one in found.values()))
    return [*ranked(found, whole), *_nameless(Sum(whole.total - named.total, whole.entries - named.entries), whole)]


def ranked(found: dict[Any, Sum], whole: Sum) -> list[Line]:
    """Return a line for each name, the dearest first."""
    order = sorted(found.items(), key=lambda item: -item[1].total)
    return [line(name, one, whole) for name, one in order]


def _nameless(rest: Sum, whole: Sum) -> list[Line]:
    return [line(None, rest, whole)] if rest.entries else []


def line(name: str | int | None, one: Sum, whole: Sum) -> Line:
    """Return one line of a total."""
    return Line(name, one.total / MILLION, one.entries, share(one, whole))


def share(one: Sum, whole: Sum) -> float | None:
    """Return a part's share of the money, in percent."""
    return round(100 * one.total / whole.total, 4) if whole.total > 0 else None


def others(number: int, named: Sum, shown: dict[Any, Sum], whole: Sum) -> Others | None:
    """Return the issues that are not shown as one line, None when all are."""
    if number <= 0:
        return None
    rest = Sum(
        named.total - sum(one.total for one in shown.values()),
        named.entries - sum(one.entries for one in shown.values()),
    )
    return Others(number, rest.total / MILLION, rest.entries, share(rest, whole))


def budget(db: apsw.Connection, now: int) -> Budget:
    """Return what the UTC day of `now` has cost so far, beside the daily limit."""
    start = start_of_day(now)
    spent = (db.execute(SPENT, (start, now)).get or 0) / MILLION
    daily, enabled = db.execute(BUDGET).fetchone() or (None, None)
    limit = daily if isinstance(daily, float) and daily > 0 else None  # Shipwright takes 0 for no limit
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
    """Return what the day will have cost if it goes on at its pace so far; None while it is too young to tell."""
    return round(spent_usd * DAY_S / elapsed_s, 6) if elapsed_s >= FORECAST_AFTER_S else None


def pipelines(db: apsw.Connection, question: Question, total: int) -> Pipelines:
    """Return the finished runs of the period, of the issue if one is asked for, and what a success costs."""
    period = question.period
    found: list[Any] = db.execute(RUNS, (period.since or 0, period.until, question.issue)).fetchall()
    runs, good = found[0]
    return Pipelines(runs, good, round(total / MILLION / good, 6) if good else None)


def rows(answer: Costs) -> Iterable[dict[str, Any]]:
    """Return one row for the total and one for each line of each list; tokens are known of the total alone."""
    total, other = answer.total, answer.other_issues
    yield _row("total", None, Line(None, total.cost_usd, total.entries, None), total)
    for kind, found in (("model", answer.by_model), ("stage", answer.by_stage), ("issue", answer.by_issue)):
        yield from (_row(kind, one.name, one) for one in found)
    if other is not None:
        yield _row("other_issues", other.issues, other)
    yield from (_row("day", one.name, one) for one in answer.by_day)


def _row(kind: str, name: object, one: Line | Others, tokens: Total | None = None) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "cost_usd": one.cost_usd,
        "entries": one.entries,
        "share_percent": one.share_percent,
        "input_tokens": tokens and tokens.input_tokens,
        "output_tokens": tokens and tokens.output_tokens,
    }
