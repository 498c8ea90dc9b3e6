"""What Shipwright remembers: failures and what helped, decisions, patterns; or what of it holds some words.

There is no period: memory is as it is now, with what left the files marked as
gone. Searching is in memory_search, repositories' names in memory_repos.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from shipwrightd.reports.memory_entries import Decision, Fact, Failure, decision, fact, failure
from shipwrightd.reports.memory_repos import matching, names
from shipwrightd.reports.memory_search import Match, search
from shipwrightd.reports.question import QuestionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import apsw

    from shipwrightd.reports.question import Question

TYPES = ("failure", "decision", "pattern", "baseline", "architecture", "global_pattern", "learning")
USUAL_LIMIT = 20  # of each list

# Entries of type ?1 and section ?2, of the repositories ?3 (JSON) and stage ?4, or any; ?5 of them after ?6.
MOST_FREQUENT = """
SELECT memory_entries.id, repo_hash, entry_type, section, pattern, root_cause, fix, stage, frequency, seen_count,
    first_seen, last_seen, present, extra
FROM json_each(?3) AS j CROSS JOIN memory_entries INDEXED BY memory_entries_repo_hash_entry_type
    ON repo_hash = j.value AND entry_type = ?1
WHERE section = ?2 AND (?4 IS NULL OR stage = ?4)
ORDER BY frequency DESC NULLS LAST, last_seen DESC, memory_entries.id DESC LIMIT ?5 OFFSET ?6"""
NEWEST = """
SELECT memory_entries.id, repo_hash, entry_type, section, pattern, root_cause, fix, stage, frequency, seen_count,
    first_seen, last_seen, present, extra
FROM json_each(?3) AS j CROSS JOIN memory_entries INDEXED BY memory_entries_repo_hash_entry_type
    ON repo_hash = j.value AND entry_type = ?1
WHERE section = ?2 AND (?4 IS NULL OR stage = ?4)
ORDER BY last_seen DESC, memory_entries.id DESC LIMIT ?5 OFFSET ?6"""
IN_ORDER = """
SELECT memory_entries.id, repo_hash, entry_type, section, pattern, root_cause, fix, stage, frequency, seen_count,
    first_seen, last_seen, present, extra
FROM json_each(?3) AS j CROSS JOIN memory_entries INDEXED BY memory_entries_repo_hash_entry_type
    ON repo_hash = j.value AND entry_type = ?1
WHERE section = ?2 AND (?4 IS NULL OR stage = ?4)
ORDER BY repo_hash, memory_entries.id LIMIT ?5 OFFSET ?6"""
COUNTS = """
SELECT repo_hash, entry_type, count(*), sum(present) FROM memory_entries
WHERE (?1 IS NULL OR entry_type = ?1) AND repo_hash IN (SELECT value FROM json_each(?2)) AND (?3 IS NULL OR stage = ?3)
GROUP BY 1, 2 ORDER BY 1, 2"""

COLUMNS = tuple(
    dict.fromkeys(
        field.name
        for kind in (Match, Failure, Decision)
        for field in fields(kind)
        if field.name not in ("value", "detail")
    )
)


class Part(NamedTuple):
    """Where a list of the answer comes from."""

    entry_type: str
    section: str
    statement: str
    make: Callable[[Any, Mapping[str, str | None]], Any]


PARTS = {
    "failures": Part("failure", "", MOST_FREQUENT, failure),
    "decisions": Part("decision", "", NEWEST, decision),
    "patterns": Part("pattern", "", IN_ORDER, fact),
    "known_issues": Part("pattern", "known_issues", IN_ORDER, fact),
    "baselines": Part("baseline", "", IN_ORDER, fact),
    "architecture": Part("architecture", "", IN_ORDER, fact),
    "global_patterns": Part("global_pattern", "", NEWEST, fact),
    "learnings": Part("learning", "", NEWEST, fact),
}


@dataclass(frozen=True, slots=True)
class Count:
    """How many entries of a type a repository has."""

    repo_hash: str
    repo: str | None
    entry_type: str
    entries: int
    present: int  # of those, still in the files


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A page of each list; after a search, the matches instead."""

    counts: list[Count]  # of all that was asked for, whatever the page; after a search, without regard to the words
    failures: list[Failure]  # the most frequent first
    decisions: list[Decision]  # the newest first
    patterns: list[Fact]
    known_issues: list[Fact]
    baselines: list[Fact]
    architecture: list[Fact]
    global_patterns: list[Fact]  # the newest first
    learnings: list[Fact]  # the newest first
    matches: list[Match]  # the best first
    matches_total: int | None  # None without a search
    limit: int  # of each list
    offset: int
    more: list[str]  # names of the lists that go on

    @property
    def empty(self) -> bool:
        """Tell whether there is no such entry."""
        return not (self.counts if self.matches_total is None else self.matches_total)


def collect(db: apsw.Connection, question: Question) -> Memory:
    """Return what is remembered, as the question narrows it down.

    Raises QuestionError for a type there is not, and for a search without a word.
    """
    if question.type is not None and question.type not in TYPES:
        raise QuestionError(f"--type {question.type}: one of {', '.join(TYPES)}")
    known = names(db)
    repos = orjson.dumps(list(known) if question.repo is None else matching(question.repo, known)).decode()
    narrowed = (question.type, repos, question.stage)
    limit = USUAL_LIMIT if question.limit is None else question.limit
    lists: dict[str, list[Any]] = {name: [] for name in (*PARTS, "matches")}
    total = None
    if question.search is None:
        for name, part in PARTS.items():
            if question.type in (None, part.entry_type):
                asked = (part.entry_type, part.section, repos, question.stage, limit + 1, question.offset)
                lists[name] = [part.make(row, known) for row in db.execute(part.statement, asked)]
    else:
        found = search(db, question, repos, limit, known)
        total, lists["matches"] = found.total, found.matches
    return Memory(
        counts=[Count(hash_, known.get(hash_), *rest) for hash_, *rest in db.execute(COUNTS, narrowed)],
        matches_total=total,
        limit=limit,
        offset=question.offset,
        more=[name for name, entries in lists.items() if len(entries) > limit],
        **{name: entries[:limit] for name, entries in lists.items()},
    )


def rows(answer: Memory) -> Iterable[dict[str, Any]]:
    """Return one row an entry, of all lists the same columns; what differs in shape is JSON in `detail`."""
    for name in (*PARTS, "matches"):
        for entry in getattr(answer, name):
            yield {"list": name, **_columns(entry)}


def _columns(entry: Match | Failure | Decision | Fact) -> dict[str, Any]:
    detail = entry.detail if isinstance(entry, Decision) else getattr(entry, "value", None)
    text = detail if detail is None or isinstance(detail, str) else orjson.dumps(detail).decode()
    return {**{name: getattr(entry, name, None) for name in COLUMNS}, "detail": text}
