"""Status, quarantine and summaries as text for people, or JSON. Control characters in data are written as escapes."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shipwrightd.table import Column, cut, table, wrapped
from shipwrightd.text import UNLIMITED, age_of, as_json, family, size_of, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shipwrightd.status import Recovery, Source, Status
    from shipwrightd.status.quarantine import Piece


RECOVERIES_SHOWN = 3  # the last ones; --json has all
NAME_CELLS = 12  # for the names of facts
SHOWN_LINES = 20  # of a piece on a terminal
BEGIN_CELLS = 60  # of a piece in the list
NOT_CREATED = (
    "`shipwrightd run` creates the database, imports the files and follows them; `shipwrightd backfill` only imports."
)
NO_HOME = "Run Shipwright once, or name its folder with `--home DIR`."


def status_json(status: Status) -> str:
    """Return the status under the documented keys."""
    return as_json({"ok": not status.problems, **asdict(status)})


def status_text(status: Status, width: int) -> str:
    """Return the status as lines of at most `width` cells where that is possible."""
    lines = []
    for name, value in _facts(status):
        first, *more = wrapped(visible(value), width - NAME_CELLS)
        lines += [f"{name:<{NAME_CELLS}}{first}", *(" " * NAME_CELLS + line for line in more)]
    if status.sources:
        lines += ["", _sources(status.sources, width)]
    if not status.home_present or not status.database.exists:
        lines += ["", *wrapped(NOT_CREATED if status.home_present else NO_HOME, width)]
    lines += [line for note in _notes(status) for line in wrapped(note, width, indent=2)]
    return "\n".join(lines)


def _facts(status: Status) -> list[tuple[str, str]]:
    database, daemon = status.database, status.daemon
    stored = f"{size_of(database.size_bytes)}, schema {database.schema_version}, {database.journal_mode or ''}"
    facts = [
        ("shipwrightd", _daemon(status)),
        ("home", status.home if status.home_present else f"{status.home} (there is no such folder)"),
        ("database", f"{database.path} ({stored})" if database.exists else f"not created yet: {database.path}"),
    ]
    if daemon.watching_degraded:
        facts.append(("watching", f"degraded, changes may be noticed late: {daemon.watching_degraded}"))
    if daemon.waiting:
        facts.append(("waiting", f"since {daemon.waiting_since}: {daemon.waiting}"))
    return facts + [("recovered", _recovery(recovery)) for recovery in status.recoveries[-RECOVERIES_SHOWN:]]


def _daemon(status: Status) -> str:
    daemon = status.daemon
    running = None if daemon.running_s is None else age_of(max(1.0, daemon.running_s))
    known = {"pid": daemon.pid, "for": running, "version": daemon.version}
    details = ", ".join(f"{name} {value}" for name, value in known.items() if value is not None)
    return f"{status.state} ({details})" if details else status.state


def _recovery(recovery: Recovery) -> str:
    return (
        f"{recovery.finished_at} from damage ({recovery.reason}): {recovery.kept:,} records kept, "
        f"{recovery.refilled:,} events put back from the files, up to {recovery.lost:,} lost; "
        f"the damaged file is {recovery.set_aside}"
    )


def _notes(status: Status) -> list[str]:
    """Return what a reader should act on, or may want to know."""
    notes = [f"problem: {visible(problem)}" for problem in status.problems]
    kept = sum(source.quarantined for source in status.sources)
    if kept:
        notes.append(f"{kept:,} in quarantine: `shipwrightd quarantine list` shows them")
    notes += [
        f"{visible(source.source)}: last line incomplete ({size_of(source.unfinished_bytes)}), waiting for its end"
        for source in status.sources
        if source.unfinished_bytes
    ]
    return ["", *notes] if notes else []


SOURCES = (
    Column("SOURCE", least=28),
    Column("BEHIND", right=True),
    Column("RECORDS", right=True),
    Column("LAST HOUR", right=True, keep=2),
    Column("NEWEST", right=True, keep=4),
    Column("STORED", right=True, keep=5),
    Column("SALVAGED", right=True, keep=1),
    Column("QUARANTINED", right=True, keep=6),
    Column("GAPS", right=True, keep=7),
)


def _families(sources: Iterable[Any]) -> dict[str, list[Any]]:
    """Return sources of the same family together, in the order of the first of each, by what to call them."""
    families: dict[str, list[Any]] = {}
    for source in sources:
        families.setdefault(family(source.source), []).append(source)
    return {
        members[0].source if len(members) == 1 else f"{name} ({len(members)})": members
        for name, members in families.items()
    }


def _sums(members: Sequence[Any], *fields: str) -> dict[str, Any]:
    return {field: sum(getattr(member, field) for member in members) for field in fields}


def _sources(sources: Sequence[Source], width: int) -> str:
    rows = []
    for name, members in _families(sources).items():
        last_hour = members[0].records_last_hour
        sums = _sums(members, "records", "salvaged", "quarantined", "gaps")
        records, *counts = (f"{count:,}" for count in sums.values())
        ages = (
            min((age for member in members if (age := getattr(member, field)) is not None), default=None)
            for field in ("newest_age_s", "committed_age_s")
        )
        hour = "-" if last_hour is None else f"{last_hour:,}"
        rows.append((name, _behind(members), records, hour, *map(age_of, ages), *counts))
    return table(SOURCES, rows, width)


def _behind(members: Sequence[Source]) -> str:
    if any(not member.readable or (member.error and member.kind is None) for member in members):
        return "unreadable"
    if not any(member.present for member in members):
        return "no file"
    behind = sum(member.behind_bytes for member in members)
    if not behind:
        return "-"
    return "changed" if members[0].kind == "document" else size_of(behind)


PIECES = (
    Column("ID", right=True),
    Column("SOURCE", least=16),
    Column("OFFSET", right=True, keep=2),
    Column("BYTES", right=True, keep=3),
    Column("REASON", least=12),
    Column("SEEN", keep=1),
    Column("STATE", keep=5),
    Column("BEGINS", keep=4, least=16),
)


def pieces_text(pieces: Sequence[Piece], width: int) -> str:
    """Return the list of quarantined pieces."""
    rows = [
        (str(p.id), p.source, str(p.offset), str(p.length), p.reason, p.seen_at, p.state, cut(p.text, BEGIN_CELLS))
        for p in pieces
    ]
    return table(PIECES, rows, width) if rows else "nothing in quarantine"


def piece_text(piece: Piece, width: int) -> str:
    """Return one piece with all that is known about it, and its bytes; on a terminal, as many as fit on a page."""
    stored = "" if len(piece.raw) >= piece.length else f", the first {len(piece.raw)} of them stored"
    facts = {
        "id": str(piece.id),
        "source": piece.source,
        "offset": f"{piece.offset}, {piece.length} bytes{stored}",
        "reason": piece.reason,
        "seen": piece.seen_at,
        "state": piece.state,
    }
    lines = [f"{name:<8}{visible(value)}" for name, value in facts.items()]
    text = visible(piece.text)
    page = text if width >= UNLIMITED else cut(text, SHOWN_LINES * width)
    lines += ["", page]
    if page != text:
        lines += ["", *wrapped(f"cut here; `shipwrightd quarantine show {piece.id} --raw` writes all of it", width)]
    return "\n".join(lines)


SUMMARY: Mapping[str, Column] = {  # by field of a summary
    "source": Column("SOURCE", least=28),
    "records": Column("RECORDS", right=True),
    "known": Column("ALREADY KNOWN", right=True, keep=5),
    "salvaged": Column("SALVAGED", right=True, keep=3),
    "quarantined": Column("QUARANTINED", right=True, keep=6),
    "gaps": Column("GAPS", right=True, keep=4),
    "seconds": Column("SECONDS", right=True, keep=2),
}


def summary_text(summaries: Sequence[Any], width: int) -> str:
    """Return what a backfill did, a line for each kind of source and one for all."""
    _, *counts, seconds = SUMMARY
    rows = []
    for name, members in {**_families(summaries), "total": summaries}.items():
        sums = _sums(members, *SUMMARY.keys() - {"source"})
        rows.append((name, *(f"{sums[count]:,}" for count in counts), f"{sums[seconds]:.2f}"))
    return table(list(SUMMARY.values()), rows, width)
