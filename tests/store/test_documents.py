"""Appended lists, sequences, and bytes that are no document: what is new is stored, nothing twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from document_samples import (
    FAILURES,
    checkpoint,
    cost,
    costs,
    failure,
    failures,
    gaps,
    memory,
    quarantine,
    stored_costs,
    take,
)

from shipwrightd.database import open_writer
from shipwrightd.decoding.values import entry_hash, parse_json
from shipwrightd.documents.kinds import parse_document
from shipwrightd.documents.lists import REMEMBERED_LISTS, Remembered, new_entries
from shipwrightd.documents.store import Outcome, verify_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    import apsw


@pytest.fixture
def db(database: Path) -> Iterator[apsw.Connection]:
    connection = open_writer(database)
    yield connection
    connection.close()


# -- appended lists


def test_identical_bytes_write_nothing(db: apsw.Connection) -> None:
    assert take(db, "costs.json", costs(1, 2)) == Outcome(records=2)
    before = db.total_changes()
    assert take(db, "costs.json", costs(1, 2)) == Outcome()
    assert db.total_changes() == before


def test_only_what_follows_the_known_entries_is_stored(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2, 3))
    assert take(db, "costs.json", costs(2, 3, 4)) == Outcome(records=1, known=2)
    assert stored_costs(db) == [1, 2, 3, 4]
    assert checkpoint(db, "costs.json") == (4, 0, 0, 1_767_600_004)


def test_two_identical_entries_are_two_rows(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 1))
    take(db, "costs.json", costs(1, 1, 2, 2))
    take(db, "costs.json", costs(1, 1, 2, 2, 2))
    assert stored_costs(db) == [1, 1, 2, 2, 2]


def test_the_second_of_an_identical_pair_may_come_in_the_next_look(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1))
    take(db, "costs.json", costs(1, 1))
    assert stored_costs(db) == [1, 1]


def test_without_an_overlap_all_is_stored_and_a_gap_recorded(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2))
    assert take(db, "costs.json", costs(5, 6)) == Outcome(records=2, gaps=1)
    assert stored_costs(db) == [1, 2, 5, 6]
    assert db.execute("SELECT detail FROM gaps").get == '{"known":2,"found":2}'
    assert checkpoint(db, "costs.json") == (4, 0, 1, 1_767_600_006)


@pytest.mark.parametrize("emptied", [None, {"entries": []}])
def test_a_list_seen_empty_or_gone_begins_anew_without_a_gap(db: apsw.Connection, emptied: object) -> None:
    take(db, "costs.json", costs(1, 2))
    take(db, "costs.json", emptied)
    assert take(db, "costs.json", costs(5, 6)) == Outcome(records=2)


@pytest.mark.parametrize(
    "meanwhile", [None, {"entries": []}, {}, costs(1), costs(1, 2), costs(3), costs(1, 3), costs(0)]
)
def test_a_list_put_back_as_it_was_is_not_stored_again(db: apsw.Connection, meanwhile: object) -> None:
    take(db, "costs.json", costs(1, 2, 3))
    take(db, "costs.json", meanwhile)
    assert take(db, "costs.json", costs(1, 2, 3)).records == 0
    assert gaps(db) == (1 if meanwhile == costs(0) else 0)


def test_an_entry_edited_in_the_middle_stores_only_its_new_form(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2, 3, 4, 5))
    assert take(db, "costs.json", costs(1, 2, 9, 4, 5)) == Outcome(records=1, known=4)
    assert take(db, "costs.json", costs(1, 2, 9, 4, 5, 6)) == Outcome(records=1, known=5)
    assert stored_costs(db) == [1, 2, 3, 4, 5, 9, 6]


def test_entries_removed_anywhere_store_nothing_and_the_next_one_is_still_found(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2, 3, 4, 5))
    for left in (costs(1, 2, 4, 5), costs(2, 4), costs(2)):
        assert take(db, "costs.json", left).records == 0
    take(db, "costs.json", costs(2, 6))
    assert stored_costs(db) == [1, 2, 3, 4, 5, 6]
    assert gaps(db) == 0


def test_an_older_copy_put_back_after_the_list_was_replaced_and_then_a_newer_one_store_nothing(
    db: apsw.Connection,
) -> None:
    take(db, "costs.json", costs(1, 2, 3, 4))
    take(db, "costs.json", costs(9))
    for back in (costs(1, 2), costs(1, 2, 3, 4), costs(9)):
        assert take(db, "costs.json", back).records == 0
    assert stored_costs(db) == [1, 2, 3, 4, 9]


def test_an_entry_edited_while_others_are_missing_leaves_these_known(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2, 3, 4))
    take(db, "costs.json", costs(1, 9, 3))
    assert take(db, "costs.json", costs(1, 9, 3, 4)).records == 0
    assert stored_costs(db) == [1, 2, 3, 4, 9]


def test_a_copy_older_than_all_that_is_remembered_is_not_stored_again(db: apsw.Connection) -> None:
    end = (REMEMBERED_LISTS + 2) * 1000
    for first in range(0, end, 800):
        take(db, "costs.json", costs(*range(first, first + 1000)))
    before = stored_costs(db)
    assert take(db, "costs.json", costs(*range(1000))).records == 0
    assert take(db, "costs.json", costs(*range(500, 1000), -1)) == Outcome(records=1, known=500)
    assert stored_costs(db) == [*before, -1]
    assert gaps(db) == 0


def test_entries_are_not_stored_again_when_what_was_remembered_is_lost(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2, 2))
    db.execute("DELETE FROM checkpoints")
    assert take(db, "costs.json", costs(1, 2, 2, 2, 3)) == Outcome(records=2, known=3)
    assert take(db, "costs.json", costs(2, 2, 2, 3, 4)) == Outcome(records=1, known=4)


@pytest.mark.parametrize("ended", [0, 1])
def test_what_an_earlier_release_remembered_is_carried_over(db: apsw.Connection, ended: int) -> None:
    """It remembered the list as last seen, or before it was emptied."""
    take(db, "costs.json", costs(1, 2))
    entries: list[Any] = list(map(cost, (1, 2)))
    packed = b"entries %d 2\n" % ended + b"".join(map(entry_hash, entries))
    db.execute("UPDATE checkpoints SET entries = ?, digest = x'00'", (packed,))
    assert take(db, "costs.json", costs(1, 2)).records == 0
    assert take(db, "costs.json", costs(1, 2, 2, 3)) == Outcome(records=2, known=2)
    assert stored_costs(db) == [1, 2, 2, 3]


def test_the_same_entries_written_by_another_jq_are_the_same(db: apsw.Connection) -> None:
    take(db, "costs.json", b'{"entries":[{"cost_usd":0.0300,"issue":""},{"cost_usd":0.0000,"issue":"7"}]}')
    again = b'{"entries":\r\n[{"issue":"","cost_usd":0.03},{"cost_usd":0,"issue":"7"},{"cost_usd":2}]}'
    assert take(db, "costs.json", again) == Outcome(records=1, known=2)


def test_the_hash_of_an_entry_is_that_of_its_content() -> None:
    written = [
        b'{"a":0.0300,"b":0.0000,"c":"x"}',
        b'{ "c":"x", "b":0, "a":0.03 }',
        b'{"a":3e-2,"b":-0.0,"c":"\\u0078"}',
    ]
    assert len({entry_hash(parse_json(raw)) for raw in written}) == 1
    assert entry_hash(parse_json(b'{"a":"0"}')) != entry_hash(parse_json(b'{"a":0}'))


def test_an_entry_repeated_at_the_end_of_a_full_list_is_new() -> None:
    known = Remembered((b"a", b"b", b"c"), 3)
    assert new_entries(known, [b"b", b"c", b"a"], 3, Counter) == (2,)
    assert new_entries(known, [b"b", b"c", b"a"], 4, Counter) == ()


def test_issues_and_numbers_become_numbers_and_the_rest_is_kept(db: apsw.Connection) -> None:
    issues = ["0", "", 0, None, "42", 42, "owner/repo:58", True]
    take(
        db,
        "costs.json",
        {"entries": [{"issue": issue, "cost_usd": "0.0060", "input_tokens": "many"} for issue in issues]},
    )
    rows = db.execute("SELECT issue, cost_usd, input_tokens, extra FROM cost_entries ORDER BY id").fetchall()
    assert [row[0] for row in rows] == [None, None, None, None, 42, 42, "owner/repo:58", None]
    assert {row[1:3] for row in rows} == {(0.006, None)}
    assert rows[0][3] == '{"input_tokens":"many"}'
    assert rows[-1][3] == '{"issue":true,"input_tokens":"many"}'


def test_a_missing_epoch_is_derived_from_the_text(db: apsw.Connection) -> None:
    take(db, "costs.json", {"entries": [{"ts": "1970-01-02T00:00:00Z"}, {"ts": "soon"}]})
    assert db.execute("SELECT ts_epoch FROM cost_entries ORDER BY id").fetchall() == [(86_400,), (None,)]


@pytest.mark.parametrize("number", [b"1e999", b"NaN", b"-Infinity", b"18446744073709551616", b"9223372036854775808"])
def test_numbers_that_no_column_holds_do_no_harm(db: apsw.Connection, number: bytes) -> None:
    raw = b'{"entries":[{"input_tokens":' + number + b',"issue":' + number + b',"ts_epoch":' + number + b"}]}"
    assert take(db, "costs.json", raw).records == 1
    assert verify_document(db, "costs.json", raw) == []


def test_bytes_that_are_no_utf8_become_replacement_characters(db: apsw.Connection) -> None:
    take(
        db,
        "costs.json",
        b'\xef\xbb\xbf{"entries":[{"model":"op\xffus"},{"model":"\\ud800"},{"model":"a\x1b[0m"}]}\r\n',
    )
    assert db.execute("SELECT model FROM cost_entries ORDER BY id").fetchall() == [
        ("op\ufffdus",),
        ("\ufffd",),
        ("a\x1b[0m",),
    ]


# -- bytes that are no document


@pytest.mark.parametrize(
    "raw",
    [b"", b" \n", b'{"entries":[{"in', b"[" * 100_000, b'{"entries":[' + b"[" * 300 + b"]" * 300 + b"]}"],
)
def test_what_does_not_parse_is_an_error_and_changes_nothing(db: apsw.Connection, raw: bytes) -> None:
    take(db, "costs.json", costs(1, 2))
    before = db.total_changes()
    assert take(db, "costs.json", raw).error
    assert db.total_changes() == before
    assert take(db, "costs.json", costs(1, 2, 3)).records == 1


@pytest.mark.parametrize("value", [[], "text", 7, [1, 2]])
def test_a_document_of_the_wrong_shape_is_quarantined_once_and_what_was_stored_stays(
    db: apsw.Connection, value: object
) -> None:
    take(db, FAILURES, failures(failure("a", 1, 1)))
    assert take(db, FAILURES, value).quarantined == 1
    assert quarantine(db) == [(FAILURES, "the document is not an object", orjson.dumps(value))]
    assert memory(db) == {"a": (1, 1, 1)}


def test_null_is_the_document_of_the_wrong_shape_too(db: apsw.Connection) -> None:
    assert take(db, "budget.json", b"null").quarantined == 1


def test_bad_entries_of_a_list_are_quarantined_once_and_the_good_ones_stored(db: apsw.Connection) -> None:
    entries = [cost(1), "oops", cost(2), 7, None]
    outcome = take(db, "costs.json", {"entries": entries})
    assert (outcome.records, outcome.quarantined) == (2, 3)
    assert take(db, "costs.json", {"entries": [*entries, cost(3)]}) == Outcome(records=1, known=5)
    assert [raw for _, _, raw in quarantine(db)] == [b'"oops"', b"7", b"null"]
    assert checkpoint(db, "costs.json") == (3, 3, 0, 1_767_600_003)


def test_bad_keyed_entries_are_quarantined_once_and_the_good_ones_stored(db: apsw.Connection) -> None:
    bad = ["oops", {"stage": "test"}]
    first = take(db, FAILURES, {"failures": [failure("a", 1, 1), *bad]})
    assert (first.records, first.quarantined) == (1, 2)
    again = take(db, FAILURES, {"failures": [failure("a", 2, 2), *reversed(bad)]})
    assert (again.changed, again.quarantined) == (1, 0)
    assert len(quarantine(db)) == 2


def test_a_part_of_the_wrong_shape_leaves_its_rows_alone(db: apsw.Connection) -> None:
    take(db, FAILURES, failures(failure("a", 1, 1)))
    assert take(db, FAILURES, {"failures": "none"}).quarantined == 1
    take(db, FAILURES, {})
    take(db, FAILURES, {"failures": None})
    assert memory(db) == {"a": (1, 1, 1)}


def test_of_two_entries_with_one_key_the_last_counts_and_the_other_is_kept_aside_once(
    db: apsw.Connection,
) -> None:
    take(db, FAILURES, failures(failure("a", 1, 1), failure("a", 5, 2)))
    take(db, FAILURES, failures(failure("a", 2, 3), failure("a", 6, 3)))
    assert memory(db) == {"a": (6, 6, 1)}
    assert [reason for _, reason, _ in quarantine(db)] == ["failures: same key again"]


@pytest.mark.parametrize("issue", ["7\0", "5\x008", " 1.5\0x"])
def test_an_issue_of_which_the_database_would_take_a_number_before_a_nul_stays_in_the_extra(
    db: apsw.Connection, issue: str
) -> None:
    raw = orjson.dumps({"entries": [{"issue": issue}]})
    take(db, "costs.json", raw)

    assert verify_document(db, "costs.json", raw) == []
    (row,) = db.execute("SELECT issue, extra FROM cost_entries").fetchall()
    assert (row[0], orjson.loads(str(row[1]))) == (None, {"issue": issue})


def test_numbers_beyond_what_fits_keep_their_digits(db: apsw.Connection) -> None:
    digits = "9" * 5000
    take(db, "costs.json", b'{"entries":[{"input_tokens":%b,"output_tokens":1e999}]}' % digits.encode())
    row = db.execute("SELECT input_tokens, output_tokens, extra FROM cost_entries").fetchone()
    assert row == (None, None, f'{{"input_tokens":"{digits}","output_tokens":"1e999"}}')


def test_a_flag_that_is_neither_true_nor_false_stays_in_the_extra(db: apsw.Connection) -> None:
    take(db, "budget.json", {"enabled": "maybe"})
    assert db.execute("SELECT enabled, extra FROM budgets").fetchall() == [(None, '{"enabled":"maybe"}')]


def test_a_path_of_no_document_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match=r"notes\.json is not a known document"):
        parse_document("notes.json", b"{}")


# -- cost-outcomes.json, a sequence


def outcomes(*numbers: int) -> dict[str, object]:
    return {"outcomes": [{"pipeline_id": f"p{number}", "success": True} for number in numbers], "summary": {}}


def appended(number: int) -> dict[str, object]:
    return {"ts": f"2026-01-05T09:14:{number:02}Z", "issue": f'"#{number}"', "template": '"fast"', "cost": 0}


def sequence(*values: dict[str, object]) -> bytes:
    return b"".join(orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n" for value in values)


def stored_outcomes(db: apsw.Connection) -> list[tuple[Any, ...]]:
    return db.execute("SELECT kind, coalesce(pipeline_id, issue) FROM cost_outcomes ORDER BY kind, id").fetchall()


def test_an_outcome_added_to_every_value_is_one_row_and_the_values_do_not_change(db: apsw.Connection) -> None:
    take(db, "cost-outcomes.json", sequence(appended(1), appended(2)))
    take(db, "cost-outcomes.json", sequence(appended(1) | outcomes(1), appended(2) | outcomes(1)))
    take(db, "cost-outcomes.json", sequence(appended(1) | outcomes(1), appended(2) | outcomes(1), appended(3)))
    more = sequence(appended(1) | outcomes(1, 2), appended(2) | outcomes(1, 2), appended(3) | outcomes(2))
    take(db, "cost-outcomes.json", more)
    assert stored_outcomes(db) == [
        ("outcome", "p1"),
        ("outcome", "p2"),
        ("pipeline", 1),
        ("pipeline", 2),
        ("pipeline", 3),
    ]
    assert verify_document(db, "cost-outcomes.json", more) == []
    extra = db.execute("SELECT template, extra FROM cost_outcomes WHERE issue = 1").fetchone()
    assert extra == ("fast", '{"issue":"\\"#1\\"","template":"\\"fast\\""}')


def test_a_sequence_whose_first_value_was_cut_off_keeps_the_rest(db: apsw.Connection) -> None:
    take(
        db,
        "cost-outcomes.json",
        sequence(appended(1) | outcomes(1, 2), appended(2) | outcomes(2), appended(3)),
    )
    cut = sequence(appended(1) | outcomes(1, 2), appended(2) | outcomes(2), appended(3), appended(4))[9:]
    assert take(db, "cost-outcomes.json", cut) == Outcome(records=1, known=3, quarantined=1)
    assert [number for kind, number in stored_outcomes(db) if kind == "pipeline"] == [1, 2, 3, 4]


def test_a_sequence_with_an_unfinished_end_is_an_error(db: apsw.Connection) -> None:
    assert take(db, "cost-outcomes.json", sequence(appended(1)) + b'{"ts":"2026').error


def test_white_space_behind_a_fragment_does_not_quarantine_it_again(db: apsw.Connection) -> None:
    assert take(db, "cost-outcomes.json", b'"ts":5').quarantined == 1
    assert take(db, "cost-outcomes.json", b'"ts":5 \n').quarantined == 0


def test_patterns_of_all_repositories_that_are_no_object_are_kept_as_what_they_are(db: apsw.Connection) -> None:
    take(db, "memory/patterns.json", b'{"type":"nextjs","detected_at":"2026-01-05T08:00:00Z"}')
    stored = "SELECT pattern, present FROM memory_entries"
    before = db.execute(stored).fetchall()
    assert len(before) == 1
    assert take(db, "memory/patterns.json", b'["nextjs"]').quarantined == 1
    assert db.execute(stored).fetchall() == before
    assert db.execute("SELECT raw FROM quarantine").fetchall() == [(b'["nextjs"]',)]
    assert verify_document(db, "memory/patterns.json", b'["nextjs"]') == []


# -- verify


def test_verify_sees_what_is_missing_added_or_altered(db: apsw.Connection) -> None:
    raw = orjson.dumps(costs(1, 2, 3))
    take(db, "costs.json", raw)
    take(db, FAILURES, failures(failure("a", 1, 1), failure("b", 1, 1)))
    assert verify_document(db, "costs.json", raw) == []
    db.execute("INSERT INTO cost_entries (input_tokens, origin) VALUES (4, 'costs.json')")
    assert verify_document(db, "costs.json", raw)
    db.execute("DELETE FROM cost_entries WHERE input_tokens IN (2, 4)")
    assert verify_document(db, "costs.json", raw) == ["costs.json: entries: 1 of 3 entries are not in the database"]
    assert (
        len(verify_document(db, FAILURES, orjson.dumps(failures(failure("a", 1, 1, fix="x"), failure("c", 1, 1))))) == 3
    )
    assert verify_document(db, FAILURES, None)


@pytest.mark.parametrize(
    "numbers",
    [
        [(1, 2, 3, 9), (1, 2, 3, 4, 5)],
        [(1, 2, 3, 4, 5), (1, 2, 9, 4, 5)],
        [(1, 2, 3, 4, 5), (1, 2, 3)],
        [(1, 2, 3), (8, 9), (1, 2, 3)],
        [(1, 2, 3), (), (3, 1)],
    ],
)
def test_verify_right_after_a_list_was_changed_by_hand_sees_no_difference(
    db: apsw.Connection, numbers: list[tuple[int, ...]]
) -> None:
    for version in numbers:
        take(db, "costs.json", costs(*version))
        assert verify_document(db, "costs.json", orjson.dumps(costs(*version))) == []


def test_verify_of_a_changed_list_sees_rows_that_are_double_or_nobody_wrote(db: apsw.Connection) -> None:
    take(db, "costs.json", costs(1, 2, 3, 4, 5))
    take(db, "costs.json", costs(1, 2, 9, 4, 5))
    raw = orjson.dumps(costs(1, 2, 9, 4, 5))
    assert verify_document(db, "costs.json", raw) == []
    insert = "INSERT INTO cost_entries SELECT ?1, ?2, output_tokens, model, stage, issue, cost_usd, ts, ts_epoch, "
    insert += "origin, event_id, extra FROM cost_entries WHERE id = ?3"
    db.execute(insert, (7, 5, 5))
    assert verify_document(db, "costs.json", raw) == [
        "costs.json: entries: 1 entries are in the database more often than in the document",
        "costs.json: entries: 1 rows of the database are not entries of the document and were none before",
    ]
    db.execute("UPDATE cost_entries SET input_tokens = 77 WHERE id = 7")
    assert verify_document(db, "costs.json", raw) == [
        "costs.json: entries: 1 rows of the database are not entries of the document and were none before"
    ]
