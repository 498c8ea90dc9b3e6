"""Memory: what is told of it, how it is narrowed down, and that searching takes words and nothing but words."""

from __future__ import annotations

import io
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from document_samples import FAILURES, PATTERNS, failure, failures, take
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reports import question, report
from rich.console import Console

from shipwrightd.database import open_writer, transaction
from shipwrightd.reports import nothing
from shipwrightd.reports.memory import Memory, collect, expression, rows
from shipwrightd.reports.memory import repos_matching as matching
from shipwrightd.reports.question import QuestionError
from shipwrightd.reports.terminal import Page
from shipwrightd.reports.terminal.lists import memory as show

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import apsw

HERE, THERE = "0123456789ab", "fedcba987654"
THERE_FAILURES = f"memory/{THERE}/failures.json"
DECISIONS = f"memory/{HERE}/decisions.json"


@pytest.fixture
def db(database: Path) -> Iterator[apsw.Connection]:
    made = open_writer(database)
    yield made
    made.close()


def ask(db: apsw.Connection, **fields: Any) -> Memory:
    return collect(db, question(days=None, **fields))


def found(db: apsw.Connection, words: str, **fields: Any) -> list[str | None]:
    """Return the names of what a search finds."""
    return [match.name for match in ask(db, search=words, **fields).matches]


def written(answer: Memory, width: int = 80) -> str:
    out = io.StringIO()
    show(answer, Page(Console(file=out, width=width)))
    return out.getvalue()


def decisions(*names: str, **fields: object) -> dict[str, object]:
    return {
        "decisions": [
            {"type": "adr", "summary": name, "recorded_at": "2026-01-05T08:00:00Z", **fields} for name in names
        ]
    }


def test_failures_come_by_frequency_with_what_helped(db: apsw.Connection) -> None:
    helped = {"times_fix_suggested": 5, "times_fix_applied": 4, "times_fix_resolved": 3, "fix_effectiveness_rate": 60}
    take(db, FAILURES, failures(failure("rare", 1, 5), failure("often", 9, 1, fix="f", root_cause="c", **helped)))

    often, rare = ask(db).failures

    assert (often.name, often.frequency, often.root_cause, often.fix, often.stage) == ("often", 9, "c", "f", "test")
    assert (often.fix_suggested, often.fix_applied, often.fix_resolved) == (5, 4, 3)
    assert (often.fix_effectiveness_percent, often.reported_effectiveness_percent) == (75.0, 60)
    assert (rare.name, rare.fix, rare.fix_effectiveness_percent) == ("rare", None, None)


@pytest.mark.parametrize(("applied", "resolved"), [(0, 0), (None, None), ("4", 1), (4, "x"), (-1, 0)])
def test_fixes_that_are_not_counted_have_no_effectiveness(
    db: apsw.Connection, applied: object, resolved: object
) -> None:
    take(db, FAILURES, failures(failure("a", 1, 0, times_fix_applied=applied, times_fix_resolved=resolved)))

    assert ask(db).failures[0].fix_effectiveness_percent is None


def test_what_left_the_file_is_told_as_gone(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 2, 0), failure("b", 1, 0)))
    take(db, FAILURES, failures(failure("b", 1, 0)))

    answer = ask(db)

    assert [(one.name, one.present) for one in answer.failures] == [("a", False), ("b", True)]
    assert [(one.entry_type, one.entries, one.present) for one in answer.counts] == [("failure", 2, 1)]
    assert "gone from the file" in written(answer)


def test_decisions_come_newest_first(db: apsw.Connection) -> None:
    late = {"type": "x", "summary": "late", "detail": "why", "recorded_at": "2026-02-01T00:00:00Z"}
    take(db, DECISIONS, {"decisions": [late, *decisions("a", "b")["decisions"]]})  # type: ignore[misc]

    answer = ask(db).decisions

    assert [(one.name, one.type, one.detail) for one in answer] == [
        ("late", "x", "why"),
        ("b", "adr", None),
        ("a", "adr", None),
    ]


def test_each_kind_of_entry_has_its_list(db: apsw.Connection) -> None:
    take(db, PATTERNS, {"repo": "acme/x", "project": {"type": "node"}, "known_issues": ["flaky"]})
    take(db, f"memory/{HERE}/metrics.json", {"baselines": {"build_s": 5}})
    take(db, f"memory/{HERE}/architecture.json", {"layers": ["a", "b"]})
    take(db, "memory/global.json", {"common_patterns": [{"pattern": "p"}], "cross_repo_learnings": [{"type": "l"}]})

    answer = ask(db)

    assert [(one.name, one.value, one.repo) for one in answer.patterns] == [
        ("repo", "acme/x", "acme/x"),
        ("project", {"type": "node"}, "acme/x"),
    ]
    lists = (answer.known_issues, answer.baselines, answer.architecture, answer.global_patterns, answer.learnings)
    assert [[(one.name, one.value) for one in part] for part in lists] == [
        [("flaky", None)],
        [("build_s", 5)],
        [("layers", ["a", "b"])],
        [("p", None)],
        [("l", None)],
    ]


