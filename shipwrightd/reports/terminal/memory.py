"""Memory on a terminal: how much there is, then each list that holds something; or what a search found."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from shipwrightd.reports.terminal.table import Col, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipwrightd.reports.memory import Decision, Fact, Failure, Match, Memory
    from shipwrightd.reports.terminal.table import Page

HASH_LETTERS = 12
TEXT_LETTERS = 400  # of a text that somebody wrote
NAMED = "repo"  # the pattern that tells a repository's name, which stands in every line
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
            _facts(title, [found for found in getattr(answer, name) if found.name != NAMED], page)
    if answer.more:
        named = ", ".join(name.replace("_", " ") for name in answer.more)
        page.line(f"There are more {named}: --offset {answer.offset + answer.limit}, or a larger --limit")


def _counts(answer: Memory, page: Page) -> None:
    table: dict[tuple[str, str], list[str]] = defaultdict(list)
    for count in answer.counts:
        gone = count.entries - count.present
        of_type = f"{number(count.entries)} {count.entry_type.replace('_', ' ')}"
        table[count.repo_hash, count.repo or "-"].append(of_type + (f" ({number(gone)} gone)" if gone else ""))
    page.heading("Memory", f"{number(sum(count.entries for count in answer.counts))} entries")
    page.table(
        [Col("REPOSITORY"), Col("NAME"), Col("ENTRIES", wrap=True)],
        [(hash_[:HASH_LETTERS], name, ", ".join(kinds)) for (hash_, name), kinds in table.items()],
    )


def _failures(failures: Sequence[Failure], page: Page) -> None:
    if failures:
        page.heading("Failures", "the most frequent first")
        page.table(
            [Col("SEEN", right=True), Col("LAST"), Col("REPOSITORY"), Col("STAGE"), Col("FAILURE", wrap=True)],
            [
                (number(found.frequency), _day(found.last_seen), _repo(found), found.stage or "-", _failure(found))
                for found in failures
            ],
        )


def _failure(found: Failure) -> str:
    """Return a failure's text, and what is known about it."""
    parts = [_short(found.name)]
    if found.root_cause:
        parts.append(f"cause: {_short(found.root_cause)}")
    if found.fix:
        parts.append(f"fix: {_short(found.fix)}")
    if found.fix_effectiveness_percent is not None:
        parts.append(
            f"helped {found.fix_resolved or 0} of {found.fix_applied} times ({found.fix_effectiveness_percent:g} %)"
        )
    if not found.present:
        parts.append("gone from the file")
    return " | ".join(parts)


def _decisions(decisions: Sequence[Decision], page: Page) -> None:
    if decisions:
        page.heading("Decisions", "newest first")
        page.table(
            [Col("RECORDED"), Col("REPOSITORY"), Col("TYPE"), Col("DECISION", wrap=True)],
            [
                (_day(found.last_seen), _repo(found), _text(found.type) or "-", _said(found.name, found.detail))
                for found in decisions
            ],
        )


def _facts(title: str, facts: Sequence[Fact], page: Page) -> None:
    if facts:
        page.heading(title)
        page.table(
            [Col("REPOSITORY"), Col("SEEN"), Col("WHAT", wrap=True)],
            [
                (
                    _repo(found),
                    _day(found.last_seen),
                    _said(found.name, found.value) + ("" if found.present else " | gone from the file"),
                )
                for found in facts
            ],
        )


def _matches(answer: Memory, page: Page) -> None:
    page.heading("Found", f"{number(answer.matches_total)} entries, the best first")
    page.table(
        [Col("TYPE"), Col("REPOSITORY"), Col("LAST"), Col("SEEN", right=True), Col("WHERE", wrap=True)],
        [
            (found.entry_type, _repo(found), _day(found.last_seen), number(found.frequency), found.snippet)
            for found in answer.matches
        ],
    )


def _repo(found: Failure | Decision | Fact | Match) -> str:
    return found.repo or found.repo_hash[:HASH_LETTERS]


def _day(at: str | None) -> str:
    return (at or "-")[:10]


def _short(text: str | None) -> str:
    text = text or "-"
    return text if len(text) <= TEXT_LETTERS else text[: TEXT_LETTERS - 1] + "…"


def _said(name: str | None, value: Any) -> str:  # noqa: ANN401 - any JSON
    text = _text(value)
    return _short(f"{name or '-'}: {text}" if text else name)


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a value for people: fields as `name value`, without those that are empty."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(inner)}" for name, inner in value.items() if _text(inner))
    if isinstance(value, list):
        return ", ".join(filter(None, map(_text, value)))
    return "" if value is None else str(value)
