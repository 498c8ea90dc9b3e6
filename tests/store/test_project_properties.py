"""However the events and entries are cut into batches, the tables are those that a rebuild makes."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from histories import arrive, fresh, histories
from hypothesis import given, settings
from hypothesis import strategies as st
from projection import cuts

if TYPE_CHECKING:
    from projection import Event


@settings(max_examples=100)
@given(histories(), st.lists(st.integers(1, 9), max_size=12))
def test_batches_make_no_difference(history: list[Event], sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        books = fresh(folder, "a.db")
        for batch in cuts(len(history), sizes):
            arrive(books, history[batch])
        before = books.everything()
        books.rebuild()
        assert books.everything() == before

        counted = "SELECT coalesce(sum(total), 0) FROM metrics WHERE name = ? AND period = 'day'"
        ended = "SELECT count(*) FROM pipeline_runs WHERE status IN (?, ?) AND ended_epoch IS NOT NULL"
        assert books.rows(counted, "deploys") == books.rows(ended, "success", "success")
        assert books.rows(counted, "throughput") == books.rows(ended, "success", "failed")

        at_once = fresh(folder, "b.db")
        at_once.events(*(one for one in history if one["type"] is not None))
        entries = [one for one in history if one["type"] is None]
        if entries:
            at_once.entries(*entries)
        assert at_once.everything() == before
        books.db.close()
        at_once.db.close()
