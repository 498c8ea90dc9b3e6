from __future__ import annotations

import json
from typing import Any

import pytest

from shipwrightd.decoding import EVENT_COLUMNS, EventRow, Rejected
from shipwrightd.decoding.events import JOURNAL, TEAM, Decoded, Origin, _decode_good, decode_lines

HEAD = b'{"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200,"type":"t"'


def decode(*lines: bytes, origin: Origin = JOURNAL, final: bool = True) -> Decoded:
    return decode_lines(lines, origin=origin, final=final)


def event(line: bytes, origin: Origin = JOURNAL) -> dict[str, Any]:
    """Return the columns of the one row that a line gives, extra as its key-value pairs."""
    decoded = decode(line, origin=origin)
    assert not decoded.rejected
    (row,) = decoded.rows
    columns: dict[str, Any] = dict(zip(EVENT_COLUMNS, row, strict=True))
    if row[-1] is not None:
        columns["extra"] = json.loads(row[-1], object_pairs_hook=list)
    return columns


def with_fields(fields: bytes) -> dict[str, Any]:
    return event(HEAD + b"," + fields + b"}")


def test_good_line_fills_all_columns_in_order() -> None:
    line = (
        b'{"ts":"2026-01-20T10:00:07Z","ts_epoch":1768903207,"type":"stage.completed","issue":301,'
        b'"stage":"build","duration_s":13,"cost_usd":0.25,"model":"opus","result":"success","b":1,"a":"x"}'
    )

    assert decode(line).rows == [
        (
            *("2026-01-20T10:00:07Z", 1768903207, "stage.completed", 301, "build", "success", 13, 0.25),
            *("opus", "events.jsonl", 0, '{"b":1,"a":"x"}'),
        )
    ]


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b',"issue":0,"stage":"build","result":"success","duration_s":13,"cost_usd":0.25,"model":"opus"',
        b',"stage":null,"duration_s":1.5,"cost_usd":1',
        b',"note":"at 10:00: done","list":[1,2]',
        b',"recommended":"{\\"model\\":\\"haiku\\"}"',
        b', "a" : 1',
    ],
)
def test_what_journals_are_full_of_is_read_the_fast_way(fields: bytes) -> None:
    """The careful way gives the same rows at four times the cost."""
    rows: list[EventRow] = []
    lines = [HEAD + fields + b"}"] * 3

    assert _decode_good(lines, "events.jsonl", rows) == 3
    assert rows == decode(*lines).rows


def test_event_without_further_fields_has_no_extra() -> None:
    assert event(HEAD + b"}")["extra"] is None


def test_blank_lines_are_neither_rows_nor_rejected() -> None:
    assert decode(b"", b"  \t", b"\r", b"\xef\xbb\xbf") == Decoded([], [], 0, 4)


def test_carriage_return_and_byte_order_mark_do_not_make_a_line_bad() -> None:
    assert decode(HEAD + b"}\r", b"\xef\xbb\xbf" + HEAD + b"}").salvaged == 0


@pytest.mark.parametrize("line", [b"5", b'"text"', b"[1]", b"null", b" [] "])
def test_valid_json_that_is_no_object_is_rejected_whole(line: bytes) -> None:
    assert decode(line).rejected == [Rejected(0, 1, 0, len(line), "not_an_object")]


def test_first_type_is_the_type_and_a_later_one_stays_in_extra() -> None:
    found = with_fields(b'"score":5,"type":10,"memory":0')

    assert (found["type"], found["salvaged"]) == ("t", 0)
    assert found["extra"] == [("score", 5), ("type", 10), ("memory", 0)]


@pytest.mark.parametrize(
    "fields",
    [
        b'"a":1,"a":2',
        b'"a":1,"a" :2',
        b'"a":1,"a"\t:2',
        b'"a":1,"\\u0061":2',
        b'"a":1,"a":2,"x":"\\":"',
        b'"a":1,"a":2,"b\\\\":3',
        b'"a":1,"a":2,"x":{"a":1}',
    ],
)
def test_repeated_keys_are_all_kept_however_they_are_written(fields: bytes) -> None:
    assert [pair for pair in with_fields(fields)["extra"] if pair[0] == "a"] == [("a", 1), ("a", 2)]


def test_repeated_keys_are_noticed_when_the_time_has_no_colons() -> None:
    assert event(b'{"ts":"x","a":1,"a":2,"b":3,"b":4}')["extra"] == [("a", 1), ("a", 2), ("b", 3), ("b", 4)]


