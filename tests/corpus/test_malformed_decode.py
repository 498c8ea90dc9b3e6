"""Journals that the real program wrote: what each call meant must be what comes out."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from shipwrightd.decoding import EVENT_COLUMNS, content_of
from shipwrightd.decoding.events import JOURNAL, TEAM, Decoded, Origin, decode_lines

if TYPE_CHECKING:
    from pathlib import Path

# Kinds of emission whose bytes are not the whole event, alone, on lines of their own.
DAMAGED = {"killed", "shortwrite", "interleave", "locktimeout", "glued"}


def physical_lines(raw: bytes) -> list[bytes]:
    lines = raw.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def decode(raw: bytes, origin: Origin = JOURNAL) -> Decoded:
    return decode_lines(physical_lines(raw), origin=origin, final=True)


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_strict(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def beginnings(raw: bytes) -> int:
    return sum(line.startswith(b'{"ts":') for line in physical_lines(raw))


@pytest.fixture
def malformed(fixtures_dir: Path) -> Path:
    return fixtures_dir / "malformed"


def test_each_whole_emission_is_one_row_alone_and_in_the_journal(malformed: Path) -> None:
    raw = (malformed / "events.jsonl").read_bytes()
    whole = [call for call in records(malformed / "emissions.jsonl") if call["kind"] not in DAMAGED]
    rows = iter(decode(raw).rows)

    for call in whole:
        emitted = raw[call["start"] : call["end"]]
        alone = decode(emitted)
        assert not alone.rejected
        assert len(alone.rows) == beginnings(emitted)
        for row in alone.rows:
            assert row in rows, call  # consumes up to it: order is kept


def test_good_line_glued_to_a_cut_one_is_a_row(malformed: Path) -> None:
    raw = (malformed / "events.jsonl").read_bytes()
    found = {content_of(row) for row in decode(raw).rows}

    for call in records(malformed / "emissions.jsonl"):
        if call["kind"] == "glued":
            (row,) = decode(raw[call["start"] : call["end"]]).rows
            assert content_of(row) in found


def test_cut_emissions_are_kept_byte_for_byte(malformed: Path) -> None:
    raw = (malformed / "events.jsonl").read_bytes()
    lines = physical_lines(raw)
    kept = {
        b"\n".join(lines[gone.first : gone.first + gone.count])[gone.start : gone.end] for gone in decode(raw).rejected
    }

    for call in records(malformed / "emissions.jsonl"):
        if call["kind"] in {"killed", "shortwrite"}:
            assert raw[call["start"] : call["end"]] in kept


def test_lines_of_strict_json_are_the_rows_that_are_not_salvaged(malformed: Path) -> None:
    strict = [line for line in records(malformed / "lines.jsonl") if line["python_strict"]]
    plain = [row for row in decode((malformed / "events.jsonl").read_bytes()).rows if not row[10]]

    assert len(plain) == len(strict)
    for row, line in zip(plain, strict, strict=True):
        assert row[3] == (line.get("issue") or None)
        assert row[1] == line.get("ts_epoch", row[1])


def test_only_pieces_are_rejected(malformed: Path) -> None:
    """What is rejected lies inside emissions that were cut or interleaved."""
    raw = (malformed / "events.jsonl").read_bytes()
    lines = physical_lines(raw)
    damaged = [call for call in records(malformed / "emissions.jsonl") if call["kind"] in DAMAGED]

    for gone in decode(raw).rejected:
        start = sum(len(line) + 1 for line in lines[: gone.first]) + gone.start
        assert any(call["start"] <= start < call["end"] for call in damaged)


@pytest.mark.parametrize(
    ("kind", "key", "meant"),
    [
        ("quote-in-type", "payload", '{"a":1}}'),
        ("fallback-quote", "pipeline_id", 'run "nightly" 7'),
        ("fallback-newline", "summary", 'first line of goal\nsecond line, "quoted"'),
        ("fallback-backslash", "summary", "Path C:\\Users\\ada\\dev"),
        ("v110-newline", "goal", 'first line of goal\nsecond line, "quoted"'),
        ("v110-backslash", "goal", "Path C:\\Users\\ada\\dev"),
        ("v110-tab", "goal", "a\tb"),
        ("v110-bsquote", "message", 'say \\"hi\\"'),
        ("legacy-add_event", "job_id", 'job "7"'),
    ],
)
def test_text_is_what_the_call_was_given(malformed: Path, kind: str, key: str, meant: str) -> None:
    raw = (malformed / "events.jsonl").read_bytes()
    calls = [call for call in records(malformed / "emissions.jsonl") if call["kind"] == kind]
    rows = [row for call in calls for row in decode(raw[call["start"] : call["end"]]).rows]

    assert meant in [json.loads(row[-1] or "{}").get(key) for row in rows]


def test_event_of_v1_over_seven_lines_is_one_row_with_the_json_it_carries(malformed: Path) -> None:
    raw = (malformed / "v1.10.0-run.events.jsonl").read_bytes()
    decoded = decode(raw)
    split = [json.loads(row[-1] or "") for row in decoded.rows if row[2] == "intelligence.model_ab"]

    assert (len(decoded.rows), decoded.rejected) == (beginnings(raw), [])
    assert split
    for extra in split:
        assert list(extra) == ["recommended", "applied", "ab_group", "ab_ratio"]
        assert {"model", "reason", "stage"} <= set(json.loads(extra["recommended"]))
    assert all(row[0] and row[1] and row[2] for row in decoded.rows)


def test_durable_log_keeps_its_payload_as_an_object(malformed: Path) -> None:
    raw = (malformed / "durable-event-log.jsonl").read_bytes()
    decoded = decode(raw)

    assert (len(decoded.rows), decoded.rejected) == (beginnings(raw), [])
    for row in decoded.rows:
        assert isinstance(json.loads(row[-1] or "")["payload"], dict)


@pytest.mark.parametrize("name", ["small/dot-shipwright/events.jsonl", "large/events.jsonl.gz"])
def test_each_line_of_an_ordinary_journal_is_a_row(fixtures_dir: Path, name: str) -> None:
    packed = (fixtures_dir / name).read_bytes()
    raw = gzip.decompress(packed) if name.endswith(".gz") else packed
    decoded = decode(raw)

    assert (len(decoded.rows), decoded.rejected) == (beginnings(raw), [])
    assert decoded.salvaged == sum(not is_strict(line) for line in physical_lines(raw))
    assert all(row[0] and row[1] and row[2] for row in decoded.rows)


def test_good_lines_lose_nothing(fixtures_dir: Path) -> None:
    raw = (fixtures_dir / "small/dot-shipwright/events.jsonl").read_bytes()
    lines = [line for line in physical_lines(raw) if is_strict(line)]

    for line, row in zip(lines, decode(b"\n".join(lines)).rows, strict=True):
        kept = json.loads(row[-1] or "{}", object_pairs_hook=list) or []
        for key, value in json.loads(line, object_pairs_hook=list):
            column = dict(zip(EVENT_COLUMNS, row, strict=True)).get(key)
            assert (key, value) in kept or column == (value if key != "issue" else value or None)


def test_each_team_event_is_a_row_that_names_its_sender(fixtures_dir: Path) -> None:
    raw = (fixtures_dir / "small/dot-shipwright/team-events.jsonl").read_bytes()
    decoded = decode(raw, TEAM)

    assert len(decoded.rows) == len(physical_lines(raw))
    for row, line in zip(decoded.rows, physical_lines(raw), strict=True):
        sent = json.loads(line)
        assert row[9] == f"team-events.jsonl/{sent['from_developer']}@{sent['from_machine']}"
