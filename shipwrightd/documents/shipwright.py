"""Parsers of the documents beside memory/: bytes and the varying part of the path to rows. Pure.

Rows are in the column order of the statements in `store`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipwrightd.decoding.values import INT64_MAX, entry_hash, epoch_of, seconds_of
from shipwrightd.documents.fields import Fields, Item, Object, Parsed, Scope
from shipwrightd.documents.lists import surplus

if TYPE_CHECKING:
    from shipwrightd.decoding.values import Json

COSTS_CAP = 1_000
OUTCOMES_CAP = 500
COMPLETED_CAP = 500
FAILURE_HISTORY_CAP = 100
NO_CAP = 0
RECORDED = ("outcomes", "summary")  # fields that recording an outcome adds to every object of the file


def costs(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse costs.json."""
    parsed.add_list(document, "entries", Scope("cost_entries"), COSTS_CAP, cost)


def cost(value: Object) -> Item:
    """Return input_tokens, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, extra."""
    f = Fields(value)
    ts = f.text("ts")
    epoch = f.epoch("ts_epoch", ts)
    head = (f.number("input_tokens"), f.number("output_tokens"), f.text("model"), f.text("stage"))
    return Item((*head, f.issue("issue"), f.number("cost_usd"), ts, epoch, f.extra()), epoch)


