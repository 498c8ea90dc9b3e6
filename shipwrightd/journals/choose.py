"""Which of a journal's files to read next, and from where: what the books know, asked of the files that are there."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shipwrightd.journals import compare, locate, store
from shipwrightd.journals.compare import How
from shipwrightd.journals.lines import ChangedError
from shipwrightd.journals.locate import Plan
from shipwrightd.journals.recall import recall

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

    import apsw

    from shipwrightd.journals.lines import Place
    from shipwrightd.journals.sources import JournalSource
    from shipwrightd.journals.store import Generation


@dataclass(frozen=True, slots=True)
class View:
    """What is open: descriptors, the oldest sibling first, and what the process knows of them beside the books."""

    files: list[int]
    at_path: bool  # the last of them is the one at the path
    most_siblings: int  # how many there can be
    reading: bool  # a file is open and was read to its end
    held: AbstractSet[locate.Inode]  # files that left the path and are still read
    is_whole: Callable[[int, Place], bool]  # whether a file is all that it is meant to be


def choose(db: apsw.Connection, source: JournalSource, view: View) -> Plan | None:
    """Decide what to read next; None when there is nothing but what was read before.

    Raises OSError, and ChangedError when a file is cut meanwhile.
    """
    here = store.current_generation(db, source.name)
    if here is None:
        return Plan(How.FRESH)
    plan = _by_history(db, source.name, view, here)
    return None if plan is None else recall(db, source, view.files[plan.first], plan)


def _by_history(db: apsw.Connection, name: str, view: View, here: Generation) -> Plan | None:
    files = view.files
    plan = locate.find_anchor(files, here.place)
    if plan is not None:
        return _look_closer(db, name, plan, files, here.place)
    siblings = files[:-1] if view.at_path else files
    others = store.other_generations(db, name)
    known = [other.place for other in others]
    history = store.load_history(db, name)
    back = locate.find_return(files, known, history) if view.at_path else None
    if back := back or locate.find_grown(siblings, [*known, here.place], history):
        return back
    start = locate.first_unknown(siblings, [*known, here.place], view.held)
    if start == len(files):
        return None
    if not history:
        plan = locate.find_fresh(files, start, here.place, others, view.most_siblings)
        return replace(plan, how=How.FRESH) if view.reading else plan
    settled = not view.at_path or view.is_whole(files[-1], here.place)
    return locate.find_overlap(files, start, history, here.place, settled=settled)


def _look_closer(db: apsw.Connection, name: str, plan: Plan, files: list[int], place: Place) -> Plan:
    """Look into another file that holds the anchor in its place: it may have been read further, or edited."""
    fd = files[plan.first]
    if compare.same_file(fd, place):
        return plan
    with contextlib.suppress(ChangedError):
        others = store.other_generations(db, name)
        further = [other.place for other in others if other.place.offset > place.offset]
        if back := locate.find_return([fd], further, ()):
            return replace(back, first=plan.first)
        if overlap := locate.edits_before(fd, plan.position, store.load_history(db, name)):
            return Plan(How.OVERLAP, plan.first, plan.position, overlap)
    return plan


def repeated(db: apsw.Connection, name: str, fd: int) -> Plan | None:
    """Plan for the next of the open files when it repeats what was read; None as nearly always.

    Raises what `choose` raises.
    """
    return locate.find_repeated(fd, store.other_generations(db, name), store.load_history(db, name))
