from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from shipwrightd.decoding import EVENT_COLUMNS, Rejected
from shipwrightd.decoding.events import JOURNAL, Decoded, decode_lines

START = '{"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200,"type":"t"'
GOOD = (START + ',"issue":7}').encode()


def decode(*lines: bytes, final: bool = True) -> Decoded:
    return decode_lines(lines, origin=JOURNAL, final=final)


def salvaged(text: str | bytes) -> dict[str, Any]:
    """Return columns and extra fields of the one salvaged row in a text of one or more physical lines."""
    raw = text.encode() if isinstance(text, str) else text
    decoded = decode(*raw.split(b"\n"))
    assert (decoded.rejected, decoded.salvaged) == ([], 1)
    (row,) = decoded.rows
    columns: dict[str, Any] = dict(zip(EVENT_COLUMNS[:-1], row[:-1], strict=True))
    columns.update(json.loads(row[-1] or "{}"))
    return columns


def fields(text: str) -> dict[str, Any]:
    return salvaged(START + "," + text + "}")


def test_raw_control_characters_are_kept() -> None:
    assert fields('"e":"\x1b[31mFAIL\x1b[0m\r\\n50%\x07\x08"')["e"] == "\x1b[31mFAIL\x1b[0m\r\n50%\x07\x08"


@pytest.mark.parametrize("digits", ["007", "-01.50", "0123456", "85.", "00."])
def test_digits_that_are_no_json_number_keep_their_text(digits: str) -> None:
    assert fields(f'"n":{digits},"m":5')["n"] == digits


def test_text_that_begins_like_a_list_ends_at_its_own_quote_where_every_quote_is_escaped() -> None:
    found = fields('"n":007,"error":"[[ -f x ]]: not found","payload":"{\\"a\\":[1]}","last":"x"')

    assert (found["error"], found["payload"], found["last"]) == ("[[ -f x ]]: not found", '{"a":[1]}', "x")


@pytest.mark.parametrize("opening", ["[", "{", "[ ", "[[", '[[\\"', "[{"])
def test_text_that_opens_like_json_and_ends_with_its_first_bare_quote_is_no_json(opening: str) -> None:
    """Bare JSON in a text goes on behind its first quote."""
    found = fields(f'"a":"{opening}","b":"]","m":"first\nsecond"')

    assert (found["a"], found["b"], found["m"]) == (opening.replace('\\"', '"'), "]", "first\nsecond")


def test_duration_with_leading_zeros_is_a_number_and_keeps_its_text() -> None:
    (row,) = decode((START + ',"duration_s":007,"error":"x"}').encode()).rows

    assert (row[6], row[-1]) == (7, '{"duration_s":"007","error":"x"}')


def test_invalid_bytes_become_replacement_characters_and_stay_recoverable() -> None:
    raw = START.encode() + b',"m":"a\xed\xa0\x80b\xc3(c\xff"}'
    found = salvaged(raw)

    assert found["m"] == raw.decode(errors="replace")[len(START) + 6 : -2]
    assert base64.b64decode(found["_bytes"]) == raw


def test_quote_in_the_type_does_not_change_how_values_are_read() -> None:
    found = salvaged('{"ts":"2026-01-20T10:00:00Z","type":"deploy "prod"","payload":"{\\"a\\":\\"b\\\\\\"c\\"}}"}')

    assert (found["type"], found["payload"]) == ('deploy "prod"', '{"a":"b\\"c"}}')


def test_quote_in_a_key_is_part_of_the_key() -> None:
    assert fields('"a":"1","b"c":"2","d":"3"')['b"c'] == "2"


