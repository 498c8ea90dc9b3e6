"""Documents: any bytes are taken apart or are a DocumentError; stored twice they change nothing, and verify."""

from __future__ import annotations

import json
from typing import Any

import orjson

from fuzz import books
from fuzz.feed import Feed
from shipwrightd.decoding.values import DocumentError
from shipwrightd.documents.fields import Bad, Parsed
from shipwrightd.documents.kinds import DOCUMENTS, kind_of, parse_document
from shipwrightd.documents.store import ingest_document, verify_document

INSTRUMENTED = (
    "shipwrightd.documents.kinds",
    "shipwrightd.documents.fields",
    "shipwrightd.decoding.values",
    "shipwrightd.documents.store",
)
PATHS = [kind.pattern.replace("*", "x") for kind in DOCUMENTS]
NOW = "2026-01-20T10:00:00Z"
TS = b'"ts":"2026-01-20T10:00:00Z","ts_epoch":1768903200'
LONGEST = 400
SEEDS = (
    (
        b'\x00\xff{"entries":[{"input_tokens":1200,"output_tokens":"7","model":"opus","stage":"build","issue":"42",'
        b'"cost_usd":0.0300,' + TS + b'}, 5],"summary":{}}'
    ),
    b'\x01\xff{"daily_budget_usd":"10.","enabled":"true","more":NaN}',
    (
        b'\x02\x11{"outcomes":[{"pipeline_id":"p","cost_usd":1e400,"success":true,"model":"opus","template":"fast",'
        + TS
        + b'}],"summary":{"total_pipelines":1}}\n{"issue":"\\"#42\\"","template":"\\"fast\\"","cost":3}\nrubbish\n{}'
    ),
    (
        b'\x03\xff[{"developer_id":"ada","machine_name":"m","last_heartbeat":1768903200000,"daemon_running":1,'
        b'"active_jobs":[{"issue":1}],"queued":[]},{"developer_id":"ada","machine_name":"m"},{}]'
    ),
    (
        b'\x04\xff{"version":1,"pid":7,"active_jobs":[{"issue":56,"pid":8,"started_at":"2026-01-20T10:00:00Z","repo":"a/b"}],'
        b'"queued":["56","owner/repo:58",7],"completed":[{"issue":1,"result":"success","duration":"15m 36s",'
        b'"completed_at":"2026-01-20T10:00:00Z"}],"failure_history":[{"ts":"x","class":"y"}],"titles":{"56":"t","a":1},'
        b'"config":{"poll_interval":30}}'
    ),
    (
        b'\x05\xff{"pid":1,"issue":null,"stage":"unknown","iteration":2,"memory_mb":100,"cpu_pct":5,'
        b'"updated_at":"2026-01-20T10:00:00Z"}'
    ),
    b'\x06\xff{"failures":[{"stage":"build","pattern":"p\xe2","seen_count":2,"last_seen":"2026-01-20T10:00:00Z"}]}',
    b'\x07\xff{"decisions":[{"type":"adr","summary":"s","recorded_at":"2026-01-20T10:00:00Z"},{"type":"adr"}]}',
    b'\x08\xff{"repo":"r","captured_at":"2026-01-20T10:00:00Z","project":{"type":"node"},"known_issues":["a","a",1]}',
    b'\x09\xff{"baselines":{"build_s":85.0,"test_s":"x"},"last_updated":"2026-01-20T10:00:00Z"}',
    b'\x0a\xff{"layers":["a"],"patterns":{"x":[1]},"conventions":"c"}',
    (
        b'\x0b\xff{"common_patterns":[{"pattern":"p","promoted_at":"2026-01-20"}],'
        b'"cross_repo_learnings":[{"repo":"r","type":"t","bugs":1,"captured_at":"2026-01-20T10:00:00Z"}]}'
    ),
    b'\x0c\xff{"project_type":"node","detected_at":"2026-01-20T10:00:00+14:00","source":"bootstrap"}',
)
WORDS = (
    *(
        b'"entries":[',
        b'"issue":',
        b'"ts":"',
        b'"ts_epoch":',
        b'"outcomes":[',
        b'"developer_id":"',
        b'"machine_name":"',
    ),
    *(b'"active_jobs":[', b'"queued":[', b'"completed":[', b'"failure_history":[', b'"titles":{', b'"failures":['),
    *(b'"pattern":"', b'"last_seen":"', b'"seen_count":', b'"decisions":[', b'"known_issues":[', b'"baselines":{'),
    *(b'"common_patterns":[', b'"cross_repo_learnings":[', b"}\n{", b"1e400", b"\\ud800", b"NaN", b"null", b"true"),
    *(b"9223372036854775808", b'"#42"', b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"\xef\xbb\xbf"),
    *(b'"duration":"1h 2m"', b'"last_heartbeat":', b"-0.0", b"\\u0000", b'""', b'"\\""', b"[[[[", b'{"a":'),
)


