"""What Shipwright remembers: failures and their fixes, decisions, patterns; or the entries that contain some words.

There is no period: memory is as it is now, entries that left the files are marked as gone.

What is typed for --search is words, not the search engine's language. Each must occur in an entry, ignoring case and
accents; words in "quotes", or joined by signs as in src/main.ts, in that order; build* is every word that begins so.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import apsw
import orjson

from shipwrightd.reports import distinct
from shipwrightd.reports.question import Question, QuestionError

TYPES = ("failure", "decision", "pattern", "baseline", "architecture", "global_pattern", "learning")
USUAL_LIMIT = 20  # of each list

# The columns of memory_entries, as the fields of an entry are named.
COLUMNS = (
    *("id", "repo_hash", "entry_type", "section", "name", "root_cause", "fix", "stage", "frequency", "seen_count"),
    *("frequency_base", "first_seen", "last_seen", "present", "extra"),
)

# Entries of type ?1 and section ?2, of repositories ?3 (JSON) and stage ?4, or any; ?5 of them after ?6, in order ?7.
ENTRIES = """
SELECT m.* FROM json_each(?3) AS j CROSS JOIN memory_entries AS m INDEXED BY memory_entries_repo_hash_entry_type
    ON repo_hash = j.value AND entry_type = ?1
WHERE section = ?2 AND (?4 IS NULL OR stage = ?4)
ORDER BY iif(?7 = 'file', repo_hash, NULL), iif(?7 = 'file', m.id, NULL),
    iif(?7 = 'frequency', frequency, NULL) DESC NULLS LAST, last_seen DESC, m.id DESC LIMIT ?5 OFFSET ?6"""
COUNTS = """
SELECT repo_hash, entry_type, count(*), sum(present) FROM memory_entries
WHERE (?1 IS NULL OR entry_type = ?1) AND repo_hash IN (SELECT value FROM json_each(?2)) AND (?3 IS NULL OR stage = ?3)
GROUP BY 1, 2 ORDER BY 1, 2"""
MOST_WORDS = 100
PIECE = re.compile(r'"([^"]*)"?(\**)|([^\s"]+)')

# ?1 the words, ?2 type, ?3 repositories as JSON, ?4 stage; ?5 of them after ?6. The text of an entry weighs most,
# then what is known about it. Sorted by FTS5 itself, so that snippets are made for the page only.
MATCHES = """
SELECT m.*, snippet(memory_search, -1, '[', ']', '…', 16), rank
FROM memory_search CROSS JOIN memory_entries AS m ON m.id = memory_search.rowid
WHERE memory_search MATCH ?1 AND rank MATCH 'bm25(4.0, 2.0, 2.0, 1.0, 1.0)' AND (?2 IS NULL OR m.entry_type = ?2)
    AND m.repo_hash IN (SELECT value FROM json_each(?3)) AND (?4 IS NULL OR m.stage = ?4)
ORDER BY rank LIMIT ?5 OFFSET ?6"""
TOTAL = """
SELECT count(*) FROM memory_search CROSS JOIN memory_entries AS m ON m.id = memory_search.rowid
WHERE memory_search MATCH ?1 AND (?2 IS NULL OR m.entry_type = ?2)
    AND m.repo_hash IN (SELECT value FROM json_each(?3)) AND (?4 IS NULL OR m.stage = ?4)"""

# Repositories: the hash of the remote's address, and the name that patterns.json gives it.
HASHES = "SELECT min(repo_hash) FROM memory_entries WHERE repo_hash >= ?"
NAME = """
SELECT extra ->> '$.value' FROM memory_entries INDEXED BY memory_entries_repo_hash_entry_type
WHERE repo_hash = ? AND entry_type = 'pattern' AND section = '' AND pattern = 'repo' ORDER BY id DESC LIMIT 1"""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of any type."""

    id: int
    entry_type: str  # one of TYPES
    repo_hash: str
    repo: str | None


