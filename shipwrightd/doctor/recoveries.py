"""Databases that were found damaged, set aside, and built anew."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from shipwrightd.doctor.finding import ok, warn
from shipwrightd.status.collect import recoveries as known
from shipwrightd.text import size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

    from shipwrightd.doctor.finding import Case, Finding

WITH = ("", "-wal", "-shm")  # what was set aside together


def recoveries(case: Case, db: apsw.Connection) -> Iterator[Finding]:
    """Tell how often the database was built anew, and which damaged ones still lie beside it."""
    found = known(db, case.db)
    if not found:
        yield ok("recoveries", "the database was never damaged", recoveries=0)
        return
    lost, refilled = sum(one.lost for one in found), sum(one.refilled for one in found)
    aside = [Path(one.set_aside) for one in found]
    files = [file for file in aside if file.is_file()]
    size = sum(_size(file.with_name(file.name + end)) for file in files for end in WITH)
    facts = {
        "recoveries": len(found), "refilled": refilled, "lost": lost, "set_aside": len(files), "set_aside_bytes": size,
    }  # fmt: skip
    times = "once" if len(found) == 1 else f"{len(found)} times"
    text = f"built anew {times}, last for damage met at {found[-1].detected_at}; {lost:,} records were lost"
    if not files:
        yield ok("recoveries", text, **facts)
        return
    kept = "the damaged file is kept" if len(files) == 1 else f"{len(files)} damaged files are kept"
    text += f"; {kept} ({size_of(size)})"
    why = "keep them while any of the lost records is missed" if lost else "nothing was lost, they are not needed"
    remove = " ".join(f"{shlex.quote(str(file))}*" for file in files)
    todo = f"check the disk; {why}; `rm {remove}` gives the space back"
    yield warn("recoveries", text, todo, **facts)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