def test_repeated_column_keeps_the_first_and_extra_the_second() -> None:
    found = with_fields(b'"stage":"build","stage":"test"')

    assert (found["stage"], found["extra"]) == ("build", [("stage", "test")])


def test_repeated_keys_of_a_nested_object_are_kept() -> None:
    assert with_fields(b'"payload":{"a":1,"a":2}')["extra"] == [("payload", [("a", 1), ("a", 2)])]


@pytest.mark.parametrize(
    "digits",
    [
        "123456789012345678901234567890",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "0.1000000000000000055511151231257827",
        "9007199254740993.0",
        "1e400",
        "-1E+400",
        "1e-400",
        "3" * 5000,
        "12345678901234567.5",
    ],
)
def test_numbers_that_64_bits_cannot_hold_keep_their_digits(digits: str) -> None:
    found = with_fields(b'"n":' + digits.encode())

    assert (found["extra"], found["salvaged"]) == ([("n", digits)], 0)


@pytest.mark.parametrize("number", [(1 << 63) - 1, -(1 << 63), 0.1, 5e-324, 1e22, 0.8192, 0.0])
def test_numbers_that_64_bits_hold_stay_numbers(number: float) -> None:
    assert with_fields(f'"n":{number!r},"m":0.819200'.encode())["extra"] == [("n", number), ("m", 0.8192)]


@pytest.mark.parametrize(
    ("written", "issue"),
    [
        (b"0", None),
        (b'"0"', None),
        (b'""', None),
        (b"null", None),
        (b"58", 58),
        (b'"58"', 58),
        (b"58.0", 58),
        (b'"owner/repo:58"', "owner/repo:58"),
        (b'"#58"', "#58"),
    ],
)
def test_issue_is_a_number_where_it_is_one(written: bytes, issue: object) -> None:
    found = with_fields(b'"issue":' + written)

    assert (found["issue"], found["extra"]) == (issue, None)


@pytest.mark.parametrize("written", [b"99999999999999999999", b'"99999999999999999999"', b'"1e5"', b'"5.5"'])
def test_issue_that_its_column_would_turn_into_another_number_stays_in_extra(written: bytes) -> None:
    found = with_fields(b'"issue":' + written)

    assert (found["issue"], found["extra"]) == (None, [("issue", written.decode().strip('"'))])


@pytest.mark.parametrize("written", [b"true", b"[58]", b'{"n":58}'])
def test_issue_that_names_nothing_stays_in_extra(written: bytes) -> None:
    found = with_fields(b'"issue":' + written)

    assert found["issue"] is None
    assert found["extra"][0][0] == "issue"


@pytest.mark.parametrize(
    ("written", "number"),
    [('"0.0060"', 0.006), ('"12"', 12), ('"1e2"', 100.0), ('".5"', 0.5), ('"15m 36s"', None), ("true", None)],
)
def test_cost_given_as_text_is_a_number_and_keeps_its_text(written: str, number: float | None) -> None:
    found = with_fields(f'"cost_usd":{written}'.encode())

    assert (found["cost_usd"], found["extra"]) == (number, [("cost_usd", json.loads(written))])


def test_estimated_cost_is_not_the_cost() -> None:
    found = with_fields(b'"estimated_cost_usd":0.5')

    assert (found["cost_usd"], found["extra"]) == (None, [("estimated_cost_usd", 0.5)])


@pytest.mark.parametrize(
    ("ts", "epoch"),
    [
        ("2026-01-20T10:00:07Z", 1768903207),
        ("2026-01-20T10:00:07.900Z", 1768903207),
        ("2026-01-20T12:00:07+02:00", 1768903207),
        ("2026-01-20 10:00:07", 1768903207),
        ("1969-12-31T23:59:59.5Z", -1),
        ("2026-02-30T10:00:07Z", None),
        ("yesterday", None),
        ("2026", None),
        ("", None),
    ],
)
def test_missing_epoch_is_derived_from_the_time(ts: str, epoch: int | None) -> None:
    found = event(json.dumps({"ts": ts, "type": "t"}).encode())

    assert (found["ts"], found["ts_epoch"]) == (ts or None, epoch)


