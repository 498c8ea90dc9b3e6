"""Whatever is pruned and imported between whatever arrives, the figures are those of a database that kept it all."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from histories import arrive, fresh, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from projection import NOON

from shipwrightd.database.connection import transaction
from shipwrightd.decoding.events import JOURNAL, Origin, decode_lines
from shipwrightd.maintenance import store
from shipwrightd.maintenance.import_events import take_in
from shipwrightd.maintenance.prune import delete

if TYPE_CHECKING:
    from projection import Books, Event

# Rows without their ids, in order: what an import must leave the same wherever its events are filed.
SHOWN = (
    """SELECT issue, status, start_seen, started_epoch, ended_epoch, phase, doubles_due, spawn_epoch, last_sign,
        last_epoch, next_run_id IS NULL, entries_cost_usd, cost_usd FROM pipeline_runs ORDER BY id""",
    """SELECT stage, attempt, status, slot, started_epoch, ended_epoch, duration_s FROM pipeline_stages ORDER BY id""",
    "SELECT * FROM metrics ORDER BY name, period, period_start, dimension",
    """SELECT ended_epoch, issue, good, duration_s, lead_time_s, recovery_s, recoveries
    FROM run_outcomes ORDER BY ended_epoch, run_id""",
    "SELECT * FROM projection_state",
)
THIRD = """
SELECT ts, ts_epoch, type, issue, stage, result, duration_s, cost_usd, model, origin, salvaged, extra
FROM events WHERE id % 3 = 0"""


@dataclass(frozen=True)
class Step:
    """Something that happens to a database, and what arrives after it."""

    kind: str
    back_s: int = 0  # prune: this long before noon
    held: bool = False  # prune: a file still holds every third event
    history: list[Event] = field(default_factory=list)


@st.composite
def steps(draw: st.DrawFn, kinds: tuple[str, ...]) -> list[Step]:
    """Draw what happens; each event differs from all others."""
    made = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(kinds))
        back_s = draw(st.sampled_from([-400_000, -100_000, -40_000, -300, -1, 0, 86_000, 10**9, -(10**9)]))
        made.append(Step(kind, back_s, draw(st.booleans()), draw(histories())))
    for number, event in enumerate(event for step in made for event in step.history):
        event["n"] = number
    return made


def events_of(step: Step) -> list[Event]:
    return [event for event in step.history if event["type"] is not None]


def bring_in(books: Books, step: Step, origin: Origin) -> None:
    """Import the events of a step."""
    store.forget_incoming(books.db)
    lines = [json.dumps(event).encode() for event in events_of(step)]
    with transaction(books.db):
        store.add_incoming(books.db, decode_lines(lines, origin=origin, final=True).rows, None)
        take_in(books.db)


def prune(books: Books, step: Step) -> None:
    """Delete what is old."""
    with transaction(books.db):
        if step.held:
            store.add_held(books.db, books.rows(THIRD), 1 << 62)
        delete(books.db, NOON - step.back_s)


def live(books: Books, steps: list[Step]) -> None:
    for step in steps:
        arrive(books, step.history)


def rebuilt_is_the_same(books: Books) -> bool:
    before = books.everything()
    books.rebuild()
    return books.everything() == before


@settings(max_examples=40)
@given(steps(("live",)), steps(("prune", "live", "rebuild")))
def test_what_is_pruned_still_counts_as_if_it_were_there(past: list[Step], future: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, pruned = fresh(folder, "whole.db"), fresh(folder, "pruned.db")
        store.lay_out(pruned.db)
        live(whole, [*past, *future])
        live(pruned, past)
        for step in future:
            if step.kind == "prune":
                before = pruned.everything()
                prune(pruned, step)
                assert pruned.everything() == before
            if step.kind == "rebuild":
                pruned.rebuild()
            arrive(pruned, step.history)
        assert pruned.everything() == whole.everything()
        assert rebuilt_is_the_same(pruned)
        assert pruned.everything() == whole.everything()
        whole.db.close()
        pruned.db.close()


@settings(max_examples=40)
@given(steps(("live",)), st.integers(1, 4), st.sampled_from([JOURNAL, Origin("import/bee")]))
def test_imported_events_count_as_if_they_had_come_first(happened: list[Step], cut: int, origin: Origin) -> None:
    newer = happened[cut:]
    older_events = Step("import", history=[event for step in happened[:cut] for event in events_of(step)])
    with tempfile.TemporaryDirectory() as folder:
        in_order, imported = fresh(folder, "order.db"), fresh(folder, "imported.db")
        store.lay_out(imported.db)
        live(in_order, [older_events, *newer])
        live(imported, newer[:1])
        bring_in(imported, older_events, origin)
        live(imported, newer[1:])
        assert [imported.rows(query) for query in SHOWN] == [in_order.rows(query) for query in SHOWN]
        assert rebuilt_is_the_same(imported)
        in_order.db.close()
        imported.db.close()


@settings(max_examples=40)
@given(steps(("prune", "import", "live", "rebuild")))
def test_a_rebuild_changes_nothing_whatever_was_pruned_and_imported(happened: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books = fresh(folder, "a.db")
        store.lay_out(books.db)
        for step in happened:
            if step.kind == "import":
                bring_in(books, step, Origin("import/bee"))
                continue
            if step.kind == "prune":
                prune(books, step)
            if step.kind == "rebuild":
                books.rebuild()
            arrive(books, step.history)
            kept = books.rows("SELECT count(*) FROM pipeline_runs")
            assert rebuilt_is_the_same(books)
            assert books.rows("SELECT count(*) FROM pipeline_runs") == kept
        books.db.close()