@dataclass(frozen=True, slots=True)
class Failure(Entry):
    """A failure, its cause, and whether the fix helped."""

    name: str | None  # its text
    category: object
    stage: str | None  # where it was first seen
    frequency: int | None  # sightings, including those before it was pruned from the file
    seen_count: int | None  # sightings that the file has
    root_cause: str | None
    fix: str | None
    fix_suggested: object  # times
    fix_applied: object
    fix_resolved: object
    fix_effectiveness_percent: float | None  # resolved of applied
    reported_effectiveness_percent: object  # as in the file, whose writer counts the last outcome twice
    first_seen: str | None  # UTC
    last_seen: str | None  # UTC
    last_outcome_at: object  # UTC: when a fix was last applied
    present: bool  # False: gone from the file


@dataclass(frozen=True, slots=True)
class Decision(Entry):
    """A decision that was recorded."""

    type: object
    name: str | None  # its summary
    detail: object
    last_seen: str | None  # UTC, when it was recorded


@dataclass(frozen=True, slots=True)
class Fact(Entry):
    """Any other entry: its name and its value."""

    section: str  # known_issues, else empty
    name: str | None
    value: Any
    first_seen: str | None  # UTC
    last_seen: str | None  # UTC
    present: bool  # False: gone from the file


@dataclass(frozen=True, slots=True)
class Match(Entry):
    """An entry that contains all the words."""

    section: str
    name: str | None  # a failure's text, a decision's summary ...
    root_cause: str | None
    fix: str | None
    stage: str | None
    frequency: int | None
    value: Any  # its other fields
    first_seen: str | None  # UTC
    last_seen: str | None  # UTC
    present: bool  # False: gone from the file
    snippet: str  # the words in context, [marked]
    score: float  # the larger the better; comparable within one answer only


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

    counts: list[Count]  # of all that match the filters, whatever the page and the words
    failures: list[Failure]  # most frequent first
    decisions: list[Decision]  # newest first
    patterns: list[Fact]
    known_issues: list[Fact]
    baselines: list[Fact]
    architecture: list[Fact]
    global_patterns: list[Fact]  # newest first
    learnings: list[Fact]  # newest first
    matches: list[Match]  # best first
    matches_total: int | None  # None without a search
    limit: int  # of each list
    offset: int
    more: list[str]  # names of the lists with a next page

    @property
    def empty(self) -> bool:
        """Tell whether no entry matches."""
        return not (self.counts if self.matches_total is None else self.matches_total)


def collect(db: apsw.Connection, question: Question) -> Memory:
    """Return the entries that match the question.

    Raises QuestionError for an unknown type, and for a search without a word.
    """
    if question.type is not None and question.type not in TYPES:
        raise QuestionError(f"--type {question.type}: one of {', '.join(TYPES)}")
    names = ((hash_, db.execute(NAME, (hash_,)).get) for hash_ in distinct(db, HASHES))
    known = {hash_: None if name is None else str(name) for hash_, name in names}
    repos = orjson.dumps(list(known) if question.repo is None else repos_matching(question.repo, known)).decode()
    narrowed = (question.type, repos, question.stage)
    limit = USUAL_LIMIT if question.limit is None else question.limit
    page = (limit + 1, question.offset)
    lists: dict[str, list[Any]] = {name: [] for name in (*PARTS, "matches")}
    total = None
    if question.search is None:
        for name, part in PARTS.items():
            if question.type in (None, part.entry_type):
                values = (part.entry_type, part.section, repos, question.stage, *page, part.order)
                lists[name] = [made(part.kind, row, known) for row in db.execute(ENTRIES, values)]
    else:
        words = expression(question.search)
        total = db.execute(TOTAL, (words, *narrowed)).get
        lists["matches"] = [
            made(Match, row, known, snippet=snippet, score=round(-rank, 6))
            for *row, snippet, rank in db.execute(MATCHES, (words, *narrowed, *page))
        ]
    return Memory(
        counts=[Count(hash_, known.get(hash_), *rest) for hash_, *rest in db.execute(COUNTS, narrowed)],
        matches_total=total,
        limit=limit,
        offset=question.offset,
        more=[name for name, entries in lists.items() if len(entries) > limit],
        **{name: entries[:limit] for name, entries in lists.items()},
    )


