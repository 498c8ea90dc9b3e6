"""Alignment: on small alphabets, where lines repeat as they never do in life, against plain models."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass

from fuzz import scratch
from fuzz.feed import Feed
from fuzz.targets.framing import bounds
from shipwrightd.journals import align, compare, locate
from shipwrightd.journals.align import Decision, Run, RunSearch, TailSearch, Verdict
from shipwrightd.journals.compare import How, Overlap
from shipwrightd.journals.lines import ANCHOR_BYTES

INSTRUMENTED = ("shipwrightd.journals.align", "shipwrightd.journals.compare", "shipwrightd.journals.locate")
LONGEST = 64
LINES = [bytes([65 + letter]) * (1 + 5 * letter) + b"}" for letter in range(16)]  # what letters are in a file
HASHES = [int.from_bytes(align.line_hashes([line]), "little") for line in LINES]
SEEDS = (
    b"\x04\x00\x06" + bytes((0, 1, 2, 3, 0, 1)) + bytes((2, 3, 0, 1, 2, 2)),
    b"\x01\x03\x08" + bytes(20),
    b"\x0f\x01\x0c" + bytes(range(12)) + bytes((4, 5, 9, 6, 7, 8, 9, 10, 11, 12, 13)),
    b"\x0f\x02\x0a" + bytes(range(10)) + bytes(range(3, 8)),
)
WORDS = (bytes(range(8)), bytes(8), b"\x00\x01\x00\x01")


def check(data: bytes) -> None:
    """Compare each decision of alignment with one that is slow and plain."""
    feed = Feed(data)
    letters, flags, size = 1 + feed.upto(15), feed.byte(), feed.byte()
    sequence = [letter % letters for letter in feed.rest()]
    history, found = sequence[:size], sequence[size:]
    _runs(history, found)
    if history and found:
        _verdicts(history, found, whole=bool(flags & 1), settled=bool(flags & 2))
        tail = _tail(history, found, feed=1 + flags // 8 % 8)
        part = _part(history, found, feed=1 + flags // 8 % 8)
        if flags & 64:
            with bounds(block=8 + flags, line=1 << 20, anchor=ANCHOR_BYTES, head=8):  # several blocks a file
                _files(history, found, (tail, part), settled=bool(flags & 2), in_place=bool(flags & 4))
                _torn(history, found, flags % letters, glued=bool(flags & 8))


def _matches(text: list[int], pattern: list[int], at: int) -> int:
    length = 0
    while length < len(pattern) and at + length < len(text) and text[at + length] == pattern[length]:
        length += 1
    return length


def _longest(history: list[int], found: list[int]) -> Run:
    lengths = [_matches(history, found, at) for at in range(len(history))]
    best = max(lengths, default=0)
    return Run(len(lengths) - 1 - lengths[::-1].index(best), best) if best else Run(len(history), 0)


def _runs(history: list[int], found: list[int]) -> None:
    assert align.prefix_matches(history, found) == [_matches(history, found, at) for at in range(len(history))]
    assert align.longest_run(history, found) == _longest(history, found)
    known = Counter(history)
    unknown = align.unknown_in(found, history)
    assert unknown == sorted(set(unknown))
    assert Counter(found[at] for at in unknown) == Counter(found) - known


def _verdicts(history: list[int], found: list[int], *, whole: bool, settled: bool) -> None:
    decision = align.decide(history, found, whole=whole, settled=settled)
    run = _longest(history, found)
    assert decision.run == run
    at_end = run.length and run.start + run.length == len(history)
    inside = whole and run.length == len(found)
    if at_end:
        assert decision == Decision(Verdict.RESUME, run)
    elif inside:
        assert decision.verdict is (Verdict.WAIT if not settled else Verdict.RESUME)
    else:
        assert decision.verdict is Verdict.LOOK_FURTHER


Place = tuple[int, list[int], int | None]  # how many lines of the file are known, the last of them, and what came next


def _tail(history: list[int], found: list[int], *, feed: int) -> Place:
    """Find the history's end in the file, piece by piece and by the plain model."""
    best = known = 0
    for end in range(1, len(found) + 1):
        most = min(end, len(history), align.EXTEND_LINES)
        length = next((n for n in range(most) if found[end - 1 - n] != history[-1 - n]), most)
        if length >= max(best, min(align.TAIL_LINES, len(history))):
            best, known = length, end
    return _fed(TailSearch(history), history, found, (known, None), feed=feed)