def test_newline_in_the_type_or_a_key_is_part_of_it() -> None:
    found = salvaged('{"ts":"2026-01-20T10:00:00Z","type":"a\nb","x":"say \\"hi\\"","k\ney":"v"}')

    assert (found["type"], found["x"], found["k\ney"]) == ("a\nb", 'say "hi"', "v")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('run "nightly" 7', 'run "nightly" 7'),  # nothing escaped
        ('"quoted"', '"quoted"'),
        ("Path C:\\Users\\ada", "Path C:\\Users\\ada"),  # backslash not escaped
        ('Say \\"hi\\" \\ there', 'Say "hi" \\ there'),  # only the quote escaped
        ('say \\\\"hi\\\\"', 'say \\"hi\\"'),
        ("a\tb", "a\tb"),
        ("C:\\new\tx", "C:\\new\tx"),  # a raw tab tells that the backslash is one, too
        ('first\nsecond, "quoted"', 'first\nsecond, "quoted"'),
        ("first\n\nthird \\n", "first\n\nthird \\n"),
        ("C:\\dir\\", "C:\\dir\\"),
        ("a}\nb}", "a}\nb}"),
        ("a\t}\nb", "a\t}\nb"),
        ('got {"a":"x","b":1} from "api"', 'got {"a":"x","b":1} from "api"'),
        ('{"a":"x","b":{"c":1}}', '{"a":"x","b":{"c":1}}'),
        ('{\n  "d": 1,\n  "a": {"b":"c"}\n}', '{\n  "d": 1,\n  "a": {"b":"c"}\n}'),
        ('{\n  "a": { "b":"c"}\n}', '{\n  "a": { "b":"c"}\n}'),
        ('{"cut": "off', '{"cut": "off'),
        ('{"a":"x"}" or {"b":"y"}', '{"a":"x"}" or {"b":"y"}'),
        ('got {"a":{"b":1},"c":"x","d":2} back', 'got {"a":{"b":1},"c":"x","d":2} back'),
        ('x"},"z":1 w', 'x"},"z":1 w'),
        ('a "b" and \\"c\\"', 'a "b" and \\"c\\"'),
    ],
)
def test_what_old_emitters_did_not_escape_is_read_as_meant(written: str, meant: str) -> None:
    assert fields(f'"goal":"{written}","after":1')["goal"] == meant
    assert fields(f'"before":"x","goal":"{written}"')["goal"] == meant


def test_evidence_in_one_value_counts_for_the_whole_record() -> None:
    assert fields('"a":"C:\\new","b":"x\ty"')["a"] == "C:\\new"


def test_record_over_several_lines_is_one_event() -> None:
    lines = [
        START.encode() + b',"recommended":"{',
        b'  \\"model\\": \\"haiku\\",',
        b'  \\"deep\\": {\\"a\\": \\"b\\"}',
        b'}","applied":"opus","ab_ratio":20}',
    ]
    decoded = decode(*lines, GOOD)

    extra = json.loads(decoded.rows[0][-1] or "")
    assert (len(decoded.rows), decoded.salvaged, decoded.rejected) == (2, 1, [])
    assert extra["recommended"] == '{\n  "model": "haiku",\n  "deep": {"a": "b"}\n}'
    assert (extra["applied"], extra["ab_ratio"]) == ("opus", 20)


def test_pretty_printed_record_is_one_event() -> None:
    found = salvaged(json.dumps({"ts": "2026-01-20T10:00:00Z", "type": "t", "x": {"y": [1]}}, indent=2))

    assert (found["type"], found["x"]) == ("t", {"y": [1]})


def test_empty_values_are_null() -> None:
    found = salvaged('{"ts":"","ts_epoch":,"type":"daemon.poll","n":,"m":0}')

    assert (found["ts"], found["ts_epoch"], found["type"], found["n"]) == (None, None, "daemon.poll", None)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('{"k":"v"}', {"k": "v"}),
        ('{"k":"v"}junk', '{"k":"v"}junk'),
        ("hello", "hello"),
        ("[1,2", "[1,2"),
        ("{a:1}", "{a:1}"),
        ('{"goal":"a "dry run" in C:\\temp","n":1}', {"goal": 'a "dry run" in C:\\temp', "n": 1}),
        ('{"a":{"b":"say "x""},"c":007}', {"a": {"b": 'say "x"'}, "c": "007"}),
    ],
)
def test_raw_metadata_is_read_as_far_as_it_is_json(written: str, meant: object) -> None:
    assert fields(f'"job_id":"job "7"","metadata":{written}')["metadata"] == meant
    assert fields(f'"metadata":{written},"job_id":"job "7""')["metadata"] == meant


def test_good_record_glued_to_a_cut_one_is_recovered() -> None:
    cut = START.encode() + b',"error":"kkkk'
    decoded = decode(cut + GOOD)

    assert [row[3] for row in decoded.rows] == [7]
    assert decoded.rejected == [Rejected(0, 1, 0, len(cut), "cut_record")]


