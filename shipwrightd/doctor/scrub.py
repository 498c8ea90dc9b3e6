"""What may leave the machine: paths become placeholders, names that a person chose become patterns. Pure.

Replaced are exact texts that are known, the longest first; what still looks
like a path after that is one nobody has to know.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from shipwrightd.doctor.finding import Case

OTHER = "<other>"
PATH = re.compile(r"(?<![\w>~.*/])/(?!(?:proc|sys|etc/shipwrightd|etc/xdg)\b)[^\s'\"`,;:()]+")
THEIRS = re.compile(r"<theirs>\.\S+")

ERRORS = ("watching is degraded", "cannot be used: not JSON", "cannot be used", "cannot read")
SYSTEM = frozenset(os.strerror(number) for number in errno.errorcode)


@dataclass(frozen=True, slots=True)
class Scrub:
    """Knows what to put in a text's place."""

    known: Mapping[str, str]

    def text(self, text: str) -> str:
        """Return a text without what is private."""
        for private in sorted(self.known, key=len, reverse=True):
            text = text.replace(private, self.known[private])
        return THEIRS.sub("<theirs>", PATH.sub("<path>", text))

    def value(self, value: object) -> object:
        """Return a value made of lists, dicts and texts without what is private."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner) for inner in value]
        return value


def scrub_for(case: Case, folders: Mapping[str, str], names: Iterable[str], theirs: Iterable[str]) -> Scrub:
    """Return what scrubs a case: folders with their placeholders, names of sources, and of others' tables."""
    known = {**_paths(case.db.parent, "<db folder>"), **_paths(case.db, "<db>"), **_paths(case.home, "<home>")}
    for folder, placeholder in folders.items():
        known = {folder: placeholder, shlex.quote(folder): placeholder, **known}
    known |= {name: public(case, name) for name in names if public(case, name) != name}
    known |= dict.fromkeys(theirs, "<theirs>")
    return Scrub({private: placeholder for private, placeholder in known.items() if private not in {"", "/"}})


def _paths(path: Path, placeholder: str) -> dict[str, str]:
    spelled = (str(path), os.path.realpath(path))
    return {text: placeholder for one in spelled for text in (one, shlex.quote(one))}


def public(case: Case, name: str) -> str:
    """Return what a source may be called: its own name where that is fixed, else the pattern of its kind."""
    fixed = {*case.journals, *(sibling for siblings in case.journals.values() for sibling in siblings), ""}
    if name in fixed:
        return name
    return next((pattern for pattern in case.documents if _matches(pattern, name)), OTHER)


def _matches(pattern: str, name: str) -> bool:
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", "[^/]*"), name))


def said(error: str) -> str:
    """Return of an error its kind, and what the system called it; the rest may quote."""
    kind = next((kind for kind in ERRORS if kind in error), OTHER)
    reason = error.rpartition(": ")[2]
    return f"{kind}: {reason}" if reason in SYSTEM else kind