def _part(history: list[int], found: list[int], *, feed: int) -> Place:
    """Do so with the latest lines that both have in a row."""
    size = align.SURE_LINES
    known, lost = 0, None
    for end in range(len(history), size - 1, -1):
        run = history[end - size : end]
        places = [at for at in range(size, len(found) + 1) if found[at - size : at] == run]
        if places and len(set(run)) > 1:
            known, lost = places[-1], history[end] if end < len(history) else None
            break
    return _fed(RunSearch(history), history, found, (known, lost), feed=feed)


def _fed(
    search: TailSearch | RunSearch, history: list[int], found: list[int], wanted: tuple[int, int | None], *, feed: int
) -> Place:
    """Feed the file, and compare what is found with how many lines are known and what came next in the history."""
    known, lost = wanted
    for start in range(0, len(found), feed):
        search.feed(found[start : start + feed])
    window = found[max(0, known - len(history)) : known]
    assert (search.known, search.window, search.next_hash) == (known, window, lost)
    assert search.unknown == _unknown(known, window, history)
    return known, window, lost


def _unknown(known: int, window: list[int], history: list[int]) -> list[int]:
    """Return the lines that are none of the history, but for those before what it reaches back to."""
    first = known - len(window)
    found = align.unknown_in(window, history)
    older = 0
    while first and older in found:
        older += 1
    return [first + at for at in found if at >= older]


def _files(history: list[int], found: list[int], places: tuple[Place, Place], *, settled: bool, in_place: bool) -> None:
    """Ask the same of a real file, whose lines have different lengths."""
    fd = scratch.holding(b"".join(LINES[letter] + b"\n" for letter in found))
    past = [HASHES[letter] for letter in history]
    answer = compare.overlap_of(fd, past, settled=settled, in_place=in_place)
    known = _known(history, found, places, settled=settled, in_place=in_place)
    assert (known if isinstance(known, How) else known.in_file(found)) == answer
    if isinstance(answer, Overlap):
        position = compare.position_behind(fd, answer)
        edits = locate.edits_before(fd, position, past)
        missing = align.unknown_in(found[: answer.known][-len(history) :], history)
        shift = max(0, answer.known - len(history))
        assert (edits.unknown if edits else []) == [shift + at for at in missing]


def _torn(history: list[int], found: list[int], last: int, *, glued: bool) -> None:
    """Leave a line without its newline at the end; its text is known when it is what came next in the history."""
    lines = b"".join(LINES[letter] + b"\n" for letter in found)
    fd = scratch.holding(lines + LINES[last] + (LINES[0] if glued else b""))
    answer = compare.overlap_of(fd, [HASHES[letter] for letter in history], settled=True, in_place=True)
    if isinstance(answer, Overlap):
        came_next = [text for text, line in zip(LINES, HASHES, strict=True) if line == answer.next_hash]
        there = (lines + LINES[last])[answer.offset :]
        known = sum(len(text) for text in came_next if there.startswith(text))
        assert compare.position_behind(fd, answer).offset == answer.offset + known


@dataclass(frozen=True, slots=True)
class _Known:
    lines: int
    window: int  # how many of them
    unknown: list[int]
    lost: int | None  # what came next in the history

    def in_file(self, found: list[int]) -> Overlap:
        window = [HASHES[letter] for letter in found[self.lines - self.window : self.lines]]
        lost = None if self.lost is None else HASHES[self.lost]
        return Overlap(self.lines, _size(found[: self.lines]), array("Q", window), self.unknown, lost)


def _size(letters: list[int]) -> int:
    return sum(len(LINES[letter]) + 1 for letter in letters)


def _known(
    history: list[int], found: list[int], places: tuple[Place, Place], *, settled: bool, in_place: bool
) -> _Known | How:
    """Say what a file has in common with a history, by the words of the design."""
    run = _longest(history, found)
    end = run.start + run.length
    head = _Known(run.length, run.length, [], history[end] if end < len(history) else None)
    if run.length and end == len(history):
        return head
    if len(found) <= len(history) and run.length == len(found):
        return head if settled else How.WAIT
    tail, part = (_Known(known, len(window), _unknown(known, window, history), lost) for known, window, lost in places)
    if tail.lines:
        return tail
    edited = part.lines > run.length
    sure = run.length >= align.SURE_LINES or _size(found[: run.length]) >= align.SURE_BYTES
    sure |= in_place and len(set(found[: run.length])) > 1 and history[: run.length] == found[: run.length]
    if not settled and (in_place or not (sure and run.start)):
        return How.WAIT
    if edited:
        return part
    return head if sure else How.NOTHING