def test_record_glued_to_a_cut_one_can_itself_be_faulty_or_long() -> None:
    cut = START.encode() + b',"err'
    decoded = decode(cut + START.encode() + b',"goal":"a', b'b "c""}' + GOOD, GOOD)

    assert [json.loads(row[-1] or "{}").get("goal") for row in decoded.rows] == ['a\nb "c"', None, None]
    assert [piece.reason for piece in decoded.rejected] == ["cut_record"]


def test_records_without_a_newline_between_them_are_two() -> None:
    assert len(decode(GOOD + GOOD).rows) == 2
    assert len(decode(GOOD + b'{"type":"x"}').rows) == 2


@pytest.mark.parametrize("damage", ['"n":007', '"tab":"a\tb"'])
@pytest.mark.parametrize(("backslashes", "closed"), [(0, True), (1, False), (2, True), (3, False), (4, True)], ids=str)
def test_quote_that_may_be_escaped_leaves_a_record_open(damage: str, backslashes: int, closed: object) -> None:
    line = (START + f',{damage},"goal":"C:' + "\\" * backslashes + '"}').encode()

    assert decode(line, final=False).consumed == bool(closed)
    assert len(decode(line).rows) == 1


def test_text_goes_on_behind_an_escaped_quote_and_a_brace_at_the_end_of_a_line() -> None:
    assert fields('"n":007,"goal":"say \\"}\nmore\\" end","last":1')["goal"] == 'say "}\nmore" end'


def test_text_of_several_lines_may_end_in_a_backslash() -> None:
    assert fields('"goal":"first\nin C:\\"')["goal"] == "first\nin C:\\"


def test_line_in_braces_that_is_no_json_is_part_of_the_text_around_it() -> None:
    assert fields('"goal":"one\n{two}\nthree","n":1')["goal"] == "one\n{two}\nthree"


@pytest.mark.parametrize("end", ["", "\r", " \t"])
def test_record_of_several_lines_is_closed_by_its_brace_whatever_blanks_follow(end: str) -> None:
    lines = (START + f',"goal":"one\ntwo"}}{end}').encode().split(b"\n")

    assert decode(*lines, final=False).consumed == 2


@pytest.mark.parametrize(
    "text", ['"a":{\n"b":1\n}\n}', '"a":[\n1\n]\n}', '"a":1,\n"b":2\n}', '"a":\n5\n}', '"a":[ \t\r\n1\n]\n}']
)
def test_record_printed_over_several_lines_is_closed_by_a_brace_alone(text: str) -> None:
    lines = (START + "," + text).encode().split(b"\n")
    decoded = decode(*lines, final=False)

    assert (decoded.consumed, len(decoded.rows), decoded.rejected) == (len(lines), 1, [])


@pytest.mark.parametrize("following", [b"", GOOD])
def test_number_before_a_closing_brace_alone_is_a_number(following: bytes) -> None:
    decoded = decode((START + ',"a":1').encode(), b"}", following)

    assert (json.loads(decoded.rows[0][-1] or ""), decoded.rejected) == ({"a": 1}, [])


def test_a_record_does_not_go_on_in_the_beginning_of_another() -> None:
    decoded = decode((START + ',"a":"x').encode(), (START + ',"b":"y').encode())

    assert [(gone.first, gone.count) for gone in decoded.rejected] == [(0, 1), (1, 1)]


def test_an_open_record_is_given_up_when_a_mebibyte_follows_it() -> None:
    lines = [(START + ',"a":"x').encode(), *[b"y" * 300_000] * 4]

    assert decode(*lines[:-1], final=False).consumed == 0
    assert decode(*lines, final=False).consumed > 0


def test_a_time_makes_a_salvaged_record_an_event_and_a_time_under_another_key_does_not() -> None:
    assert salvaged('{"ts":"2026-01-20T10:00:00Z","n":007}')["n"] == "007"
    decoded = decode(b'{"at":"2026-01-20T10:00:00Z","n":007}')
    assert ([gone.reason for gone in decoded.rejected], decoded.rows) == (["no_type_or_time"], [])


def test_list_in_a_damaged_record_is_a_list() -> None:
    assert fields('"n":007,"a":[1,"x, y",{"b":2}],"last":1')["a"] == [1, "x, y", {"b": 2}]