def test_type_stage_and_repository_narrow_it_down(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 1, 0), failure("b", 1, 0, stage="build")))
    take(db, THERE_FAILURES, failures(failure("c", 1, 0)))
    take(db, DECISIONS, decisions("d"))

    assert [one.name for one in ask(db, stage="build").failures] == ["b"]
    assert not ask(db, stage="build").decisions
    assert [one.name for one in ask(db, repo=THERE[:3]).failures] == ["c"]
    assert ask(db, type="decision").failures == []
    assert [one.entry_type for one in ask(db, type="decision").counts] == ["decision"]
    assert ask(db, repo="nowhere").empty


def test_a_type_there_is_not_is_refused(db: apsw.Connection) -> None:
    with pytest.raises(QuestionError, match="--type odd: one of failure, decision"):
        ask(db, type="odd")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("0123456789ab", ["0123456789ab"]),
        ("0123", ["0123456789ab", "0123ffffffff"]),
        ("ACME/Rocket", ["0123456789ab", "aaaaaaaaaaaa"]),
        ("rocket", ["0123456789ab", "aaaaaaaaaaaa"]),
        ("0123ffffffff", ["bbbbbbbbbbbb"]),
        ("acme", []),
        ("", []),
        (" ", []),
        ("%", []),
    ],
)
def test_a_repository_is_its_hash_its_name_or_the_beginning_of_its_hash(asked: str, meant: list[str]) -> None:
    known = {"0123456789ab": "acme/Rocket", "0123ffffffff": None, "aaaaaaaaaaaa": "acme/rocket", "bbbbbbbbbbbb": "x/y"}
    if asked == "0123ffffffff":
        known = {"bbbbbbbbbbbb": "0123ffffffff", "0123ffffffff0": None}

    assert matching(asked, known) == meant


def test_every_list_goes_on_where_its_page_ended(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(*(failure(f"f{at}", 9 - at, 0) for at in range(5))))
    take(db, DECISIONS, decisions("d"))
    pages = [ask(db, limit=2, offset=at) for at in (0, 2, 4)]

    assert [[one.name for one in page.failures] for page in pages] == [["f0", "f1"], ["f2", "f3"], ["f4"]]
    assert [page.more for page in pages] == [["failures"], ["failures"], []]
    assert ask(db, limit=5).more == []
    assert "There are more failures: --offset 2" in written(pages[0])


def test_all_words_must_occur_wherever_they_stand(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("open door", 1, 0, fix="close it"), failure("open window", 1, 0)))

    assert found(db, "open") == ["open window", "open door"]
    assert found(db, "CLOSE door") == ["open door"]
    assert found(db, "close window") == []


def test_a_phrase_must_occur_as_it_is_and_a_star_goes_on(db: apsw.Connection) -> None:
    take(db, DECISIONS, decisions("keep two sensors", "two to keep", "src/engine.test.ts fails"))

    assert found(db, '"keep two"') == ["keep two sensors"]
    assert found(db, "sens") == []
    assert found(db, "sens*") == found(db, '"two sen"*') == ["keep two sensors"]
    assert found(db, "engine.test") == ["src/engine.test.ts fails"]
    assert found(db, '"unclosed keep') == []


@pytest.mark.parametrize("words", ["ETOILE", "étoile", "e\u0301toile", "Étoile*"])
def test_accents_and_case_make_no_difference(db: apsw.Connection, words: str) -> None:
    take(db, DECISIONS, decisions("l'Étoile"))

    assert found(db, words) == ["l'Étoile"]


def test_what_search_engines_take_for_commands_are_words(db: apsw.Connection) -> None:
    take(db, DECISIONS, decisions("this OR that", "near miss", "not this", "pattern: that"))

    assert found(db, "this OR") == ["this OR that"]
    assert found(db, "NOT this") == ["not this"]
    assert found(db, "NEAR(miss)") == ["near miss"]
    assert found(db, "pattern:that") == ["pattern: that"]
    assert found(db, "-that ^pattern") == ["pattern: that"]


def test_the_best_match_comes_first_and_shows_its_words(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("other", 1, 0, category="long text about a sensor " + "more " * 30)))
    take(db, DECISIONS, decisions("sensor"))

    first, second = ask(db, search="sensor").matches

    assert (first.name, first.snippet, second.name) == ("sensor", "[sensor]", "other")
    assert "[sensor]" in second.snippet
    assert first.score > second.score > 0


