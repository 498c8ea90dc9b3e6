"""The full-text index says what memory_entries says, after everything that is ever written there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apsw
import pytest
from document_samples import FAILURES, PATTERNS, failure, failures, take
from hypothesis import given, settings
from hypothesis import strategies as st

from shipwrightd.database import open_writer, transaction
from shipwrightd.database.migrate import known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DECISIONS = "memory/0123456789ab/decisions.json"
ARCHITECTURE = "memory/0123456789ab/architecture.json"
BASELINES = "memory/0123456789ab/metrics.json"
GLOBAL = "memory/global.json"
CHECK = "INSERT INTO memory_search (memory_search, rank) VALUES ('integrity-check', 1)"
HITS = "SELECT rowid FROM memory_search WHERE memory_search MATCH ? ORDER BY rowid"
ENTRY = """
INSERT INTO memory_entries (repo_hash, entry_type, pattern, extra) VALUES ('0123456789ab', 'decision', ?, ?)"""

WORDS = st.sampled_from(["alpha", "Beta", "étoile", "x\u0000y", "", "\x1b[31mred", "漢字", '"quoted"', "a'b"])
TEXTS = st.lists(WORDS, max_size=4).map(" ".join)


@pytest.fixture
def db(database: Path) -> Iterator[apsw.Connection]:
    made = open_writer(database)
    yield made
    check(made)
    made.close()


def check(db: apsw.Connection) -> None:
    """Raise unless the index holds what the entries say, no more and no less."""
    with transaction(db):
        db.execute(CHECK)


def hits(db: apsw.Connection, words: str) -> list[Any]:
    return [rowid for (rowid,) in db.execute(HITS, (words,))]


def test_the_check_notices_an_index_that_is_behind(database: Path) -> None:
    """Without this the other tests would prove nothing."""
    db = open_writer(database)
    take(db, FAILURES, failures(failure("old words", 1, 0)))
    with transaction(db):
        db.execute("DROP TRIGGER memory_entries_changed")
        db.execute("UPDATE memory_entries SET pattern = 'new words'")

    with pytest.raises(apsw.CorruptError):
        check(db)
    db.close()


def test_a_failure_is_found_by_its_words_category_cause_fix_and_stage(db: apsw.Connection) -> None:
    said = {"root_cause": "no driver", "fix": "install it", "category": "hardware"}
    take(db, FAILURES, failures(failure("Cannot open SENSOR", 1, 0, **said)))

    words = ("sensor", "hardware", "driver", "install", "test", "absent")
    assert [len(hits(db, word)) for word in words] == [1, 1, 1, 1, 1, 0]


def test_accents_and_case_make_no_difference(db: apsw.Connection) -> None:
    take(db, DECISIONS, {"decisions": [{"summary": "Öffne Luke", "detail": "ÉTOILE d'abord"}]})

    assert hits(db, "offne") == hits(db, "étoile") == hits(db, "etoile") == [1]


def test_a_change_replaces_the_words_of_an_entry(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("broken", 1, 0, fix="first idea")))
    take(db, FAILURES, failures(failure("broken", 2, 1, fix="second thought")))

    assert (hits(db, "idea"), hits(db, "thought"), hits(db, "broken")) == ([], [1], [1])


def test_an_entry_that_left_its_file_is_still_found(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("broken", 1, 0)))
    take(db, FAILURES, failures())
    check(db)

    assert hits(db, "broken") == [1]


def test_an_entry_that_is_removed_is_not_found_any_more(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("broken", 1, 0), failure("whole", 1, 0)))
    with transaction(db):
        db.execute("DELETE FROM memory_entries WHERE pattern = 'broken'")

    assert (hits(db, "broken"), hits(db, "whole")) == ([], [2])


def test_a_transaction_that_is_rolled_back_leaves_the_index_as_it_was(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("broken", 1, 0)))
    with pytest.raises(apsw.SQLError, match="no_such"), transaction(db):
        db.execute("UPDATE memory_entries SET pattern = 'other'; SELECT no_such")

    assert (hits(db, "other"), hits(db, "broken")) == ([], [1])


def test_memory_as_deep_as_a_document_may_be_is_searched_too(db: apsw.Connection) -> None:
    """SQLite's JSON functions give up on nesting; what reaches the table must stay below that."""
    for depth in (100, 200, 240, 250, 300):
        raw = f'{{"decisions":[{{"summary":"deep","detail":"well","more":{"[" * depth}{"]" * depth}}}]}}'
        take(db, DECISIONS, raw.encode())
    stored = db.execute("SELECT count(*) FROM memory_entries").get

    assert len(hits(db, "well")) == stored > 0