def check(data: bytes) -> None:
    """Take a document apart, store it, and look at a changed version and again at the first."""
    feed = Feed(data)
    path = PATHS[feed.upto(len(PATHS) - 1)]
    cut = feed.byte()
    raw = feed.rest()
    try:
        parsed = parse_document(path, raw)
    except DocumentError as error:
        assert str(error).encode()
        _refused(path, raw)
        return
    _plain(parsed)
    _rewritten(path, raw, parsed)
    if cut & 1:
        _stored(path, raw, cut, clean=not parsed.bad)


def _refused(path: str, raw: bytes) -> None:
    """Look at what is no document: that changes nothing."""
    with books.taken_back() as db:
        assert ingest_document(db, path, raw, now=NOW).error
        assert not db.execute("SELECT count(*) FROM checkpoints").get


def _plain(parsed: Parsed) -> None:
    rows: list[tuple[Any, ...]] = []
    for part in parsed.lists:
        assert {len(content) for content in part.hashes} <= {8}
        rows += [row for row in part.rows if not isinstance(row, Bad)]
    for keyed in parsed.keyed:
        rows += [(*key, *row) for key, row in keyed.rows.items()]
    for row in rows:
        for value in row:
            assert value is None or type(value) in (str, int, float), value
            assert not isinstance(value, int) or -(1 << 63) <= value < 1 << 63
    for bad in parsed.bad:
        json.loads(bad.raw)


def _rewritten(path: str, raw: bytes, parsed: Parsed) -> None:
    """White space does not matter."""
    try:
        value = orjson.loads(raw)
        pretty = orjson.dumps(value, option=orjson.OPT_INDENT_2)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return
    if path == "cost-outcomes.json" and not isinstance(value, dict):
        return  # what is none of its objects is kept as it is written
    if parse_document(path, orjson.dumps(value)) == parsed:  # not where digits get lost in the writing
        assert parse_document(path, pretty) == parsed


def _stored(path: str, raw: bytes, cut: int, *, clean: bool) -> None:
    with books.taken_back() as db:
        first = ingest_document(db, path, raw, now=NOW)
        assert first.error is None
        assert first.gaps == 0
        assert not verify_document(db, path, raw)
        again = ingest_document(db, path, raw, now=NOW)
        assert (again.records, again.changed, again.quarantined, again.gaps) == (0, 0, 0, 0)
        spaced = ingest_document(db, path, raw + b"\n", now=NOW)
        assert (spaced.records, spaced.changed, spaced.quarantined, spaced.gaps) == (0, 0, 0, 0), spaced
        other = ingest_document(db, path, raw[: cut * len(raw) // 255], now=NOW)
        back = ingest_document(db, path, raw, now=NOW)
        assert back.error is None
        if other.error is None and clean:
            assert not verify_document(db, path, raw)
        gone = ingest_document(db, path, None, now=NOW)
        assert gone.records == 0
        kind = kind_of(path)
        assert kind
        assert not verify_document(db, path, None)