def test_given_epoch_wins_over_the_time() -> None:
    assert event(b'{"ts":"2026-01-20T10:00:07Z","ts_epoch":1768903208,"type":"t"}')["ts_epoch"] == 1768903208


def test_epoch_in_quotes_counts_as_given() -> None:
    assert event(b'{"ts":"2026-01-20T10:00:07Z","ts_epoch":"1767601800","type":"t"}')["ts_epoch"] == 1767601800


def test_epoch_that_is_no_number_is_derived_and_kept() -> None:
    found = event(b'{"ts":"2026-01-20T10:00:07Z","ts_epoch":"soon","type":"t"}')

    assert (found["ts_epoch"], found["extra"]) == (1768903207, [("ts_epoch", "soon")])


@pytest.mark.parametrize("number", [(1 << 63) - 1, -(1 << 63)])
def test_epoch_in_quotes_may_be_as_large_as_a_column_holds(number: int) -> None:
    found = event(f'{{"ts_epoch":"{number}","type":"t"}}'.encode())

    assert (found["ts_epoch"], found["extra"]) == (number, None)


@pytest.mark.parametrize("number", [1 << 63, -(1 << 63) - 1])
def test_epoch_in_quotes_that_no_column_holds_stays_in_extra(number: int) -> None:
    found = event(f'{{"ts_epoch":"{number}","type":"t"}}'.encode())

    assert (found["ts_epoch"], found["extra"]) == (None, [("ts_epoch", str(number))])


def test_epoch_written_as_the_least_double_a_column_holds_is_a_whole_number() -> None:
    found = event(b'{"ts_epoch":-9.223372036854776e18,"type":"t"}')

    assert (found["ts_epoch"], found["extra"]) == (-(1 << 63), None)


def test_empty_epoch_is_none() -> None:
    found = event(b'{"ts":"2026-01-20T10:00:07Z","ts_epoch":"","type":"t"}')

    assert (found["ts_epoch"], found["extra"]) == (1768903207, None)


@pytest.mark.parametrize("ts", [b"5", b"{}", b"[1]", b"true"])
def test_time_that_is_no_text_stays_in_extra(ts: bytes) -> None:
    found = event(b'{"ts":' + ts + b',"type":"t"}')

    assert (found["ts"], [key for key, _ in found["extra"]]) == (None, ["ts"])


@pytest.mark.parametrize("column", ["type", "stage", "result", "model"])
def test_number_in_a_text_column_is_its_digits_and_stays_a_number_in_extra(column: str) -> None:
    found = event(f'{{"{column}":5}}'.encode())

    assert (found[column], found["extra"]) == ("5", [(column, 5)])


@pytest.mark.parametrize("column", ["stage", "result", "model"])
def test_number_in_a_text_column_of_an_else_plain_line_is_its_digits(column: str) -> None:
    found = with_fields(f'"{column}":5'.encode())

    assert (found[column], found["extra"]) == ("5", [(column, 5)])


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
def test_value_no_text_column_can_hold_stays_in_extra(value: object) -> None:
    found = event(json.dumps({"ts_epoch": 1, "stage": value}).encode())

    assert found["stage"] is None
    assert found["extra"][0][0] == "stage"


def test_nul_character_survives_in_extra_and_is_shown_in_columns() -> None:
    found = with_fields(b'"stage":"a\\u0000b","note":"c\\u0000d"')

    assert found["stage"] == "a\u2400b"
    assert found["extra"] == [("stage", "a\0b"), ("note", "c\0d")]


def test_half_a_surrogate_pair_becomes_the_text_of_its_escape() -> None:
    found = with_fields(b'"stage":"\\ud800","note":"a\\uDC00b","ok":"\\ud83d\\ude80"')

    assert (found["stage"], found["salvaged"]) == ("\\ud800", 1)
    assert found["extra"] == [("note", "a\\udc00b"), ("ok", "\U0001f680")]


