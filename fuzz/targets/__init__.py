"""One module a target: `check(data)` raises when a promise is broken; SEEDS and WORDS are where a search begins."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("framing", "streaming", "decoding", "salvage", "documents", "settings", "matching", "overlaps")


class Target(Protocol):
    """What each module of this folder has."""

    INSTRUMENTED: tuple[str, ...]  # modules whose branches guide the search
    LONGEST: int  # bytes of an input; longer ones are slow and show no more
    SEEDS: tuple[bytes, ...]
    WORDS: tuple[bytes, ...]
    check: Callable[[bytes], None]


def load(name: str) -> Target:
    """Return a target by its name."""
    if name not in NAMES:
        raise ValueError(f"no target {name}: there are {', '.join(NAMES)}")
    module: Target = importlib.import_module(f"fuzz.targets.{name}")
    return module
