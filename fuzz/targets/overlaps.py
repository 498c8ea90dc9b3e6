"""Appended lists with a cap: what is new in them, against plain models, on small alphabets."""

from __future__ import annotations

from collections import Counter

from fuzz.feed import Feed
from shipwrightd.documents import lists
from shipwrightd.documents.lists import Remembered
from shipwrightd.documents.store import Memory, pack, unpack

INSTRUMENTED = ("shipwrightd.documents.lists",)
LONGEST = 64
SEEDS = (
    b"\x03\x0a\x05" + bytes((0, 1, 2, 0, 1)) + bytes((2, 0, 1, 1, 2)),
    b"\x01\x04\x04" + bytes(10),
    b"\x0f\x05\x05" + bytes(range(12)),
    b"\x0f\x00\x04" + bytes((1, 2, 3, 4, 9, 8, 7)),
)
WORDS = (bytes(range(6)), bytes(6))


def check(data: bytes) -> None:
    """Judge a list by what was known of it, then follow one that is appended to and cut."""
    feed = Feed(data)
    letters, cap, size = 1 + feed.upto(15), feed.upto(40), feed.byte()
    sequence = [bytes([letter % letters]) * overlap_bytes() for letter in feed.rest()]
    _judge(sequence[:size], sequence[size:], cap)
    _follow(sequence, max(1, cap), max(1, size % 8))


def overlap_bytes() -> int:
    """Return the length of an entry's hash."""
    return 8


def _judge(known: list[bytes], found: list[bytes], cap: int) -> None:
    lengths = range(min(len(known), len(found)) + 1)
    assert lists.overlap(known, found) == max(n for n in lengths if known[len(known) - n :] == found[:n])
    past = Remembered(tuple(known), cap % (len(known) + 1))
    new = lists.new_entries(past, found, cap, Counter)
    assert list(new) == sorted(set(new))
    added = Counter(found[i] for i in new)
    assert not Counter(found) - Counter(known) - added, "an entry beyond those known is not new"
    assert not lists.is_gap(past, found, new) or not set(known) & set(found)
    surplus = lists.surplus(Counter(known), found)
    assert Counter(found[i] for i in surplus) == Counter(found) - Counter(known)
    after = lists.remember(past, found, cap)
    assert list(after.hashes[len(after.hashes) - after.present :]) == found
    assert not Counter(after.hashes) - (Counter(known) | Counter(found))
    memory = Memory({"a": past, "b": after}, frozenset(found))
    assert unpack(pack(memory)) == memory
    assert not lists.new_entries(after, found, cap, Counter), "what was just stored is new again"


def _follow(written: list[bytes], cap: int, step: int) -> None:
    """Append with a cap and look often enough that the overlap is sure: each entry is new once."""
    seen: list[bytes] = []
    known = Remembered()
    for end in range(step, len(written) + 1, step):
        found = written[max(0, end - cap) : end]
        new = lists.new_entries(known, found, cap, Counter)
        seen += [found[i] for i in new]
        known = lists.remember(known, found, cap)
    if len(set(written)) == len(written) and step < cap:
        assert seen == written[: len(written) - len(written) % step]