def test_list_with_a_raw_control_character_in_a_damaged_record_is_a_list() -> None:
    assert fields('"n":007,"a":["\x1b[31m"],"last":1')["a"] == ["\x1b[31m"]


def test_list_behind_many_numbers_and_texts_of_a_damaged_record_is_a_list() -> None:
    many = ",".join(f'"n{n}":{n},"s{n}":"x"' for n in range(20))

    assert fields(f'"goal":"say "hi"",{many},"a":[1,2]')["a"] == [1, 2]


def test_sixteen_lists_of_a_damaged_record_are_lists() -> None:
    found = fields('"n":007,' + ",".join(f'"a{n}":[{n}]' for n in range(16)))

    assert [found[f"a{n}"] for n in range(16)] == [[n] for n in range(16)]


@pytest.mark.parametrize(
    "goal",
    [
        'got {"a":1} from "api"',  # the first quote is behind the object
        'see {"a":1}',
        '{"a":007}',  # looks like JSON and closes like it
        '{"a":"x"}" or {"b":"y"}',
    ],
)
@pytest.mark.parametrize("last", ["", ',"after":1'])
def test_text_that_quotes_whole_objects_is_complete_with_its_line(goal: str, last: str) -> None:
    line = (START + f',"n":007,"goal":"{goal}"{last}}}').encode()

    assert decode(line, final=False).consumed == 1
    assert salvaged(line)["goal"] == goal


@pytest.mark.parametrize("before", ['{"a":1} and ', '{"a":$b} and ', '{"a":{"b":1}} and ' * 40])
def test_text_that_quotes_objects_one_after_another_is_read_whole(before: str) -> None:
    goal = f'p {before}{{"b":"x","c":2}} q'
    line = (START + f',"goal":"{goal}","list":[1,2]}}').encode()

    assert decode(line, final=False).consumed == 1
    assert (salvaged(line)["goal"], salvaged(line)["list"]) == (goal, [1, 2])


@pytest.mark.parametrize(
    "goal",
    [
        'p {"a":1} q',
        'p {"a":1} {"b":{"c":"x","d":"y"},"e":"z","f":1} q',
    ],
)
def test_object_behind_a_text_that_quotes_objects_is_no_part_of_it(goal: str) -> None:
    line = (START + f',"n":007,"goal":"{goal}","o":{{"b":1}},"last":1}}').encode()
    found = salvaged(line)

    assert decode(line, final=False).consumed == 1
    assert (found["goal"], found["o"]) == (goal, {"b": 1})


def test_list_behind_a_text_that_quotes_many_whole_objects_is_a_list() -> None:
    found = fields('"goal":"' + '{"a":1} ' * 40 + '","list":[1,2]')

    assert found["list"] == [1, 2]


def test_text_that_begins_like_an_object_and_ends_otherwise_is_left_open() -> None:
    line = (START + ',"n":007,"goal":"{"a":1} in BOX"}').encode()

    assert decode(line, final=False).consumed == 0
    assert salvaged(line)["goal"] == '{"a":1} in BOX'


def test_text_that_may_end_inside_an_object_it_quotes_is_left_open() -> None:
    line = (START + ',"n":007,"goal":"see {"a":"b"}').encode()

    assert decode(line, final=False).consumed == 0
    assert salvaged(line + b'\ndone"}')["goal"] == 'see {"a":"b"}\ndone'


def test_a_second_type_is_read_as_the_other_texts_are() -> None:
    (row,) = decode((START + ',"goal":"a\tb","type":"C:\\new"}').encode()).rows

    assert (row[2], json.loads(row[-1] or "")) == ("t", {"goal": "a\tb", "type": "C:\\new"})


def test_texts_of_a_damaged_object_are_read_as_those_around_it() -> None:
    found = fields('"goal":"a\tb","o":{"type":"C:\\new","x":"say \\"hi\\"","n":007}')

    assert found["o"] == {"type": "C:\\new", "x": 'say "hi"', "n": "007"}


def test_a_type_inside_an_object_tells_how_texts_are_written() -> None:
    found = fields('"o":{"type":"a\tb","n":007},"path":"C:\\new"')

    assert (found["o"]["type"], found["path"]) == ("a\tb", "C:\\new")


