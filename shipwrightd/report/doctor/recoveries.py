"""Databases that were found damaged, set aside, and built anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipwrightd.report.doctor.finding import ok, warn
from shipwrightd.report.render import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from shipwrightd.report.doctor.finding import Case, Finding

KEPT = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'recoveries'"
RECOVERIES = "SELECT set_aside, detected_at, lost FROM recoveries ORDER BY id"


def recoveries(case: Case, db: apsw.Connection) -> Iterator[Finding]:
    """Tell how often the database was built anew, and which damaged ones still lie beside it."""
    if not db.execute(KEPT).get:  # a schema that keeps no such list
        return
    rows = list(db.execute(RECOVERIES))
    if not rows:
        yield ok("recoveries", "the database was never damaged", recoveries=0)
        return
    lost = sum(row[2] for row in rows)
    files = [file for row in rows if (file := case.db.with_name(row[0])).is_file()]
    size = sum(file.stat().st_size for file in files)
    facts = {"recoveries": len(rows), "lost": lost, "set_aside": len(files), "set_aside_bytes": size}
    text = f"built anew {len(rows)} times, last for damage met at {rows[-1][1]}; {lost:,} events were lost"
    if files:
        text += f"; {len(files)} damaged files ({size_of(size)}) are kept"
        todo = f"check the disk; {files[-1]} may be deleted once nothing is missed"
        yield warn("recoveries", text, todo, **facts)
    else:
        yield ok("recoveries", text, **facts)
