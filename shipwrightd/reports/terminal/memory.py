"""Memory on a terminal: counts, then each list that has entries; or the matches of a search."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shipwrightd.table import Column
from shipwrightd.text import number, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.reports.memory import Decision, Fact, Failure, Match, Memory
    from shipwrightd.reports.terminal import Page

HASH_LENGTH = 12
TEXT_LENGTH = 400
REPO = "repo"  # the pattern with the name of the repository, which every line shows
GONE = "gone from the file"
LISTS: dict[str, str] = {
    "known_issues": "Known issues",
    "patterns": "Patterns",
    "global_patterns": "Patterns of all repositories",
    "learnings": "Learnings of all repositories",
    "architecture": "Architecture",
    "baselines": "Baselines",
}


def show(answer: Memory, page: Page) -> None:
    """Write the answer."""
    if answer.matches_total is not None:
        _matches(answer, page)
    else:
        _counts(answer, page)
        _failures(answer.failures, page)
        _decisions(answer.decisions, page)
        for name, title in LISTS.items():
            _facts(title, [fact for fact in getattr(answer, name) if fact.name != REPO], page)
    if answer.more:
        names = ", ".join(name.replace("_", " ") for name in answer.more)
        page.line(f"There are more {names}: --offset {answer.offset + answer.limit}, or a larger --limit")


def _counts(answer: Memory, page: Page) -> None:
    by_repo: dict[tuple[str, str], list[str]] = defaultdict(list)
    for count in answer.counts:
        gone = count.entries - count.present
        text = f"{number(count.entries)} {count.entry_type.replace('_', ' ')}"
        by_repo[count.repo_hash, count.repo or "-"].append(text + (f" ({number(gone)} gone)" if gone else ""))
    page.heading("Memory", f"{number(sum(count.entries for count in answer.counts))} entries")
    page.table(
        ["REPOSITORY", "NAME", Column("ENTRIES", wrap=True)],
        [(repo_hash[:HASH_LENGTH], name, ", ".join(texts)) for (repo_hash, name), texts in by_repo.items()],
    )


def _failures(failures: Sequence[Failure], page: Page) -> None:
    if failures:
        page.heading("Failures", "most frequent first")
        page.table(
            [">SEEN", "LAST", "REPOSITORY", "STAGE", Column("FAILURE", wrap=True)],
            [(one.frequency, _day(one.last_seen), _repo(one), one.stage or "-", _failure(one)) for one in failures],
        )


def _failure(one: Failure) -> str:
    """Return the text of a failure with its cause and fix."""
    parts = [_short(one.name)]
    if one.root_cause:
        parts.append(f"cause: {_short(one.root_cause)}")
    if one.fix:
        parts.append(f"fix: {_short(one.fix)}")
    if one.fix_effectiveness_percent is not None:
        resolved = f"{one.fix_resolved or 0} of {one.fix_applied} times"
        parts.append(f"fix helped {resolved} ({one.fix_effectiveness_percent:g} %)")
    if not one.present:
        parts.append(GONE)
    return " | ".join(parts)


def _decisions(decisions: Sequence[Decision], page: Page) -> None:
    if decisions:
        page.heading("Decisions", "newest first")
        page.table(
            ["RECORDED", "REPOSITORY", "TYPE", Column("DECISION", wrap=True)],
            [
                (_day(one.last_seen), _repo(one), _text(one.type) or "-", _named(one.name, one.detail))
                for one in decisions
            ],
        )


def _facts(title: str, facts: Sequence[Fact], page: Page) -> None:
    if facts:
        page.heading(title)
        page.table(
            ["REPOSITORY", "SEEN", Column("ENTRY", wrap=True)],
            [
                (_repo(one), _day(one.last_seen), _named(one.name, one.value) + f" | {GONE}" * (not one.present))
                for one in facts
            ],
        )


def _matches(answer: Memory, page: Page) -> None:
    page.heading("Matches", f"{number(answer.matches_total)} entries, best first")
    page.table(
        ["TYPE", "REPOSITORY", "LAST", ">SEEN", Column("WHERE", wrap=True)],
        [(one.entry_type, _repo(one), _day(one.last_seen), one.frequency, one.snippet) for one in answer.matches],
    )


def _repo(one: Failure | Decision | Fact | Match) -> str:
    return one.repo or one.repo_hash[:HASH_LENGTH]


def _day(time: str | None) -> str:
    return (time or "-")[:10]


def _short(text: str | None) -> str:
    return shortened(text or "-", TEXT_LENGTH)


def _named(name: str | None, value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _text(value)
    return _short(f"{name or '-'}: {text}" if text else name)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a JSON value as text: fields as `name value`, without empty ones."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items() if _text(inner))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))
    return "" if value is None else str(value)
