"""The support archive: what a maintainer asks for first, without secrets and without anything a person wrote.

Nothing is copied from a file or a record. Parts consist of counts, positions,
times and fixed texts; in each text, private paths and names are replaced.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shlex
import sys
import tarfile
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import apsw

from shipwrightd.database import open_reader
from shipwrightd.doctor.database import compared
from shipwrightd.doctor.examine import answer
from shipwrightd.errors import ShipwrightdError
from shipwrightd.export.files import new_file
from shipwrightd.status import rows_of
from shipwrightd.text import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shipwrightd.config import Resolved
    from shipwrightd.doctor import Target
    from shipwrightd.doctor.examine import Diagnosis

FOLDER = "shipwrightd-doctor"
UNCHANGED = "schema"  # a part that holds nothing but the text of our migrations
WITHHELD = {"text": "omitted: it may quote what somebody wrote", "todo": "", "facts": {}}  # of a private finding
HIDDEN = {"metrics", "hook_command", "hook_url"}  # settings that name machines and may hold secrets


def write(target: Path, parts: Mapping[str, object], now: float, *, force: bool) -> None:
    """Write the parts as JSON files of one archive, complete or not at all, for its owner alone. Raises PathError."""
    with new_file(target, force=force) as temporary, tarfile.open(temporary, "w:gz") as archive:
        for name, part in parts.items():
            content = as_json(part).encode()
            entry = tarfile.TarInfo(f"{FOLDER}/{name}.json")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now)
            archive.addfile(entry, io.BytesIO(content))


def gather(target: Target, diagnosis: Diagnosis) -> dict[str, object]:
    """Return all parts by name; one that cannot be read is replaced by the type of the error."""
    stored: dict[str, object] = {}
    findings = [asdict(finding) | (WITHHELD if finding.private else {}) for finding in diagnosis.findings]
    known = private_texts(target)
    failures = (ShipwrightdError, OSError, apsw.Error)
    with contextlib.suppress(*failures), contextlib.closing(open_reader(target.db, untouched=True)) as db:
        stored = {name: _tried(partial(query, db)) for name, query in archive_queries(target).items()}
        with contextlib.suppress(apsw.Error):
            known |= {name: public_name(target, name) for (name,) in db.execute(NAMES)}
        known |= dict.fromkeys(compared(db)[-1], "<foreign>")
    parts = {
        "doctor": {**answer(diagnosis), "findings": findings},
        "status": _tried(partial(_status, target)),
        "settings": _settings(target.settings),
        **stored,
    }
    return {name: part if name == UNCHANGED else scrubbed(part, known) for name, part in parts.items()}


def _tried(part: Callable[[], object]) -> object:
    """Return a part, or the type of the error that occurred: its text may quote."""
    try:
        return part()
    except (ShipwrightdError, apsw.Error, OSError, ValueError) as error:
        return {"error": type(error).__name__}


def _status(target: Target) -> dict[str, object]:
    """Return what `status` reports; of errors and problems only their kind or number."""
    found = target.status()
    listed = [{**asdict(source), "error": source.error and kind_of(source.error)} for source in found.sources]
    daemon = {**asdict(found.daemon), "watching_degraded": bool(found.daemon.watching_degraded)}
    return {**asdict(found), "problems": len(found.problems), "daemon": daemon, "sources": listed}


def _settings(found: Resolved) -> dict[str, object]:
    """Return the settings with the kind of place they come from; of some only whether they are set."""
    values = [
        {"setting": one.key, "value": bool(one.value) if one.key in HIDDEN else one.value, "from": one.kind}
        for one in found.values
    ]
    files = [{"place": place, "exists": file.exists} for place, file in enumerate(found.files, 1)]
    return {"settings": values, "problems": len(found.problems), "files": files}


# -- from the database

LIMIT = 1_000  # rows of each list, the newest
COUNTS = """
SELECT (SELECT count(*) FROM budgets) budgets, (SELECT count(*) FROM checkpoints) checkpoints,
       (SELECT count(*) FROM cost_entries) cost_entries, (SELECT count(*) FROM cost_outcomes) cost_outcomes,
       (SELECT count(*) FROM daemon_completed) daemon_completed,
       (SELECT count(*) FROM daemon_failures) daemon_failures, (SELECT count(*) FROM daemon_jobs) daemon_jobs,
       (SELECT count(*) FROM daemon_queue) daemon_queue, (SELECT count(*) FROM daemon_state) daemon_state,
       (SELECT count(*) FROM daemon_titles) daemon_titles, (SELECT count(*) FROM events) events,
       (SELECT count(*) FROM gaps) gaps, (SELECT count(*) FROM generations) generations,
       (SELECT count(*) FROM heartbeats) heartbeats, (SELECT count(*) FROM line_hashes) line_hashes,
       (SELECT count(*) FROM memory_entries) memory_entries, (SELECT count(*) FROM metrics) metrics,
       (SELECT count(*) FROM pipeline_runs) pipeline_runs, (SELECT count(*) FROM pipeline_stages) pipeline_stages,
       (SELECT count(*) FROM projection_state) projection_state, (SELECT count(*) FROM pruned) pruned,
       (SELECT count(*) FROM quarantine) quarantine, (SELECT count(*) FROM recoveries) recoveries,
       (SELECT count(*) FROM run_outcomes) run_outcomes, (SELECT count(*) FROM schema_version) schema_version,
       (SELECT count(*) FROM sessions) sessions, (SELECT count(*) FROM kept_range) kept_range,
       (SELECT count(*) FROM kept_runs) kept_runs, (SELECT count(*) FROM kept_stages) kept_stages,
       (SELECT count(*) FROM source_errors) source_errors"""
PRAGMAS = """
SELECT application_id, auto_vacuum, encoding, freelist_count, journal_mode, page_count, page_size, schema_version,
       user_version