def test_a_search_is_narrowed_down_and_comes_in_pages(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(*(failure(f"word {at}", 1, 0) for at in range(3))))
    take(db, THERE_FAILURES, failures(failure("word", 1, 0, stage="build")))
    take(db, DECISIONS, decisions("word"))

    assert len(found(db, "word", repo=HERE, type="failure")) == 3
    assert found(db, "word", stage="build") == ["word"]
    assert found(db, "word", type="decision") == ["word"]
    answer = ask(db, search="word", limit=2, offset=2)
    assert (answer.matches_total, len(answer.matches), answer.more) == (5, 2, ["matches"])
    assert ask(db, search="word", offset=9).matches_total == 5
    pages = [ask(db, search="word", limit=2, offset=at).matches for at in (0, 2, 4)]
    assert [match for page in pages for match in page] == ask(db, search="word").matches


@pytest.mark.parametrize("nothing", ["", " ", "()", '"', '""', "*", "-- ...", "\x00", "😀"])
def test_a_search_without_a_word_is_refused(nothing: str) -> None:
    with pytest.raises(QuestionError, match="at least one word"):
        expression(nothing)


def test_more_words_than_anyone_types_are_refused(db: apsw.Connection) -> None:
    assert found(db, "word " * 100) == []
    with pytest.raises(QuestionError, match="2,000 words are more than the 100"):
        expression("word " * 2_000)


def test_ten_thousand_letters_are_a_word(db: apsw.Connection) -> None:
    take(db, DECISIONS, decisions("x" * 10_000))

    assert found(db, "x" * 10_000) == ["x" * 10_000]
    assert found(db, "(" * 5_000 + "x*" + ")" * 5_000) == []


SEEDS = ["", "alpha beta", "Alpha-Beta", "gamma", 'say "alpha"', "can't", "NEAR alpha", "Étoile", "a.b.c", "x y x"]


def plain(text: str) -> list[str]:
    """Return the words of a text, as one would cut it by hand."""
    bare = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    return "".join(c if c.isalnum() else " " for c in bare).split()


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=40), st.text("ab \"*()-:^+{}.'ORANDTE\0é", max_size=25), st.sampled_from(SEEDS)))
@example('"' * 3)
@example("NEAR(alpha beta, 3) AND NOT pattern : x*")
@example("\ud800 alpha")
def test_whatever_is_typed_is_answered_and_what_matches_holds_the_words(db: apsw.Connection, typed: str) -> None:
    with transaction(db):
        db.execute("DELETE FROM memory_entries; DELETE FROM checkpoints")
    take(db, DECISIONS, decisions(*SEEDS))
    try:
        matches = ask(db, search=typed).matches
    except QuestionError:
        return

    wanted = plain(typed.encode("utf-8", "replace").decode())
    for match in matches:
        held = plain(f"{match.name} {match.stage or ''}")
        assert all(any(word == one or ("*" in typed and one.startswith(word)) for one in held) for word in wanted)


@settings(max_examples=50)
@given(st.sampled_from([seed for seed in SEEDS if seed]))
def test_an_entry_is_found_by_its_own_text(db: apsw.Connection, text: str) -> None:
    with transaction(db):
        db.execute("DELETE FROM memory_entries; DELETE FROM checkpoints")
    take(db, DECISIONS, decisions(*SEEDS))

    assert text in found(db, text.replace('"', " "))


@pytest.mark.parametrize("width", [40, 80, 200])
def test_anything_remembered_can_be_shown(db: apsw.Connection, width: int) -> None:
    take(db, FAILURES, failures(failure("\x1b[31mred [bold]x[/bold] " * 60, 1, 0, fix="f" * 900, stage="\x07")))
    take(db, DECISIONS, decisions("a\nb", detail={"k": [None, {"x": "\x1b[2J"}]}, type=["odd"]))
    take(db, f"memory/{HERE}/architecture.json", {"layers": [[1, 2], {"a": None}], "none": None})

    shown = written(ask(db), width) + written(ask(db, search="red"), width)

    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_rows_have_the_same_columns_in_all_lists(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("f", 1, 0)))
    take(db, DECISIONS, decisions("d", detail="why"))
    take(db, PATTERNS, {"project": {"type": "node"}})

    made = list(rows(ask(db))) + list(rows(ask(db, search="node")))

    assert [(row["list"], row["name"], row["detail"]) for row in made] == [
        ("failures", "f", None),
        ("decisions", "d", "why"),
        ("patterns", "project", '{"type":"node"}'),
        ("matches", "project", '{"type":"node"}'),
    ]
    assert len({tuple(row) for row in made}) == 1


def test_nothing_remembered_is_empty(db: apsw.Connection) -> None:
    assert ask(db).empty
    assert ask(db, search="word").empty


def test_the_command_refuses_a_search_without_a_word(db: apsw.Connection, home: Path) -> None:
    take(db, DECISIONS, decisions("d"))

    done = report(home, "memory", "--search", "(((")

    assert (done.returncode, done.stdout) == (2, "")
    assert "at least one word" in done.stderr


def test_an_empty_answer_says_what_was_looked_for_and_how_much_there_is(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("one", 1, 0), failure("two", 1, 0)))
    asked = question(days=None, search="rocket", stage="build")

    assert nothing(db, "memory", asked) == (
        "No entries in memory with the words rocket, stage build. Entries in memory: 2."
    )