def test_record_between_a_cut_one_and_nul_bytes_is_recovered() -> None:
    decoded = decode(START.encode() + b',"goal":"cut' + GOOD + b"\0\0\0" + GOOD)

    assert [row[3] for row in decoded.rows] == [7, 7]
    assert [gone.reason for gone in decoded.rejected] == ["cut_record", "nul_bytes"]


def test_event_quoted_inside_a_message_is_no_event() -> None:
    found = fields('"pattern":"bad line: {"ts":"2026-01-20T10:00:00Z","type":"x"} in file"')

    assert found["pattern"] == 'bad line: {"ts":"2026-01-20T10:00:00Z","type":"x"} in file'


def test_record_glued_to_a_message_that_quotes_several_events_is_recovered() -> None:
    quoted = '{"ts":"2026-01-20T10:00:00Z","of":{"ts":"2026-01-20T09:00:00Z"}} in file'
    cut = (START + f',"goal":"{quoted}').encode()
    decoded = decode(cut + GOOD)

    assert [row[3] for row in decoded.rows] == [7]
    assert decoded.rejected == [Rejected(0, 1, 0, len(cut), "cut_record")]


def test_event_quoted_behind_a_single_character_is_no_event() -> None:
    line = b'>{"ts":"2026-01-20T10:00:00Z","type":"x"} in file'

    assert decode(line) == Decoded([], [Rejected(0, 1, 0, len(line), "not_json")], 0, 1)


def test_any_number_of_records_may_stand_on_a_line() -> None:
    decoded = decode(GOOD * 100)

    assert ([row[3] for row in decoded.rows], decoded.rejected) == ([7] * 100, [])


def test_interleaved_pieces_give_the_whole_records_and_reject_the_rest() -> None:
    piece = START.encode() + b',"error":"' + b"1" * 100
    decoded = decode(piece + START.encode() + b',"error":"3', b"333" + GOOD, b'11","error_class":"unknown"}')

    assert len(decoded.rows) == 1
    assert [(gone.first, gone.count, gone.reason) for gone in decoded.rejected] == [
        (0, 1, "cut_record"),
        (0, 2, "cut_record"),
        (2, 1, "not_json"),
    ]


def test_nul_bytes_are_rejected_and_the_records_around_them_kept() -> None:
    decoded = decode(b"\0" * 8 + GOOD + b"\0\0", START.encode() + b',"x":"\0\0', b'"}')

    assert len(decoded.rows) == 1
    assert decoded.rejected == [
        Rejected(0, 1, 0, 8, "nul_bytes"),
        Rejected(0, 1, 8 + len(GOOD), 10 + len(GOOD), "nul_bytes"),
        Rejected(1, 1, 0, len(START) + 6, "cut_record"),
        Rejected(1, 1, len(START) + 6, len(START) + 8, "nul_bytes"),
        Rejected(2, 1, 0, 2, "not_json"),
    ]


@pytest.mark.parametrize("blanks", [b" ", b"\t\v\f\r", b"\xef\xbb\xbf"])
def test_blanks_between_pieces_are_not_rejected(blanks: bytes) -> None:
    decoded = decode(b"\0" + blanks + GOOD + b"\0")

    assert len(decoded.rows) == 1
    assert [gone.reason for gone in decoded.rejected] == ["nul_bytes", "nul_bytes"]


def test_rubbish_behind_a_record_is_rejected_alone() -> None:
    decoded = decode(GOOD + b"}")

    assert len(decoded.rows) == 1
    assert decoded.rejected == [Rejected(0, 1, len(GOOD), len(GOOD) + 1, "not_json")]


@pytest.mark.parametrize("depth", [100, 400, 500, 600, 900])
def test_rubbish_behind_a_deeply_nested_record_is_rejected_alone(depth: int) -> None:
    line = (START + ',"a":' + "[" * depth + "]" * depth + "}").encode()
    decoded = decode(line + b"rubbish")

    assert decoded.rejected == [Rejected(0, 1, len(line), len(line) + 7, "not_json")]
    assert [row[-1] for row in decoded.rows] == [row[-1] for row in decode(line).rows]


@pytest.mark.parametrize("blank", [" ", "\t", "\r", "\v", "\f"])
def test_record_with_spaces_and_a_control_character_is_read_whatever_blank_follows(blank: str) -> None:
    assert salvaged(START + ', "e": "\x01"}' + blank)["e"] == "\x01"