FROM pragma_application_id, pragma_auto_vacuum, pragma_encoding, pragma_freelist_count, pragma_journal_mode,
     pragma_page_count, pragma_page_size, pragma_schema_version, pragma_user_version"""
COMPILE_OPTIONS = "SELECT compile_options FROM pragma_compile_options"
APPLIED = "SELECT version, name, checksum, applied_at FROM schema_version ORDER BY version"
CHECKPOINTS = """
SELECT c.source, c.kind, c.generation, c.records, c.salvaged, c.quarantined, c.gaps, c.newest_epoch,
       c.committed_at, g.state, g.offset, g.anchor_bytes, g.lines
FROM checkpoints AS c LEFT JOIN generations AS g ON g.id = c.generation ORDER BY c.source LIMIT ?"""
QUARANTINE = """
SELECT id, source, generation, offset, length, reason, seen_at, state FROM quarantine ORDER BY id DESC LIMIT ?"""
GAPS = "SELECT id, source, reason, detected_at, after_event, old_offset, detail FROM gaps ORDER BY id DESC LIMIT ?"
ERRORS = "SELECT source, error, since FROM source_errors ORDER BY source LIMIT ?"
NAMES = """
SELECT source FROM checkpoints UNION SELECT source FROM quarantine
UNION SELECT source FROM gaps UNION SELECT source FROM source_errors"""


def archive_queries(target: Target) -> dict[str, Callable[[apsw.Connection], object]]:
    """Return what is read from the database, by the name of its file in the archive."""

    def listed(db: apsw.Connection, statement: str) -> list[dict[str, object]]:
        rows = rows_of(db, statement, (LIMIT,))
        return [{**row, "source": public_name(target, row["source"])} for row in rows]

    def numbers_of(detail: object) -> dict[str, int]:
        return {key: value for key, value in json.loads(str(detail or "{}")).items() if isinstance(value, int)}

    return {
        "pragmas": lambda db: {
            **next(rows_of(db, PRAGMAS)),
            "compile_options": [text for (text,) in db.execute(COMPILE_OPTIONS)],
        },
        "migrations": lambda db: list(rows_of(db, APPLIED)),
        "schema": _schema,
        "tables": lambda db: next(rows_of(db, COUNTS)),
        "checkpoints": lambda db: listed(db, CHECKPOINTS),
        "quarantine": lambda db: listed(db, QUARANTINE),
        "gaps": lambda db: [{**row, "detail": numbers_of(row["detail"])} for row in listed(db, GAPS)],
        "errors": lambda db: [{**row, "error": kind_of(str(row["error"]))} for row in listed(db, ERRORS)],
    }


def _schema(db: apsw.Connection) -> dict[str, object]:
    """Return the SQL of everything that is as the migrations create it, and the names of what is not."""
    wanted, missing, altered, foreign = compared(db)
    same = {name: sql for name, (_, sql) in wanted.items() if name not in {*missing, *altered}}
    return {"same": same, "missing": missing, "altered": altered, "foreign": len(foreign)}


# -- private texts

OTHER = "<other>"
PATH = re.compile(r"(?<![\w>~.*/])/(?!(?:proc|sys|etc/shipwrightd|etc/xdg)\b)[^\s'\"`,;:()]+")
FOREIGN = re.compile(r"<foreign>\.\S+")
ERROR_KINDS = ("watching is degraded", "cannot be used: not JSON", "cannot be used", "cannot read")
SYSTEM_ERRORS = frozenset(os.strerror(number) for number in errno.errorcode)


def private_texts(target: Target) -> dict[str, str]:
    """Return the private paths of an installation, each with its placeholder."""
    known = {os.path.expanduser("~"): "~", sys.prefix: "<prefix>"}  # noqa: PTH111 - its spelling matters
    known |= {str(file.path): f"<settings file {place}>" for place, file in enumerate(target.settings.files, 1)}
    for path, placeholder in ((target.db.parent, "<db folder>"), (target.db, "<db>"), (target.home, "<home>")):
        known |= {str(path): placeholder, os.path.realpath(path): placeholder}
    known |= {shlex.quote(text): placeholder for text, placeholder in known.items()}
    return {private: placeholder for private, placeholder in known.items() if private not in {"", "/"}}


def scrubbed(value: object, known: Mapping[str, str]) -> object:
    """Return a value made of lists, dicts and texts without what is private.

    Known texts are replaced by their placeholder, the longest first; then all that looks like a path.
    """
    if isinstance(value, dict):
        return {scrubbed(str(key), known): scrubbed(inner, known) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [scrubbed(inner, known) for inner in value]
    if not isinstance(value, str):
        return value
    for private in sorted(known, key=len, reverse=True):
        value = value.replace(private, known[private])
    return FOREIGN.sub("<foreign>", PATH.sub("<path>", value))


def public_name(target: Target, name: str) -> str:
    """Return a source's own name if it is fixed, else the pattern of its kind."""
    if name in {*target.journals, *(rotated for names in target.journals.values() for rotated in names), ""}:
        return name
    patterns = {pattern: re.escape(pattern).replace(r"\*", "[^/]*") for pattern in target.documents}
    return next((pattern for pattern, form in patterns.items() if re.fullmatch(form, name)), OTHER)


def kind_of(error: str) -> str:
    """Return the kind of an error and the system's text for it; the rest may quote."""
    kind = next((kind for kind in ERROR_KINDS if kind in error), OTHER)
    reason = error.rpartition(": ")[2]
    return f"{kind}: {reason}" if reason in SYSTEM_ERRORS else kind
