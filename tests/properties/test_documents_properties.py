"""Capped lists and keyed entries, changed at random, looked at now and then, against short models."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipwrightd.database import open_writer, transaction
from shipwrightd.decoding.values import DocumentError
from shipwrightd.documents.kinds import DOCUMENTS, parse_document
from shipwrightd.documents.lists import REMEMBERED_LISTS, Remembered, is_gap, new_entries, overlap, remember
from shipwrightd.documents.store import Memory, ingest_document, pack, unpack, verify_document

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
    def stored() -> Counter[bytes]:
        assert not known, "the database is asked though the overlap is sure"
        return Counter()

    new = new_entries(Remembered(tuple(known), len(known)), known + appended, 1000, stored)
    assert new == tuple(range(len(known), len(known) + len(appended)))


@PURE
@given(known=letters, present=st.integers(0, 12), found=letters, cap=st.integers(0, 12), stored=letters)
def test_never_fewer_entries_are_known_than_there_were_and_never_more_new_than_the_file_holds(
    known: list[bytes], present: int, found: list[bytes], cap: int, stored: list[bytes]
) -> None:
    remembered = Remembered(tuple(known), min(present, len(known)))
    new = new_entries(remembered, found, cap, lambda: Counter(stored))
    assert list(new) == sorted(set(new))
    total = Counter(known) + Counter(stored) + Counter(found[i] for i in new)
    assert not Counter(found) - total
    if is_gap(remembered, found, new):
        assert set(known).isdisjoint(found)


@PURE
@given(looks=st.lists(st.lists(st.sampled_from([b"%d" % n for n in range(8)]), unique=True, max_size=8), max_size=6))
def test_a_list_of_different_entries_never_gives_one_twice(looks: list[list[bytes]]) -> None:
    memory = Remembered()
    rows: Counter[bytes] = Counter()
    for found in looks:
        new = new_entries(memory, found, 100, Counter)  # without help from the database
        rows.update(found[i] for i in new)
        assert max(rows.values(), default=1) == 1
        assert rows.keys() >= set(found)
        memory = remember(memory, found, 100)


steps_of_lists = st.tuples(
    st.sampled_from(["append", "append", "append", "edit", "remove", "put back", "empty", "look", "look"]),
    st.integers(0, 2**16),
)


@settings(max_examples=300)
@given(cap=st.integers(1, 6), steps=st.lists(steps_of_lists, max_size=30))
def test_whatever_happens_to_a_capped_list_each_entry_that_is_seen_is_stored_once(
    cap: int, steps: list[tuple[str, int]]
) -> None:
    """Entries are numbered; the model is the list of those that were seen, in order.

    No more of them are written than are remembered: longer ago the database helps, as far as it is asked.
    """
    file: list[int] = []
    versions = [file]
    rows: list[int] = []
    memory = Remembered()
    written = 0
    seen_empty = True
    for action, chance in [*steps, ("look", 0)]:
        if action in {"append", "edit"} and written < REMEMBERED_LISTS * cap:
            if action == "append":
                file = [*file, written][-cap:]
            elif file:
                file = [*file]
                file[chance % len(file)] = written
            written += 1
        elif action == "remove":
            file = [item for place, item in enumerate(file) if chance >> place & 1]
        elif action == "put back":
            file = versions[chance % len(versions)]
        elif action == "empty":
            file = []
        elif action == "look":
            found = [b"%d" % item for item in file]
            stored = Counter(b"%d" % item for item in rows)
            new = new_entries(memory, found, cap, stored.copy)
            unseen = [item for item in file if item not in rows]
            assert [file[i] for i in new] == unseen
            assert is_gap(memory, found, new) == (bool(unseen) and unseen == file and not seen_empty)
            memory = remember(memory, found, cap)
            rows += unseen
            seen_empty = not file
        versions.append(file)


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


hashes = st.binary(min_size=8, max_size=8)
remembered_lists = st.lists(hashes, max_size=5).flatmap(
    lambda found: st.builds(Remembered, st.just(tuple(found)), st.integers(0, len(found)))
)


@PURE
@given(
    lists=st.dictionaries(st.sampled_from(["entries", "completed", "x"]), remembered_lists),
    bad=st.frozensets(hashes),
)
def test_what_is_remembered_is_read_back_as_it_was(lists: dict[str, Remembered], bad: frozenset[bytes]) -> None:
    assert unpack(pack(Memory(lists, bad))) == Memory(lists, bad)


@PURE
@given(found=st.lists(hashes, max_size=5), ended=st.booleans(), bad=st.lists(hashes, max_size=3, unique=True))
def test_what_earlier_releases_remembered_is_read(found: list[bytes], ended: bool, bad: list[bytes]) -> None:  # noqa: FBT001
    packed = b"entries %d %d\n" % (ended, len(found)) + b"".join(found) + b"! 0 %d\n" % len(bad) + b"".join(bad)
    present = 0 if ended else len(found)
    assert unpack(packed) == Memory({"entries": Remembered(tuple(found), present)}, frozenset(bad))