@pytest.mark.parametrize("line", [b'{"a":007}', b'{"ts":"soon","a":007}', b'{"type":"","a":007}'])
def test_salvage_makes_no_event_of_what_has_neither_type_nor_time(line: bytes) -> None:
    assert decode(line).rejected == [Rejected(0, 1, 0, len(line), "no_type_or_time")]


def test_open_record_waits_for_more_lines() -> None:
    open_line = START.encode() + b',"goal":"a'

    assert decode(GOOD, open_line, b"b", final=False) == Decoded(decode(GOOD).rows, [], 0, 1)
    assert decode(open_line, b"b", b'c"}', final=False).consumed == 3


def test_open_record_that_ends_the_journal_is_rejected() -> None:
    open_line = START.encode() + b',"goal":"a'

    assert decode(open_line, b"b").rejected == [Rejected(0, 2, 0, len(open_line) + 2, "cut_record")]


def test_next_record_ends_the_wait() -> None:
    open_line = START.encode() + b',"goal":"a'
    decoded = decode(open_line, GOOD, final=False)

    assert (len(decoded.rows), decoded.consumed) == (1, 2)
    assert decoded.rejected == [Rejected(0, 1, 0, len(open_line), "cut_record")]


@pytest.mark.parametrize("following", [b' {"type":"x"}', b'{"a":1,"ts":null}', b"\0", b'\xef\xbb\xbf{"type":"x"}'])
def test_any_line_that_is_an_event_ends_the_wait(following: bytes) -> None:
    assert decode(START.encode() + b',"goal":"a', following, final=False).consumed == 2


def test_waiting_is_bounded_when_each_line_begins_another_record() -> None:
    lines = [b"x" + START.encode() + b',"goal":"a'] * 300

    assert decode(*lines, final=False).consumed == 256


def test_waiting_is_bounded() -> None:
    lines = [START.encode() + b',"goal":"a', *[b"text"] * 300]

    assert decode(*lines, final=False).rejected[0].count == 256
    assert decode(lines[0], b"x" * (1 << 20), final=False).consumed == 0
    assert decode(lines[0], b"x" * (1 << 20), b"y" * 9, final=False).consumed == 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"ts":"',
        b'{"a":"}',
        b"{",
        b"}",
        b'"a","b":"}',
        b"\0\0",
        b'{"ts":"x"}}',
        b'{"a":{',
        b'\\"}',
        b'{"a":"\\"}',
    ],
)
def test_many_bad_lines_take_linear_time(line: bytes) -> None:
    """A hundred times more lines may take three hundred times longer, not ten thousand times."""

    def seconds(count: int) -> float:
        lines = [line] * count
        before = time.process_time()
        decode_lines(lines, origin=JOURNAL, final=True)
        return time.process_time() - before

    assert seconds(20_000) < 300 * max(min(seconds(200) for _ in range(3)), 1e-3)


@pytest.mark.parametrize(
    "part",
    [
        b'{"ts":"',
        b'{"ts":"","a":',
        b'\0{"ts":"',
        b'{"a":"',
        b'","',
        b',"a',
        b"}",
        b"\\",
        b'\\"}',
        b'"}',
        b"[",
        b'{"a":1} ',
        b'{"a":1} {"',
        b'{"a":1} {"b":"x","c":"y"} ',
    ],
)
def test_one_long_bad_line_takes_linear_time(part: bytes) -> None:
    def seconds(count: int) -> float:
        before = time.process_time()
        decode_lines([b'{"ts":"' + part * count], origin=JOURNAL, final=True)
        return time.process_time() - before

    assert seconds(50_000) < 300 * max(min(seconds(500) for _ in range(3)), 1e-3)


@pytest.mark.parametrize("part", ['{"x","c":"', '{"a":1} x","c":"', '","k":"{"a":1} {"b":"x","d":"'])
def test_a_record_of_many_texts_that_begin_like_objects_takes_linear_time(part: str) -> None:
    def seconds(count: int) -> float:
        line = (START + ',"n":007,"goal":"' + part * count + '"}').encode()
        before = time.process_time()
        decode_lines([line], origin=JOURNAL, final=True)
        return time.process_time() - before

    assert seconds(3_000) < 100 * max(min(seconds(150) for _ in range(3)), 1e-3)