def budget(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse budget.json: one row of daily_budget_usd, enabled, extra."""
    f = Fields(document)
    row = (f.number("daily_budget_usd"), f.flag("enabled"), f.extra())
    parsed.add_keyed(Scope("budgets"), "budget", [(document, Item(row, key=("daily",)))])


def cost_outcomes(parsed: Parsed, pieces: list[Object | str], _name: str) -> None:
    """Parse cost-outcomes.json, a sequence of objects.

    Recording an outcome adds it to every object, so the list of outcomes is that of
    the first object and the entries that later ones have beyond it. All other fields
    of an object are what a pipeline appended.
    """
    values = [piece for piece in pieces if isinstance(piece, dict)]
    for piece in pieces:
        if isinstance(piece, str):
            parsed.reject("neither an object nor part of one", piece)
    lists = [part for value in values if (part := parsed.list_in(value, "outcomes")) is not None]
    if lists:
        merged_list: Object = {"outcomes": merged(lists)}
        parsed.add_list(merged_list, "outcomes", Scope("cost_outcomes", ("outcome",)), OUTCOMES_CAP, outcome)
    appended = [{key: item for key, item in value.items() if key not in RECORDED} for value in values]
    pipelines: Object = {"pipelines": [rest for rest in appended if rest]}
    scope = Scope("cost_outcomes", ("pipeline",))
    parsed.add_list(pipelines, "pipelines", scope, NO_CAP, lambda value: outcome(value, "cost"))


def merged(lists: list[list[Json]]) -> list[Json]:
    """Return the first of the longest lists, followed by the entries that the others have beyond it."""
    longest = max(lists, key=len)
    result: list[Json] = []
    hashes: list[bytes] = []
    for part in (longest, *(other for other in lists if other is not longest)):
        theirs = [entry_hash(item) for item in part]
        beyond = surplus(Counter(hashes), theirs)
        result += [part[i] for i in beyond]
        hashes += [theirs[i] for i in beyond]
    return result


def outcome(value: Object, cost_key: str = "cost_usd") -> Item:
    """Return pipeline_id, issue, cost_usd, success, model, template, ts, ts_epoch, extra."""
    f = Fields(value)
    ts = f.text("ts")
    epoch = f.epoch("ts_epoch", ts)
    head = (f.text("pipeline_id"), f.issue("issue"), f.number(cost_key), f.flag("success"))
    return Item((*head, f.text("model"), f.bare_text("template"), ts, epoch, f.extra()), epoch)


def registry(parsed: Parsed, document: list[Json], _name: str) -> None:
    """Parse developer-registry.json, a list."""
    parsed.add_keyed_list(Scope("sessions"), "registry", document, developer)


def developer(value: Object) -> Item | str:
    """Return developer, machine, hostname, platform, last_heartbeat_ms, ..., queued, extra."""
    f = Fields(value)
    name, machine = f.text("developer_id"), f.text("machine_name")
    if not name or not machine:
        return "entry without developer_id and machine_name"
    heartbeat = f.number("last_heartbeat")
    head = (name, machine, f.text("hostname"), f.text("platform"), heartbeat)
    daemon = (f.flag("daemon_running"), f.number("daemon_pid"), f.json("active_jobs"), f.json("queued"))
    row = (*head, *daemon, f.extra())
    seen = int(heartbeat // 1_000) if heartbeat and abs(heartbeat) <= INT64_MAX else None
    return Item(row, seen, key=(f"{name}@{machine}",))


def heartbeat(parsed: Parsed, document: Object, name: str) -> None:
    """Parse heartbeats/<job>.json: one row of pid, issue, stage, iteration, ..., updated_epoch, extra."""
    f = Fields(document)
    updated = f.text("updated_at")
    epoch = epoch_of(updated)
    head = (f.number("pid"), f.issue("issue"), f.text("stage"), f.number("iteration"))
    load = (f.number("memory_mb"), f.number("cpu_pct"), f.text("last_activity"))
    item = Item((*head, *load, updated, epoch, f.extra()), epoch)
    parsed.add_keyed(Scope("heartbeats", (name,)), "heartbeat", [(document, item)])


def daemon_state(parsed: Parsed, document: Object, _name: str) -> None:
    """Parse daemon-state.json: the daemon, its jobs, queue and titles, completed jobs and failures."""
    parsed.add_keyed_list(Scope("daemon_jobs"), "active_jobs", parsed.list_in(document, "active_jobs"), job)
    if (items := parsed.list_in(document, "queued")) is not None:
        parsed.add_keyed(Scope("daemon_queue"), "queued", [(item, queued(item, at)) for at, item in enumerate(items)])
    parsed.add_list(document, "completed", Scope("daemon_completed"), COMPLETED_CAP, completed)
    parsed.add_list(document, "failure_history", Scope("daemon_failures"), FAILURE_HISTORY_CAP, daemon_failure)
    stored = {"active_jobs", "queued", "completed", "failure_history"}
    if isinstance(titles := document.get("titles"), dict):
        entries: list[tuple[Json, Item | str]] = [({key: text}, title(key, text)) for key, text in titles.items()]
        parsed.add_keyed(Scope("daemon_titles"), "titles", entries)
        stored.add("titles")
    f = Fields({key: value for key, value in document.items() if key not in stored})
    row = (f.number("pid"), f.text("started_at"), f.text("last_poll"), f.json("config"), f.extra())
    parsed.add_keyed(Scope("daemon_state"), "daemon", [(document, Item(row, key=("daemon",)))])


def job(value: Object) -> Item:
    """Return issue, repo, pid, worktree, title, goal, started_at, extra."""
    f = Fields(value)
    issue, repo, started = f.issue("issue"), f.text("repo"), f.text("started_at")
    key = f"{repo or ''}#{'' if issue is None else issue}@{started or ''}"
    head = (issue, repo, f.number("pid"), f.text("worktree"), f.text("title"), f.text("goal"))
    return Item((*head, started, f.extra()), epoch_of(started), key=(key,))


def queued(value: Json, position: int) -> Item | str:
    """Return issue, repo, position, extra."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return "item is neither text nor number"
    repo, colon, number = str(value).rpartition(":")
    issue = Fields({"issue": number}).issue("issue")
    return Item((issue, repo if colon else None, position, None), key=(str(value),))


def title(work_item: str, text: Json) -> Item | str:
    """Return title, extra of a work item."""
    return Item((text, None), key=(work_item,)) if isinstance(text, str) else "title is not a text"


def completed(value: Object) -> Item:
    """Return issue, result, exit_code, duration, duration_s, completed_at, completed_epoch, extra."""
    f = Fields(value)
    at = f.text("completed_at")
    epoch = epoch_of(at)
    head = (f.issue("issue"), f.text("result"), f.number("exit_code"))
    duration = f.text("duration")
    return Item((*head, duration, seconds_of(duration), at, epoch, f.extra()), epoch)


def daemon_failure(value: Object) -> Item:
    """Return ts, ts_epoch, class, extra."""
    f = Fields(value)
    ts = f.text("ts")
    epoch = f.epoch("ts_epoch", ts)
    return Item((ts, epoch, f.text("class"), f.extra()), epoch)