@pytest.mark.parametrize("detail", [None, 7, 1.5, True, ["a", "b"], {"k": "v"}, "", "x\x00y", "\ud7ff\U0010ffff"])
def test_a_detail_of_any_kind_is_taken(db: apsw.Connection, detail: object) -> None:
    take(db, DECISIONS, {"decisions": [{"summary": "s", "detail": detail}]})
    with transaction(db):
        db.execute("UPDATE memory_entries SET present = 0")

    assert hits(db, "s") == [1]


def test_what_was_there_before_there_was_an_index_is_in_it(tmp_path: Path) -> None:
    db = open_writer(tmp_path / "old.db")
    migrations = known()
    (at,) = (i for i, migration in enumerate(migrations) if migration.name.startswith("005"))
    for migration in migrations[:at]:
        db.execute(migration.sql)
    db.execute(ENTRY, ("before", '{"detail":"long ago"}'))
    db.execute(migrations[at].sql)

    assert hits(db, "ago") == hits(db, "before") == [1]
    check(db)
    db.close()


def documents() -> st.SearchStrategy[tuple[str, object]]:
    """Draw a document of memory, or its end."""
    item = st.builds(
        lambda text, count, second, fix: failure(text, count, second, fix=fix, category=text),
        TEXTS,
        st.integers(1, 3),
        st.integers(0, 59),
        TEXTS,
    )
    decision = st.fixed_dictionaries(
        {"summary": TEXTS, "detail": st.one_of(TEXTS, st.integers(-(1 << 62), 1 << 62), st.none())}
    )
    sections = st.dictionaries(st.sampled_from(["repo", "project", "layers"]), TEXTS, max_size=3)
    patterns = st.builds(lambda parts, issues: {**parts, "known_issues": issues}, sections, st.lists(TEXTS, max_size=3))
    shared = st.lists(st.fixed_dictionaries({"pattern": TEXTS, "category": TEXTS}), max_size=3)
    learned = st.lists(st.fixed_dictionaries({"type": TEXTS, "bugs": TEXTS}), max_size=3)
    return st.one_of(
        st.tuples(st.just(FAILURES), st.lists(item, max_size=4).map(lambda found: failures(*found))),
        st.tuples(st.just(DECISIONS), st.lists(decision, max_size=4).map(lambda found: {"decisions": found})),
        st.tuples(st.just(PATTERNS), patterns),
        st.tuples(st.just(ARCHITECTURE), sections),
        st.tuples(st.just(BASELINES), sections.map(lambda found: {"baselines": found})),
        st.tuples(
            st.just(GLOBAL),
            st.builds(lambda a, b: {"common_patterns": a, "cross_repo_learnings": b}, shared, learned),
        ),
        st.tuples(st.sampled_from([FAILURES, DECISIONS, PATTERNS, GLOBAL]), st.none()),
    )


@settings(max_examples=60)
@given(st.lists(documents(), max_size=12))
def test_whatever_documents_come_and_go_the_index_is_right(
    db: apsw.Connection, history: list[tuple[str, object]]
) -> None:
    with transaction(db):
        db.execute("DELETE FROM memory_entries; DELETE FROM checkpoints")
    for path, document in history:
        take(db, path, document)
        check(db)
