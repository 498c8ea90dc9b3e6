"""Full-text search over memory: what people type to what FTS5 understands, and the entries that match.

What is typed is words, never the search engine's own language. Each must occur
somewhere in an entry, upper or lower case and accents aside; what stands in
"quotes", or hangs together by signs as in src/main.ts, in that order; and
build* is all that begins with build.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipwrightd.reports.memory_entries import Row, value_of
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

    from shipwrightd.reports.question import Question

MOST_WORDS = 100
PIECE = re.compile(r'"([^"]*)"?(\**)|([^\s"]+)')

# ?1 the words, ?2 type, ?3 repositories as JSON, ?4 stage; ?5 of them after ?6. The text of an entry weighs most,
# then what is known about it. Sorted by FTS5 itself, so that snippets are made for the page only.
FOUND = """
SELECT m.id, m.repo_hash, m.entry_type, m.section, m.pattern, m.root_cause, m.fix, m.stage, m.frequency, m.seen_count,
    m.first_seen, m.last_seen, m.present, m.extra, snippet(memory_search, -1, '[', ']', '…', 16), rank
FROM memory_search CROSS JOIN memory_entries AS m ON m.id = memory_search.rowid
WHERE memory_search MATCH ?1 AND rank MATCH 'bm25(4.0, 2.0, 2.0, 1.0, 1.0)' AND (?2 IS NULL OR m.entry_type = ?2)
    AND m.repo_hash IN (SELECT value FROM json_each(?3)) AND (?4 IS NULL OR m.stage = ?4)
ORDER BY rank LIMIT ?5 OFFSET ?6"""
TOTAL = """
SELECT count(*) FROM memory_search CROSS JOIN memory_entries AS m ON m.id = memory_search.rowid
WHERE memory_search MATCH ?1 AND (?2 IS NULL OR m.entry_type = ?2)
    AND m.repo_hash IN (SELECT value FROM json_each(?3)) AND (?4 IS NULL OR m.stage = ?4)"""


@dataclass(frozen=True, slots=True)
class Match:
    """An entry that holds all the words."""

    id: int
    entry_type: str
    repo_hash: str
    repo: str | None
    section: str
    name: str | None  # a failure's text, a decision's summary ...
    root_cause: str | None
    fix: str | None
    stage: str | None
    frequency: int | None
    value: Any  # what else is said of it
    first_seen: str | None  # UTC
    last_seen: str | None  # UTC
    present: bool  # False: gone from the file
    snippet: str  # where the words stand, [marked]
    score: float  # the larger the better; comparable within one answer only


@dataclass(frozen=True, slots=True)
class Found:
    """How many entries match, and a page of them, one more than asked for where there are more."""

    total: int
    matches: list[Match]


def search(db: apsw.Connection, question: Question, repos: str, limit: int, names: Mapping[str, str | None]) -> Found:
    """Return the entries that hold the question's words, the best first. Raises QuestionError without a word."""
    words = expression(question.search or "")
    narrowed = (words, question.type, repos, question.stage)
    matches = []
    for *values, snippet, rank in db.execute(FOUND, (*narrowed, limit + 1, question.offset)):
        row = Row(*values)
        matches.append(match(row, names.get(row.repo_hash), snippet, -rank))
    total: int = db.execute(TOTAL, narrowed).get
    return Found(total, matches)


def match(row: Row, repo: str | None, snippet: str, score: float) -> Match:
    """Return an entry with where it matches, and how well."""
    return Match(
        row.id,
        row.entry_type,
        row.repo_hash,
        repo,
        row.section,
        row.pattern,
        row.root_cause or None,
        row.fix or None,
        row.stage,
        row.frequency,
        value_of(row),
        row.first_seen,
        row.last_seen,
        bool(row.present),
        snippet,
        round(score, 6),
    )


def expression(text: str) -> str:
    """Return what FTS5 is asked for words as they are typed. Raises QuestionError when there is none, or too many."""
    clean = text.encode("utf-8", "replace").decode().replace("\0", " ")
    pieces = [_piece(*found.groups()) for found in PIECE.finditer(clean)]
    words = [piece for piece in pieces if any(map(str.isalnum, piece))]
    if not words:
        raise QuestionError("--search: give at least one word to look for")
    if len(words) > MOST_WORDS:
        raise QuestionError(f"--search: {len(words):,} words are more than the {MOST_WORDS} that can be looked for")
    return " ".join(words)


def _piece(quoted: str | None, stars: str | None, bare: str | None) -> str:
    """Return a phrase in FTS5's quotes, with a star where it may go on."""
    phrase = quoted if bare is None else bare.rstrip("*")
    goes_on = bool(stars) if bare is None else bare.endswith("*")
    return f'"{phrase}"{"*" if goes_on else ""}'