@pytest.mark.parametrize("depth", [200, 500, 1000, 5000])
def test_deep_nesting_is_kept_as_json_or_as_its_text(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    (row,) = decode(HEAD + b',"x":' + nested.encode() + b',"y":1}').rows

    assert row[2] == "t"
    assert row[-1] in {f'{{"x":{nested},"y":1}}', f'{{"x":"{nested}","y":1}}'}


def test_rows_of_nesting_too_deep_for_json_count_as_salvaged() -> None:
    line = HEAD + b',"x":' + b"[" * 1000 + b"]" * 1000 + b"}"
    decoded = decode(line, line)

    assert (decoded.salvaged, [row[10] for row in decoded.rows]) == (2, [1, 1])


def test_nesting_too_deep_behind_a_key_that_is_too_long_to_be_found_is_kept_as_the_text_of_its_line() -> None:
    line = b'{"' + b"k" * 300 + b'":' + b"[" * 1000 + b"]" * 1000 + b"}"
    (row,) = decode(line).rows

    assert json.loads(row[-1] or "") == {"extra": line.decode()}


@pytest.mark.parametrize("half", [b"\\ud800", b"\\uDC00"])
def test_half_a_surrogate_pair_beside_a_number_too_large_for_the_fast_parser_is_salvaged(half: bytes) -> None:
    found = with_fields(b'"a":"' + half + b'","n":1e400')

    assert (found["salvaged"], found["extra"]) == (1, [("a", half.decode().lower()), ("n", "1e400")])


def test_nested_text_with_half_a_surrogate_pair_becomes_the_text_of_its_escape() -> None:
    assert with_fields(b'"a":["x\\ud800",{"\\udc00":1}]')["extra"] == [("a", ["x\\ud800", [("\\udc00", 1)]])]


@pytest.mark.parametrize("number", ["1.50000000000000000000", "0.10000000000000000000", "100000000000000000000e-20"])
def test_long_number_that_a_double_says_exactly_is_a_number(number: str) -> None:
    assert with_fields(f'"n":{number}'.encode())["extra"] == [("n", float(number))]


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
def test_what_is_no_json_is_salvaged_also_beside_a_number_too_large_for_the_fast_parser(constant: bytes) -> None:
    found = with_fields(b'"n":1e400,"m":' + constant)

    assert (found["salvaged"], found["extra"]) == (1, [("n", "1e400"), ("m", constant.decode())])


@pytest.mark.parametrize("blanks", [b" ", b"\t", b"\r", b" \t", b"\t ", b" \r", b"\t\r "])
def test_a_key_repeated_behind_odd_white_space_loses_nothing(blanks: bytes) -> None:
    assert with_fields(b'"a"' + blanks + b':1,"a":2,"b":3')["extra"] == [("a", 1), ("a", 2), ("b", 3)]


def test_numbers_of_an_odd_line_are_in_their_columns() -> None:
    found = with_fields(b'"type":"again","duration_s":85,"cost_usd":0.25')

    assert (found["duration_s"], found["cost_usd"], found["extra"]) == (85, 0.25, [("type", "again")])


@pytest.mark.parametrize("column", ["duration_s", "cost_usd"])
def test_measure_in_quotes_that_no_double_holds_stays_in_extra(column: str) -> None:
    found = with_fields(f'"{column}":"1e999"'.encode())

    assert (found[column], found["extra"]) == (None, [(column, "1e999")])


def test_team_event_says_who_sent_it() -> None:
    found = event(HEAD + b',"from_developer":"Ada","from_machine":"box-1"}', origin=TEAM)

    assert found["origin"] == "team-events.jsonl/Ada@box-1"
    assert found["extra"] == [("from_developer", "Ada"), ("from_machine", "box-1")]


def test_nul_in_a_sender_is_shown() -> None:
    found = event(HEAD + b',"from_developer":"A\\u0000da","from_machine":"box-1"}', origin=TEAM)

    assert found["origin"] == "team-events.jsonl/A\u2400da@box-1"


@pytest.mark.parametrize("fields", [b"", b',"from_developer":""', b',"from_machine":5', b',"from_machine":{}'])
def test_team_event_of_unknown_sender_says_so(fields: bytes) -> None:
    assert event(HEAD + fields + b"}", origin=TEAM)["origin"] == "team-events.jsonl/unknown@unknown"


def test_odd_lines_keep_their_place_between_good_ones() -> None:
    lines = [HEAD + b',"n":%d}' % n for n in range(2000)]
    lines[700] = HEAD + b',"n":0700}'
    lines[1024] = HEAD + b',"n":1024,"type":"x"}'
    lines[1500] = b"rubbish"
    decoded = decode(*lines)

    assert [json.loads(row[-1] or "")["n"] for row in decoded.rows] == [
        "0700" if n == 700 else n for n in range(2000) if n != 1500
    ]
    assert decoded.rejected == [Rejected(1500, 1, 0, 7, "not_json")]
