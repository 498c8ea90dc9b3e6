"""Repositories as memory knows them: a hash of the remote's address, and a name where patterns.json tells one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import apsw

# Hashes are hopped through, so that entries are not read.
HASHES = """
WITH RECURSIVE hashes (hash) AS (
    SELECT min(repo_hash) FROM memory_entries
    UNION ALL
    SELECT (SELECT min(repo_hash) FROM memory_entries WHERE repo_hash > hashes.hash) FROM hashes WHERE hash IS NOT NULL
)
SELECT hash FROM hashes WHERE hash IS NOT NULL"""
NAMES = """
SELECT repo_hash, extra ->> '$.value' FROM memory_entries INDEXED BY memory_entries_pattern
WHERE pattern = 'repo' AND entry_type = 'pattern' AND section = '' ORDER BY id"""


def names(db: apsw.Connection) -> dict[str, str | None]:
    """Return each repository's hash and, where it is known, its name."""
    found: dict[str, str | None] = {hash_: None for (hash_,) in db.execute(HASHES)}
    for hash_, name in db.execute(NAMES):
        found[hash_] = None if name is None else str(name)
    return found


def matching(asked: str, known: Mapping[str, str | None]) -> list[str]:
    """Return the hashes that are meant: a hash, a whole name, a name without its owner, the beginning of a hash.

    The first of these that fits anything decides. One repository has two hashes
    when it was cloned by two addresses, so a name may mean several.
    """
    wanted = asked.strip().casefold()
    titles = {hash_: (name or "").casefold() for hash_, name in known.items()}
    ways = (
        [hash_ for hash_ in known if hash_.casefold() == wanted],
        [hash_ for hash_, title in titles.items() if title == wanted],
        [hash_ for hash_, title in titles.items() if title.rpartition("/")[2] == wanted],
        [hash_ for hash_ in known if hash_.casefold().startswith(wanted)],
    )
    return next((way for way in ways if way), []) if wanted else []
