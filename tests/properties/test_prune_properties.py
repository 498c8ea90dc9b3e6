"""Whatever is pruned and imported, projections are those of a database that kept everything."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from histories import arrive, fresh, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from old_prune import delete_settled, fresh_at_schema_9, settle
from projection import NOON

from shipwrightd.database import transaction
from shipwrightd.database.migrate import migrate
from shipwrightd.decoding.events import JOURNAL, Origin, decode_lines
from shipwrightd.maintenance import import_events, prune

if TYPE_CHECKING:
    from projection import Books, Event

# Rows without their ids, in order: what must be the same whichever ids imported events get.
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
    books.db.execute("DELETE FROM temp.incoming")
    lines = [json.dumps(event).encode() for event in events_of(step)]
    with transaction(books.db):
        import_events.stage_rows(books.db, decode_lines(lines, origin=origin, final=True).rows, None)
        import_events.store_new(books.db)


def prune_before(books: Books, step: Step) -> None:
    """Delete what is old."""
    with transaction(books.db):
        if step.held:
            prune.add_held(books.db, books.rows(THIRD), 1 << 62)
        prune.delete(books.db, NOON - step.back_s)


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
        prune.create_staging(pruned.db)
        live(whole, [*past, *future])
        live(pruned, past)
        for step in future:
            if step.kind == "prune":
                before = pruned.everything()
                prune_before(pruned, step)
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
        import_events.create_staging(imported.db)
        live(in_order, [older_events, *newer])
        live(imported, newer[:1])
        bring_in(imported, older_events, origin)
        live(imported, newer[1:])
        assert [imported.rows(query) for query in SHOWN] == [in_order.rows(query) for query in SHOWN]
        assert rebuilt_is_the_same(imported)
        in_order.db.close()
        imported.db.close()


def happen(books: Books, step: Step) -> None:
    if step.kind == "import":
        bring_in(books, step, Origin("import/bee"))
        return
    if step.kind == "prune":
        prune_before(books, step)
    if step.kind == "rebuild":
        books.rebuild()
    arrive(books, step.history)


@settings(max_examples=40)
@given(steps(("prune", "import", "live", "rebuild")))
def test_a_rebuild_changes_nothing_whatever_was_pruned_and_imported(happened: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books = fresh(folder, "a.db")
        import_events.create_staging(books.db)
        prune.create_staging(books.db)
        for step in happened:
            happen(books, step)
            assert rebuilt_is_the_same(books)
        books.db.close()


@settings(max_examples=40)
@given(steps(("live",)), steps(("live",)), steps(("prune", "live", "rebuild")))
def test_a_database_pruned_by_an_earlier_release_keeps_its_projections(
    settled: list[Step], since: list[Step], future: list[Step]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        whole, old = fresh(folder, "whole.db"), fresh_at_schema_9(folder, "old.db")
        live(whole, [*settled, *since])
        live(old, settled)
        settle(old)
        live(old, since)
        delete_settled(old)
        migrate(old.db)
        prune.create_staging(old.db)
        assert old.everything() == whole.everything()
        assert rebuilt_is_the_same(old)
        for step in future:
            happen(old, step)
            arrive(whole, step.history)
        assert old.everything() == whole.everything()
        assert rebuilt_is_the_same(old)
        whole.db.close()
        old.db.close()


@settings(max_examples=40)
@given(steps(("live",)), steps(("prune", "import", "live", "rebuild")))
def test_an_import_into_a_database_pruned_by_an_earlier_release_precedes_the_kept_runs(
    settled: list[Step], future: list[Step]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books = fresh_at_schema_9(folder, "old.db")
        live(books, settled)
        settle(books)
        delete_settled(books)
        migrate(books.db)
        import_events.create_staging(books.db)
        prune.create_staging(books.db)
        for step in future:
            happen(books, step)
            assert rebuilt_is_the_same(books)
        books.db.close()
