"""Matching: on small alphabets, where lines repeat as they never do in life, against plain models."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from fuzz.feed import Feed
from shipwrightd.journals.match import NEW, SURE_LINES, Match, Run, increasing, longest_run, match, prefix_matches

INSTRUMENTED = ("shipwrightd.journals.match",)
LONGEST = 64
SEEDS = (
    b"\x04\x00\x06" + bytes((0, 1, 2, 3, 0, 1)) + bytes((2, 3, 0, 1, 2, 2)),
    b"\x01\x03\x08" + bytes(20),
    b"\x0f\x01\x0c" + bytes(range(12)) + bytes((4, 5, 9, 6, 7, 8, 9, 10, 11, 12, 13)),
    b"\x0f\x02\x0a" + bytes(range(10)) + bytes(range(3, 8)),
)
WORDS = (bytes(range(8)), bytes(8), b"\x00\x01\x00\x01")


def check(data: bytes) -> None:
    """Match two sequences, and compare the pairs and each part with what is slow and plain."""
    feed = Feed(data)
    letters, cut, size = 1 + feed.upto(15), feed.byte(), feed.byte()
    sequence = [letter % letters for letter in feed.rest()]
    history, found = sequence[:size], sequence[size:]
    _parts(history, found)
    _check(history, found)
    if history:
        kept = history[cut % len(history) :]
        _trimmed(history, kept)
        _check(history, [*kept, *found])
        assert list(match(history, [*history, *found]).pairs) == [*range(len(history)), *[NEW] * len(found)]


def _matches(text: list[int], pattern: list[int], at: int) -> int:
    length = 0
    while length < len(pattern) and at + length < len(text) and text[at + length] == pattern[length]:
        length += 1
    return length


def _parts(history: list[int], found: list[int]) -> None:
    lengths = [_matches(history, found, at) for at in range(len(history))]
    assert prefix_matches(history, found) == lengths
    best = max(lengths, default=0)
    start = len(lengths) - 1 - lengths[::-1].index(best) if best else len(history)
    assert longest_run(history, found) == Run(start, best)
    chain = increasing(found)
    assert all(a < b and found[a] < found[b] for a, b in pairwise(chain))
    longest = [0] * len(found)
    for at, number in enumerate(found):
        longest[at] = 1 + max((longest[i] for i in range(at) if found[i] < number), default=0)
    assert len(chain) == max(longest, default=0)


def _check(history: list[int], found: list[int]) -> Match:
    result = match(history, found)
    pairs = [(at, place) for at, place in enumerate(result.pairs) if place != NEW]
    assert len(result.pairs) == len(found)
    assert all(found[at] == history[place] for at, place in pairs), "two lines that are not equal"
    assert len({place for _, place in pairs}) == len(pairs), "one line twice"
    assert result.last == (pairs[-1][0] if pairs else NEW)
    run = result.run
    end = run.start + run.length
    assert list(result.pairs[: run.length]) == list(range(run.start, end)), "a run is contiguous"
    if run.length:
        assert run == longest_run(history, found)
        assert run.length >= SURE_LINES or end == len(history) or run.length == len(found)
        assert all(place >= end for _, place in pairs[run.length :]), "what follows a run was before it"
    assert result.ended == (run.length > 0 and end == len(history))
    assert result.proven or run.length < SURE_LINES
    _pinned(history[end:] if run.length else history, found[run.length :], result)
    return result


def _pinned(history: list[int], found: list[int], result: Match) -> None:
    """Lines that occur as often on both sides, and are in the same order, are all known."""
    here, there = Counter(found), Counter(history)
    pinned = {line for line, count in here.items() if there[line] == count}
    order = [line for line in found if line in pinned]
    if order == [line for line in history if line in pinned]:
        pairs = list(result.pairs)[len(result.pairs) - len(found) :]
        assert all(place != NEW for line, place in zip(found, pairs, strict=True) if line in pinned)


def _trimmed(history: list[int], kept: list[int]) -> None:
    result = _check(history, kept)
    assert list(result.pairs) == list(range(len(history) - len(kept), len(history)))
    assert result.ended
    assert result.proven