def made(kind: type[Entry], row: Iterable[Any], names: Mapping[str, str | None], **more: object) -> Entry:
    """Return a row of ENTRIES or MATCHES as an entry of a kind, with the name of its repository."""
    values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    loaded = orjson.loads(values["extra"]) if values["extra"] else None
    extra: dict[str, Any] = loaded if isinstance(loaded, dict) else {}
    applied, resolved = extra.get("times_fix_applied"), extra.get("times_fix_resolved")
    effectiveness = None
    if isinstance(applied, int) and isinstance(resolved, int | None) and applied > 0:
        effectiveness = round(100 * (resolved or 0) / applied, 2)
    values |= {
        "repo": names.get(values["repo_hash"]),
        "root_cause": values["root_cause"] or None,
        "fix": values["fix"] or None,
        "present": bool(values["present"]),
        "value": extra["value"] if list(extra) == ["value"] else extra or None,
        **{name: extra.get(name) for name in ("category", "type", "detail", "last_outcome_at")},
        "fix_suggested": extra.get("times_fix_suggested"),
        "fix_applied": applied,
        "fix_resolved": resolved,
        "fix_effectiveness_percent": effectiveness,
        "reported_effectiveness_percent": extra.get("fix_effectiveness_rate"),
        **more,
    }
    return kind(**{field.name: values[field.name] for field in fields(kind)})


class Part(NamedTuple):
    """How to read one list of the answer."""

    entry_type: str
    section: str
    order: str  # frequency | newest | file
    kind: type[Entry]


PARTS = {
    "failures": Part("failure", "", "frequency", Failure),
    "decisions": Part("decision", "", "newest", Decision),
    "patterns": Part("pattern", "", "file", Fact),
    "known_issues": Part("pattern", "known_issues", "file", Fact),
    "baselines": Part("baseline", "", "file", Fact),
    "architecture": Part("architecture", "", "file", Fact),
    "global_patterns": Part("global_pattern", "", "newest", Fact),
    "learnings": Part("learning", "", "newest", Fact),
}
FIELDS = dict.fromkeys(field.name for kind in (Match, Failure, Decision) for field in fields(kind))


def rows(answer: Memory) -> Iterable[dict[str, Any]]:
    """Return one row an entry, with the same columns for all lists; values of any shape are JSON in `detail`."""
    for name in (*PARTS, "matches"):
        for entry in getattr(answer, name):
            detail = getattr(entry, "detail" if isinstance(entry, Decision) else "value", None)
            text = detail if detail is None or isinstance(detail, str) else orjson.dumps(detail).decode()
            columns = {field: getattr(entry, field, None) for field in FIELDS if field not in ("value", "detail")}
            yield {"list": name, **columns, "detail": text}


def repos_matching(repo: str, known: Mapping[str, str | None]) -> list[str]:
    """Return the hashes that match: a hash, a full name, a name without its owner, or the beginning of a hash.

    The first of these that matches anything decides. A repository cloned from two addresses has two hashes, so a name
    may match several.
    """
    wanted = repo.strip().casefold()
    titles = {hash_: (name or "").casefold() for hash_, name in known.items()}
    ways = (
        [hash_ for hash_ in known if hash_.casefold() == wanted],
        [hash_ for hash_, title in titles.items() if title == wanted],
        [hash_ for hash_, title in titles.items() if title.rpartition("/")[2] == wanted],
        [hash_ for hash_ in known if hash_.casefold().startswith(wanted)],
    )
    return next((way for way in ways if way), []) if wanted else []


def expression(text: str) -> str:
    """Return the FTS5 query for words as they are typed. Raises QuestionError if there are none or too many."""
    clean = text.encode("utf-8", "replace").decode().replace("\0", " ")
    words = []
    for quoted, stars, bare in PIECE.findall(clean):
        phrase, is_prefix = (bare.rstrip("*"), bare.endswith("*")) if bare else (quoted, bool(stars))
        if any(map(str.isalnum, phrase)):
            words.append(f'"{phrase}"{"*" if is_prefix else ""}')
    if not words:
        raise QuestionError("--search: give at least one word to look for")
    if len(words) > MOST_WORDS:
        raise QuestionError(f"--search: {len(words):,} words are more than the {MOST_WORDS} allowed")
    return " ".join(words)
