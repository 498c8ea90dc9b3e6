"""Capped lists and keyed entries, changed at random, looked at now and then, against short models."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipwrightd.database.connection import open_writer, transaction
from shipwrightd.documents.json_text import DocumentError
from shipwrightd.documents.kinds import DOCUMENTS, parse_document
from shipwrightd.documents.lists import Remembered, added, overlap, remember
from shipwrightd.documents.store import Memory, ingest_document, pack, unpack
from shipwrightd.documents.verify import verify_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    import apsw

NOW = "2026-01-14T17:02:00Z"
FAILURES = "memory/0123456789ab/failures.json"
STORED_COSTS = "SELECT input_tokens FROM cost_entries ORDER BY id"
FREQUENCIES = "SELECT pattern, frequency FROM memory_entries"
PRESENT_PATTERNS = "SELECT pattern FROM memory_entries WHERE present"
QUICK = settings(max_examples=30)
PURE = settings(max_examples=150)
PATHS = [kind.pattern.replace("*", "x") for kind in DOCUMENTS]

patterns = st.sampled_from("abc")
letters = st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner)
)


@pytest.fixture
def db(database: Path, tmp_path: Path) -> Iterator[Fresh]:
    fresh = Fresh(database, tmp_path)
    yield fresh
    fresh.close()


class Fresh:
    """A migrated database without a row, one for each example."""

    def __init__(self, database: Path, folder: Path) -> None:
        self._pristine, self._folder = database, folder
        self._count = 0
        self._open: apsw.Connection | None = None

    def connect(self) -> apsw.Connection:
        self.close()
        self._count += 1
        path = self._folder / f"{self._count}.db"
        shutil.copy(self._pristine, path)
        self._open = open_writer(path)
        return self._open

    def close(self) -> None:
        if self._open:
            self._open.close()


def rows(db: apsw.Connection, query: str) -> list[Any]:
    return db.execute(query).fetchall()


def take(db: apsw.Connection, path: str, value: object) -> int:
    """Ingest a document and return how many gaps that gave."""
    with transaction(db):
        outcome = ingest_document(db, path, orjson.dumps(value), now=NOW)
    assert outcome.error is None
    return outcome.gaps


@QUICK
@given(
    batches=st.lists(st.lists(st.integers(1, 3), max_size=700), min_size=1, max_size=6),
    first=st.integers(0, 1500),
)
def test_a_capped_list_looked_at_now_and_then_is_stored_once_and_in_order(
    db: Fresh, batches: list[list[int]], first: int
) -> None:
    """Each call writes its entry once, twice or thrice; a look sees the last 1,000 entries there are."""
    connection = db.connect()
    written: list[int] = []
    seen: list[int] = []
    gaps = holes = 0
    for batch in [[1] * first, *batches]:
        new = [number for i, times in enumerate(batch) for number in [len(written) + i] * times]
        written += new
        document = {"entries": [{"input_tokens": number} for number in written[-1000:]]}
        gaps += take(connection, "costs.json", document)
        holes += bool(seen) and len(new) >= 1000
        seen += new[-1000:]
    assert [number for (number,) in rows(connection, STORED_COSTS)] == seen
    assert gaps == holes


@PURE
@given(known=letters, found=letters)
def test_the_overlap_is_the_longest_one(known: list[bytes], found: list[bytes]) -> None:
    lengths = [n for n in range(min(len(known), len(found)) + 1) if known[len(known) - n :] == found[:n]]
    assert overlap(known, found) == max(lengths)


@PURE
@given(known=letters, appended=letters)
def test_what_is_appended_below_the_cap_is_new_whatever_it_repeats(known: list[bytes], appended: list[bytes]) -> None:
    more = added(known, known + appended, 1000)
    assert more.new == tuple(range(len(known), len(known) + len(appended)))
    assert more.sure


@PURE
@given(known=letters, found=letters, cap=st.integers(0, 12))
def test_never_fewer_entries_are_known_than_there_were_and_never_more_new_than_the_file_holds(
    known: list[bytes], found: list[bytes], cap: int
) -> None:
    more = added(known, found, cap)
    assert list(more.new) == sorted(set(more.new))
    total = Counter(known) + Counter(found[i] for i in more.new)
    assert not Counter(found) - total
    assert more.torn_off == (bool(known) and bool(found) and not set(known) & set(found))


@PURE
@given(looks=st.lists(st.lists(st.sampled_from([b"%d" % n for n in range(8)]), unique=True, max_size=8), max_size=6))
def test_a_list_of_different_entries_never_gives_one_twice_in_two_looks(looks: list[list[bytes]]) -> None:
    memory = Remembered(())
    before: list[bytes] = []
    for found in looks:
        more = added(memory.hashes, found, 100)
        assert not {found[i] for i in more.new} & set(before)
        memory = remember(memory, found, more.new)
        before = found or before


@QUICK
@given(steps=st.lists(st.tuples(patterns, st.sampled_from(["see", "see", "prune", "look"])), max_size=40))
def test_no_failure_is_forgotten_and_none_counted_more_often_than_it_was_seen(
    db: Fresh, steps: list[tuple[str, str]]
) -> None:
    """Looks are rare, so a second life may be taken for the first going on; then less is counted."""
    connection = db.connect()
    standing: dict[str, tuple[int, int]] = {}
    sightings: Counter[str] = Counter()
    for second, (pattern, action) in enumerate([*steps, ("a", "look")]):
        if action == "see":
            sightings[pattern] += 1
            standing[pattern] = (standing.get(pattern, (0, 0))[0] + 1, second)
            continue
        look_at(connection, standing)
        if action == "prune" and pattern in standing:
            del standing[pattern]
            look_at(connection, standing)
    stored = dict(rows(connection, FREQUENCIES))
    assert set(stored) == set(sightings)
    assert all(stored[pattern] <= count for pattern, count in sightings.items())
    assert all(stored[pattern] >= count for pattern, (count, _) in standing.items())
    assert {pattern for (pattern,) in rows(connection, PRESENT_PATTERNS)} == set(standing)


@QUICK
@given(steps=st.lists(st.tuples(patterns, st.booleans()), max_size=40))
def test_every_sighting_of_a_failure_counts_when_each_is_looked_at(db: Fresh, steps: list[tuple[str, bool]]) -> None:
    connection = db.connect()
    standing: dict[str, tuple[int, int]] = {}
    sightings: Counter[str] = Counter()
    for second, (pattern, pruned) in enumerate(steps):
        if pruned:
            standing.clear()
        sightings[pattern] += 1
        standing[pattern] = (standing.get(pattern, (0, 0))[0] + 1, second)
        look_at(connection, standing)
    assert dict(rows(connection, FREQUENCIES)) == dict(sightings)


def look_at(db: apsw.Connection, standing: dict[str, tuple[int, int]]) -> None:
    entries = [{"pattern": p, "seen_count": n, "last_seen": f"{at:05}"} for p, (n, at) in standing.items()]
    take(db, FAILURES, {"failures": entries})


@QUICK
@given(looks=st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3)), min_size=1, max_size=8))
def test_keyed_entries_are_those_of_the_last_look_and_none_is_forgotten(db: Fresh, looks: list[dict[str, int]]) -> None:
    connection = db.connect()
    for found in looks:
        document = [{"developer_id": key, "machine_name": "m", "daemon_pid": pid} for key, pid in found.items()]
        take(connection, "developer-registry.json", document)
        assert verify_document(connection, "developer-registry.json", orjson.dumps(document)) == []
    stored = rows(connection, "SELECT developer, daemon_pid, present FROM sessions")
    assert {key: pid for key, pid, present in stored if present} == looks[-1]
    assert {key for key, *_ in stored} == set().union(*looks)


@PURE
@given(path=st.sampled_from(PATHS), value=anything)
def test_any_json_is_taken_apart_without_an_exception(path: str, value: object) -> None:
    parse_document(path, orjson.dumps(value) if fits(value) else b"{}")


@PURE
@given(path=st.sampled_from(PATHS), raw=st.binary(max_size=60))
def test_any_bytes_are_taken_apart_or_refused(path: str, raw: bytes) -> None:
    try:
        parse_document(path, raw)
    except DocumentError:
        return


@QUICK
@given(
    path=st.sampled_from(PATHS),
    part=st.sampled_from(["entries", "failures", "decisions", "outcomes", "titles"]),
    value=anything,
)
def test_whatever_was_stored_agrees_with_the_document(db: Fresh, path: str, part: str, value: object) -> None:
    connection = db.connect()
    document: object = {
        part: [value, {"pattern": "p", "issue": value, "cost_usd": value, "ts": value}],
        "x": value,
    }
    raw = orjson.dumps(document) if fits(value) else b"{}"
    with transaction(connection):
        ingest_document(connection, path, raw, now=NOW)
    assert verify_document(connection, path, raw) == []


def fits(value: object) -> bool:
    """Tell whether orjson can write the value: no integer beyond 64 bits, no lone surrogate."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return False
    return True


marks = st.binary(min_size=8, max_size=8)
remembered = st.builds(Remembered, st.lists(marks, max_size=5).map(tuple), st.booleans())


@PURE
@given(
    lists=st.dictionaries(st.sampled_from(["entries", "completed", "x"]), remembered),
    bad=st.frozensets(marks),
)
def test_what_is_remembered_is_read_back_as_it_was(lists: dict[str, Remembered], bad: frozenset[bytes]) -> None:
    assert unpack(pack(Memory(lists, bad))) == Memory(lists, bad)
